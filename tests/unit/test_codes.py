"""Every event, check and error has a code of its own, and the documentation lists just these."""

from __future__ import annotations

import io
import json
import re
from pathlib import Path

from async_extractor.codes import CHECKS, ERRORS, EVENTS, code_of
from async_extractor.events import Diary, Event, Events, JsonLines

CHECKOUT = Path(__file__).parents[2]
ALL = (*EVENTS, *CHECKS, *ERRORS)


def test_codes_and_names_are_unique_and_well_formed() -> None:
    assert len({code.code for code in ALL}) == len(ALL) == len({code.name for code in ALL})
    assert all(re.fullmatch(r"QBF-[IWE][1-69]\d\d", code.code) for code in ALL)


def test_every_event_that_the_code_emits_has_a_code() -> None:
    emitted = set()
    for path in (CHECKOUT / "async_extractor").rglob("*.py"):
        emitted |= set(re.findall(r'\.emit\(\s*"(\w+)"', path.read_text(encoding="utf-8")))
    assert emitted <= {code.name for code in EVENTS}


def test_every_check_that_is_made_has_a_code() -> None:
    made = set()
    for path in (CHECKOUT / "async_extractor").rglob("*.py"):
        made |= set(re.findall(r'\bValidation\(\s*"(\w+)"', path.read_text(encoding="utf-8")))
    assert made == {code.name for code in CHECKS}


def test_the_documentation_lists_every_code_with_its_meaning() -> None:
    text = (CHECKOUT / "docs" / "error-codes.md").read_text(encoding="utf-8")
    for code in ALL:
        assert f"| {code.code} | `{code.name}` | {code.meaning} | {code.action} |" in text
    listed = re.findall(r"^\| (QBF-\w+) \|", text, re.MULTILINE)
    assert sorted(listed) == sorted(code.code for code in ALL)


def test_every_check_is_explained() -> None:
    text = (CHECKOUT / "docs" / "validations.md").read_text(encoding="utf-8")
    for code in CHECKS:
        assert f"### `{code.name}` ({code.code})" in text


def test_an_event_without_a_code_of_its_own_gets_its_phases() -> None:
    assert code_of("something_new", "load") == "QBF-I400"


def test_json_lines_are_one_object_an_event_with_its_code_and_fields() -> None:
    stream = io.StringIO()
    events = Events([JsonLines(stream)])
    events.emit("chunk_failed", "extract", "chunk 7: línea\nrota", level="error", chunk_id=7, intuit_tid="1-a")
    events.emit("planned", "plan", "run 1", level="info", run_id=1, level_of_detail=None)
    first, second = [json.loads(line) for line in stream.getvalue().splitlines()]
    assert (first["code"], first["event"], first["level"]) == ("QBF-E303", "chunk_failed", "error")
    assert first["message"] == "chunk 7: línea\nrota"
    assert first["fields"] == {"chunk_id": 7, "intuit_tid": "1-a"}
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT[\d:.]+Z", first["timestamp"])
    assert second["fields"]["run_id"] == 1


def test_the_diary_keeps_warnings_and_the_breaker_and_counts_what_is_too_much() -> None:
    diary = Diary(most=3)
    diary(Event("chunk_done", "load", "info", "not kept"))
    diary(Event("breaker", "extract", "info", "closed"))
    for number in range(5):
        diary(Event("retry", "extract", "warning", f"again {number}"))
    kept = [event.message for _, event in diary.take()]
    assert kept == ["closed", "again 0", "again 1", "and 3 more of these events"]
    assert diary.take() == []
