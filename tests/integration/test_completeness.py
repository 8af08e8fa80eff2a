"""What has once been called done with a row missing, stale or not marked as deleted: each with its smallest input.

The definition is ops.owed in sql/005_views.sql; docs/decisions/10-completeness.md lists its invariants. Situations that
take kills or several commands at once are kept walks in tests/chaos/walks/kept.py.
"""

from __future__ import annotations

import asyncio
import contextlib
import time
from datetime import datetime, timedelta, timezone
from typing import Any

import pytest

from async_extractor import ConfigurationError, IncompleteError
from async_extractor.backfill import Backfill
from async_extractor.events import Event
from async_extractor.qbo.client import Patience
from async_extractor.request import BackfillRequest
from qbo_simulator import Simulator, SimulatorConfig
from tests.support.backfilling import DictSecrets, in_raw, secrets_for, simulate, truth
from tests.support.commands import CommandLine, store
from tests.support.databases import execute
from tests.support.small_books import DAY, RANGE, SMALL, check, item, plant, run, verify

# A1: everybody who reads has a catch-up


async def test_own_catch_up(database: Any) -> None:
    """Two runs of one range share the windows and not the catch-up: what is edited after one's is in the other's."""
    request = BackfillRequest.parse("invoices", *RANGE, filter_field="created")
    async with Simulator(SMALL) as simulator:
        secrets = secrets_for(simulator, database)
        async with (
            Backfill(request, secrets, limits=False) as first,
            Backfill(request, secrets, limits=False) as second,
        ):
            runs = [await first.plan(), await second.plan()]
            catch_ups = execute(
                database,
                "SELECT run_id, chunk_id FROM ops.run_chunks JOIN ops.chunks USING (chunk_id) WHERE kind = 'catch_up'",
            )
            assert sorted(run_id for run_id, _ in catch_ups) == runs
            assert len({chunk_id for _, chunk_id in catch_ups}) == 2
            await first.extract(runs[0])
            await simulate(simulator, "edit", {"entity": "Invoice", "edit": 5})
            await second.extract(runs[1])
            await second.validate(runs[1])
            assert (await second.report(runs[1])).status == "done"
        assert await in_raw(database, "invoices") == await truth(simulator, "invoices")


# A4: a record that can't be read is no deleted one


@pytest.mark.parametrize("newest", [{"version": "x1"}, {"version": "1", "updated": "2025-06-02T10:00:00"}])
async def test_unreadable_version_is_no_deletion(database: Any, newest: dict[str, str]) -> None:
    """verify --repair marks nothing that lives: raw has the version before one that can't be read."""
    async with Simulator(SMALL) as simulator:
        secrets = secrets_for(simulator, database)
        await plant(simulator, item(1), item(2))
        assert (await run(secrets)).status == "done"
        await plant(simulator, item(1, **newest), item(2))
        result = await verify(secrets, repair=True)
        again = await run(secrets)
    assert result.marked_deleted == 0
    assert execute(database, "SELECT id FROM raw.qb_items WHERE deleted_at_utc IS NOT NULL") == []
    assert again.status == "done"


# A7: one company, one schema


async def test_company_in_two_profiles_at_once(database: Any) -> None:
    """Started for the first time at the same moment one of them is refused, and none is done with an empty schema."""
    async with Simulator(SMALL) as simulator:
        secrets = secrets_for(simulator, database)
        twin = DictSecrets({**secrets.values, **{f"ACME_{name}": value for name, value in secrets.values.items()}})

        async def first_run(profile: str) -> str:
            try:
                async with Backfill(BackfillRequest.parse("items", *RANGE), twin, limits=False, profile=profile):
                    return "opened"
            except ConfigurationError as error:
                return str(error)

        ends = await asyncio.gather(*(first_run(profile) for profile in ("", "acme")))
    assert sorted(end == "opened" for end in ends) == [False, True], ends
    assert any("a profile is for another company" in end for end in ends)
    assert execute(database, "SELECT count(*) FROM ops.company") == [(1,)]


# B19: a check that wasn't made


