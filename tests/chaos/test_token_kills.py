"""Processes that share one refresh token and are killed at any moment never lose it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from tests.support.commands import CommandLine, new_mage
from tools.bench.tokens import Tormented, torment


def assert_never_refused(found: Tormented) -> None:
    assert found.faults == []
    assert found.refused == 0, found.line()
    assert found.rejected == 0, found.line()
    assert found.kills > 0
    assert found.rotations > 0


def test_three_processes_killed_at_any_moment_never_see_invalid_grant(command_line: CommandLine) -> None:
    assert_never_refused(torment(command_line.environ, 12, kill_every=0.5))


@pytest.fixture
def mage_in_postgres(tmp_path: Path, database: Any) -> CommandLine:
    mage = new_mage(tmp_path)
    url = f"postgresql+psycopg2://{database.user}:{database.password}@{database.host}:{database.port}/{database.dbname}"
    mage.environ["MAGE_DATABASE_CONNECTION_URL"] = url
    return mage


@pytest.mark.slow
def test_nor_where_mages_secrets_are_in_postgres(mage_in_postgres: CommandLine) -> None:
    assert_never_refused(torment(mage_in_postgres.environ, 12, kill_every=0.5, seed=2))


@pytest.mark.long
@pytest.mark.timeout(2400)
def test_nor_in_half_an_hour(mage_in_postgres: CommandLine) -> None:
    assert_never_refused(torment(mage_in_postgres.environ, 1800, seed=3))
