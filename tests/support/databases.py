"""Databases made and dropped by a server's superuser."""

from __future__ import annotations

import psycopg2

from async_extractor.embedded_postgres import PostgresAddress


def administer(server: PostgresAddress, statement: str) -> None:
    """Run a statement that no transaction may hold, such as CREATE DATABASE."""
    connection = psycopg2.connect(server.url(show_password=True))
    try:
        connection.autocommit = True
        connection.cursor().execute(statement)
    finally:
        connection.close()
