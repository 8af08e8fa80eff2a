"""`qbo-backfill secrets`: the Mage Secrets that the pipelines read. Values go in, and never come out."""

from __future__ import annotations

import asyncio
import json
import re
import sys
from urllib.parse import parse_qs, unquote, urlsplit

import typer

from async_extractor.cli.options import company
from async_extractor.cli.screen import Column, print_fitted, screen
from async_extractor.errors import BackfillError, ConfigurationError, RequestError
from async_extractor.mage.secrets import KNOWN_SECRETS, PASSWORDS, MageSecrets, clean, removed
from async_extractor.profile_option import with_profile
from async_extractor.settings import LONGEST_SECRET, checked_host, checked_webhook
from async_extractor.spoken import say

app = typer.Typer(no_args_is_help=True)

Name = typer.Argument(..., metavar="NAME", help="QBO_CLIENT_ID, POSTGRES_PASSWORD ...; see `secrets list`.")
NameOrMissing = typer.Argument(
    "",
    metavar="[NAME]",
    show_default=False,
    help="As `secrets list` shows it; without it, what is missing is asked for.",
)
FromUrl = typer.Option(
    False, "--from-url", help="Take the POSTGRES_* secrets from one URL: postgresql://USER:PASSWORD@HOST:PORT/DB"
)
ROTATED = ("POSTGRES_PASSWORD", "QBO_CLIENT_SECRET", "QBO_REFRESH_TOKEN")
RotatedName = typer.Argument(..., metavar="NAME", help=", ".join(ROTATED))
OneProfile = typer.Option(
    "", "--profile", callback=company, help="The company whose refresh token it is, when there are several."
)
Any_ = typer.Option(False, "--any", help="Take a name that this project doesn't know.")
Profile = typer.Option(
    "", "--profile", callback=company, help="The company, when there are several: its names are prefixed."
)
IfMissing = typer.Option(False, "--if-missing", help="Leave a value that is stored already as it is.")
AsJson = typer.Option(False, "--json", help="One JSON object on stdout.")
COLUMNS = (Column("name"), Column("state"), Column("what it is for", folds=24))


@app.command("set")
def set_secret(
    name: str = NameOrMissing,
    from_url: bool = FromUrl,
    any_name: bool = Any_,
    if_missing: bool = IfMissing,
    profile: str = Profile,
) -> None:
    """Store a value: from stdin, or by a prompt that doesn't show it. Replaces the old one in place.

    Without NAME each required secret that is missing is asked for, one after the other; an empty answer leaves it. With
    --from-url the URL takes NAME's place, or is read like a value: others see what stands on a command line.
    A running backfill takes the new value with its next request for it.
    """
    if name and not from_url and not any_name and name not in KNOWN_SECRETS:
        raise RequestError(f"{named(name)} is unknown; --any takes it all the same. {_known_names(profile)}")
    secrets = MageSecrets.locate(profile=profile, announce=_announce)
    if from_url:
        if name:
            typer.echo(say("note: the shell's history keeps that URL with its password"), err=True)
        given = from_address(name or read_value("The URL"))
        for part, value in given.items():
            secrets.set(part, value)
        typer.echo(say(f"{', '.join(given)} are stored ({secrets.where})."))
    elif name:
        if if_missing and name in secrets.names():
            typer.echo(say(f"{name} is stored already."))
            return
        _store(secrets, name, read_value(name))
    else:
        _ask_for_missing(secrets)


def _ask_for_missing(secrets: MageSecrets) -> None:
    if not sys.stdin.isatty():
        raise RequestError("NAME: is missing; without it this asks one secret after the other, and needs a terminal")
    asked = False
    left: list[str] = []
    for known in KNOWN_SECRETS.values():
        simulated = known.name == "QBO_SIMULATOR_URL" and secrets.get("QBO_ENVIRONMENT") == "simulator"
        if secrets.get(known.name) or not (known.required or simulated):
            continue
        asked = True
        typer.echo(f"{say(known.purpose)}.", err=True)
        while value := read_value(known.name):
            try:
                _store(secrets, known.name, value)
                break
            except BackfillError as error:
                typer.echo(say(f"qbo-backfill: {error}"), err=True)
        else:
            left.append(known.name)
    if left:
        typer.echo(say(f"Still missing: {', '.join(left)}."))
    else:
        missing = "Nothing is missing" + ("" if asked else " that is required")
        typer.echo(say(with_profile(f"{missing}; next: qbo-backfill check")))


def _store(secrets: MageSecrets, name: str, given: str) -> None:
    _check_one_line(name, given if name in PASSWORDS else given.strip())
    value = clean(name, given)
    _check(name, value)
    secrets.set(name, value)
    gone = removed(given, value)
    typer.echo(say(f"{name} is stored{f' without {gone}' if gone else ''} ({secrets.where})."))


def from_address(url: str) -> dict[str, str]:
    """The POSTGRES_* secrets in a URL as hosts of Postgres give it out. RequestError, which doesn't show it."""
    try:
        parts = urlsplit(url.strip())
        host, port = parts.hostname, parts.port or 5432
    except ValueError:
        raise RequestError("--from-url: its host or port can't be read; nothing was stored") from None
    database = unquote(parts.path.removeprefix("/"))
    if parts.scheme not in ("postgresql", "postgres") or not (host and parts.username and parts.password and database):
        raise RequestError(
            "--from-url: is not postgresql://USER:PASSWORD@HOST:PORT/DATABASE, a password's @ : / # % percent-encoded; "
            "nothing was stored"
        )
    options = parse_qs(parts.query)
    others = sorted(set(options) - {"sslmode", "sslrootcert"})
    # Neon's and others' URLs carry it; asyncpg's own handshake is what it asks for, where the server can do it.
    others = [one for one in others if one != "channel_binding"]
    if others:
        raise RequestError(f"--from-url: {', '.join(others)} can't be kept as a secret; nothing was stored")
    return {
        "POSTGRES_HOST": checked_host(host),
        "POSTGRES_PORT": str(port),
        "POSTGRES_DB": database,
        "POSTGRES_USER": unquote(parts.username),
        "POSTGRES_PASSWORD": unquote(parts.password),
        **{f"POSTGRES_{name.upper()}": values[-1] for name, values in options.items() if name.startswith("ssl")},
    }


