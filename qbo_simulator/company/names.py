"""Name lists, what customers and items share: rows that can be made inactive but are never deleted."""

from __future__ import annotations

from abc import abstractmethod
from bisect import bisect_left, insort
from collections import Counter
from collections.abc import Callable
from random import Random
from typing import Any

import msgspec

from qbo_simulator.company.table import INACTIVE, Table
from qbo_simulator.times import pacific

_CACHED = 50_000


def number(text: str) -> msgspec.Raw:
    """A JSON number with the scale QuickBooks would give it, `639.00` for one."""
    return msgspec.Raw(text.encode())


class NameTable(Table):
    """Unique names, parents, the inactive ones' ` (deleted)`, cached records.

    `on_rename` is called when what others say of a row has changed. `new_keys`: with keys that were never seen.
    """

    is_name_list = True
    first_id = 1
    inactive_share = 0.06

    def __init__(self, seed: int, count: int, start: int, end: int) -> None:
        super().__init__()
        self.seed = seed
        self._cache: dict[int, bytes] = {}
        self._renamed: dict[int, str] = {}
        self.moves: Counter[int] = Counter()  # how often a balance or a stock has changed
        self.on_rename: Callable[[], None] = lambda: None
        self.new_keys = False
        chance = Random(f"{seed}/{self.entity}")
        identifier = self.first_id
        span = max(end - start, 1)
        moments = sorted(start + int(span * chance.random() ** 2) for _ in range(count))
        for slot, created in enumerate(moments):
            # A list that was imported: runs of rows of one second.
            if slot and chance.random() < 0.15:
                created = self.created[-1]  # noqa: PLW2901
            updated = created if chance.random() < 0.5 else min(created + int(chance.expovariate(1 / 9e6)), end - 1)
            inactive = slot > 4 and chance.random() < self.inactive_share
            self.append(identifier, created, updated, 0, INACTIVE if inactive else 0)
            self.syncs[-1] = 0 if updated == created else 1 + int(chance.expovariate(0.5))
            identifier += 1 + int(chance.random() < 0.3) * chance.randrange(1, 9)
        self._next_id = identifier
        self.index()

    def base_name(self, slot: int) -> str:
        """The name without parent or suffix; unique among its siblings."""
        return self._renamed.get(slot) or self.first_name(slot)

    @abstractmethod
    def first_name(self, slot: int) -> str:
        """The name a row was given at its beginning."""

    @abstractmethod
    def parent(self, slot: int) -> int | None:
        """The slot of the row this one stands under."""

    def own_name(self, slot: int) -> str:
        return self.base_name(slot) + ("" if self.is_active(slot) else " (deleted)")

    def name(self, slot: int) -> str:
        if slot in self.raw_names:
            return self.raw_names[slot]
        return self._path(slot, self.own_name(slot))

    def path_name(self, slot: int) -> str:
        """The fully qualified name as references have it, without the suffix of inactive ones."""
        if slot in self.raw_names:
            return self.raw_names[slot].removesuffix(" (deleted)")
        return self._path(slot, self.base_name(slot))

    def _path(self, slot: int, own: str) -> str:
        parent = self.parent(slot)
        return own if parent is None else f"{self.path_name(parent)}:{own}"

    def rename_to(self, slot: int, name: str) -> None:
        """Another name. Whatever refers to the row says it from now on, without a new version of its own."""
        before = self.by_name_of(slot)
        self._renamed[slot] = name
        self._cache.clear()
        self._reorder(before)

    def level(self, slot: int) -> int:
        """How many rows this one stands below."""
        parent = self.parent(slot)
        return 0 if parent is None else 1 + self.level(parent)

    def rebuild(self) -> None:
        """Forget the records: what they are made from has changed."""
        self._cache.clear()
        self.edits += 1

    def has_children(self, slot: int) -> bool:
        return len(self.by_name_of(slot)) > 1

    def by_name_of(self, slot: int) -> dict[int, str]:
        """The present names of a row and of all below it."""
        family = {slot}
        for other in range(slot + 1, len(self.ids)):
            if self.parent(other) in family:
                family.add(other)
        return {member: self.name(member) for member in family if member not in self.deleted}

    def _reorder(self, before: dict[int, str]) -> None:
        self.edits += 1
        for slot, name in before.items():
            del self.by_name[bisect_left(self.by_name, (name.encode(), slot))]
            insort(self.by_name, (self.name(slot).encode(), slot))

    def render(self, slot: int) -> bytes:
        payload = self._cache.get(slot)
        if payload is None:
            if len(self._cache) >= _CACHED:
                self._cache.clear()
            payload = self._cache[slot] = msgspec.json.encode(self.record(slot, self.chance(slot)))
        return payload

    def chance(self, slot: int) -> Random:
        """This row's own seeded source: a row is the same whichever rows were asked for before."""
        return Random(f"{self.seed}/{self.entity}/{slot}")

    @abstractmethod
    def record(self, slot: int, chance: Random) -> dict[str, Any]:
        """The record, made from nothing but the row's own numbers."""

    def identity(self, slot: int) -> dict[str, Any]:
        return {
            "domain": "QBO",
            "sparse": False,
            "Id": str(self.ids[slot]),
            "SyncToken": str(self.syncs[slot]),
            "MetaData": {
                "CreateTime": pacific(self.created[slot]).decode(),
                "LastUpdatedTime": pacific(self.updated[slot]).decode(),
            },
        }

    def touch(self, slot: int, now: int) -> None:
        super().touch(slot, now)
        self._cache.pop(slot, None)

    def move(self, slot: int, now: int) -> None:
        super().move(slot, now)
        self.moves[slot] += 1
        self._cache.pop(slot, None)

    def delete(self, slot: int, now: int) -> None:
        """A name is not deleted in QuickBooks: it becomes inactive."""
        self.set_active(slot, active=False, now=now)

    def generate(self, now: int) -> int:
        slot = self.append(int(self.next_id()), now, now, 0)
        self.enter(slot)
        return slot


def unit_price(chance: Random) -> str:
    """Prices come with no, one, two or up to seven decimals."""
    scale = chance.choice(["", "", "0", "00", "x", "xxxxx"])
    if not scale:
        return str(chance.randrange(1, 400))
    if scale == "x":
        return f"{chance.randrange(1, 4000) / 10:.1f}"
    if scale == "xxxxx":
        return f"{chance.uniform(0.1, 9):.7f}"
    return f"{chance.randrange(1, 900)}.{'0' * len(scale)}"
