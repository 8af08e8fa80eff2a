"""The built wheel and sdist, installed as anybody would, outside the checkout: the command line runs, and backfills."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import venv
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from qbo_simulator import SimulatorConfig, run_in_thread
from tests.support.commands import CommandLine, Ended, store

CHECKOUT = Path(__file__).parents[2]
pytestmark = [pytest.mark.long, pytest.mark.timeout(900)]


@dataclass(frozen=True)
class Installed:
    """A virtual environment of its own, and a folder that isn't the checkout's."""

    folder: Path

    def run(self, *arguments: str, **environ: str) -> Ended:
        others = {n: v for n, v in os.environ.items() if not n.startswith(("MAGE_", "QBO_", "POSTGRES_", "PYTHON"))}
        done = subprocess.run(
            [self.folder / "venv" / "bin" / "qbo-backfill", *arguments],
            cwd=self.folder,
            env={**others, **environ},
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            check=False,
        )
        return Ended(done.returncode, done.stdout, done.stderr)


def new_venv(folder: Path) -> Path:
    """Its Python."""
    venv.create(folder, with_pip=True)
    return folder / "bin" / "python"


def pip(python: Path, *arguments: str) -> None:
    done = subprocess.run(
        [python, "-m", "pip", "install", "--quiet", "--disable-pip-version-check", *arguments],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """The wheel and the sdist of this checkout."""
    folder = tmp_path_factory.mktemp("built")
    python = new_venv(folder / "venv")
    pip(python, "hatchling>=1.25")
    subprocess.run([python, "-m", "hatchling", "build", "-d", folder / "dist"], cwd=CHECKOUT, check=True)
    return {"wheel": next((folder / "dist").glob("*.whl")), "sdist": next((folder / "dist").glob("*.tar.gz"))}


def oldest(requirements: str) -> str:
    """Constraints: the lower bound of each declared range. A bound that was never released fails the installation."""
    block = re.search(r"^dependencies = \[(.*?)^\]", requirements, re.MULTILINE | re.DOTALL)
    assert block is not None
    found = re.findall(r'"([\w.-]+)[^">]*>=([\w.]+)', block[1])
    assert len(found) > 10
    return "".join(f"{name}=={version}\n" for name, version in found)


@pytest.fixture(scope="module", params=[("wheel", "newest"), ("sdist", "newest"), ("wheel", "oldest")], ids="-".join)
def installed(
    request: pytest.FixtureRequest, built: dict[str, Path], tmp_path_factory: pytest.TempPathFactory
) -> Installed:
    kind, versions = request.param
    folder = tmp_path_factory.mktemp("installed")
    python = new_venv(folder / "venv")
    constraints = folder / "constraints.txt"
    constraints.write_text(oldest((CHECKOUT / "pyproject.toml").read_text()) if versions == "oldest" else "")
    pip(python, str(built[kind]), "--constraint", str(constraints))
    return Installed(folder)


def test_help_and_version_are_told_within_80_columns(installed: Installed) -> None:
    for arguments in (("--help",), ("run", "--help"), ("secrets", "set", "--help")):
        shown = installed.run(*arguments, COLUMNS="80")
        assert shown.code == 0, shown.stderr
        assert max(map(len, shown.stdout.splitlines())) <= 80
        assert "None" not in shown.stdout
    told = installed.run("--version")
    assert (told.code, told.stderr) == (0, "")
    assert re.fullmatch(rf"qbo-backfill [\d.]+ \(Python {sys.version_info.major}\.\d+\.\d+\)\n", told.stdout)
    shown = installed.run("--help", COLUMNS="80")
    names = ("secrets", "check", "run", "verify", "simulator")
    # At the beginning of a line: the lines of other commands have these words, too.
    found = re.findall(rf"^\W*({'|'.join(names)}) ", shown.stdout, re.MULTILINE)
    assert tuple(found) == names, shown


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (("status", "--nope"), "see `qbo-backfill status --help`"),
        (("run", "invoices", "--fecha-incio", "2024-01-01"), "did you mean --fecha-inicio?"),
        (("run",), "see `qbo-backfill run --help`"),
        (("runn",), "did you mean 'run'?"),
        (("secrets", "lst"), "did you mean 'list'?"),
        (("status", "--limit", "many"), "see `qbo-backfill status --help`"),
    ],
)
def test_a_slip_is_one_line(installed: Installed, arguments: tuple[str, ...], told: str) -> None:
    ended = installed.run(*arguments)
    assert (ended.code, ended.stdout, ended.stderr.count("\n")) == (2, "", 1), ended.stderr
    assert told in ended.stderr


def test_it_checks_and_backfills(installed: Installed, command_line: CommandLine, database: Any) -> None:
    with run_in_thread(SimulatorConfig(invoices=1_200, customers=30, items=10)) as simulator:
        store(command_line, simulator, database)
        checked = installed.run("check", **command_line.environ)
        assert checked.code == 0, checked.stdout + checked.stderr
        ended = installed.run(*command_line.backfill_arguments(), **command_line.environ)
        verified = installed.run("verify", *command_line.backfill_arguments()[1:-2], **command_line.environ)
        reported = installed.run("report", **command_line.environ)
    assert ended.code == 0, ended.stderr
    assert ended.result["rows"]["inserted"] == 1_200
    assert (verified.code, reported.code) == (0, 0), verified.stderr + reported.stderr
