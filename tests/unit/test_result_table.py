"""Tables in terminals of any width: no number is cut, and no name that somebody may have to type again.

Of a run's result many chunks are summed, and the verdict is the last line.
"""

from __future__ import annotations

import io
from collections.abc import Callable
from datetime import datetime, timedelta
from types import SimpleNamespace
from typing import Any

import pytest
from rich.console import Console

from async_extractor.checks import CheckResult
from async_extractor.cli import bench, check, profiles, quarantine, secrets, status, triggers, verify
from async_extractor.cli.result import print_result
from async_extractor.language import LANGUAGES
from async_extractor.mage.secrets import KNOWN_SECRETS
from async_extractor.mage.triggers import KnownTrigger, chain
from async_extractor.preflight import Line
from async_extractor.result import BackfillResult
from async_extractor.spoken import speak
from async_extractor.tuning.grid import Cell
from async_extractor.windows import UTC, Window

START = datetime(2023, 1, 1, tzinfo=UTC)
DAY = timedelta(days=1)
NUMBERS = ("7,612,345", "1,234,567")


def result(chunks: int, status: str = "done") -> BackfillResult:
    table: list[dict[str, Any]] = [
        {
            "kind": "window",
            "window_start": START + DAY * number,
            "window_end": START + DAY * (number + 1),
            "status": "failed" if number == 3 and status != "done" else "done",
            "pages": 1,
            "requests": 2,
            "rows_read": 7_612_345 if number == 0 else 0,
            "rows_inserted": 1_234_567 if number == 0 else 0,
            "rows_updated": 0,
            "rows_unchanged": 0,
            "rows_quarantined": 0,
            "seconds": 0.5,
        }
        for number in range(chunks)
    ]
    rows = {"read": 7_612_345, "inserted": 1_234_567, "updated": 0, "unchanged": 0, "quarantined": 0}
    done = {"planned": chunks, "done": chunks - (status != "done"), "failed": int(status != "done")}
    sent = {"sent": 2 * chunks, "retried": 0, "throttled": 0}
    return BackfillResult(9, "items", status, Window(START, START + DAY * chunks), done, rows, sent, 3.0, None, table)


def shown(result: BackfillResult, width: int, **more: Any) -> list[str]:
    console = Console(file=io.StringIO(), width=width)
    print_result(result, console, **more)
    return console.file.getvalue().splitlines()  # type: ignore[attr-defined, no-any-return]


@pytest.mark.parametrize("width", [40, 60, 80, 100, 150])
@pytest.mark.parametrize("chunks", [1, 12, 1_097])
def test_no_number_is_cut_and_the_verdict_is_last(width: int, chunks: int) -> None:
    lines = shown(result(chunks), width)
    text = "\n".join(lines)
    assert "7,612,345" in text
    assert "…" not in text
    assert "..." not in text
    assert max(map(len, lines)) <= width
    last = " ".join(" ".join(lines).split())
    assert last.endswith("7,612,345 rows read, 1,234,567 written.")
    assert ("In a wider terminal" in last) is (width < 120)


def test_many_chunks_are_summed_by_how_they_stand_unless_they_are_asked_for() -> None:
    lines = shown(result(1_097, "incomplete"), 150)
    assert len(lines) < 20
    assert any("1,096 chunks" in line and "done" in line and "7,612,345" in line for line in lines)
    assert any("2023-01-04 - 2023-01-05: 1 chunk" in line and "failed" in line for line in lines)
    assert lines[-1].startswith("Not complete: 1,096 of 1,097 chunks")
    assert len(shown(result(1_097, "incomplete"), 150, chunks=True)) > 1_097


def test_without_a_check_nothing_is_said_to_have_passed() -> None:
    assert "passed" not in shown(result(2), 150)[-1]


LONG = "reimburse_charges_once_20210101_20211231"
REASON = "its Id holds a control character, and a time in its MetaData has an offset of 16 hours or more"
REPAIR = "qbo-backfill verify reimburse_charges --fecha-inicio 2021-01-01 --fecha-fin 2021-12-31 --repair"


def listed_triggers(patch: pytest.MonkeyPatch, name: str = LONG) -> list[str]:
    dates = {"fecha_inicio": "2021-01-01", "fecha_fin": "2021-12-31"}
    known = [KnownTrigger("qb", name, START, "", "inactive", "", last, dates) for last in ("", "COMPLETED")]
    patch.setattr(triggers, "known_triggers", lambda _data: known)
    triggers.list_triggers(json_lines=False)
    return [name, "2023-01-01 00:00"]


def planned_triggers(_patch: pytest.MonkeyPatch) -> list[str]:
    window = Window(datetime(2021, 1, 1, tzinfo=UTC), datetime(2022, 1, 1, tzinfo=UTC))
    triggers._show(chain("reimburse_charges", [window], START, DAY, {}))
    return [LONG, "2023-01-01 00:00"]