@pytest.mark.parametrize(
    "damage", ["DROP TABLE ops.seals", "ALTER TABLE ops.quarantine RENAME resolved_at TO solved_at"]
)
async def test_check_that_cannot_be_made(database: Any, damage: str) -> None:
    """Whatever keeps a check from being made keeps the run from being done."""
    async with Simulator(SMALL) as simulator:
        secrets = secrets_for(simulator, database)
        async with Backfill(BackfillRequest.parse("items", *RANGE), secrets, limits=False) as backfill:
            run_id = await backfill.plan()
            await backfill.extract(run_id)
            execute(database, damage)
            with contextlib.suppress(Exception):  # whatever it raises, the run is what counts
                await backfill.validate(run_id)
            assert (await backfill.report(run_id)).status in ("incomplete", "failed")


async def test_count_refused_in_the_checks(database: Any) -> None:
    """QuickBooks can be read and not counted when the checks are made: the run is incomplete and says why."""
    async with Simulator(SMALL) as simulator:
        secrets = secrets_for(simulator, database)
        async with Backfill(BackfillRequest.parse("items", *RANGE), secrets, limits=False) as backfill:
            run_id = await backfill.plan()
            await backfill.extract(run_id)
            await simulate(
                simulator,
                "faults",
                {"switches": {"faults": [{"kind": "company-status", "requests": ["count"], "rate": 1}]}},
            )
            with pytest.raises(ConfigurationError):
                await backfill.validate(run_id)
            assert (await backfill.report(run_id)).status == "failed"
    assert execute(database, "SELECT error FROM ops.runs")[0][0]


async def test_offset_that_postgres_refuses(database: Any) -> None:
    """A CreateTime with the offset +16:00 is set aside; the checks of the table are made all the same."""
    async with Simulator(SMALL) as simulator:
        secrets = secrets_for(simulator, database)
        await plant(simulator, item(1), item(2, created="2025-06-01T10:00:00+16:00"))
        result = await run(secrets)
    assert result.status == "done"
    assert {one.name for one in result.validations} >= {"source_rows", "source_count", "volume", "seals"}
    assert check(result, "quarantine").severity == "warning"


# B20: a superseded chunk


async def test_superseded_by_a_run_that_reads_nothing(database: Any) -> None:
    """A reprocess takes the windows over and is gone: who had planned them reads those that took their place."""
    request = BackfillRequest.parse("items", *RANGE, chunk="P1M", filter_field="created")
    again = BackfillRequest.parse("items", *RANGE, chunk="P1M", filter_field="created", mode="reprocess")
    async with Simulator(SMALL) as simulator:
        secrets = secrets_for(simulator, database)
        async with Backfill(request, secrets, limits=False) as first, Backfill(again, secrets, limits=False) as second:
            run_id = await first.plan()
            await second.plan()
            await first.extract(run_id)
            await first.validate(run_id)
            result = await first.report(run_id)
        assert result.status == "done", result.error
        assert await in_raw(database, "items") == await truth(simulator, "items")


# C1: a table that refuses all of them


@pytest.mark.parametrize(
    "change",
    [
        "ALTER TABLE raw.qb_items ADD COLUMN company text NOT NULL",
        "ALTER TABLE raw.qb_items ADD CHECK (page_number > 7)",
        "CREATE TRIGGER mine BEFORE INSERT ON raw.qb_items FOR EACH ROW EXECUTE FUNCTION raw.refuse()",
    ],
)
async def test_table_that_refuses_every_row(database: Any, change: str) -> None:
    """It is the table's fault: the run needs a person, and no record is set aside."""
    refuse = (
        "CREATE FUNCTION raw.refuse() RETURNS trigger LANGUAGE plpgsql "
        "AS $$ BEGIN RAISE data_exception USING MESSAGE = 'no'; END $$"
    )
    async with Simulator(SMALL) as simulator:
        secrets = secrets_for(simulator, database)
        assert (await run(secrets, end="2024-12-01")).status == "done"  # makes the tables
        execute(database, "DELETE FROM raw.qb_items", refuse, change)
        with pytest.raises(ConfigurationError, match="qb_items") as refused:
            await run(secrets, mode="reprocess")
        assert refused.value.exit_code == 4
    assert execute(database, "SELECT count(*) FROM ops.quarantine") == [(0,)]
    assert execute(database, "SELECT count(*) FROM ops.runs WHERE status = 'done' AND mode = 'reprocess'") == [(0,)]


# D3, D11: a run that finds nothing to read


