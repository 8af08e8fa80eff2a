"""docs/add-an-entity.md, done as it says to a fresh project of Mage's: pipelines of vendors and payments."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from tests.support.documents import ROOT

DOCUMENT = ROOT / "docs" / "add-an-entity.md"


@pytest.fixture
def project(tmp_path: Path) -> Path:
    """As `mage init` leaves it, as far as it matters here."""
    folder = tmp_path / "mage_project"
    (folder / "pipelines").mkdir(parents=True)
    (folder / "metadata.yaml").write_text("project_type: standalone\n")
    return folder


def run(project: Path, steps: str) -> subprocess.CompletedProcess[str]:
    command = f"{sys.executable} -c 'from async_extractor.cli import main; main()'"
    return subprocess.run(
        ["bash", "-euc", steps.replace("qbo-backfill", command)],
        cwd=project.parent,
        check=False,
        capture_output=True,
        text=True,
        env={"PYTHONPATH": str(ROOT), "PATH": "/usr/bin:/bin"},
    )


def test_the_new_pipelines_are_whole_and_wait_for_their_dates(project: Path) -> None:
    found = re.search(r"```bash\n(.*?)```", DOCUMENT.read_text(encoding="utf-8"), re.DOTALL)
    assert found is not None
    added = run(project, found[1])
    assert added.returncode == 0, added.stderr
    assert "new: pipelines/qb_vendors_backfill/triggers.yaml\n" in added.stdout
    for entity in ("vendors", "payments"):
        name = f"qb_{entity}_backfill"
        folder = project / "pipelines" / name
        pipeline = yaml.safe_load((folder / "metadata.yaml").read_text())
        (trigger,) = yaml.safe_load((folder / "triggers.yaml").read_text())["triggers"]
        assert (pipeline["uuid"], pipeline["name"]) == (name, name)
        assert [block["uuid"] for block in pipeline["blocks"]] == ["qb_plan", "qb_extract", "qb_validate", "qb_report"]
        assert all((project / "custom" / f"{block['uuid']}.py").is_file() for block in pipeline["blocks"])
        assert all((project / "callbacks" / f"{block['uuid']}.py").is_file() for block in pipeline["callbacks"])
        assert pipeline["variables"]["entity"] == entity
        assert (trigger["name"], trigger["pipeline_uuid"]) == (f"{entity}_once", name)
        assert (trigger["schedule_interval"], trigger["status"]) == ("@once", "inactive")
        assert "invoice" not in (folder / "metadata.yaml").read_text().lower()


def test_adding_again_writes_nothing_and_what_was_changed_stays(project: Path) -> None:
    first = run(project, "qbo-backfill mage add bills")
    assert first.returncode == 0, first.stderr
    triggers = project / "pipelines" / "qb_bills_backfill" / "triggers.yaml"
    triggers.write_text(triggers.read_text().replace("2023-01-01", "2020-01-01"))
    before = {path: path.read_bytes() for path in project.rglob("*") if path.is_file()}
    again = run(project, "qbo-backfill mage add bills --project mage_project")
    assert again.returncode == 0, again.stderr
    assert "kept: changed there: pipelines/qb_bills_backfill/triggers.yaml\n" in again.stdout
    assert again.stdout.endswith("mage_project: 0 of 8 files changed.\n")
    assert {path: path.read_bytes() for path in project.rglob("*") if path.is_file()} == before


@pytest.mark.parametrize(
    ("names", "line"),
    [
        ("bill Payment", "entity: 'bill' is not an entity; bills is; entity: 'Payment' is not an entity; payments is"),
        ("bills bills", "entity: bills is there twice"),
        ("bills --project elsewhere", "PATH: elsewhere is not a Mage project: it has no metadata.yaml"),
    ],
)
def test_a_wrong_name_or_place_is_one_line_and_writes_nothing(project: Path, names: str, line: str) -> None:
    refused = run(project, f"qbo-backfill mage add {names}")
    assert refused.returncode == 2
    assert line in refused.stderr
    assert len(refused.stderr.splitlines()) == 1
    assert [path.name for path in project.rglob("*") if path.is_file()] == ["metadata.yaml"]
