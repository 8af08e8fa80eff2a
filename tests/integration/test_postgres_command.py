from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import psycopg2
import pytest

from local_postgres.embedded import EmbeddedPostgres
from tests.support.commands import CommandLine


@pytest.fixture
def data(tmp_path: Path) -> Iterator[str]:
    folder = tmp_path / "postgres"
    yield str(folder)
    EmbeddedPostgres(folder).destroy()


def test_up_url_and_down_tell_where_it_is_and_hide_the_password(command_line: CommandLine, data: str) -> None:
    up = command_line.run("postgres", "up", "--data", data)
    assert up.code == 0
    assert "postgres:***@127.0.0.1:" in up.stdout
    assert command_line.run("postgres", "up", "--data", data).stdout == up.stdout
    assert command_line.run("postgres", "url", "--data", data).stdout == up.stdout

    shown = command_line.run("postgres", "url", "--data", data, "--show-password").stdout.strip()
    psycopg2.connect(shown).close()

    assert command_line.run("postgres", "down", "--data", data).stdout == f"Postgres in {data} is stopped.\n"
    assert command_line.run("postgres", "down", "--data", data).stdout == f"No Postgres ran in {data}.\n"


def test_the_url_of_a_server_that_does_not_run_is_one_line_and_exit_4(command_line: CommandLine, data: str) -> None:
    ended = command_line.run("postgres", "url", "--data", data)
    assert ended.code == 4
    assert ended.stderr.startswith(f"qbo-backfill: No Postgres runs in {data}; start it with: ")
    assert ended.stderr.count("\n") == 1
