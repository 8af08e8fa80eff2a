"""Kept pages are the same as pages made anew, and never outlive an edit."""

from __future__ import annotations

import gzip
import json

import pytest

from qbo_simulator import SimulatorConfig
from qbo_simulator.envelopes import Answer
from qbo_simulator.service import Service

SIZE = {"seed": 3, "invoices": 60, "customers": 8, "items": 5}
FIRST_PAGE = "SELECT * FROM Invoice ORDERBY Id STARTPOSITION 1 MAXRESULTS 40"


def service(keep_pages_mb: int) -> Service:
    return Service(SimulatorConfig(**SIZE, keep_pages_mb=keep_pages_mb))


def records(answer: Answer, entity: str = "Invoice") -> list[dict[str, object]]:
    found: list[dict[str, object]] = json.loads(answer.body)["QueryResponse"][entity]
    return found


def without_time(answer: Answer) -> bytes:
    return answer.body[: answer.body.rindex(b',"time"')]


@pytest.mark.parametrize("compressed", [False, True])
@pytest.mark.parametrize("entity", ["Invoice", "Customer", "Item"])
def test_a_kept_page_is_what_is_made_anew_but_for_its_time(entity: str, compressed: bool) -> None:
    keeping, making = service(10), service(0)
    statement = f"SELECT * FROM {entity} STARTPOSITION 2 MAXRESULTS 3"
    made = making.query(statement, compressed=compressed)
    keeping.query(statement, compressed=compressed)
    keeping.clock.offset += 3_600
    kept = keeping.query(statement, compressed=compressed)
    assert without_time(kept) == without_time(made)
    assert kept.body != made.body
    if compressed:
        assert kept.gzip is not None
        assert gzip.decompress(kept.gzip) == kept.body
    else:
        assert kept.gzip is None


def test_pages_with_and_without_compression_are_kept_apart() -> None:
    keeping = service(10)
    assert keeping.query(FIRST_PAGE, compressed=True).gzip is not None
    assert keeping.query(FIRST_PAGE, compressed=False).gzip is None


@pytest.mark.parametrize("operation", ["touch", "void", "delete", "insert", "write"])
def test_an_edit_ends_every_kept_page(operation: str) -> None:
    keeping, making = service(10), service(0)
    for one in (keeping, making):
        before = one.query(FIRST_PAGE)
        table, now = one.company.invoices, one.now() // 10**6 * 10**6  # the same second for both
        slot = table.slot_of_id(str(records(before)[5]["Id"]))
        assert slot is not None
        if operation == "insert":
            one.company.insert(table, 1, now)
        elif operation == "write":
            one.write("Invoice", "update", records(before)[5] | {"PrivateNote": "told"})
        else:
            {"touch": one.company.edit, "void": one.company.void, "delete": one.company.delete}[operation](
                table, [slot], now
            )
    asked = "SELECT * FROM Invoice ORDERBY Id DESC MAXRESULTS 100"
    seen = [records(one.query(statement)) for statement in (FIRST_PAGE, asked) for one in (keeping, making)]
    if operation == "write":
        assert [record.get("PrivateNote") for record in seen[0]].count("told") == 1
    else:
        assert seen[0] == seen[1]
        assert seen[2] == seen[3]


def test_only_so_many_bytes_are_kept() -> None:
    keeping = service(1)
    for start in range(1, 60):
        keeping.query(f"SELECT * FROM Invoice ORDERBY Id STARTPOSITION {start} MAXRESULTS 60")
    pages = keeping._pages
    assert 0 < pages._held_bytes <= 1_000_000
    assert sum(len(opened.plain) for opened in pages._kept.values()) == pages._held_bytes
