"""What the blocks' functions make of Mage's variables, without a Mage."""

from __future__ import annotations

import asyncio
import logging
from datetime import date, datetime, timezone
from typing import Any

import pytest

from async_extractor.codes import code_of
from async_extractor.errors import RequestError
from async_extractor.events import Event
from async_extractor.mage import blocks as mage
from async_extractor.mage.stage import in_a_loop, listener_of
from async_extractor.request import BackfillRequest

RANGE = {
    "pipeline_uuid": "items_of_a_friend",
    "entity": "items",
    "fecha_inicio": "2024-01-01",
    "fecha_fin": "2024-01-31",
}


class MageLogger:
    """Takes what Mage's DictLogger takes: a message, and fields by name."""

    def __init__(self) -> None:
        self.rows: list[tuple[str, str, dict[str, Any]]] = []

    def info(self, message: str, **fields: Any) -> None:
        self.rows.append(("info", message, fields))

    def error(self, message: str, **fields: Any) -> None:
        self.rows.append(("error", message, fields))

    def warning(self, message: str, **fields: Any) -> None:
        self.rows.append(("warning", message, fields))


def test_a_range_alone_gets_the_defaults_and_an_empty_variable_counts_as_none() -> None:
    request = BackfillRequest.of_variables({**RANGE, "chunk": "", "mode": None, "ds": "2026-11-24", "env": "prod"})
    assert (request.entity.name, request.chunk, request.concurrency) == ("items", "auto", 5)
    assert (request.filter_field, request.mode, request.lang) == ("last_updated", "resume", "en")


def test_variables_keep_mages_types() -> None:
    # YAML gives an unquoted date as a date, a number as a number.
    request = BackfillRequest.of_variables(
        {**RANGE, "fecha_inicio": date(2024, 1, 1), "concurrency": 3, "mode": "retry"}
    )
    assert request.window.start == datetime(2024, 1, 1, tzinfo=timezone.utc)
    assert (request.concurrency, request.mode) == (3, "retry")


def test_a_missing_date_is_named() -> None:
    with pytest.raises(RequestError, match=r"^fecha_fin: is missing"):
        BackfillRequest.of_variables({**RANGE, "fecha_fin": None})


def test_a_refused_request_reaches_mage_as_its_line_alone() -> None:
    with pytest.raises(RequestError) as caught:
        mage.plan({**RANGE, "concurrency": 99})
    assert str(caught.value).startswith("concurrency: '99' is not a whole number from 1 to 10")
    assert caught.value.__cause__ is None
    assert caught.value.__context__ is None
    frames = []
    trace = caught.value.__traceback__
    while trace is not None:
        frames.append(trace.tb_frame.f_code.co_filename)
        trace = trace.tb_next
    assert not [name for name in frames if "asyncio" in name]


def test_events_become_rows_of_mages_log_with_their_fields() -> None:
    logger = MageLogger()
    tell = listener_of({"logger": logger})
    tell(Event("chunk_done", "load", "info", "chunk 1 done", {"read": 7, "at": date(2024, 1, 1)}))
    tell(Event("chunk_failed", "load", "warning", "it failed", {"error": "why", "message": "a field", "level": 3}))
    assert logger.rows == [
        (
            "info",
            "chunk 1 done",
            {"event": "chunk_done", "code": "QBF-I402", "phase": "load", "read": 7, "at": "2024-01-01"},
        ),
        (
            "warning",
            "it failed",
            {"event": "chunk_failed", "code": code_of("chunk_failed"), "phase": "load", "event_level": 3}
            | {"event_error": "why", "event_message": "a field"},
        ),
    ]


def test_without_mages_logger_events_go_to_the_standard_one(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.INFO, logger="async_extractor"):
        listener_of({})(Event("planned", "plan", "info", "run 1: 3 chunks"))
    assert [record.getMessage() for record in caplog.records] == ["plan: run 1: 3 chunks"]


async def test_a_block_that_is_played_inside_a_running_loop_gets_its_own() -> None:
    loop = asyncio.get_running_loop()

    async def stage() -> bool:
        await asyncio.sleep(0)
        return asyncio.get_running_loop() is not loop

    assert in_a_loop(stage) is True


def test_a_wrong_parameter_is_one_error_in_mages_log_with_its_code() -> None:
    logger = MageLogger()
    with pytest.raises(RequestError) as caught:
        mage.plan({**RANGE, "concurrencia": 3, "workers": 99, "profile": "ACME!", "fecha_fin": "x", "logger": logger})
    ((level, message, _),) = logger.rows
    assert (level, message) == ("error", f"QBF-E901 {caught.value}")
    for name in ("concurrencia: is not a variable", "workers: '99'", "profile 'ACME!'", "fecha_fin: 'x'"):
        assert name in message