def entries(patch: pytest.MonkeyPatch) -> list[str]:
    entry = {"quarantine_id": 1_234_567, "entity": "reimburse_charges", "record_id": "12345678901234567890"}
    entry |= {"bytes": 7_612_345, "quarantined_at": START, "resolved_at": None, "reason": REASON}
    patch.setattr(quarantine, "read", lambda _look, _profile: [entry])
    quarantine.list_entries(None, everything=False, json_lines=False, profile="")
    return ["1234567", "reimburse_charges", "12345678901234567890"]


def stored_secrets(patch: pytest.MonkeyPatch) -> list[str]:
    names = [*KNOWN_SECRETS, "A_NAME_OF_SOMEBODY_ELSE_S"]
    where = "SQLite /home/somebody/with/a/long/way/to/mage_data/mage_project/mage-ai.db, key in /home/somebody/.mage"
    patch.setattr(secrets.MageSecrets, "locate", lambda **_: SimpleNamespace(names=lambda: names[2:], where=where))
    secrets.list_secrets("acme", as_json=False)
    return [*names, where.split()[1].rstrip(",")]


def checks(_patch: pytest.MonkeyPatch) -> list[str]:
    found = CheckResult("source_rows", "error", {}, REPAIR, (), f"QuickBooks counts 3 records, raw 2; {REASON}")
    verify.print_checks([found], verify.screen(), "Verification 7: reimburse_charges, different")
    return [REPAIR]


def cells(_patch: pytest.MonkeyPatch) -> list[str]:
    cell = Cell(10, "PT123456S", 7_612_345, 12_345, 99, 1_234, 987.5, 0.9, 1.2, *[123.45] * 6, 0.97)
    bench.show([cell], bench.screen())
    return ["PT123456S"]


def runs(patch: pytest.MonkeyPatch) -> list[str]:
    run = {
        "run_id": 1234567,
        "realm_id": "9341453000000000000",
        "raw_schema": "raw_acme",
        "entity": "reimburse_charges",
    }
    run |= {"range_start": START, "range_end": START, "mode": "reprocess", "status": "incomplete", "started_at": START}
    run |= dict.fromkeys(("done", "failed", "chunks", "rows_read", "requests_sent", "requests_this_month"), 1_234_567)

    async def recent(*_: Any) -> list[dict[str, Any]]:
        return [run | {"is_gone": False, "error": REASON, "caught_up": False}]

    patch.setattr(status, "_recent", recent)
    status.status("", 40, as_json=False, profile="")
    return ["1234567", "reimburse_charges"]


def companies(patch: pytest.MonkeyPatch) -> list[str]:
    name = "a_company_with_a_very_long_name"
    run = {"run_id": 1234567, "entity": "reimburse_charges", "status": "incomplete", "entities_not_done": 7}
    row = {"profile": name, "realm_id": "9341453000000000000", "raw_schema": f"raw_{name}", "connected": True}
    row |= {"connection": {}, "last_run": run | {"finished_at": START}, "error": ""}
    patch.setattr(profiles, "_company", profiles.Company)
    patch.setattr(profiles, "profiles_held", lambda: [name])
    patch.setattr(profiles, "_as_dict", lambda *_: row)
    profiles.profiles("", json_lines=False)
    return [name]


def findings(_patch: pytest.MonkeyPatch) -> list[str]:
    check.Lines()(Line("mage", LONG, "notice", "is active, has had its run, and won't start again", f"rearm {LONG}"))
    return [LONG]


TABLES = [listed_triggers, planned_triggers, entries, stored_secrets, checks, cells, runs, companies, findings]


@pytest.mark.parametrize("lang", LANGUAGES)
@pytest.mark.parametrize("table", TABLES)
def test_what_may_be_typed_again_is_whole_in_80_columns(
    monkeypatch: pytest.MonkeyPatch, table: Callable[[pytest.MonkeyPatch], list[str]], lang: str
) -> None:
    """And lines that are no table's stay whole, too: a terminal breaks them without a mark that one would copy."""
    told = io.StringIO()
    for module in (triggers, quarantine, secrets, verify, bench, status, profiles, check):
        monkeypatch.setattr(module, "screen", lambda: Console(file=told, width=80))
    speak(lang)
    try:
        names = table(monkeypatch)
    finally:
        speak("")
    lines = told.getvalue().splitlines()
    assert [name for name in names if not any(name in line for line in lines)] == []
    assert not [line for line in lines if line[:1] in "┏┃┡│└" and len(line) > 80]
    assert table is findings or any(line.startswith("┏") for line in lines), "a table, and no lines in its place"
    assert "…" not in told.getvalue()


def test_what_is_longer_than_a_terminal_is_told_line_by_line(monkeypatch: pytest.MonkeyPatch) -> None:
    told = io.StringIO()
    monkeypatch.setattr(triggers, "screen", lambda: Console(file=told, width=80))
    name = "x" * 90
    listed_triggers(monkeypatch, name)
    assert f"trigger: {name}\n" in told.getvalue()
    assert "file: inactive\n" in told.getvalue()
