"""The oracle of the random walks: it finds each way in which the promise can be broken, and asks for no more."""

from __future__ import annotations

from datetime import datetime, timezone

import pytest

from tests.chaos.walks.books import Books, dates
from tests.chaos.walks.oracle import Promise, Row, kept, sound
from tests.chaos.walks.script import Change, Walk

FROM, UNTIL = datetime(2020, 1, 1, tzinfo=timezone.utc), datetime(2100, 1, 1, tzinfo=timezone.utc)


@pytest.fixture
def books() -> Books:
    return Books(Walk(invoices=5, customers=3, items=2))


def raw(books: Books, moment: int | None = None) -> dict[str, Row]:
    """Raw as it is when all was read at that moment, now without one; what has gone is marked."""
    rows = {}
    for identifier, states in books.history["Invoice"].items():
        then = [state for state in states if moment is None or state.moment <= moment]
        shown = [state.payload for state in then if state.payload is not None]
        if shown:
            rows[identifier] = Row(identifier, shown[-1].decode(), marked=then[-1].payload is None)
    return rows


def promise(
    books: Books, reading: str = "changes", field: str = "created", start: datetime = FROM, began: int | None = None
) -> Promise:
    return Promise("Invoice", field, start, UNTIL, books.moment if began is None else began, reading)


def broken(given: Promise, books: Books, rows: dict[str, Row], aside: list[str | None] | None = None) -> set[str]:
    return {one.how for one in kept(given, books, list(rows.values()), aside or [])}


def changed(books: Books, kind: str) -> str:
    """The Id of an invoice to which that has just happened."""
    before = books.moment
    books.let_pass(1)
    books.change(Change(kind))
    return next(i for i, states in books.history["Invoice"].items() if states[-1].moment > before)


@pytest.mark.parametrize("reading", ["changes", "deep", "reprocess"])
def test_raw_that_is_as_the_books_keeps_it(books: Books, reading: str) -> None:
    for kind in ("edit", "insert", "delete", "silent", "balance"):
        changed(books, kind)
    assert not broken(promise(books, reading), books, raw(books))
    assert not sound("Invoice", books, list(raw(books).values()))


def test_a_record_without_a_row_is_lost(books: Books) -> None:
    rows = raw(books)
    gone = rows.popitem()[0]
    assert broken(promise(books), books, rows) == {"lost"}
    assert not broken(promise(books), books, rows, [gone]), "it stands in quarantine"
    assert not broken(promise(books), books, rows, [None]), "an entry without an Id may be it"


@pytest.mark.parametrize("kind", ["edit", "balance", "void"])
def test_an_edit_of_before_the_command_must_be_there(books: Books, kind: str) -> None:
    rows = raw(books)
    changed(books, kind)
    assert broken(promise(books), books, rows) == {"stale"}
    assert not broken(promise(books, began=0), books, rows), "it was edited after the command began"


def test_of_several_edits_while_it_ran_any_will_do(books: Books) -> None:
    books.change(Change("edit", count=5))
    began = books.moment
    books.change(Change("edit", count=5))
    books.change(Change("edit", count=5))
    for moment in (1, 2, 3):
        assert not broken(promise(books, began=began), books, raw(books, moment))
    assert broken(promise(books, began=began), books, raw(books, 0)) == {"stale"}


def test_a_silent_edit_needs_reading_and_another_name_a_reprocess(books: Books) -> None:
    rows = raw(books)
    changed(books, "silent")
    found = {reading: broken(promise(books, reading), books, rows) for reading in ("changes", "deep", "reprocess")}
    assert found == {"changes": set(), "deep": {"stale"}, "reprocess": {"stale"}}
    rows = raw(books)
    books.let_pass(1)
    books.change(Change("rename", "Customer", count=3))
    found = {reading: broken(promise(books, reading), books, rows) for reading in ("changes", "deep", "reprocess")}
    assert found == {"changes": set(), "deep": set(), "reprocess": {"stale"}}


def test_a_deletion_of_before_must_be_marked_and_one_of_since_may(books: Books) -> None:
    rows = raw(books)
    gone = changed(books, "delete")
    assert broken(promise(books), books, rows) == {"unmarked"}
    assert not broken(promise(books, began=0), books, rows)
    without = {i: row for i, row in rows.items() if i != gone}
    assert not broken(promise(books), books, without)
    assert not broken(promise(books, began=0), books, without)


def test_a_living_record_that_is_marked_is_told_of_whatever_a_command_said(books: Books) -> None:
    rows = raw(books)
    one = next(iter(rows.values()))
    rows[one.id] = Row(one.id, one.payload, marked=True)
    assert broken(promise(books), books, rows) == {"marked"}
    assert [found.how for found in sound("Invoice", books, list(rows.values()))] == ["marked"]


def test_what_the_books_never_said_is_told_of(books: Books) -> None:
    rows = [*raw(books).values(), Row("999", '{"Id":"999"}', marked=False)]
    assert [found.how for found in sound("Invoice", books, rows)] == ["invented"]
    rows = [*raw(books).values()] * 2
    assert {found.how for found in sound("Invoice", books, rows)} == {"twice"}


def test_out_of_the_range_nothing_is_owed(books: Books) -> None:
    books.let_pass(1)
    books.change(Change("edit", count=5))
    payload = next(iter(books.history["Invoice"].values()))[-1].payload
    assert payload is not None
    edited = dates(payload).last_updated
    before = Promise("Invoice", "last_updated", FROM, edited, books.moment, "changes")
    assert not broken(before, books, {}), "they have left it before the command began"
    assert broken(promise(books, field="last_updated", start=edited), books, {}) == {"lost"}
