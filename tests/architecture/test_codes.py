"""Every event, check and error has a code of its own, and the documentation lists just these."""

from __future__ import annotations

import io
import json
import re
from pathlib import Path

import pytest

from async_extractor.checks.messages import MESSAGES, NAMES
from async_extractor.codes import CHECKS, ERRORS, EVENTS, code_of
from async_extractor.events import Diary, Event, Events, JsonLines
from tools.docs import code_document

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


def test_every_check_has_a_name_and_its_sentences() -> None:
    checks = {code.name for code in CHECKS}
    assert set(NAMES) == checks
    assert {key.partition(".")[0] for key in MESSAGES} == {*checks, "not_made"}


def test_each_code_means_something_in_both_languages() -> None:
    for code in ALL:
        english, spanish = code.means
        assert english != spanish


def test_the_document_is_generated() -> None:
    assert code_document.DOCUMENT.read_text(encoding="utf-8") == code_document.describe()


def test_every_check_is_explained() -> None:
    text = (CHECKOUT / "docs" / "validations.md").read_text(encoding="utf-8")
    for code in CHECKS:
        assert f"### `{code.name}` ({code.code})" in text


def test_an_unknown_event_is_a_mistake() -> None:
    with pytest.raises(KeyError):
        code_of("something_new")


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
