"""SQL for a test, as a server's superuser and outside of any transaction."""

from __future__ import annotations

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
