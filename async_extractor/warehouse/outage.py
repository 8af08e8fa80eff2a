"""What a company's processes tell each other of an outage, through Postgres (sql/004_limits.sql)."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime, timedelta

from async_extractor.warehouse.shared_connection import CompanyConnection
from async_extractor.windows import UTC


@dataclass(frozen=True)
class KnownOutage:
    """Since when QuickBooks is out of reach, why, and in how many seconds a request may probe."""

    since: datetime
    why: str
    probe_in_seconds: float


class SharedOutage:
    """The board on which a process says what it sees, and reads what others saw. Calls raise WarehouseLost."""

    def __init__(self, company: CompanyConnection) -> None:
        self._company = company

    def listen(self, outage: Callable[[KnownOutage], None], answers: Callable[[], None]) -> None:
        """`outage` is called when one begins and after each failed probe, `answers` when QuickBooks answers again."""

        def heard(word: str, rest: str) -> None:
            if word == "outage":
                said = json.loads(rest)
                outage(_known(said["since"], said["why"], said["probe_in"]))
            elif word == "answers":
                answers()

        self._company.listen(heard)

    async def now(self) -> KnownOutage | None:
        """The outage that is known; None while QuickBooks answers."""
        row = await self._company.call("outage", self._company.realm_id)
        return None if row["since"] is None else _known(row["since"], row["why"], row["probe_in_seconds"])

    async def began(self, pause: float, why: str) -> None:
        """This process found QuickBooks out of reach; `pause` is seconds until the first probe."""
        await self._company.call("report_outage", self._company.realm_id, timedelta(seconds=pause), why)

    async def may_probe(self) -> float | None:
        """0: this process's request is the probe. Else seconds until asking again; None: QuickBooks answers."""
        seconds = (await self._company.call("claim_probe", self._company.realm_id))["seconds"]
        return None if seconds is None else float(seconds)

    async def probe_failed(self, longest_pause: float, why: str | None) -> None:
        """The probe failed; `why` None: it was given up without an answer."""
        await self._company.call("probe_failed", self._company.realm_id, timedelta(seconds=longest_pause), why)

    async def ended(self) -> None:
        """QuickBooks answered."""
        await self._company.call("end_outage", self._company.realm_id)


def _known(since: float, why: str, probe_in_seconds: float) -> KnownOutage:
    return KnownOutage(datetime.fromtimestamp(since, UTC), why, probe_in_seconds)
