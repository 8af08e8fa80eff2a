"""`qbo-backfill secrets rotate`: a new value for a secret, while backfills run."""

from __future__ import annotations

import asyncio

import typer

from async_extractor.cli.secrets import named, read_value
from async_extractor.errors import RequestError
from async_extractor.mage.secrets import MageSecrets

ROTATED = ("POSTGRES_PASSWORD", "QBO_CLIENT_SECRET", "QBO_REFRESH_TOKEN")

Name = typer.Argument(..., metavar="NAME", help=", ".join(ROTATED))
Profile = typer.Option("", "--profile", help="The company whose refresh token it is, when there are several.")


def rotate(name: str = Name, profile: str = Profile) -> None:
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
    typer.echo(f"{name} is rotated: {done}.")
