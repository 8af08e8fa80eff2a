"""The stack, brought up once for all tests here, and taken down with its volumes whatever happens."""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Iterator

import pytest

from tests.compose.composed import Stack

IMAGES = ("mageai/mageai:0.9.80", "postgres:17", "dpage/pgadmin4:9")


@pytest.fixture(scope="session")
def engine() -> None:
    """A container engine with Compose, and the images.

    Without them the tests are skipped, saying what is missing; `make test-compose` fails then.
    """
    if shutil.which("docker") is None:
        pytest.skip("NOT RUN: docker is not installed")
    if not _works("docker", "info"):
        pytest.skip("NOT RUN: no container engine answers to `docker info`")
    if not _works("docker", "compose", "version"):
        pytest.skip("NOT RUN: `docker compose` (version 2) is not installed")
    for image in IMAGES:
        if not _works("docker", "image", "inspect", image) and not _works("docker", "pull", "--quiet", image):
            pytest.skip(f"NOT RUN: the image {image} is not here and can't be pulled")


@pytest.fixture(scope="session")
def stack(engine: None, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stack]:
    """The stack as `make up` leaves it, with the simulator's profile and an owner who is logged in to Mage."""
    folder = tmp_path_factory.mktemp("stack")
    composed = Stack(folder)
    try:
        print(composed.create_secrets().strip())
        composed.up()
        composed.mage.log_in(composed.secret("mage_owner_password"))
        yield composed
    finally:
        composed.down(volumes=True)


def _works(*command: str) -> bool:
    return subprocess.run(command, capture_output=True, check=False).returncode == 0