async def test_second_run_tells_the_same(database: Any) -> None:
    """A run that has nothing to read asks and judges as the first one did: same counts, no check graver than before."""
    grave = ("ok", "notice", "warning", "error")
    async with Simulator(SimulatorConfig(invoices=30, items=200, years=3, limits=False)) as simulator:
        secrets = secrets_for(simulator, database)
        first, second = await run(secrets, start="2023-01-01"), await run(secrets, start="2023-01-01")
    assert (first.status, second.status, second.rows["read"]) == ("done", "done", 0)
    for one in second.validations:
        assert grave.index(one.severity) <= grave.index(check(first, one.name).severity), one
    counted = check(second, "source_count").figures
    assert (counted["source"], counted["raw"]) == (200, 200)
    # What it didn't do it doesn't praise.
    assert "read no chunk" in check(second, "chunk_counts").message
    assert "no row" in check(second, "keys").message


# E1, E2: what QuickBooks counts and doesn't give


async def test_counted_and_not_given(database: Any) -> None:
    """COUNT(*) says that there are rows and the pages have none: the run isn't done, and a later one reads all."""
    async with Simulator(SMALL) as simulator:
        secrets = secrets_for(simulator, database)
        await simulate(
            simulator, "faults", {"switches": {"faults": [{"kind": "empty-page", "requests": ["query"], "rate": 1}]}}
        )
        patience = Patience(tries=2, first_pause=0.01)
        assert (await run(secrets, patience=patience)).status == "incomplete"
        simulator.service.adopt({})
        again = await run(secrets)
        assert again.status == "done", again.error
        assert await in_raw(database, "items") == await truth(simulator, "items")


async def test_record_without_id(database: Any) -> None:
    """A record that no Id can name isn't explained by its entry in quarantine: run and verify end as an error."""
    nameless = {"payload": f'{{"DocNumber":"7","MetaData":{{"CreateTime":"{DAY}","LastUpdatedTime":"{DAY}"}}}}'}
    async with Simulator(SMALL) as simulator:
        secrets = secrets_for(simulator, database)
        await plant(simulator, item(1), nameless)
        assert (await run(secrets)).status == "incomplete"
        assert (await verify(secrets)).status == "different"
        assert (await verify(secrets, deep=True)).status == "different"


async def test_retry_of_a_range_that_reaches_today(database: Any) -> None:
    """What has become readable since the run that failed is in the range as well: read, and the retry is done."""
    today = datetime.now(timezone.utc).date().isoformat()
    failed = "UPDATE ops.chunks SET status = 'failed', done_at = NULL, error = 'broken' WHERE kind = 'window'"
    async with Simulator(SMALL) as simulator:
        secrets = secrets_for(simulator, database)
        await simulate(simulator, "clock", {"offset_seconds": -3600})
        await run(secrets, "items", "2015-01-01", today)
        await simulate(simulator, "clock", {"offset_seconds": 0})
        execute(database, failed)
        retried = await run(secrets, "items", "2015-01-01", today, mode="retry")
        assert retried.status == "done", retried.error


async def test_a_part_that_is_read_again_later(database: Any) -> None:
    """It says nothing of the rest: what came after the run that read all is the next run's, and no hole."""
    today = datetime.now(timezone.utc).date().isoformat()
    async with Simulator(SMALL) as simulator:
        secrets = secrets_for(simulator, database)
        assert (await run(secrets, "items", "2015-01-01", today)).status == "done"
        await simulate(simulator, "clock", {"offset_seconds": 600})
        assert (await run(secrets, "items", "2025-03-01", "2025-03-31", mode="reprocess")).status == "done"
        verified = await verify(secrets, start="2015-01-01", end=today)
        assert (verified.status, check(verified, "ledger").severity) == ("equal", "ok")


@pytest.mark.parametrize("field", ["last_updated", "created"])
async def test_a_part_that_nobody_has_read_is_a_hole(database: Any, field: str) -> None:
    """Though counts are equal, since a run by another date has brought its rows."""
    other = "created" if field == "last_updated" else "last_updated"
    async with Simulator(SMALL) as simulator:
        secrets = secrets_for(simulator, database)
        assert (await run(secrets, filter_field=other)).status == "done"
        assert (await run(secrets, start="2025-01-01", end="2025-03-31", filter_field=field)).status == "done"
        verified = await verify(secrets, start="2025-06-01", end="2025-12-31", field=field)
        assert (verified.status, check(verified, "ledger").severity) == ("different", "error")


