"""Seals: what raw held when a run had finished with it, so that a change by another hand shows without a request."""

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
    """A day that raw holds otherwise than when it was sealed. Rows then and now."""

    day: date
    rows_sealed: int
    rows_now: int
    updated_from: datetime
    updated_to: datetime

    @property
    def window(self) -> Window:
        start = datetime(self.day.year, self.day.month, self.day.day, tzinfo=UTC)
        return Window(start, start + timedelta(days=1))


class Seals:
    """The seals of one table."""

    def __init__(self, connection: Connection, entity: Entity, raw_schema: str) -> None:
        self._connection = connection
        self._names = (raw_schema, entity.table)
        self._table = {"table": entity.table, "raw_schema": raw_schema}

    async def seal_run(self, run_id: int) -> int:
        """Seals the days that the run wrote to, with those of earlier runs that were cut off; how many."""
        if not await self.any():
            # The first run: every day is new, so there is no need to find out which.
            return await self._write(run_id, await self._figures(None))
        rows = await self._connection.fetch(statement("days_to_seal", **self._table), *self._names, run_id)
        return await self.seal(run_id, [row["day"] for row in rows])

    async def seal(self, run_id: int, days: Collection[date]) -> int:
        """Seals these days as they are now; how many."""
        if not days:
            return 0
        figures = {figure.day: figure for figure in await self._figures(list(days))}
        nothing = Decimal(0)
        least, most = datetime.min.replace(tzinfo=UTC), datetime.max.replace(tzinfo=UTC)
        return await self._write(run_id, [figures.get(day) or DayFigure(day, 0, nothing, least, most) for day in days])

    async def _write(self, run_id: int, figures: Sequence[DayFigure]) -> int:
        await self._connection.execute(
            statement("write_seals"),
            *self._names,
            run_id,
            [figure.day for figure in figures],
            [figure.rows for figure in figures],
            [figure.hash for figure in figures],
            [figure.updated_from for figure in figures],
            [figure.updated_to for figure in figures],
        )
        return len(figures)

    async def broken(self) -> list[BrokenSeal]:
        """The sealed days that raw holds otherwise now, in order, and days with rows that no run has sealed."""
        now = {figure.day: figure for figure in await self._figures(None)}
        rows = await self._connection.fetch(statement("seals_of"), *self._names)
        sealed = {row["day"]: row for row in rows}
        found: list[BrokenSeal] = []
        for day in sorted(now.keys() | sealed.keys()):
            then, figure = sealed.get(day), now.get(day)
            if then is None:
                assert figure is not None
                found.append(BrokenSeal(day, 0, figure.rows, figure.updated_from, figure.updated_to))
            elif figure is None:
                if then["rows"]:
                    found.append(BrokenSeal(day, then["rows"], 0, then["updated_from"], then["updated_to"]))
            elif figure.hash != then["hash"] or figure.rows != then["rows"]:
                found.append(
                    BrokenSeal(
                        day,
                        then["rows"],
                        figure.rows,
                        min(figure.updated_from, then["updated_from"]),
                        max(figure.updated_to, then["updated_to"]),
                    )
                )
        return found

    async def any(self) -> bool:
        """Whether the table has seals at all."""
        return bool(await self._connection.fetch(statement("seals_of"), *self._names))

    async def _figures(self, days: list[date] | None) -> list[DayFigure]:
        rows = await self._connection.fetch(statement("figures_of_days", **self._table), days)
        return [DayFigure(r["day"], r["rows"], r["hash"], r["updated_from"], r["updated_to"]) for r in rows]


def windows_to_read(broken: Sequence[BrokenSeal], page: int) -> list[Window]:
    """Windows of CreateTime that hold the broken days, neighbours together while their rows fit one page."""
    windows: list[Window] = []
    rows = 0
    for seal in sorted(broken, key=lambda seal: seal.day):
        most = max(seal.rows_sealed, seal.rows_now)
        if windows and windows[-1].end == seal.window.start and rows + most < page:
            windows[-1] = Window(windows[-1].start, seal.window.end)
            rows += most
        else:
            windows.append(seal.window)
            rows = most
    return windows
