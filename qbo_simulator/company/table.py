"""One entity's rows, kept as columns of numbers. A record's bytes are made when they are asked for.

A row takes about 80 bytes here, its indexes included, whatever its record's size, so a company of a million
invoices fits where its 3.5 GB of records would not.
"""

from __future__ import annotations

import re
from abc import ABC, abstractmethod
from array import array
from bisect import bisect_left, insort
from collections.abc import Iterator

from qbo_simulator.company.ordered_index import OrderedIndex
from qbo_simulator.times import day_text, pacific

VOIDED = 1
INACTIVE = 2

# Ties are kept in an order that is not the Ids': the row's number times an odd constant, modulo 2**32, and
# back by that constant's inverse.
_SCATTER = 0x9E3779B1
_GATHER = pow(_SCATTER, -1, 2**32)
_LOW = 0xFFFFFFFF
_LARGEST = 2**31 - 1

_RAW_UPDATED = re.compile(rb'("LastUpdatedTime"\s*:\s*")[^"]*(")')
_RAW_DAY = re.compile(rb'("TxnDate"\s*:\s*")[^"]*(")')
_RAW_ACTIVE = re.compile(rb'("Active"\s*:\s*)(?:true|false)')
_RAW_SYNC = re.compile(rb'("SyncToken"\s*:\s*")(\d+)(")')


def index_key(value: int, slot: int) -> int:
    """What an index holds for a row: its value, then a tie-break that does not follow the Ids."""
    return min(max(value, 0), _LARGEST) << 32 | (slot * _SCATTER & _LOW)


def slot_of(key: int) -> int:
    return key * _GATHER & _LOW


def value_of(key: int) -> int:
    return key >> 32


