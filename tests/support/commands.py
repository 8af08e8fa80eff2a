"""`qbo-backfill` as people and programs call it: a process, with a Mage Secrets store of its own."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from async_extractor.mage.secrets import MageSecrets
from tests.support.backfilling import EVERYTHING, secrets_for

COMMAND = [sys.executable, "-c", "from async_extractor.cli import main; main()"]


@dataclass(frozen=True)
class Ended:
    """How a command ended."""

    code: int
    stdout: str
    stderr: str

    @property
    def result(self) -> dict[str, Any]:
        """The JSON object on the last line of stdout."""
        parsed: dict[str, Any] = json.loads(self.stdout.strip().splitlines()[-1])
        return parsed


@dataclass(frozen=True)
class CommandLine:
    """Commands in the environment of one Mage."""

    environ: dict[str, str]

    @property
    def secrets(self) -> MageSecrets:
        return MageSecrets.locate(self.environ)

    def start(self, *arguments: str, **more: Any) -> subprocess.Popen[str]:
        others = {n: v for n, v in os.environ.items() if not n.startswith(("MAGE_", "QBO_", "POSTGRES_"))}
        return subprocess.Popen(
            [*COMMAND, *arguments],
            env={**others, **self.environ},
            stdin=subprocess.DEVNULL if "input" not in more else subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )

    def run(self, *arguments: str, text: str | None = None) -> Ended:
        process = self.start(*arguments, **({} if text is None else {"input": text}))
        stdout, stderr = process.communicate(text)
        return Ended(process.returncode, stdout, stderr)

    def backfill(self, entity: str = "invoices", *arguments: str) -> Ended:
        return self.run(*self.backfill_arguments(entity, *arguments))

    @staticmethod
    def backfill_arguments(entity: str = "invoices", *arguments: str) -> list[str]:
        dates = ["--fecha-inicio", EVERYTHING[0], "--fecha-fin", EVERYTHING[1]]
        return ["run", entity, *dates, "--json", "--no-limits", *arguments]


def new_mage(folder: Path, template: Path | None = None) -> CommandLine:
    """A Mage data folder, empty or a copy of one that Mage has set up."""
    if template is not None:
        shutil.copytree(template / "data", folder / "data")
    (folder / "mage_project" / "pipelines").mkdir(parents=True)
    (folder / "mage_project" / "metadata.yaml").write_text("project_type: standalone\nhelp_improve_mage: false\n")
    return CommandLine({"MAGE_REPO_PATH": str(folder / "mage_project"), "MAGE_DATA_DIR": str(folder / "data")})


def store(command: CommandLine, simulator: Any, database: Any) -> None:
    """The secrets of a simulator's company and a database, into this Mage."""
    secrets = command.secrets
    for name, value in secrets_for(simulator, database).values.items():
        secrets.set(name, value)
