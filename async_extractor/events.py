"""What happens, told once: the code emits events, and logs, Mage's logger, the progress bar and the
report listen. A listener is any callable that takes one `Event`; it must be quick and must not raise."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import Any, Literal

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


Listener = Callable[[Event], None]


class Events:
    """The one hook: hands each event to every listener."""

    def __init__(self, listeners: Iterable[Listener] = ()) -> None:
        self._listeners = list(listeners)

    def emit(self, name: str, phase: Phase, message: str, *, level: Level = "info", **fields: Any) -> None:
        event = Event(name, phase, level, message, fields)
        for listener in self._listeners:
            listener(event)


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
            extra={"event": event.name, "fields": event.fields},
        )
