"""`--events FILE`: every event of a command as a JSON line, for log collectors."""

from __future__ import annotations

import contextlib
import sys
from collections.abc import Iterator

from async_extractor.cli.output import text_file
from async_extractor.errors import RequestError
from async_extractor.events import JsonLines, Listener


@contextlib.contextmanager
def event_lines(target: str) -> Iterator[list[Listener]]:
    """Listeners that write to `target`: none for '', stderr for '-', else a file that is appended to."""
    if not target:
        yield []
        return
    if target == "-":
        yield [JsonLines(sys.stderr)]
        return
    try:
        stream = text_file("events", target)
    except OSError as error:
        raise RequestError(f"events: {target} can't be written ({error.strerror})") from None
    with stream:
        yield [JsonLines(stream)]
