"""Several companies in one warehouse: secrets, schema, token and budget are each one's own."""

from __future__ import annotations

import asyncio
import json
from typing import Any

import asyncpg

from qbo_simulator import Simulator, SimulatorConfig
from tests.support.backfilling import exactly, truth
from tests.support.commands import CommandLine, Ended, store

YEARS = ["--fecha-inicio", "2024-01-01", "--fecha-fin", "2025-12-31"]
ACME = SimulatorConfig(
    realm_id="9130357849016123456",
    seed=11,
    invoices=300,
    customers=40,
    items=30,
    client_secret="another-simulated-secret",
    refresh_token="RT1-00-H0-the-refresh-token-of-acme",
    switches={"tokens": {"rotate_after_seconds": 0, "reuse": "revokes-all"}},
)


def store_acme(command_line: CommandLine, simulator: Simulator) -> None:
    address = simulator.address()
    for name, key in (
        ("QBO_REALM_ID", "realm_id"),
        ("QBO_REFRESH_TOKEN", "refresh_token"),
        ("QBO_CLIENT_SECRET", "client_secret"),
        ("QBO_SIMULATOR_URL", "url"),
    ):
        command_line.secrets.set(f"ACME_{name}", str(address[key]))


async def run(command_line: CommandLine, *arguments: str) -> Ended:
    return await asyncio.to_thread(command_line.run, *arguments)


async def payloads(database: Any, table: str) -> dict[str, Any]:
    connection = await asyncpg.connect(database.dsn)
    try:
        rows = await connection.fetch(f"SELECT id, payload::text FROM {table}")
    finally:
        await connection.close()
    return {row["id"]: exactly(row["payload"]) for row in rows}


async def value(database: Any, query: str, *values: object) -> Any:
    connection = await asyncpg.connect(database.dsn)
    try:
        return await connection.fetchval(query, *values)
    finally:
        await connection.close()


async def test_two_companies_at_once_have_a_schema_a_token_and_a_budget_each(
    command_line: CommandLine, database: Any
) -> None:
    async with Simulator(SimulatorConfig(invoices=300, customers=50)) as ours, Simulator(ACME) as theirs:
        store(command_line, ours, database)
        store_acme(command_line, theirs)
        ended = await asyncio.gather(
            *(
                run(command_line, "run", entity, *YEARS, "--chunk", "P1M", "--json", *profile)
                for entity in ("invoices", "customers")
                for profile in ([], ["--profile", "acme"])
            )
        )
        assert [one.code for one in ended] == [0] * 4, [one.stderr for one in ended]
        for simulator, schema in ((ours, "raw"), (theirs, "raw_acme")):
            ledger = simulator.service.ledger.summary()
            assert ledger["violations_total"] == 0
            assert ledger["refreshes"] == 1
            everything = await truth(simulator, "customers")
            loaded = await payloads(database, f"{schema}.qb_customers")
            assert loaded
            assert loaded.items() <= everything.items()
            spent = await value(database, "SELECT requests FROM ops.usage WHERE realm_id = $1", simulator.realm_id)
            assert spent == ledger["metered_calls"]
        # Ids of both companies begin at 1: had one schema held both, one would have overwritten the other.
        assert await payloads(database, "raw.qb_invoices") != await payloads(database, "raw_acme.qb_invoices")
        assert command_line.secrets.get("ACME_QBO_REFRESH_TOKEN") == theirs.service.consent.refresh_token
        assert command_line.secrets.get("QBO_REFRESH_TOKEN") == ours.service.consent.refresh_token

        told = (await run(command_line, "status")).stdout
        assert f"company {ours.realm_id} (raw): " in told
        assert f"company {theirs.realm_id} (raw_acme): " in told
        lines = [json.loads(line) for line in (await run(command_line, "status", "--json")).stdout.splitlines()]
        assert {line["raw_schema"] for line in lines} == {"raw", "raw_acme"}
        assert all(line["requests_this_month"] > 0 for line in lines)

        again = await run(command_line, "plan", "invoices", *YEARS, "--profile", "acme", "--json")
        assert again.result["requests"] == 1  # the check's count
        status = await run(command_line, "auth", "status", "--profile", "acme", "--json")
        assert status.result["connected"] is True


async def test_a_company_that_a_schema_holds_already_is_refused_under_another_profile(
    command_line: CommandLine, database: Any
) -> None:
    async with Simulator(SimulatorConfig(invoices=10, limits=False)) as simulator:
        store(command_line, simulator, database)
        assert (await run(command_line, "run", "items", *YEARS, "--no-limits")).code == 0
        for name in ("QBO_REALM_ID", "QBO_REFRESH_TOKEN"):
            command_line.secrets.set(f"TWIN_{name}", command_line.secrets.require(name))
        ended = await run(command_line, "run", "items", *YEARS, "--no-limits", "--profile", "twin")
        assert (await run(command_line, "run", "items", *YEARS, "--no-limits")).code == 0
    assert ended.code == 4
    assert "fills schema raw" in ended.stderr.strip().splitlines()[-1]
    assert "a profile is for another company" in ended.stderr
