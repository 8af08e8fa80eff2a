"""What ends a run before its time, as the one line that its caller sees."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator

import asyncpg

from async_extractor.errors import BackfillError, ConfigurationError, IncompleteError
from async_extractor.qbo.faults import AuthorizationFault, QboFault, StoppedFault, TransientFault
from async_extractor.settings import Settings
from async_extractor.warehouse.failures import is_passing, needs_a_person, told
from async_extractor.warehouse.session import WarehouseLost


@contextlib.contextmanager
def endings(settings: Settings, *, planning: bool = False) -> Iterator[None]:
    """Whatever a person can act on leaves this block as a BackfillError.

    A StoppedFault does as it is: its run knows who told it to stop.
    """
    try:
        yield
    except StoppedFault:
        raise
    except Exception as error:
        ending = ending_of(error, settings, planning=planning)
        if ending is None:
            raise
        raise ending from None


def ending_of(error: BaseException, settings: Settings, *, planning: bool = False) -> BackfillError | None:
    """What ended a run, as the error that its caller sees; None for a mistake of ours, which is to be seen whole."""
    if isinstance(error, BackfillError):
        return error
    if isinstance(error, AuthorizationFault):
        return ConfigurationError(str(error))
    if isinstance(error, TransientFault) and planning and error.status == 0:
        name = "QBO_SIMULATOR_URL" if settings.environment == "simulator" else "QBO_ENVIRONMENT"
        return ConfigurationError(f"QuickBooks can't be reached at {settings.endpoints.api} ({name}): {error}")
    if isinstance(error, (QboFault, WarehouseLost)):
        return IncompleteError(str(error))
    if needs_a_person(error):
        return ConfigurationError(f"{told(error)}; run the same again when that is mended")
    if isinstance(error, asyncpg.PostgresError) or is_passing(error):
        return IncompleteError(f"{told(error)}; run the same again to resume")
    return None
