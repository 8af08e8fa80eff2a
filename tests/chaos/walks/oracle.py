"""The promise, held against the books.

When a command ends with 0, raw holds every record that was in the range when the command began, each once, as of some
moment after that, and what was deleted is marked.

What that means, and no more:

* In the range is what the books said when the command began, by the command's own date.
* As of some moment after: raw shows the record as it was then, or as any later change left it. A change that left
  LastUpdatedTime alone (another name inside a reference, a silent edit) can't be learnt of but by reading the record
  again: only a reprocess must have it, and `verify --deep` where it is more than a reference's name.
* A record that went while the command ran may be there as of before, be marked, or be missing.
* A record that was gone when the command began, and that raw shows in the range, is marked.
* A record that can't be kept may be missing, or old, where its entry stands in quarantine.

And whatever a command ends with: raw shows nothing that the books never said, and marks nothing that lives.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from functools import lru_cache

from tests.chaos.walks.books import REFERENCES, Books, State, content, dates
from tests.support.backfilling import exactly


@dataclass(frozen=True)
class Row:
    """A row of raw."""

    id: str
    payload: str
    marked: bool


@dataclass(frozen=True)
class Promise:
    """What a command that ended with 0 vouches for. `began`: the books' moment then."""

    entity: str
    field: str
    start: datetime
    end: datetime
    began: int
    reading: str  # reprocess: all of it was read; deep: all of it was compared; changes: what has changed was read

    def holds(self, payload: bytes) -> bool:
        moment = dates(payload).of(self.field)
        return moment is not None and self.start <= moment < self.end


@dataclass(frozen=True)
class Broken:
    """One record of which the promise was broken, and how: lost, stale, unmarked, marked, invented, twice."""

    how: str
    entity: str
    id: str
    why: str
    by: str = ""  # the command

    def __str__(self) -> str:
        return f"{self.how} by {self.by}: {self.entity} {self.id}: {self.why}"


def kept(promise: Promise, books: Books, rows: Sequence[Row], quarantined: Sequence[str | None]) -> list[Broken]:
    """Where the promise is broken."""
    by_id = {row.id: row for row in rows}
    aside = set(quarantined)
    unnamed = sum(identifier is None for identifier in quarantined)
    found: list[Broken] = []
    for identifier, states in books.history[promise.entity].items():
        broken = _broken(promise, states, by_id.get(identifier))
        if broken is None or identifier in aside:
            continue
        found.append(Broken(broken[0], promise.entity, identifier, broken[1]))
    # Of entries without an Id each may be one of the missing ones.
    return found if len(found) > unnamed else []


def _broken(promise: Promise, states: list[State], row: Row | None) -> tuple[str, str] | None:
    then = [state for state in states if state.moment <= promise.began]
    later = states[len(then) :]
    if not then:
        return None
    if then[-1].payload is None:
        shown = row is not None and not row.marked and _shows(promise, row)
        return ("unmarked", f"it went by {then[-1].kind} before the command began") if shown else None
    if not promise.holds(then[-1].payload):
        return None
    gone = bool(later) and later[-1].payload is None
    if row is None:
        return None if gone else ("lost", f"{_told(then[-1])}, and raw has no row of it")
    if row.marked:
        return None if gone else ("marked", "it lives, and raw marks it deleted")
    oldest = _oldest(promise, then)
    allowed = [*then[oldest:], *later]
    if any(state.payload is not None and content(state.payload) == _content(row.payload) for state in allowed):
        return None
    return "stale", f"{_told(then[oldest])} before the command began, and raw shows it as of before"


def _oldest(promise: Promise, then: list[State]) -> int:
    """Which of the states before the command is the oldest that raw may show."""
    at = len(then) - 1
    if promise.reading == "reprocess":
        return at
    while at > 0 and not then[at].seen and (promise.reading == "changes" or then[at].kind in REFERENCES):
        at -= 1
    return at


@lru_cache(maxsize=50_000)
def _content(payload: str) -> object:
    return exactly(payload)


def _shows(promise: Promise, row: Row) -> bool:
    return promise.holds(row.payload.encode())


def _told(state: State) -> str:
    return "it was there from the start" if state.kind == "start" else f"it came by {state.kind}"


def sound(entity: str, books: Books, rows: list[Row]) -> list[Broken]:
    """Where raw shows what never was, whatever commands have said."""
    found: list[Broken] = []
    seen: set[str] = set()
    for row in rows:
        states = books.history[entity].get(row.id, [])
        if row.id in seen:
            found.append(Broken("twice", entity, row.id, "raw has two rows of it"))
        seen.add(row.id)
        if not any(state.payload is not None and content(state.payload) == _content(row.payload) for state in states):
            found.append(Broken("invented", entity, row.id, "the books never said so"))
        if row.marked and states and states[-1].payload is not None:
            found.append(Broken("marked", entity, row.id, "it lives, and raw marks it deleted"))
    return found
