"""Backfill a company's QuickBooks Online history into Postgres, schema raw.

`BackfillRequest.parse(...)` checks the parameters, `run_backfill` does the whole, `Backfill` does it
stage by stage, `BackfillResult` says what it came to. Every error that a person can act on is a
`BackfillError` of one line.
"""

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
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

# The modules in which these names stand. Imported when one is asked for: a command that reads nothing needs none.
_MODULES = ("errors", "request", "result", "backfill")


def __getattr__(name: str) -> Any:
    if name in __all__:
        for module in _MODULES:
            found = getattr(importlib.import_module(f"{__name__}.{module}"), name, None)
            if found is not None:
                return found
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