class Table(ABC):
    """Rows are numbered by `slot`, from 0, in the order they came to be. Instants are whole seconds (UTC).

    Rows that were given as bytes keep them: `raw` holds them by slot, and edits change only what must change.
    """

    entity: str
    is_name_list = False

    def __init__(self) -> None:
        self.ids = array("q")
        self.created = array("q")
        self.updated = array("q")
        self.days = array("i")
        self.syncs = array("I")
        self.flags = bytearray()
        self.raw: dict[int, bytes] = {}
        self.raw_ids: dict[int, str | None] = {}
        self.raw_names: dict[int, str] = {}
        self.deleted: dict[int, int] = {}  # when, by slot; merged rows too
        self.merged: dict[int, int] = {}  # the row that a merged one has become
        self.spoilt: dict[int, tuple[bytes, bool]] = {}  # what was put in, and whether the record was bytes before
        self.edits = 0  # grows with whatever changes what a query answers
        self.by_created = OrderedIndex()
        self.by_updated = OrderedIndex()
        self.by_day = OrderedIndex()
        self.by_id = OrderedIndex()
        self.by_name: list[tuple[bytes, int]] = []
        self._raw_slots: dict[str, int] = {}
        self._next_id = 1

    # What a subclass knows

    @abstractmethod
    def render(self, slot: int) -> bytes:
        """A generated row's record."""

    @abstractmethod
    def generate(self, now: int) -> int:
        """Add a new generated row, created now; its slot."""

    def next_id(self) -> str:
        """An Id that was never given."""
        number = self._next_id
        while self.slot_of_id(str(number)) is not None:
            number += 1
        self._next_id = number + 1
        return str(number)

    def name(self, slot: int) -> str:
        """The fully qualified name by which QuickBooks orders name lists."""
        return self.raw_names.get(slot, "")

    def has_children(self, slot: int) -> bool:  # noqa: ARG002 - rows that can stand under one another say so
        """Whether other rows stand under this one."""
        return False

    # Reading

    def __len__(self) -> int:
        return len(self.by_updated)

    def payload(self, slot: int) -> bytes:
        """The record as it is served."""
        raw = self.raw.get(slot)
        return self.render(slot) if raw is None else raw

    def id_text(self, slot: int) -> str | None:
        """The Id; None for a planted record without one."""
        return self.raw_ids[slot] if slot in self.raw_ids else str(self.ids[slot])

    def sync_token(self, slot: int) -> str | None:
        """The version, as the record has it; None where it has none."""
        raw = self.raw.get(slot)
        if raw is None:
            return str(self.syncs[slot])
        said = _RAW_SYNC.search(raw)
        return None if said is None else said.group(2).decode()

    def slot_of_id(self, text: str) -> int | None:
        """The live row with this Id."""
        if text in self._raw_slots:
            slot = self._raw_slots[text]
            return None if slot in self.deleted else slot
        if not text.isdecimal() or int(text) >= _LARGEST:
            return None
        number = int(text)
        at = self.by_id.rank(number << 32)
        for key in self.by_id.slice(at, at + 1):
            if value_of(key) == number:
                return slot_of(key)
        return None

    def slots(self) -> Iterator[int]:
        """Live rows in the order of their Ids."""
        return (slot_of(key) for key in self.by_id)

    def is_active(self, slot: int) -> bool:
        return not self.flags[slot] & INACTIVE

    # Writing

    def touch(self, slot: int, now: int) -> None:
        """An edit: the SyncToken grows, LastUpdatedTime moves to now."""
        self.move(slot, now)
        self.syncs[slot] += 1
        raw = self.raw.get(slot)
        if raw is not None:
            self.raw[slot] = _RAW_SYNC.sub(
                lambda m: m.group(1) + str(int(m.group(2)) + 1).encode() + m.group(3), raw, count=1
            )

    def move(self, slot: int, now: int) -> None:
        """LastUpdatedTime moves to now and the SyncToken stays, as when a balance changes."""
        self.edits += 1
        self.by_updated.remove(index_key(self.updated[slot], slot))
        self.updated[slot] = max(now, self.updated[slot])
        self.by_updated.add(index_key(self.updated[slot], slot))
        raw = self.raw.get(slot)
        if raw is not None:
            self.raw[slot] = _RAW_UPDATED.sub(rb"\g<1>" + pacific(self.updated[slot]) + rb"\g<2>", raw, count=1)

    def redate(self, slot: int, day: int) -> None:
        """Another TxnDate."""
        self.edits += 1
        self.by_day.remove(index_key(self.days[slot], slot))
        self.days[slot] = day
        self.by_day.add(index_key(day, slot))
        if slot in self.raw:
            self.raw[slot] = _RAW_DAY.sub(rb"\g<1>" + day_text(day) + rb"\g<2>", self.raw[slot], count=1)

    def void(self, slot: int, now: int) -> None:
        self.flags[slot] |= VOIDED
        self.touch(slot, now)

    def set_active(self, slot: int, active: bool, now: int) -> None:
        if self.is_name_list:
            del self.by_name[bisect_left(self.by_name, (self.name(slot).encode(), slot))]
        self.flags[slot] = self.flags[slot] & ~INACTIVE | (0 if active else INACTIVE)
        if self.is_name_list:
            insort(self.by_name, (self.name(slot).encode(), slot))
        if slot in self.raw:
            self.raw[slot] = _RAW_ACTIVE.sub(rb"\g<1>" + str(active).lower().encode(), self.raw[slot], count=1)
        self.touch(slot, now)

    def delete(self, slot: int, now: int) -> None:
        """The row is gone from queries and counts; change data capture tells of it."""
        self._leave(slot)
        self.deleted[slot] = now

    def merge(self, slot: int, into: int, now: int) -> None:
        """The row becomes another one: it is gone, and what names it names the other from now on."""
        self._leave(slot)
        self.deleted[slot] = now
        self.merged[slot] = into
        self.touch(into, now)

    def survivor(self, slot: int) -> int:
        """The row that a row has become by merging; itself, mostly."""
        while slot in self.merged:
            slot = self.merged[slot]
        return slot

    def spoil(self, slot: int, inserted: bytes) -> None:
        """Put these bytes behind a record's opening brace."""
        self.heal(slot)
        raw = self.payload(slot)
        self.spoilt[slot] = inserted, slot in self.raw
        self.keep(slot, raw[:1] + inserted + raw[1:])

    def heal(self, slot: int) -> None:
        """Undo `spoil`."""
        if slot not in self.spoilt:
            return
        inserted, was_raw = self.spoilt.pop(slot)
        self.keep(slot, self.raw[slot].replace(inserted, b"", 1))
        if not was_raw:
            del self.raw[slot], self.raw_ids[slot]

    def plant(
        self, raw: bytes, *, id_text: str | None, created: int, updated: int, day: int, name: str, active: bool
    ) -> int:
        """Add a record given as bytes, to be served as it is; its slot."""
        slot = self.append(0, created, updated, day, 0 if active else INACTIVE)
        if id_text is not None:
            self._raw_slots[id_text] = slot
            if id_text.isdecimal():
                self.ids[slot] = min(int(id_text), _LARGEST)
        self.raw[slot] = raw
        self.raw_ids[slot] = id_text
        self.raw_names[slot] = name
        self.enter(slot)
        return slot

    def keep(self, slot: int, raw: bytes) -> None:
        """Serve these bytes for a row from now on, under its own Id."""
        self.edits += 1
        self.raw_ids.setdefault(slot, self.id_text(slot))
        self.raw[slot] = raw

    def rename(self, slot: int, name: str) -> None:
        self.edits += 1
        entry = (self.name(slot).encode(), slot)
        del self.by_name[bisect_left(self.by_name, entry)]
        self.raw_names[slot] = name
        insort(self.by_name, (name.encode(), slot))

    def clear(self) -> None:
        """Forget every row, as if the company never had them; slots go on counting."""
        for slot in [slot_of(key) for key in self.by_updated]:
            self._leave(slot)
        for kept in (self.deleted, self.merged, self.spoilt, self._raw_slots, self.raw):
            kept.clear()

    def _leave(self, slot: int) -> None:
        """Out of every index."""
        self.edits += 1
        self.by_updated.remove(index_key(self.updated[slot], slot))
        self.by_created.remove(index_key(self.created[slot], slot))
        self.by_day.remove(index_key(self.days[slot], slot))
        self.by_id.remove(index_key(self.ids[slot], slot))
        if self.is_name_list:
            del self.by_name[bisect_left(self.by_name, (self.name(slot).encode(), slot))]

    # What subclasses build with

    def append(self, number: int, created: int, updated: int, day: int, flags: int = 0) -> int:
        """A new row's columns; it is found by queries after `enter` or `index`."""
        self.ids.append(number)
        self.created.append(created)
        self.updated.append(updated)
        self.days.append(day)
        self.syncs.append(0)
        self.flags.append(flags)
        return len(self.ids) - 1

    def enter(self, slot: int) -> None:
        """Into every index."""
        self.edits += 1
        self.by_created.add(index_key(self.created[slot], slot))
        self.by_updated.add(index_key(self.updated[slot], slot))
        self.by_day.add(index_key(self.days[slot], slot))
        self.by_id.add(index_key(self.ids[slot], slot))
        if self.is_name_list:
            insort(self.by_name, (self.name(slot).encode(), slot))

    def index(self) -> None:
        """Index every row at once, after generating them."""
        columns = (self.created, self.updated, self.days, self.ids)
        self.by_created, self.by_updated, self.by_day, self.by_id = (
            OrderedIndex(index_key(value, slot) for slot, value in enumerate(column)) for column in columns
        )
        if self.is_name_list:
            self.by_name = sorted((self.name(slot).encode(), slot) for slot in range(len(self.ids)))
