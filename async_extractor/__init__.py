"""Backfill a company's QuickBooks Online history into Postgres, schema raw.

`BackfillRequest.parse(...)` checks the parameters, `run_backfill` does the whole, `Backfill` does it
stage by stage, `BackfillResult` says what it came to. Every error that a person can act on is a
`BackfillError` of one line.
"""

from async_extractor.backfill import Backfill, run_backfill
from async_extractor.errors import BackfillError, ConfigurationError, IncompleteError, RequestError
from async_extractor.request import BackfillRequest
from async_extractor.result import BackfillResult

__all__ = [
    "Backfill",
    "BackfillError",
    "BackfillRequest",
    "BackfillResult",
    "ConfigurationError",
    "IncompleteError",
    "RequestError",
    "run_backfill",
]
