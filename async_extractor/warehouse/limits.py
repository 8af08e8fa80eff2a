"""The turns of a company: one for each request, handed out by Postgres, by its clock (sql/004_limits.sql)."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

from async_extractor.warehouse.connection import Connection
from async_extractor.warehouse.shared_connection import CompanyConnection
from async_extractor.warehouse.statements import statement

# Within this after its moment a request has arrived, the network's jitter included: what the count of a second
# rests on while there is no answer. Turns come 121 ms apart, so that eleven would have to fit into 1.21 s.
ARRIVES_WITHIN_SECONDS = 0.18

# How a turn was handed out, or how the company stands: a row of the statement of that name.
Row = Any


class Turns:
    """Turns for one company, with `per_minute`, `per_second` and `places` (in flight) for all its processes together.

    Over any 60 s at most `per_minute` requests arrive, whatever the network does; over any second at most
    `per_second` do, as long as a request arrives within 0.18 s of its moment or is answered by then.
    """

    def __init__(self, company: CompanyConnection, per_minute: int, per_second: int, places: int) -> None:
        self._company = company
        self._per_minute = per_minute
        self._limits = (per_minute, per_second, places, timedelta(seconds=ARRIVES_WITHIN_SECONDS))

    async def try_out(self) -> None:
        """Raises what asyncpg raises when this Postgres can't be used for it."""
        await self._company.try_out("take_turn", self._company.realm_id, *self._limits, None)

    async def take(self, held: int | None) -> Row:
        """The next turn; `held` is one that could not be used in time."""
        return await self._company.call("take_turn", self._company.realm_id, *self._limits, held)

    async def end(self, turn: int, outcome: str, reason: str, retry_after: float | None, *pauses: float) -> Row:
        """What became of the request; `pauses` are the last parameters of `ops.end_turn`."""
        return await self._company.call("end_turn", turn, self._company.realm_id, outcome, reason, retry_after, *pauses)

    async def give_back(self, turn: int) -> None:
        """The turn was not used."""
        await self._company.call("return_turn", turn, self._company.realm_id, self._per_minute)

    def here(self, moment: float) -> float:
        """A moment of the server's on `time.monotonic`'s clock."""
        return self._company.here(moment)


async def requests_this_month(connection: Connection, realm_id: str) -> int:
    """Requests sent for the company in this month (UTC), by all its processes."""
    return int(await connection.fetchval(statement("requests_this_month"), realm_id))
