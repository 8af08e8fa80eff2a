"""What happens, told once: the code emits events, and logs, Mage's logger, the progress bar and the
report listen. A listener is any callable that takes one `Event`; it must be quick and must not raise."""

from __future__ import annotations

import json
import logging
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from datetime import datetime, timezone
from typing import Any, Literal, TextIO

from async_extractor.codes import code_of
from async_extractor.profile_option import with_profile

Phase = Literal["auth", "plan", "extract", "load", "validate", "report"]
Level = Literal["debug", "info", "warning", "error"]


@dataclass(frozen=True)
class Event:
    """One thing that happened. `name` is stable, for programs; `message` is for people; no secrets in either."""

    name: str
    phase: Phase
    level: Level
    message: str
    fields: dict[str, Any] = field(default_factory=dict)

    @property
    def code(self) -> str:
        """`QBF-E303` and the like; docs/error-codes.md explains each."""
        return code_of(self.name)


Listener = Callable[[Event], None]


class Events:
    """The one hook: hands each event to every listener. One that raises gets no more, and the work goes on."""

    def __init__(self, listeners: Iterable[Listener] = ()) -> None:
        self._listeners = list(listeners)

    def emit(self, name: str, phase: Phase, message: str, *, level: Level = "info", **fields: Any) -> None:
        event = Event(name, phase, level, with_profile(message), fields)
        for listener in [*self._listeners]:
            try:
                listener(event)
            except Exception:
                self._listeners.remove(listener)
                logging.getLogger("async_extractor").exception("a listener failed; it is told no more")


_LEVELS = {"debug": logging.DEBUG, "info": logging.INFO, "warning": logging.WARNING, "error": logging.ERROR}


class LogListener:
    """Writes events to a standard logger, the fields as `extra={"event": ..., "fields": ...}`."""

    def __init__(self, logger: logging.Logger | None = None) -> None:
        self._logger = logger or logging.getLogger("async_extractor")

    def __call__(self, event: Event) -> None:
        self._logger.log(
            _LEVELS[event.level],
            "%s: %s",
            event.phase,
            event.message,
            extra={"event": event.name, "code": event.code, "fields": event.fields},
        )


class JsonLines:
    """Writes each event as one JSON object on a line: timestamp (UTC), level, code, event, phase, message, fields."""

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream

    def __call__(self, event: Event) -> None:
        line = {
            "timestamp": datetime.now(timezone.utc).isoformat().replace("+00:00", "Z"),
            "level": event.level,
            "code": event.code,
            "event": event.name,
            "phase": event.phase,
            "message": event.message,
            # In an object of their own: one could be called `level`, too.
            "fields": event.fields,
        }
        self._stream.write(json.dumps(line, default=str, ensure_ascii=False) + "\n")
        self._stream.flush()


class Diary:
    """Keeps what a run's report must tell, until it is taken: warnings, errors, the breaker and the tokens.

    At most `most` entries between two takings; beyond that the count of the others is kept as one.
    """

    _ALWAYS = frozenset(("breaker", "token_refreshed"))

    def __init__(self, most: int = 500) -> None:
        self._most = most
        self._kept: list[tuple[datetime, Event]] = []
        self._left_out = 0

    def __call__(self, event: Event) -> None:
        if event.level not in ("warning", "error") and event.name not in self._ALWAYS:
            return
        if event.name == "validated":  # ops.validations has them
            return
        if len(self._kept) >= self._most:
            self._left_out += 1
            return
        self._kept.append((datetime.now(timezone.utc), event))

    def take(self) -> list[tuple[datetime, Event]]:
        """What was kept since the last taking, in order."""
        kept, self._kept = self._kept, []
        if self._left_out:
            kept.append(
                (
                    datetime.now(timezone.utc),
                    Event("more_events", "extract", "warning", f"and {self._left_out:,} more of these events"),
                )
            )
            self._left_out = 0
        return kept
