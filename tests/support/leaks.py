"""Searching everything that a Mage and its databases leave behind for values that must not be there."""

from __future__ import annotations

import base64
import json
import re
import urllib.parse
from collections.abc import Iterator, Mapping
from pathlib import Path

import asyncpg

from tools.demo.stack import Stack


def spellings(secrets: Mapping[str, str]) -> dict[str, str]:
    """Each value as it is, and as a header, a URL or a JSON text would spell it, under a name to tell it by."""
    found = {}
    for name, value in secrets.items():
        found[name] = value
        found[f"{name} in base64"] = base64.b64encode(value.encode()).decode().rstrip("=")
        found[f"{name} in a URL"] = urllib.parse.quote(value, safe="")
        found[f"{name} in JSON"] = json.dumps(value)[1:-1]
    basic = f"{secrets['QBO_CLIENT_ID']}:{secrets['QBO_CLIENT_SECRET']}"
    return {**found, "the Basic header": base64.b64encode(basic.encode()).decode()}


def leaks(text: bytes, secrets: Mapping[str, str]) -> set[str]:
    return {name for name, value in spellings(secrets).items() if value.encode() in text}


def files(folder: Path) -> Iterator[tuple[str, bytes]]:
    """Every file under the folder: Mage's logs and outputs, reports, the servers' logs, Postgres' own files."""
    for path in folder.rglob("*"):
        if path.is_file() and not path.is_symlink():
            try:
                yield str(path.relative_to(folder)), path.read_bytes()
            except FileNotFoundError:  # a temporary one
                continue


async def rows(stack: Stack) -> Iterator[tuple[str, bytes]]:
    """Every row of every table of the warehouse and of Mage's database, as text."""
    found = []
    for database in ("warehouse", "mage"):
        superuser = stack.postgres.up()
        connection = await asyncpg.connect(superuser.url(show_password=True), database=database)
        try:
            tables = await connection.fetch(
                "SELECT format('%I.%I', schemaname, tablename) AS name FROM pg_tables "
                "WHERE schemaname NOT IN ('pg_catalog', 'information_schema')"
            )
            for table in tables:
                text = "\n".join(
                    row["row"] for row in await connection.fetch(f"SELECT t::text AS row FROM {table['name']} t")
                )
                found.append((f"{database}: {table['name']}", text.encode()))
        finally:
            await connection.close()
    return iter(found)


def processes(about: Path) -> Iterator[tuple[str, bytes]]:
    """Command line and environment of each process that was started for the folder, as far as it may be read."""
    for entry in Path("/proc").iterdir():
        if entry.name.isdecimal():
            try:
                command, environment = (entry / "cmdline").read_bytes(), (entry / "environ").read_bytes()
            except OSError:
                continue
            if str(about).encode() in command + environment:
                yield f"process {entry.name}", command + environment


def forbids_core_dumps(process: int) -> bool:
    """Whether neither the process nor anything that it starts may write its memory to a file."""
    limits = Path(f"/proc/{process}/limits").read_text()
    return re.search(r"^Max core file size +0 +0 ", limits, re.MULTILINE) is not None