async def test_edits_are_looked_for_where_no_run_has_said_what_it_read(database: Any) -> None:
    """As where raw was filled by a repair: counts are equal, and the record is older in raw."""
    async with Simulator(SMALL) as simulator:
        secrets = secrets_for(simulator, database)
        await plant(simulator, item(1), item(2))
        assert (await verify(secrets, repair=True)).status == "repaired"
        await plant(simulator, item(1), item(2, "2025-06-02T10:00:00-07:00", "1", more='"UnitPrice":7,'))
        assert (await verify(secrets)).status == "different"


@pytest.mark.parametrize("field", ["last_updated", "created"])
async def test_edit_by_a_server_whose_clock_is_behind(database: Any, field: str) -> None:
    """The newer version has the earlier LastUpdatedTime: its SyncToken says that it is newer, and raw gets it."""
    now = datetime.now(timezone.utc)
    first, second = ((now - timedelta(minutes=ago)).isoformat() for ago in (60, 70))
    async with Simulator(SMALL) as simulator:
        secrets = secrets_for(simulator, database)
        await plant(simulator, item(1), item(2, first))
        await simulate(simulator, "clock", {"offset_seconds": -3000})
        assert (await run(secrets, "items", "2015-01-01", now.date().isoformat(), filter_field=field)).status == "done"
        await plant(simulator, item(1), item(2, second, "1", more='"UnitPrice":7,'))
        await simulate(simulator, "clock", {"offset_seconds": 0})
        verified = await verify(secrets, start="2015-01-01", end=now.date().isoformat(), field=field, deep=True)
        assert [finding.id for finding in verified.found.of("outdated")] == ["2"]
        result = await run(secrets, "items", "2015-01-01", now.date().isoformat(), filter_field=field, mode="reprocess")
        assert result.status == "done", result.error
        assert await in_raw(database, "items") == await truth(simulator, "items")


async def test_another_plans_chunk_that_reaches_into_the_range(database: Any) -> None:
    """It is open, and what of the range it holds has been read by the range's own chunks: nothing to wait for."""
    async with Simulator(SMALL) as simulator:
        secrets = secrets_for(simulator, database)
        await plant(simulator, item(1), item(2, "2025-06-20T10:00:00-07:00"))
        planned = BackfillRequest.parse("items", "2025-06-01", "2025-06-30", "P1M")
        async with Backfill(planned, secrets, limits=False) as backfill:
            await backfill.plan()
        result = await run(secrets, "items", "2025-06-15", "2025-06-30")
        assert result.status == "done", result.error
        assert check(result, "ledger").severity == "ok"
        assert execute(database, "SELECT id FROM raw.qb_items") == [("2",)]
        assert (await run(secrets, "items", "2025-06-01", "2025-06-30")).status == "done"
        assert await in_raw(database, "items") == await truth(simulator, "items")


# E3: names inside references, which change without a version


@pytest.mark.parametrize(
    ("change", "severity", "kind", "says"),
    [
        ("renamed", "notice", "renamed", "other names inside references, and nothing else"),
        ("altered", "warning", "altered", "changed here by another hand"),
    ],
)
async def test_same_version_says_otherwise(database: Any, change: str, severity: str, kind: str, says: str) -> None:
    """Other names in references are worth knowing and reprocess brings them; anything else under the same version is
    told as what it may be."""
    reference = '"ParentRef":{"value":"9","name":"Old"},'
    later = {"renamed": reference.replace("Old", "New"), "altered": reference + '"UnitPrice":7,'}[change]
    async with Simulator(SMALL) as simulator:
        secrets = secrets_for(simulator, database)
        await plant(simulator, item(1, more=reference), item(2))
        assert (await run(secrets)).status == "done"
        await plant(simulator, item(1, more=later), item(2))
        deep = await verify(secrets, deep=True)
        assert [one.id for one in deep.found.of(kind)] == ["1"]  # type: ignore[arg-type]
        assert deep.status == ("equal" if change == "renamed" else "different")
        again = await run(secrets, mode="reprocess")
        assert again.status == "done"
        assert (check(again, "reprocess").severity, check(again, "reprocess").figures["rows_after"]) == (severity, 2)
        assert says in check(again, "reprocess").message
        assert await in_raw(database, "items") == await truth(simulator, "items")
        assert check(await run(secrets, mode="reprocess"), "reprocess").severity == "ok"


# A clock that was ahead, and what a failed check leaves to the next run

# As if the run had been an hour ago by Postgres' clock.
AN_HOUR_AGO = (
    "UPDATE ops.runs SET started_at = started_at - interval '1 hour'",
    "UPDATE ops.chunks SET planned_at = planned_at - interval '1 hour', done_at = done_at - interval '1 hour'",
)


