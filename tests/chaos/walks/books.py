"""The simulated company's books with their whole history, and a turn at each request that is made of them."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass
from datetime import date, datetime, timezone
from functools import lru_cache
from random import Random
from typing import Any

from qbo_simulator import Simulator, SimulatorConfig
from qbo_simulator.company.table import Table
from qbo_simulator.envelopes import Answer
from tests.chaos.walks.script import Change, Walk, day
from tests.support.backfilling import exactly

# These leave LastUpdatedTime where it is, so that nobody who asks for changes learns of them ...
UNSEEN = frozenset(["silent", "rename", "merge", "spoil", "heal"])
# ... and of these it is only references that say another name.
REFERENCES = frozenset(["rename", "merge"])


@dataclass(frozen=True)
class State:
    """A record from `moment` on: its bytes, None when it is gone; by what, and whether LastUpdatedTime moved."""

    moment: int
    payload: bytes | None
    kind: str
    moved: bool

    @property
    def seen(self) -> bool:
        """Whether asking for what was changed since before would have shown it."""
        return self.moved or self.kind not in UNSEEN


@dataclass(frozen=True)
class Dates:
    """The three dates of a record by which it can be in a range."""

    last_updated: datetime
    created: datetime
    txn_date: datetime | None

    def of(self, field: str) -> datetime | None:
        found: datetime | None = getattr(self, field)
        return found


class Books:
    """A running simulator whose every change is written down. `moment` counts the changes."""

    def __init__(self, walk: Walk) -> None:
        # Without limits, so that the walk takes no longer than it must.
        config = SimulatorConfig(
            seed=walk.seed,
            invoices=walk.invoices,
            customers=walk.customers,
            items=walk.items,
            years=1,
            limits=False,
        )
        self.simulator = Simulator(config)
        self._service = self.simulator.service
        self._service.clock.offset = walk.clock_hours * 3600
        self._tables: dict[str, Table] = dict(self._service.company.tables)
        self.moment = 0
        self.requests = 0
        self.history: dict[str, dict[str, list[State]]] = {entity: {} for entity in self._tables}
        self._write_down("start", *self._tables)
        self.at_request: Callable[[int, str], Answer | None] = _as_usual
        self._listen()

    def _listen(self) -> None:
        """Each query, count and change list takes its turn first."""
        service: Any = self._service
        query, changes = service.query, service.changes

        def turn(asked: str) -> Answer | None:
            self.requests += 1
            return self.at_request(self.requests, asked)

        service.query = lambda asked, **more: turn(asked) or query(asked, **more)
        service.changes = lambda asked, *given, **more: turn("changes") or changes(asked, *given, **more)

    def as_usual(self) -> None:
        """Nothing happens at requests any more."""
        self.at_request = _as_usual

    def refused(self) -> Answer:
        return self._service.fault(400, "4001", "Invalid query", "QueryValidationError: refused", "ValidationFault")

    def empty(self, asked: str) -> Answer | None:
        """A page without rows; counts and change lists are as they are."""
        if "select *" not in asked.lower():
            return None
        said = {"QueryResponse": {}, "time": self._service.clock.envelope_time()}
        return Answer(200, json.dumps(said).encode())

    def lapsed(self) -> Answer:
        ended = "Subscription period has ended or canceled or there was a billing problem"
        return self._service.fault(400, "6190", "Invalid Company Status", ended, "ValidationFault")

    def answer_after(self, milliseconds: int) -> None:
        """How long an answer takes from now on."""
        self._service.adopt({"latency": {"base_ms": [milliseconds, milliseconds]}})

    def let_pass(self, hours: float) -> None:
        self._service.clock.offset += hours * 3600

    def change(self, change: Change) -> str:
        """Make the change; what it came to, in words."""
        table = self._tables[change.entity]
        asked = self._asked(table, change)
        if not asked:
            return f"{change.kind}: nothing is there"
        if change.txn_date:
            asked["txn_date"] = day(change.txn_date)
        if change.ripple:
            asked["ripple"] = True
        done = self._service.change(table, asked)
        self.moment += 1
        # Of what names say invoices speak, and what invoices do names feel.
        self._write_down(change.kind, *self._tables)
        found = done.get(change.kind, [])
        return f"{change.kind} {change.entity} {' '.join(map(str, found[:6]))}{' ...' if len(found) > 6 else ''}"

    def _asked(self, table: Table, change: Change) -> dict[str, Any]:
        kind = change.kind
        if kind in ("insert", "merge"):
            return {kind: min(change.count, max(len(table) - 2, 0)) if kind == "merge" else change.count}
        ids = [str(table.id_text(slot)) for slot in table.slots() if _fits(table, slot, kind)]
        chosen = Random(f"{change.pick}/{kind}").sample(ids, min(change.count, len(ids)))
        if not chosen:
            return {}
        if kind == "spoil":
            return {"edit": chosen, "spoil": dict.fromkeys(chosen, "nul")}
        if kind == "heal":
            return {"heal": chosen, "edit": chosen}
        return {kind: chosen}

    def _write_down(self, kind: str, *entities: str) -> None:
        for entity in entities:
            history, table = self.history[entity], self._tables[entity]
            seen = set()
            for slot in table.slots():
                identifier = str(table.id_text(slot))
                seen.add(identifier)
                payload = table.payload(slot)
                states = history.setdefault(identifier, [])
                before = states[-1].payload if states else None
                if payload != before:
                    moved = before is None or dates(before).last_updated != dates(payload).last_updated
                    states.append(State(self.moment, payload, kind, moved))
            for identifier in history.keys() - seen:
                if history[identifier][-1].payload is not None:
                    history[identifier].append(State(self.moment, None, kind, moved=True))


def _as_usual(_number: int, _asked: str) -> Answer | None:
    return None


def _fits(table: Table, slot: int, kind: str) -> bool:
    if kind == "heal":
        return slot in table.spoilt
    if kind == "activate":
        return not table.is_active(slot)
    if kind == "inactivate":
        return table.is_active(slot)
    return slot not in table.spoilt


@lru_cache(maxsize=50_000)
def dates(payload: bytes) -> Dates:
    record = json.loads(payload)
    on = record.get("TxnDate")
    return Dates(
        datetime.fromisoformat(record["MetaData"]["LastUpdatedTime"]),
        datetime.fromisoformat(record["MetaData"]["CreateTime"]),
        None if on is None else datetime.combine(date.fromisoformat(on), datetime.min.time(), timezone.utc),
    )


@lru_cache(maxsize=50_000)
def content(payload: bytes) -> Any:
    """The record by which two are compared: every number by its digits."""
    return exactly(payload.decode())
