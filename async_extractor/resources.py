"""Opening a run: the warehouse brought up to date and held for one company, the client behind the company's limits."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Collection
from dataclasses import dataclass
from typing import TypeVar

from async_extractor.entities import FIRST_CLASS
from async_extractor.errors import ConfigurationError
from async_extractor.events import Events
from async_extractor.qbo.auth.access_tokens import AccessTokens
from async_extractor.qbo.client import Patience, QueryClient
from async_extractor.qbo.limits import IN_FLIGHT, Limiter
from async_extractor.qbo.network import http_session
from async_extractor.settings import Secrets, Settings
from async_extractor.warehouse.connection import Connection, cut_when_silent
from async_extractor.warehouse.failures import in_one_line
from async_extractor.warehouse.first_connection import connect_first
from async_extractor.warehouse.ledger import Ledger
from async_extractor.warehouse.schema import bring_up_to_date, refuse_what_cannot_be_loaded
from async_extractor.warehouse.session import Session

AnyClient = TypeVar("AnyClient", bound=QueryClient)


@dataclass(frozen=True)
class Opened:
    """What a run works with. The session is the conductor's own; workers open theirs."""

    session: Session
    ledger: Ledger
    client: QueryClient


@contextlib.asynccontextmanager
async def opened(
    settings: Settings,
    secrets: Secrets,
    events: Events,
    limits: contextlib.AbstractAsyncContextManager[Limiter],
    patience: Patience | None,
    entities: Collection[str],
    stop: asyncio.Event | None = None,
) -> AsyncIterator[Opened]:
    """All of it, closed again at the end. `limits` is entered only when the warehouse is known to be the company's.

    Once `stop` is set QuickBooks is asked nothing more. ConfigurationError when the warehouse can't be used, or belongs
    to another company.
    """
    async with (
        opened_warehouse(settings, events, entities) as session,
        opened_client(settings, secrets, events, limits, patience, QueryClient, stop) as client,
    ):
        yield Opened(session, Ledger(session), client)


@contextlib.asynccontextmanager
async def opened_warehouse(
    settings: Settings, events: Events, entities: Collection[str] = FIRST_CLASS, *, trial: bool = False
) -> AsyncIterator[Session]:
    """The warehouse, brought up to date and held for the company. A `trial` does all of that and rolls it back.

    ConfigurationError as `opened`.
    """
    address = settings.warehouse
    connection = await connect_first(address, waits=True)
    session = Session(address, events, connection=connection)
    try:
        async with cut_when_silent(address):
            with in_one_line(f"Postgres at {address} can't be used: "):
                async with _rolled_back(connection) if trial else contextlib.nullcontext():
                    await bring_up_to_date(connection, settings.raw_schema, entities)
                    await refuse_what_cannot_be_loaded(connection, settings.raw_schema)
                    await _hold_for_one_company(Ledger(session), settings)
            yield session
    finally:
        await session.close()


@contextlib.asynccontextmanager
async def _rolled_back(connection: Connection) -> AsyncIterator[None]:
    transaction = connection.transaction()
    await transaction.start()
    try:
        yield
    finally:
        if not connection.is_closed():
            await transaction.rollback()


@contextlib.asynccontextmanager
async def opened_client(
    settings: Settings,
    secrets: Secrets,
    events: Events,
    limits: contextlib.AbstractAsyncContextManager[Limiter],
    patience: Patience | None,
    kind: type[AnyClient],
    stop: asyncio.Event | None = None,
) -> AsyncIterator[AnyClient]:
    """The company's client, of this kind, behind its limits."""
    async with contextlib.AsyncExitStack() as stack:
        http = await stack.enter_async_context(http_session(settings.proxy, connections=IN_FLIGHT))
        tokens = AccessTokens(http, settings.endpoints.token, settings.client, secrets, events)
        stack.push_async_callback(tokens.close)
        limiter = await stack.enter_async_context(limits)
        yield kind(
            http,
            settings.endpoints.api,
            settings.realm_id,
            tokens,
            limiter,
            events,
            patience,
            stop,
        )


async def _hold_for_one_company(ledger: Ledger, settings: Settings) -> None:
    ours = (settings.raw_schema, settings.realm_id, settings.environment)
    for raw_schema, realm, environment in await ledger.claim_schema(*ours):
        if (raw_schema, realm, environment) == ours:
            continue
        if raw_schema != settings.raw_schema:
            # The ledger is kept by company: what is done for one schema would be taken for done in the other.
            raise ConfigurationError(
                f"QBO_REALM_ID: company {settings.realm_id} fills schema {raw_schema} in database "
                f"{settings.warehouse.database} already, and can't fill {settings.raw_schema}, too: "
                "a profile is for another company"
            )
        raise ConfigurationError(
            f"QBO_REALM_ID: schema {settings.raw_schema} in database {settings.warehouse.database} "
            f"holds company {realm} ({environment}), not {settings.realm_id} ({settings.environment}); "
            "Ids are unique only within a company: "
            "use another database (POSTGRES_DB)"
        )
