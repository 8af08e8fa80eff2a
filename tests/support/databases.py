"""SQL for a test, as a server's superuser and outside of any transaction, and waiting for what it shows."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from typing import Any

import psycopg2

from local_postgres.embedded import PostgresAddress


def execute(address: PostgresAddress, *statements: str) -> list[tuple[Any, ...]]:
    """Run statements, also such as no transaction may hold (CREATE DATABASE); the last one's rows."""
    connection = psycopg2.connect(address.url(show_password=True))
    try:
        connection.autocommit = True
        cursor = connection.cursor()
        for statement in statements:
            cursor.execute(statement)
        return cursor.fetchall() if cursor.description else []
    finally:
        connection.close()


async def until(condition: Callable[[], Any]) -> None:
    """Until the condition is true; AssertionError when a minute is not enough."""
    deadline = time.monotonic() + 60
    while not condition():
        assert time.monotonic() < deadline, "it never came to that"
        await asyncio.sleep(0.02)
