"""Books of a handful of items, planted one by one, and their runs and verifications: for situations of one record."""

from __future__ import annotations

from typing import Any

from async_extractor.checks import CheckResult
from async_extractor.checks.verification_result import VerificationResult
from async_extractor.qbo.client import Patience
from async_extractor.request import BackfillRequest
from async_extractor.result import BackfillResult
from async_extractor.verification import Verification
from qbo_simulator import SimulatorConfig
from tests.support import backfilling
from tests.support.backfilling import simulate

SMALL = SimulatorConfig(invoices=30, customers=10, items=10, years=1, limits=False)
RANGE = ("2024-12-01", "2026-01-31")
DAY = "2025-06-01T10:00:00-07:00"


def item(
    number: int | str, updated: str = DAY, version: str = "0", created: str = DAY, more: str = ""
) -> dict[str, str]:
    """A record to be planted."""
    times = f'"MetaData":{{"CreateTime":"{created}","LastUpdatedTime":"{updated}"}}'
    return {"payload": f'{{"Id":"{number}","SyncToken":"{version}","Name":"Item {number}",{more}{times}}}'}


async def plant(simulator: Any, *records: dict[str, str]) -> None:
    """These are the company's items from now on."""
    await simulate(simulator, "load", {"entity": "Item", "replace": True, "records": list(records)})


async def run(
    secrets: Any, entity: str = "items", start: str = RANGE[0], end: str = RANGE[1], **more: Any
) -> BackfillResult:
    return await backfilling.backfill(secrets, entity, start, end, **more)


async def verify(
    secrets: Any,
    entity: str = "items",
    *,
    start: str = RANGE[0],
    end: str = RANGE[1],
    field: str = "last_updated",
    deep: bool = False,
    repair: bool = False,
    patience: Patience | None = None,
) -> VerificationResult:
    request = BackfillRequest.parse(entity, start, end, filter_field=field)
    async with Verification(request, secrets, limits=False, patience=patience) as verification:
        return await verification.verify(deep=deep, repair=repair)


def check(result: BackfillResult | VerificationResult, name: str) -> CheckResult:
    checks = result.validations if isinstance(result, BackfillResult) else result.checks
    return {one.name: one for one in checks}[name]
