"""What happens to the books while they are read: as `/_simulator/edit` asks, and by itself after each page.

Both go through here, so that whatever a busy company does by chance a test can do on purpose.
"""

from __future__ import annotations

import base64
from random import Random
from typing import Any

from qbo_simulator.behaviour import Edits
from qbo_simulator.company import Company
from qbo_simulator.company.names import NameTable
from qbo_simulator.company.planted import NotMadeUpError
from qbo_simulator.company.table import Table
from qbo_simulator.ledger import Ledger
from qbo_simulator.query.properties import NAME_LISTS
from qbo_simulator.times import pacific, parse_day, parse_instant
from qbo_simulator.writes import WriteFault, free_name, rename_raw

# Put behind a record's opening brace, these make it what no reader can decode or no database takes.
SPOILS = {
    "utf8": b'"Spoilt":"\xff\xfe",',
    "control": b'"Spoilt":"a\x01b",',
    "nesting": b'"Spoilt":' + b"[" * 2_000 + b"]" * 2_000 + b",",
    "nul": rb'"Spoilt":"a\u0000b",',
    "surrogate": rb'"Spoilt":"\ud800",',
}
KINDS = (
    "insert", "edit", "balance", "silent", "rename", "void", "delete",
    "inactivate", "activate", "merge", "spoil", "heal",
)  # fmt: skip
_OPTIONS = frozenset(["at", "txn_date", "ripple", "touch_invoices"])
_OF_NAMES = frozenset(["rename", "inactivate", "activate", "merge"])


class ControlError(ValueError):
    """A control request that makes no sense: one line, answered with 400."""


class Changes:
    """Makes changes to one company; `ledger.edits` counts them."""

    def __init__(self, company: Company, ledger: Ledger, seed: int) -> None:
        self._company = company
        self._ledger = ledger
        self._chance = Random(f"{seed}/control")

    def make(self, table: Table, asked: dict[str, Any], now: int, *, ripple: bool) -> dict[str, list[Any]]:
        """Make the changes asked for, kind by kind in their order; the Ids by kind.

        A number picks so many rows at random, a list names them by Id. ControlError: what was made before stays.
        """
        unknown = set(asked) - set(KINDS) - _OPTIONS
        if unknown:
            raise ControlError(f"unknown edit {min(unknown)!r}: {', '.join(KINDS)}")
        kinds = [kind for kind in KINDS if kind in asked]
        if table.entity in NAME_LISTS and "void" in kinds:
            raise ControlError(f"only transactions can be voided, not {table.entity}")
        if table.entity not in NAME_LISTS and not _OF_NAMES.isdisjoint(kinds):
            raise ControlError(f"only names can be renamed, inactive or merged, not {table.entity}")
        now = _instant(asked["at"]) if "at" in asked else now
        day = _day(asked["txn_date"]) if "txn_date" in asked else None
        ripple = bool(asked.get("ripple", ripple))
        done: dict[str, list[Any]] = {}
        for kind in (kind for kind in asked if kind in KINDS):
            wanted = asked[kind]
            if kind == "insert":
                slots = self._insert(table, _count(kind, wanted), now, day, ripple)
                done[kind] = [table.id_text(slot) for slot in slots]
            elif kind == "merge":
                done[kind] = self._merge(table, wanted, now, touch_invoices=bool(asked.get("touch_invoices")))
            else:
                slots = self._slots(table, kind, list(wanted) if isinstance(wanted, dict) else wanted)
                done[kind] = [table.id_text(slot) for slot in slots]
                for slot in slots:
                    told = wanted[table.id_text(slot)] if isinstance(wanted, dict) else None
                    self.one(kind, table, slot, now, day=day, ripple=ripple, told=told)
            self._ledger.edits[f"{table.entity} {kind}"] += len(done[kind])
        return done

    def one(
        self, kind: str, table: Table, slot: int, now: int, *, day: int | None = None, ripple: bool = False,
        told: Any = None,
    ) -> None:  # fmt: skip
        """One change of one row. `told`: the new name of `rename`, the way of `spoil`."""
        company = self._company
        if kind == "edit":
            company.edit(table, [slot], now, day=day, ripple=ripple)
        elif kind == "balance":
            table.move(slot, now)
        elif kind == "silent":
            table.touch(slot, table.updated[slot])
        elif kind == "void":
            company.void(table, [slot], now, ripple=ripple)
        elif kind == "delete":
            company.delete(table, [slot], now, ripple=ripple)
        elif kind in ("activate", "inactivate"):
            table.set_active(slot, active=kind == "activate", now=now)
        elif kind == "rename":
            self._rename(table, slot, told, now)
        elif kind == "spoil":
            if told not in SPOILS:
                raise ControlError(f"spoil names a record by Id and how: {', '.join(SPOILS)}")
            table.spoil(slot, SPOILS[told])
        else:
            table.heal(slot)

    def after_page(self, table: Table, delivered: list[int], edits: Edits, chance: Random, now: int) -> None:
        """The books change between two pages: rows of the page just read first of all."""
        names = table.entity in NAME_LISTS
        for kind, mean, fits in (
            ("edit", edits.touch, True),
            ("insert", edits.insert, True),
            ("void", edits.void, not names),
            ("delete", edits.delete, not names),
            ("inactivate", edits.inactivate, names),
            ("silent", edits.silent, True),
            ("balance", edits.balance, True),
            ("rename", edits.rename, names),
            ("merge", edits.merge, names),
        ):
            if not mean or not delivered:
                continue
            for _ in range(int(mean) + (chance.random() < mean - int(mean))):
                slot = chance.choice(delivered)
                if kind != "insert" and (slot in table.deleted or not fits):
                    continue
                try:
                    if kind == "insert":
                        self._insert(table, 1, now, None, edits.ripple)
                    elif kind == "merge":
                        self._merge(table, 1, now, touch_invoices=False)
                    else:
                        self.one(kind, table, slot, now, ripple=edits.ripple)
                except ControlError:
                    continue  # there is nothing to merge, or planted rows are all there can be
                self._ledger.edits[f"{table.entity} {kind}"] += 1

    def _insert(self, table: Table, count: int, now: int, day: int | None, ripple: bool) -> list[int]:
        try:
            return self._company.insert(table, count, now, day=day, ripple=ripple)
        except NotMadeUpError as error:
            raise ControlError(str(error)) from error

    def _rename(self, table: Table, slot: int, told: Any, now: int) -> None:
        name = str(told) if told is not None else f"Renamed {table.id_text(slot)} {table.syncs[slot] + 1}"
        try:
            free_name(table, name, slot)
            if isinstance(table, NameTable) and slot not in table.raw:
                self._company.rename(table, slot, name, now)
            else:
                rename_raw(table, slot, name, now)
                self._company.names_changed(table)
        except WriteFault as fault:
            raise ControlError(f"{fault.detail} ({name})") from fault
        except (ValueError, KeyError) as error:
            raise ControlError(f"{table.entity} {table.id_text(slot)} has no name to change") from error

    def _merge(self, table: Table, wanted: Any, now: int, *, touch_invoices: bool) -> list[Any]:
        pairs: list[list[int]] = []
        if isinstance(wanted, list):
            for pair in wanted:
                if not isinstance(pair, list) or len(pair) != 2 or pair[0] == pair[1]:
                    raise ControlError("merge must be a number or a list of [loser, winner] Ids")
                pairs.append(self._slots(table, "merge", pair))
        else:
            for _ in range(_count("merge", wanted)):
                able = [slot for slot in self._company.pick(table, 50, self._chance) if not table.has_children(slot)]
                pairs.append(able[:2])
        done: list[Any] = []
        for pair in pairs:
            if len(pair) < 2:
                raise ControlError(f"there are no two {table.entity} rows to merge")
            loser, winner = pair
            if table.has_children(loser):
                raise ControlError(f"{table.entity} {table.id_text(loser)} has others below it and can't be merged")
            done.append([table.id_text(loser), table.id_text(winner)])
            self._company.merge(table, loser, winner, now, touch_invoices=touch_invoices)
        return done

    def _slots(self, table: Table, kind: str, wanted: Any) -> list[int]:
        if not isinstance(wanted, list):
            return self._company.pick(table, _count(kind, wanted), self._chance)
        slots = []
        for identifier in wanted:
            slot = table.slot_of_id(str(identifier))
            if slot is None:
                raise ControlError(f"no {table.entity} with Id {identifier}")
            slots.append(slot)
        return slots


