"""Random walks that try to break the promise: a command that ends with 0 has left raw complete.

`WALK_SEED=7` walks that one alone and says what happened; `python -m tests.chaos.walks` walks as many as wanted.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from local_postgres.embedded import PostgresAddress
from tests.chaos.walks.chance import walk
from tests.chaos.walks.kept import KEPT
from tests.chaos.walks.script import Walk
from tests.chaos.walks.walker import Ground, take
from tests.support.commands import new_mage

SHORT = range(20)
LONG = range(1_000, 1_200)
CHOSEN = os.environ.get("WALK_SEED")


@pytest.fixture(scope="module")
def ground(
    postgres_server: PostgresAddress, mage_template: Path, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Ground]:
    with Ground.prepared(postgres_server, new_mage(tmp_path_factory.mktemp("walks"), mage_template)) as prepared:
        yield prepared


async def holds(name: str, script: Walk, ground: Ground) -> None:
    walked = await take(script, ground)
    told = f"{name}\n{walked.told()}"
    if CHOSEN:
        print(told)
    if walked.broken:
        pytest.fail(told, pytrace=False)


@pytest.mark.slow_after(3)
@pytest.mark.parametrize("seed", SHORT if CHOSEN is None else [int(CHOSEN)])
async def test_walk(seed: int, ground: Ground) -> None:
    await holds(f"seed {seed}", walk(seed), ground)


@pytest.mark.long
@pytest.mark.parametrize("seed", LONG if CHOSEN is None else [])
async def test_long_walk(seed: int, ground: Ground) -> None:
    await holds(f"seed {seed}", walk(seed), ground)


@pytest.mark.slow_after(4)
@pytest.mark.parametrize("name", KEPT if CHOSEN is None else [])
async def test_kept_walk(name: str, ground: Ground) -> None:
    await holds(name, KEPT[name], ground)
