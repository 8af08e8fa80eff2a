"""Seals: what raw held when a run had finished with it, so that a change by another hand shows without a request.

A run seals the days that it wrote to, whatever else stands in them. So the database notes the days that another hand
changes (ops.changed_days), a run notes, before it writes and after, those that were changed where no trigger looks, and
only who has held all of a day against QuickBooks forgets them.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from decimal import Decimal

from async_extractor.entities import Entity
from async_extractor.warehouse.connection import Connection
from async_extractor.warehouse.statements import statement
from async_extractor.windows import UTC, Window


@dataclass(frozen=True)
class DayFigure:
    """A UTC day of CreateTime: its rows, one hash over them, and the span of their LastUpdatedTime."""

    day: date
    rows: int
    hash: Decimal
    updated_from: datetime
    updated_to: datetime


@dataclass(frozen=True)
class BrokenSeal:
    """A day that raw holds otherwise than when it was sealed, or that another hand has changed since.

    Rows then and now, the span of their LastUpdatedTime, the transactions of the other hand that are known, and the
    rows of the days between the broken one before and this one.
    """

    day: date
    rows_sealed: int
    rows_now: int
    updated_from: datetime
    updated_to: datetime
    transactions: tuple[str, ...] = ()
    rows_between: int = 0

    @property
    def window(self) -> Window:
        start = datetime(self.day.year, self.day.month, self.day.day, tzinfo=UTC)
        return Window(start, start + timedelta(days=1))

    def concerns(self, verified: Window, filter_field: str) -> bool:
        """Whether it can have to do with a range of the filter field."""
        if filter_field == "created":
            return self.window.start < verified.end and verified.start < self.window.end
        if filter_field == "last_updated":
            return self.updated_from < verified.end and self.updated_to >= verified.start
        return True


# The day of the records without a CreateTime, as ops.created_day has it. No window of CreateTime holds them, nor what
# another hand has dated earlier.
UNDATED = date(1970, 1, 1)
_ANY_TIME = datetime.min.replace(tzinfo=UTC), datetime.max.replace(tzinfo=UTC)


def _without_rows(day: date) -> DayFigure:
    return DayFigure(day, 0, Decimal(0), *_ANY_TIME)


class Seals:
    """The seals of one table."""

    def __init__(self, connection: Connection, entity: Entity, raw_schema: str) -> None:
        self._connection = connection
        self._names = (raw_schema, entity.table)
        self._table = {"table": entity.table, "raw_schema": raw_schema}

    async def seal_run(self, run_id: int) -> int:
        """Seals the days that the run wrote to, with those of earlier runs that were cut off; how many."""
        await self._connection.execute(statement("join_changes"), *self._names)
        if not await self.any():
            # The first run: every day is new, so there is no need to find out which.
            return await self._write(run_id, await self._figures(None))
        rows = await self._connection.fetch(statement("days_to_seal", **self._table), *self._names, run_id)
        return await self._seal(run_id, [row["day"] for row in rows])

    async def confirm(self, run_id: int, confirmed: Sequence[BrokenSeal]) -> None:
        """Seals days of which QuickBooks has confirmed each row, whoever wrote them."""
        if not confirmed:
            return
        changes = [(seal.day, transaction) for seal in confirmed for transaction in seal.transactions]
        await self._connection.execute(
            statement("forget_changed_days"),
            *self._names,
            [day for day, _ in changes],
            [transaction for _, transaction in changes],
        )
        await self._seal(run_id, [seal.day for seal in confirmed], confirmed=True)

    async def _seal(self, run_id: int, days: Collection[date], *, confirmed: bool = False) -> int:
        if not days:
            return 0
        figures = {figure.day: figure for figure in await self._figures(list(days))}
        return await self._write(run_id, [figures.get(day) or _without_rows(day) for day in days], confirmed=confirmed)

    async def _write(self, run_id: int, figures: Sequence[DayFigure], *, confirmed: bool = False) -> int:
        await self._connection.execute(
            statement("write_seals"),
            *self._names,
            run_id,
            [figure.day for figure in figures],
            [figure.rows for figure in figures],
            [figure.hash for figure in figures],
            [figure.updated_from for figure in figures],
            [figure.updated_to for figure in figures],
            confirmed,
        )
        return len(figures)

    async def changed(self) -> dict[date, tuple[str, ...]]:
        """The days that another hand has changed, with its transactions."""
        rows = await self._connection.fetch(statement("changed_days"), *self._names)
        return {row["day"]: tuple(row["transactions"]) for row in rows}

    async def broken(self) -> list[BrokenSeal]:
        """The days that another hand has changed, in order: what it has done to a row may be any time's."""
        await self.note_changed()
        # Before the rows are looked at: what is changed after that isn't forgotten with what was found.
        changed = await self.changed()
        now = {figure.day: figure for figure in await self._figures(None)}
        rows = await self._connection.fetch(statement("seals_of"), *self._names)
        sealed = {row["day"]: DayFigure(**row) for row in rows}
        found: list[BrokenSeal] = []
        between = 0
        for day in sorted(now.keys() | sealed.keys() | changed.keys()):
            nothing = _without_rows(day)
            then, figure = sealed.get(day, nothing), now.get(day, nothing)
            if day in changed:
                span = _ANY_TIME
            elif (then.rows, then.hash) != (figure.rows, figure.hash):
                spans = [one for one in (then, figure) if one.rows] or [figure]
                span = min(one.updated_from for one in spans), max(one.updated_to for one in spans)
            else:
                between += figure.rows
                continue
            found.append(BrokenSeal(day, then.rows, figure.rows, *span, changed.get(day, ()), between))
            between = 0
        return found

    async def changed_by_others(self) -> list[BrokenSeal]:
        """Those of the broken ones that another hand has changed. Mostly there are none, and rows are counted only."""
        await self.note_changed()
        return [seal for seal in await self.broken() if seal.transactions] if await self.changed() else []

    async def confirmable(self, broken: Sequence[BrokenSeal], verified: Window, filter_field: str) -> list[BrokenSeal]:
        """Those of the days of which every row can be held against QuickBooks in a range of the filter field."""
        if not broken:
            return []
        query, days = statement("days_beyond", **self._table), [seal.day for seal in broken]
        rows = await self._connection.fetch(query, days, verified.start, verified.end, filter_field)
        beyond = {row["day"] for row in rows}
        return [seal for seal in broken if seal.day not in beyond]

    async def note_changed(self) -> None:
        """Notes the days that another hand has changed where no trigger looks."""
        if await self.any():
            await self._connection.execute(statement("note_changed", **self._table), *self._names)

    async def any(self) -> bool:
        """Whether the table has seals at all."""
        return bool(await self._connection.fetch(statement("seals_of"), *self._names))

    async def _figures(self, days: list[date] | None) -> list[DayFigure]:
        rows = await self._connection.fetch(statement("figures_of_days", **self._table), days)
        return [DayFigure(**row) for row in rows]


def windows_to_read(broken: Sequence[BrokenSeal], page: int) -> list[Window]:
    """Windows of CreateTime that hold the broken days, together with those between them while all fits one page."""
    windows: list[Window] = []
    rows = 0
    for seal in sorted((seal for seal in broken if seal.day > UNDATED), key=lambda seal: seal.day):
        most = max(seal.rows_sealed, seal.rows_now)
        if windows and rows + seal.rows_between + most < page:
            windows[-1] = Window(windows[-1].start, seal.window.end)
            rows += seal.rows_between + most
        else:
            windows.append(seal.window)
            rows = most
    return windows
