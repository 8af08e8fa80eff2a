"""Several companies side by side: who may begin, who goes first, and how the end is told."""

from __future__ import annotations

import asyncio
import io
import json
from dataclasses import dataclass, replace
from typing import Any

import pytest
from rich.console import Console

from async_extractor.cli import many
from async_extractor.cli.many import Job, Outcome, Turn, each, tell
from async_extractor.errors import ConfigurationError, IncompleteError, NotOfferedError, RequestError
from async_extractor.events import Event
from async_extractor.language import LANGUAGES
from async_extractor.mage import profiles
from async_extractor.mage.profiles import profiles_named
from async_extractor.request import BackfillRequest
from async_extractor.spoken import say, speak

OPEN = Event("breaker", "extract", "warning", "open", {"state": "open"})


@dataclass(frozen=True)
class Ended:
    status: str = "done"

    def as_dict(self) -> dict[str, Any]:
        return {"status": self.status, "rows": {"read": 10, "inserted": 9, "updated": 1}, "seconds": 1.5,
                "requests": {"sent": 3}, "error": None if self.status == "done" else "2 chunks are left"}  # fmt: skip


def job(profile: str, entity: str = "invoices", **more: Any) -> Job:
    return Job(profile, BackfillRequest.parse(entity, "2024-01-01", "2024-12-31", **more))


@pytest.fixture
def held(monkeypatch: pytest.MonkeyPatch) -> None:
    class Store:
        def names(self) -> list[str]:
            return ["ACME_QBO_REALM_ID", "ACME_QBO_REFRESH_TOKEN", "BIG_CO_QBO_REFRESH_TOKEN", "POSTGRES_DB",
                    "GLOBEX_QBO_REALM_ID", "QBO_REALM_ID", "SOMETHING_ELSE", "GLOBEX_QBO_CLIENT_ID"]  # fmt: skip

    monkeypatch.setattr(profiles.MageSecrets, "locate", lambda *_, **__: Store())


@pytest.mark.usefixtures("held")
@pytest.mark.parametrize(
    ("text", "named"),
    [
        ("", [""]),
        ("acme", ["acme"]),
        (" globex , acme ", ["globex", "acme"]),
        ("default,acme", ["", "acme"]),
        ("all", ["", "acme", "big_co", "globex"]),
    ],
)
def test_a_text_names_companies(text: str, named: list[str]) -> None:
    assert profiles_named(text) == named


@pytest.mark.usefixtures("held")
@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("acmee", "profile: 'acmee' is none that Mage Secrets holds; did you mean 'acme'?"),
        ("Acme", "profile: 'Acme' is none that Mage Secrets holds; did you mean 'acme'?"),
        ("xyzzy", "profile: 'xyzzy' is none that Mage Secrets holds (default, acme, big_co, globex)"),
        ("acme,acme", "profile: acme is there twice"),
        ("acme,", "profile: '' is none that Mage Secrets holds (default, acme, big_co, globex)"),
        ("all,acme", "profile: 'all' stands alone"),
        ("globx,big_c", ("profile: 'globx' is none that Mage Secrets holds; did you mean 'globex'?; "
                        "'big_c' is none that Mage Secrets holds; did you mean 'big_co'?")),
    ],
)  # fmt: skip
def test_a_wrong_name_is_told_in_one_line_with_the_one_that_was_meant(text: str, told: str) -> None:
    with pytest.raises(RequestError) as error:
        profiles_named(text)
    assert str(error.value) == told


async def test_each_companys_first_entity_is_before_any_companys_second_and_no_more_run_than_there_is_room_for() -> (
    None
):
    jobs = [job(profile, entity) for profile in ("a", "b") for entity in ("invoices", "customers")]
    begun: list[tuple[str, str]] = []
    at_work = most = 0

    async def work(one: Job, _turn: Turn) -> Ended:
        nonlocal at_work, most
        begun.append((one.profile, one.entity))
        at_work += 1
        most = max(most, at_work)
        await asyncio.sleep(0.01)
        at_work -= 1
        return Ended()

    outcomes = await each(jobs, work, connections=15)  # two runs of seven
    assert begun == [("a", "invoices"), ("b", "invoices"), ("a", "customers"), ("b", "customers")]
    assert most == 2
    assert [outcome.job for outcome in outcomes] == jobs


async def test_too_few_connections_for_one_run_are_refused() -> None:
    async def work(_job: Job, _turn: Turn) -> Ended:
        return Ended()

    with pytest.raises(RequestError, match="connections: a run with 5 workers needs 7, and 6 are too few"):
        await each([job("a"), job("b")], work, connections=6)


async def outage(*jobs: Job, down: str, connections: int = 7) -> list[str]:
    """In which order runs end, where QuickBooks keeps a company waiting until all others have ended."""
    log: list[str] = []

    async def work(one: Job, turn: Turn) -> Ended:
        stopped: list[str] = []
        if one.profile == down:
            turn.listener(stopped.append)(OPEN)
        await asyncio.sleep(0)
        log.append(f"{one.profile} {'gave way' if stopped else 'done'}")
        return Ended("incomplete" if stopped else "done")

    outcomes = await each(jobs, work, connections=connections)
    assert {outcome.status for outcome in outcomes} == {"done"}
    return log


