"""`qbo-backfill profiles`: the companies that Mage Secrets holds, their connections and their last runs."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import typer

from async_extractor.cli.options import PROFILES
from async_extractor.cli.reading import as_json, of_all_companies
from async_extractor.cli.screen import Column, moment, print_fitted, screen
from async_extractor.errors import BackfillError, ConfigurationError
from async_extractor.mage.profiles import profiles_held, profiles_named, shown
from async_extractor.mage.secrets import REFRESH_TOKEN, MageSecrets
from async_extractor.profile_option import with_profile
from async_extractor.qbo.auth.access_tokens import ACCESS_TOKEN
from async_extractor.qbo.auth.lifetimes import look, sentences, span
from async_extractor.settings import raw_schema_of, warehouse_address
from async_extractor.spoken import say
from async_extractor.warehouse.connection import Address
from async_extractor.warehouse.first_connection import connect_first

AS_JSON = typer.Option(False, "--json", help="One JSON object a line for each company")

COLUMNS = (
    Column("company"),
    Column("realm", 3),
    Column("schema", 5),
    Column("connected"),
    Column("token in use", 2),
    Column("refreshed", 4),
    Column("last run", folds=40),
    Column("when", 1),
    Column("not done", 6, number=True),
)


@dataclass(frozen=True)
class Company:
    """What is known of a company before its warehouse is asked; `error` where its secrets can't be used."""

    profile: str
    realm_id: str = ""
    connection: Mapping[str, Any] | None = None
    address: Address | None = None
    error: str = ""


def profiles(profile: str = PROFILES, json_lines: bool = AS_JSON) -> int:
    """The companies that Mage Secrets holds: since when each is connected, and how its last run ended.

    Intuit is not asked. Ends with 4 when one of them must be reauthorised, or could not be looked at.
    """
    names = profiles_named(profile) if profile else profiles_held()
    if not names:
        print(say("No company yet. Begin with: qbo-backfill secrets set"))
        return 0
    companies = [_company(name) for name in names]
    runs, unread = asyncio.run(_last_runs([one for one in companies if one.address is not None]))
    rows = [_as_dict(one, runs, unread) for one in companies]
    table = [_row(row) for row in rows]
    for row, one in zip(rows, companies, strict=True):
        if one.connection is not None and not row["connected"] and not row["error"]:
            row["error"] = with_profile(sentences(dict(one.connection))[-1], one.profile)
    if json_lines:
        for row in rows:
            print(as_json(row))
    else:
        console = screen()
        print_fitted(console, "Companies in Mage Secrets (times in UTC)", COLUMNS, table)
        for row in rows:
            if row["error"]:
                console.print(f"{row['profile']}: {say(row['error'])}", markup=False, highlight=False)
    well = all(row["connected"] and not row["error"] for row in rows)
    return 0 if well else ConfigurationError.exit_code


def _company(profile: str) -> Company:
    try:
        secrets = MageSecrets.locate(profile=profile)
        found = look(secrets.get(REFRESH_TOKEN), secrets.get(ACCESS_TOKEN), time.time())
        realm_id = (secrets.get("QBO_REALM_ID") or "").strip()
        try:
            secrets.require("QBO_REALM_ID")
            address = warehouse_address(secrets)
        except BackfillError as error:
            return Company(profile, realm_id, found, None, str(error))
        return Company(profile, realm_id, found, address)
    except BackfillError as error:
        return Company(profile, error=str(error))


async def _last_runs(companies: Sequence[Company]) -> tuple[dict[tuple[Address, str], Any], dict[Address, str]]:
    """The newest run by warehouse and company, and why a warehouse could not be asked."""
    realms: dict[Address, list[str]] = {}
    for one in companies:
        if one.address is not None:
            realms.setdefault(one.address, []).append(one.realm_id)
    found: dict[tuple[Address, str], Any] = {}
    unread: dict[Address, str] = {}
    for address, ids in realms.items():
        try:
            connection = await connect_first(address)
        except BackfillError as error:
            unread[address] = str(error)
            continue
        try:
            rows = await of_all_companies(connection, "last_runs", ids)
            found |= {(address, row["realm_id"]): row for row in rows}
        except ConfigurationError as error:
            unread[address] = str(error)
        finally:
            await connection.close(timeout=5)
    return found, unread


def _as_dict(
    company: Company, runs: Mapping[tuple[Address, str], Any], unread: Mapping[Address, str]
) -> dict[str, Any]:
    address = company.address
    return {
        "profile": shown(company.profile),
        "realm_id": company.realm_id or None,
        "raw_schema": raw_schema_of(company.profile),
        "connected": bool(company.connection and company.connection["connected"]),
        "connection": company.connection,
        "last_run": None if address is None else runs.get((address, company.realm_id)),
        "error": company.error or (unread.get(address, "") if address is not None else ""),
    }


def _row(row: Mapping[str, Any]) -> tuple[str, ...]:
    connection, run = row["connection"] or {}, row["last_run"]
    age, refreshed = connection.get("refresh_token_age_seconds"), connection.get("refreshed_seconds_ago")
    never = "not known" if row["error"] else "none yet"
    return (
        row["profile"],
        row["realm_id"] or "-",
        row["raw_schema"],
        say("yes" if row["connected"] else "NO"),
        say("not known" if age is None else span(age)),
        say("not known" if refreshed is None else f"{span(refreshed)} ago"),
        f"{run['run_id']} {run['entity']}: {say(run['status'])}" if run else say(never),
        moment(run["finished_at"] or run["started_at"]) if run else "",
        f"{run['entities_not_done']:,}" if run else "",
    )
