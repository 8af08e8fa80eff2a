"""docs/add-an-entity.md, done as it says to a copy of Mage's project: pipelines of vendors and payments."""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
from pathlib import Path

import yaml

from tests.support.documents import ROOT

DOCUMENT = ROOT / "docs" / "add-an-entity.md"


def test_the_new_pipelines_are_whole_and_wait_for_their_dates(tmp_path: Path) -> None:
    shutil.copytree(ROOT / "mage_project", tmp_path / "mage_project", ignore=shutil.ignore_patterns("__pycache__"))
    found = re.search(r"```bash\n(.*?)```", DOCUMENT.read_text(encoding="utf-8"), re.DOTALL)
    assert found is not None
    command = f"{sys.executable} -c 'from async_extractor.cli import main; main()'"
    steps = found[1].replace("qbo-backfill", command)
    subprocess.run(
        ["bash", "-euc", steps], cwd=tmp_path, check=True, env={"PYTHONPATH": str(ROOT), "PATH": "/usr/bin:/bin"}
    )
    for entity in ("vendors", "payments"):
        name = f"qb_{entity}_backfill"
        folder = tmp_path / "mage_project" / "pipelines" / name
        pipeline = yaml.safe_load((folder / "metadata.yaml").read_text())
        (trigger,) = yaml.safe_load((folder / "triggers.yaml").read_text())["triggers"]
        assert (pipeline["uuid"], pipeline["name"]) == (name, name)
        assert [block["uuid"] for block in pipeline["blocks"]] == ["qb_plan", "qb_extract", "qb_validate", "qb_report"]
        assert (trigger["name"], trigger["pipeline_uuid"]) == (f"{entity}_once", name)
        assert (trigger["schedule_interval"], trigger["status"]) == ("@once", "inactive")
        assert "invoices" not in (folder / "metadata.yaml").read_text().lower()