async def test_a_company_that_waits_for_quickbooks_gives_way_to_those_that_have_yet_to_begin() -> None:
    assert await outage(job("a"), job("b"), job("c"), down="a") == ["a gave way", "b done", "c done", "a done"]


async def test_but_not_where_nobody_waits_nor_for_its_own_entities_nor_in_a_mode_that_would_begin_anew() -> None:
    assert await outage(job("b"), job("c"), job("a"), down="a") == ["b done", "c done", "a done"]
    assert await outage(job("a"), job("a", "items"), down="a") == ["a done", "a done"]
    assert await outage(job("a", mode="reprocess"), job("b"), down="a") == ["a done", "b done"]


async def test_companies_that_all_wait_wait_in_their_places() -> None:
    began: list[str] = []

    async def work(one: Job, turn: Turn) -> Ended:
        stopped: list[str] = []
        turn.listener(stopped.append)(OPEN)
        began.append(one.profile)
        return Ended("incomplete" if stopped else "done")

    outcomes = await each([job(name) for name in "abc"], work, connections=7)
    assert [outcome.status for outcome in outcomes] == ["done"] * 3
    assert began == ["a", "b", "c", "a", "b"]


async def test_one_entity_of_a_company_is_read_once_at_a_time() -> None:
    at_work: list[str] = []

    async def work(one: Job, _turn: Turn) -> Ended:
        assert one.profile not in at_work
        at_work.append(one.profile)
        await asyncio.sleep(0.01)
        at_work.remove(one.profile)
        return Ended()

    ranges = [job("a"), replace(job("a"), request=BackfillRequest.parse("invoices", "2020-01-01", "2020-12-31"))]
    assert len(await each(ranges, work)) == 2


OUTCOMES = [
    Outcome(job("acme"), Ended()),
    Outcome(job("acme", "journal_codes"), error=NotOfferedError("only in France")),
    Outcome(job("globex"), error=ConfigurationError("its token is dead")),
    Outcome(job("globex", "journal_codes"), error=ConfigurationError("its token is dead")),
    Outcome(job("initech"), Ended("incomplete")),
    Outcome(job("initech", "journal_codes"), error=IncompleteError("QuickBooks is away")),
]


def test_a_table_of_companies_tells_each_ones_end_and_the_exit_code_is_the_gravest(
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert tell(OUTCOMES, "All companies", as_json=False) == 4
    lines = capsys.readouterr().out.splitlines()
    row = {name: next(line for line in lines if name in line) for name in ("acme", "globex", "initech")}
    assert [cell.strip() for cell in row["acme"].split("│")][1:7] == ["acme", "done", "2 of 2", "10", "9", "1"]
    assert "failed" in row["globex"]
    assert "incomplete" in row["initech"]
    assert "0 of 2" in row["initech"]
    assert lines[-3:] == [
        "globex, all: its token is dead",
        "initech, invoices: 2 chunks are left",
        "initech, journal_codes: QuickBooks is away",
    ]


@pytest.mark.parametrize("lang", LANGUAGES)
@pytest.mark.parametrize("width", [60, 80, 150])
def test_a_table_of_entities_is_whole_in_any_terminal(monkeypatch: pytest.MonkeyPatch, lang: str, width: int) -> None:
    """No cell is cut or folded; columns that don't fit are named below."""
    printed = io.StringIO()
    monkeypatch.setattr(many, "screen", lambda: Console(file=printed, width=width))
    names = ("reimburse_charges", "exchange_rates", "journal_codes")
    ends = [Outcome(job("", name), Ended()) for name in names]
    speak(lang)
    try:
        assert tell([*ends, Outcome(job("", "customers"), error=NotOfferedError("x " * 50))], "All", as_json=False) == 0
        headings = [say(name) for name in ("entity", "status", "run", *(one.name for one in many.FIGURES))]
    finally:
        speak("")
    text = printed.getvalue()
    assert all(len(line) <= width for line in text.splitlines())
    assert [name for name in (*names, *headings) if name not in " ".join(text.split())] == []
    assert "x x x" in text.splitlines()[-1]


def test_as_json_each_company_has_its_entities(capsys: pytest.CaptureFixture[str]) -> None:
    assert tell(OUTCOMES, "", as_json=True) == 4
    told = json.loads(capsys.readouterr().out)
    assert [(one["profile"], one["exit_code"]) for one in told["companies"]] == [
        ("acme", 0), ("globex", 4), ("initech", 3)
    ]  # fmt: skip
    tell(OUTCOMES[:2], "", as_json=True)
    told = json.loads(capsys.readouterr().out)
    assert (told["exit_code"], [one["status"] for one in told["entities"]]) == (0, ["done", "not offered"])


def test_each_reason_is_told_once(capsys: pytest.CaptureFixture[str]) -> None:
    """Whatever id Intuit gave each of the refused requests."""
    outcomes = [
        Outcome(job("acme", name), error=ConfigurationError(f"invalid_grant (intuit_tid 1-{number}); auth login"))
        for number, name in enumerate(("invoices", "customers", "items"))
    ]
    assert tell([*outcomes, Outcome(job("globex"), Ended())], "", as_json=False) == ConfigurationError.exit_code
    told = "".join(capsys.readouterr())
    assert told.count("invalid_grant") == 1
    assert "1-0" in told
