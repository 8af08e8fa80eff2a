"""The pipelines in a Mage project of somebody else's: written, upgraded, never over a person's change, removed."""

from __future__ import annotations

import errno
from pathlib import Path

import pytest

from async_extractor.errors import ConfigurationError, RequestError
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


def test_a_disk_that_fills_up_leaves_no_half_file(theirs: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Which would be kept for ever, as one that somebody has changed."""

    def written_half(path: Path, text: str, **_options: str) -> int:
        path.write_bytes(text.encode()[:3])
        raise OSError(errno.ENOSPC, "No space left on device")

    wanted = {"custom/qb_plan.py": "what is wanted"}
    with monkeypatch.context() as full:
        full.setattr(Path, "write_text", written_half)
        with pytest.raises(ConfigurationError, match="No space left"):
            project.install(theirs, wanted)
    assert list((theirs / "custom").iterdir()) == []
    assert [change.fate for change in project.install(theirs, wanted)] == ["new"]


def test_a_folder_that_is_no_mage_project_is_one_line(tmp_path: Path) -> None:
    with pytest.raises(RequestError, match="is not a Mage project"):
        project.install(tmp_path, {})


@pytest.mark.parametrize("text", ["[]", "null", '"x"', '{"a": 1}', "{", ""])
def test_a_list_of_files_that_is_not_ours_is_one_line(theirs: Path, text: str) -> None:
    (theirs / project.MANIFEST).write_text(text)
    for work in (lambda: project.install(theirs, project.files()), lambda: project.uninstall(theirs)):
        with pytest.raises(ConfigurationError, match="can't be read: delete it"):
            work()
    assert not (theirs / "custom").exists()


def test_a_file_of_other_bytes_is_kept_and_a_folder_in_its_place_told(theirs: Path) -> None:
    project.install(theirs, {"custom/qb_plan.py": "1"})
    (theirs / "custom" / "qb_plan.py").write_bytes(b"\xff\xfe")
    assert [change.fate for change in project.install(theirs, {"custom/qb_plan.py": "1"})] == ["kept: changed there"]
    assert [change.fate for change in project.uninstall(theirs)] == ["kept: changed there"]
    (theirs / "custom" / "qb_extract.py").mkdir()
    with pytest.raises(ConfigurationError, match=r"qb_extract\.py can't be read"):
        project.install(theirs, {"custom/qb_extract.py": "1"})


def test_a_path_that_is_too_long_is_no_mage_project() -> None:
    with pytest.raises(RequestError, match="is not a Mage project"):
        project.install(Path("a" * 5_000), {})