@pytest.mark.parametrize("field", ["created", "txn_date", "last_updated"])
async def test_quickbooks_clock_a_day_ahead(database: Any, field: str) -> None:
    """It was ahead in one run and is right again: what was edited and deleted since that run is read and marked."""
    end = datetime.now(timezone.utc).date().isoformat() if field == "last_updated" else "2026-01-31"
    async with Simulator(SMALL) as simulator:
        secrets = secrets_for(simulator, database)
        await simulate(simulator, "clock", {"offset_seconds": 86_400})
        assert (await run(secrets, "invoices", "2015-01-01", end, filter_field=field)).status == "done"
        await simulate(simulator, "clock", {"offset_seconds": 0})
        await simulate(simulator, "edit", {"entity": "Invoice", "edit": 3, "delete": 1})
        execute(database, *AN_HOUR_AGO)
        await simulate(simulator, "clock", {"offset_seconds": 3_600})
        secrets.put({"QBO_ACCESS_TOKEN": ""})
        result = await run(secrets, "invoices", "2015-01-01", end, filter_field=field)
        assert result.status == "done", result.error
        assert await in_raw(database, "invoices", living=True) == await truth(simulator, "invoices")


async def test_missing_records_are_owed_to_the_next_run(database: Any) -> None:
    """Another hand deletes a row: the run that finds it missing says so, and the next one reads its window again."""
    async with Simulator(SMALL) as simulator:
        secrets = secrets_for(simulator, database)
        await run(secrets, "invoices")
        execute(database, "DELETE FROM raw.qb_invoices WHERE id = (SELECT min(id) FROM raw.qb_invoices)")
        found = await run(secrets, "invoices")
        assert (found.status, check(found, "source_rows").severity) == ("incomplete", "error")
        assert (await run(secrets, "invoices")).status == "done"
        assert await in_raw(database, "invoices") == await truth(simulator, "invoices")


async def test_count_that_cannot_be(database: Any) -> None:
    """More rows than any company has are no plan of as many windows."""
    async with Simulator(SMALL) as simulator:
        secrets = secrets_for(simulator, database)
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr("async_extractor.qbo.counting.MOST_ROWS_BELIEVED", 20)
            with pytest.raises(IncompleteError, match="QuickBooks counts 30 rows, which no company has"):
                await run(secrets, "invoices")


async def test_quarantine_of_a_catch_up_that_was_cut_off(command_line: CommandLine, database: Any) -> None:
    """It has no end and is never read again as it is: its entries are retried all the same."""
    now = datetime.now(timezone.utc)
    moment = (now - timedelta(seconds=60)).strftime("%Y-%m-%dT%H:%M:%SZ")
    times = f'"MetaData":{{"CreateTime":"{moment}","LastUpdatedTime":"{moment}"}}'
    bad = f'{{"Id":"3","SyncToken":"0","Name":"\\u0000",{times}}}'
    async with Simulator(SimulatorConfig(items=10, years=1, limits=False)) as simulator:
        store(command_line, simulator, database)
        load = {"entity": "Item", "replace": True}
        await simulate(simulator, "load", {**load, "records": [{"payload": bad}]})
        request = BackfillRequest.parse("items", "2024-01-01", now.date().isoformat())
        stopper: dict[str, Backfill] = {}

        def stop(event: Event) -> None:
            if event.name == "quarantined":
                stopper["run"].stop("stopped by a test")

        async with Backfill(request, command_line.secrets, [stop], limits=False) as stopper["run"]:
            with contextlib.suppress(IncompleteError):
                await stopper["run"].extract(await stopper["run"].plan())
        execute(database, "UPDATE ops.chunks SET status = 'superseded' WHERE kind = 'catch_up'")
        good = bad.replace("\\u0000", "mended")
        await simulate(simulator, "load", {**load, "records": [{"payload": good}]})
        ended = await asyncio.to_thread(command_line.run, "quarantine", "retry", "--no-limits")
    assert ended.code == 0, ended.stderr
    assert execute(database, "SELECT payload ->> 'Name' FROM raw.qb_items") == [("mended",)]
    assert execute(database, "SELECT record_id, reason, record FROM ops.quarantine WHERE resolved_at IS NULL") == []