def oracle(table: Table, now: int) -> dict[str, Any]:
    """The whole truth of one entity: each record as it would be served, and whatever was deleted or merged away."""
    current = []
    for slot in table.slots():
        payload = table.payload(slot)
        record: dict[str, Any] = {
            "Id": table.id_text(slot),
            "SyncToken": table.sync_token(slot),
            "CreateTime": pacific(table.created[slot]).decode(),
            "LastUpdatedTime": pacific(table.updated[slot]).decode(),
            "Active": table.is_active(slot),
        }
        try:
            record["payload"] = payload.decode()
        except UnicodeDecodeError:
            record["payload_base64"] = base64.b64encode(payload).decode()
        current.append(record)
    gone = [
        {"Id": table.id_text(slot), "at": pacific(when).decode()}
        | ({"into": table.id_text(table.survivor(slot))} if slot in table.merged else {})
        for slot, when in table.deleted.items()
    ]
    return {"entity": table.entity, "now": pacific(now).decode(), "current": current, "gone": gone}


def _count(kind: str, wanted: Any) -> int:
    if not isinstance(wanted, int) or isinstance(wanted, bool) or wanted < 0:
        raise ControlError(f"{kind} must be a number of rows or a list of Ids")
    return wanted


def _instant(said: Any) -> int:
    try:
        return said if isinstance(said, int) else parse_instant(str(said)) // 1_000_000
    except (ValueError, OverflowError) as error:
        raise ControlError(f"at is no timestamp: {said!r}") from error


def _day(said: Any) -> int:
    try:
        return parse_day(str(said))
    except ValueError as error:
        raise ControlError(f"txn_date is no date: {said!r}") from error