@app.command("list")
def list_secrets(profile: str = Profile, as_json: bool = AsJson) -> None:
    """Which secrets are stored, which are missing and what each is for. Names only."""
    secrets = MageSecrets.locate(profile=profile)
    stored = set(secrets.names())
    shared = set(MageSecrets.locate().names()) if profile else set()
    rows = [
        {
            "name": known.name,
            "stored": known.name in stored,
            "shared": known.name not in stored and not known.per_company and known.name in shared,
            "required": known.required,
            "purpose": known.purpose,
        }
        for known in KNOWN_SECRETS.values()
    ] + [
        {"name": name, "stored": True, "shared": False, "required": False, "purpose": "not one of this project's"}
        for name in sorted(stored - KNOWN_SECRETS.keys())
    ]
    if as_json:
        typer.echo(json.dumps({"where": secrets.where, "profile": profile, "secrets": rows}))
        return
    table = []
    for row in rows:
        missing = "missing" if row["required"] else "not set"
        state = "stored" if row["stored"] else "falls back to the shared one" if row["shared"] else missing
        table.append((str(row["name"]), say(state), say(str(row["purpose"]))))
    print_fitted(screen(), f"Mage Secrets: {secrets.where}", COLUMNS, table)


@app.command("delete")
def delete_secret(name: str = Name, profile: str = Profile) -> None:
    """Remove a secret. Ends with 2 when there is none of that name."""
    if not MageSecrets.locate(profile=profile).delete(name):
        raise RequestError(f"{named(name)} is not stored; `qbo-backfill secrets list` shows what is.")
    typer.echo(say(f"{name} is deleted."))


@app.command("rotate")
def rotate(name: str = RotatedName, profile: str = OneProfile) -> None:
    """Replace a secret everywhere it counts, without stopping what runs.

    POSTGRES_PASSWORD: a random one, set at Postgres, too. QBO_CLIENT_SECRET: asked for like `secrets set` does (make
    it on the app's Keys page at Intuit first), and tried before it is stored. QBO_REFRESH_TOKEN: exchanged at Intuit.
    """
    if name not in ROTATED:
        raise RequestError(f"{named(name)} has no rotation of its own; `secrets set` replaces it. {', '.join(ROTATED)}")
    if profile and name != "QBO_REFRESH_TOKEN":
        raise RequestError(f"--profile {profile}: {name} is one for all companies; rotate it without --profile.")
    from async_extractor.mage import rotation  # noqa: PLC0415 - brings half of the program along

    store = MageSecrets.locate(profile=profile)
    if name == "POSTGRES_PASSWORD":
        done = asyncio.run(rotation.rotate_postgres_password(store))
    elif name == "QBO_CLIENT_SECRET":
        new = read_value(name)
        if not new:
            raise RequestError("The new client secret is empty; nothing was changed.")
        done = asyncio.run(rotation.rotate_client_secret(store, new))
    else:
        done = asyncio.run(rotation.rotate_refresh_token(store, profile))
    typer.echo(say(f"{name} is rotated: {done}."))


def named(name: str) -> str:
    """NAME, as an error shows it: not where it may be a value that was typed in its place."""
    return f"NAME {name!r}" if re.fullmatch(r"[A-Z][A-Z0-9]*(_[A-Z0-9]+)+", name) else "NAME"


def _known_names(profile: str) -> str:
    prefix = f" (the prefix comes from --profile {profile})" if profile else ""
    return f"Known{prefix}: {', '.join(KNOWN_SECRETS)}."


def read_value(name: str) -> str:
    if sys.stdin.isatty():
        return str(typer.prompt(say(name), hide_input=True, default="", show_default=False, err=True))
    value = sys.stdin.read(LONGEST_SECRET + 1)
    if len(value) > LONGEST_SECRET:
        raise RequestError(f"The value of {name} has more than {LONGEST_SECRET:,} characters; nothing was stored.")
    # What `echo` and an editor add. Anything else may be part of a password.
    return value.removesuffix("\n").removesuffix("\r")


def _check_one_line(name: str, value: str) -> None:
    if "\n" in value or "\0" in value:
        raise RequestError(f"The value of {name} has more than one line; nothing was stored.")


def _check(name: str, value: str) -> None:
    """Refuse what can't be right. The value itself stays out of the message: it may be another secret's."""
    if name == "QBO_ENVIRONMENT" and value not in ("sandbox", "production", "simulator"):
        raise RequestError("QBO_ENVIRONMENT is sandbox, production or simulator; nothing was stored.")
    if name == "POSTGRES_PORT" and not (value.isascii() and value.isdecimal() and 0 < int(value) < 65536):
        raise RequestError("POSTGRES_PORT is not a port: a number from 1 to 65535.")
    if name == "NOTIFY_URL":
        try:
            checked_webhook(value)
        except ConfigurationError as error:
            raise RequestError(f"{error}; nothing was stored.") from None


def _announce(line: str) -> None:
    typer.echo(say(line), err=True)
