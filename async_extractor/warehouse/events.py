"""What happened during a run, kept in ops.events for its report."""

from __future__ import annotations

import json
from collections.abc import Sequence
from datetime import datetime

from async_extractor.events import Event
from async_extractor.warehouse.session import Session
from async_extractor.warehouse.statements import statement


async def keep_events(session: Session, run_id: int, kept: Sequence[tuple[datetime, Event]]) -> None:
    """Writes them in one statement; raises what asyncpg raises."""
    if not kept:
        return
    columns = [
        [moment for moment, _ in kept],
        [event.code for _, event in kept],
        [event.name for _, event in kept],
        [event.phase for _, event in kept],
        [event.level for _, event in kept],
        [event.message for _, event in kept],
        [json.dumps(event.fields, default=str) for _, event in kept],
    ]
    await session.do(lambda connection: connection.execute(statement("insert_events"), run_id, *columns))