async def test_quarantine_of_a_record_that_is_gone(database: Any) -> None:
    """A catch-up set it aside, so that no window is read without it: that QuickBooks has the Id no more closes it."""
    async with Simulator(SMALL) as simulator:
        secrets = secrets_for(simulator, database)
        moment = datetime.now(timezone.utc).strftime("%Y-%m-%dT%H:%M:%SZ")
        times = f'"MetaData":{{"CreateTime":"{moment}","LastUpdatedTime":"{moment}"}}'
        bad = {"payload": f'{{"Id":"777","SyncToken":"0","Name":"\\u0000",{times}}}'}
        await simulate(simulator, "load", {"entity": "Item", "records": [bad]})
        today = datetime.now(timezone.utc).date().isoformat()
        first = await run(secrets, "items", "2015-01-01", today)
        assert check(first, "quarantine").severity == "warning"
        items = simulator.service.table("Item")
        (slot,) = (slot for slot in items.slots() if b'"Id":"777"' in items.payload(slot))
        items.merge(slot, next(iter(items.slots())), int(time.time()))
        assert (await run(secrets, "items", "2015-01-01", today)).status == "done"
    assert execute(database, "SELECT record_id, reason, record FROM ops.quarantine WHERE resolved_at IS NULL") == []


@pytest.mark.parametrize("field", ["last_updated", "created"])
async def test_merged_away_just_after_an_edit(database: Any, monkeypatch: pytest.MonkeyPatch, field: str) -> None:
    """A clock is behind the records': what was new at that moment is in no count, and is marked all the same."""
    async with Simulator(SMALL) as simulator:
        secrets, service = secrets_for(simulator, database), simulator.service
        today = datetime.now(timezone.utc).date().isoformat()
        service.change("Item", insert=1, edit=2)
        assert (await run(secrets, "items", "2015-01-01", today, filter_field=field)).status == "done"
        items = service.table("Item")
        newest = list(items.slots())[-1]
        items.merge(newest, next(slot for slot in items.slots() if slot != newest), int(time.time()))
        clock = service.clock
        behind = type(clock)(clock.offset - 60)
        monkeypatch.setattr(clock, "envelope_time", behind.envelope_time)
        verified = await verify(secrets, start="2015-01-01", end=today, field=field)
        assert (verified.status, len(verified.found.of("surplus"))) == ("different", 1)
        assert (await run(secrets, "items", "2015-01-01", today, filter_field=field)).status == "done"
        assert await in_raw(database, "items", living=True) == await truth(simulator, "items")


async def test_deleted_beside_one_that_cannot_be_read(database: Any) -> None:
    """Ids that aren't digits can't be asked for: an unreadable record of another Id says nothing of them."""
    codes = [item(name) for name in ("TAX", "NON", "CustomSalesTax")] + [item(5, more='"Description":"\\ud800",')]
    async with Simulator(SMALL) as simulator:
        secrets = secrets_for(simulator, database)
        await simulate(simulator, "load", {"entity": "TaxCode", "replace": True, "records": codes})
        assert (await run(secrets, "tax_codes")).status == "done"
        await simulate(simulator, "load", {"entity": "TaxCode", "replace": True, "records": codes[:2] + codes[3:]})
        assert (await run(secrets, "tax_codes")).status == "done"
    gone = execute(database, "SELECT id FROM raw.qb_tax_codes WHERE deleted_at_utc IS NOT NULL")
    assert gone == [("CustomSalesTax",)]


@pytest.mark.parametrize("code", ["10000", "4002"])
async def test_changes_that_cannot_be_served(database: Any, code: str) -> None:
    """A record that Intuit can't serve spoils the list of changes for 30 days: what was deleted shows by counts."""
    async with Simulator(SMALL) as simulator:
        secrets, patience = secrets_for(simulator, database), Patience(first_pause=0.02, longest_pause=0.1)
        assert (await run(secrets, "invoices")).status == "done"
        bad, gone = sorted(await truth(simulator, "invoices"), key=int)[10:12]
        await simulate(simulator, "edit", {"entity": "Invoice", "edit": [bad], "delete": [gone]})
        switches = {"poison": {"ids": {"Invoice": [bad]}, "code": code}}
        await simulate(simulator, "faults", {"scenario": "calm", "switches": switches})
        result = await run(secrets, "invoices", patience=patience)
    assert result.status == "done", result.error
    assert execute(database, "SELECT id FROM raw.qb_invoices WHERE deleted_at_utc IS NOT NULL") == [(gone,)]
