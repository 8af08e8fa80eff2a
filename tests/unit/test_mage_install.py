"""The pipelines in a Mage project of somebody else's: written, upgraded, never over a person's change, removed."""

from __future__ import annotations

from pathlib import Path

import pytest

from async_extractor.errors import RequestError
from async_extractor.mage import project


@pytest.fixture
def theirs(tmp_path: Path) -> Path:
    (tmp_path / "metadata.yaml").write_text("project_type: standalone\n")
    return tmp_path


@pytest.mark.parametrize("entity", [*project.COURSE, project.COMPANY])
def test_every_pipeline_of_the_project_is_the_one_source(entity: str) -> None:
    for path, text in project.pipeline_files(entity):
        assert (project.FOLDER / path).read_text() == text


def test_install_writes_all_and_again_nothing(theirs: Path) -> None:
    wanted = project.files()
    assert {change.fate for change in project.install(theirs, wanted, dry_run=True)} == {"new"}
    assert not (theirs / "custom").exists()
    assert {change.fate for change in project.install(theirs, wanted)} == {"new"}
    assert all((theirs / path).read_text() == text for path, text in wanted.items())
    assert {change.fate for change in project.install(theirs, wanted)} == {"same"}


def test_what_somebody_changed_is_kept_and_the_rest_upgraded_or_removed(theirs: Path) -> None:
    project.install(theirs, {"custom/qb_plan.py": "1", "custom/qb_extract.py": "1"})
    (theirs / "custom" / "qb_plan.py").write_text("mine")
    newer = {"custom/qb_plan.py": "2", "custom/qb_extract.py": "2"}
    assert [change.fate for change in project.install(theirs, newer)] == ["kept: changed there", "upgraded"]
    assert [change.fate for change in project.uninstall(theirs)] == ["removed", "kept: changed there"]
    assert [path.name for path in (theirs / "custom").iterdir()] == ["qb_plan.py"]


def test_a_folder_that_is_no_mage_project_is_one_line(tmp_path: Path) -> None:
    with pytest.raises(RequestError, match="is not a Mage project"):
        project.install(tmp_path, {})
