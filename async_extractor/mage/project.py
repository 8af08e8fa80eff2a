"""The pipelines, blocks and triggers as files of a Mage project: put into any project, upgraded, taken out again.

`qb_invoices_backfill` is the one source of all pipelines: another entity's differ in its names alone.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from async_extractor.entities import ENTITIES
from async_extractor.errors import ConfigurationError, RequestError
from async_extractor.paths import write_whole

# What was put there, each file with the hash of its contents: what differs was changed by somebody else.
MANIFEST = ".qbo_backfill.json"
COURSE = ("invoices", "customers", "items")
COMPANY = "company"
# What the company's pipeline needs, and no other one does.
_COMPANYS_BLOCKS = ("qb_list_entities", "qb_entity", "qb_company_report")
_SOURCE = "invoices"
_PACKAGED = Path(__file__).parents[1] / "_mage_project"
FOLDER = _PACKAGED if _PACKAGED.is_dir() else Path(__file__).parents[2] / "mage_project"

Fate = Literal["new", "same", "upgraded", "removed", "kept: changed there"]


@dataclass(frozen=True)
class Change:
    """What becomes of one file, by its path inside the project."""

    path: str
    fate: Fate


def pipeline_files(entity: str) -> Iterator[tuple[str, str]]:
    """An entity's pipeline, or the company's: each file's path inside the project, and its text."""
    source = entity if entity == COMPANY else _SOURCE
    for name in ("__init__.py", "metadata.yaml", "triggers.yaml"):
        text = (FOLDER / "pipelines" / f"qb_{source}_backfill" / name).read_text(encoding="utf-8")
        if entity != COMPANY:
            text = text.replace(_SOURCE, entity).replace(ENTITIES[_SOURCE].query_name, ENTITIES[entity].query_name)
        yield f"pipelines/qb_{entity}_backfill/{name}", text


def files(entities: Sequence[str] = (*COURSE, COMPANY)) -> dict[str, str]:
    """All that a project needs for these entities' pipelines, and the company's where it is named."""
    found = {
        path.relative_to(FOLDER).as_posix(): path.read_text(encoding="utf-8")
        for folder in ("custom", "callbacks")
        for path in sorted((FOLDER / folder).glob("qb_*.py"))
        if COMPANY in entities or path.stem not in _COMPANYS_BLOCKS
    }
    for entity in entities:
        found |= dict(pipeline_files(entity))
    return found


def install(project: Path, wanted: dict[str, str], *, dry_run: bool = False) -> list[Change]:
    """Writes what is missing, upgrades what is as it was put there, and leaves what somebody changed as it is."""
    known = _manifest(project)
    changes: list[Change] = []
    for path, text in wanted.items():
        there = project / path
        before = _read(there)
        if before is None:
            fate: Fate = "new"
        elif before == text:
            fate = "same"
        elif _hash(before) == known.get(path) and not path.endswith("triggers.yaml"):
            fate = "upgraded"
        else:
            fate = "kept: changed there"
        changes.append(Change(path, fate))
        if fate in ("new", "upgraded", "same"):
            known[path] = _hash(text)
        if fate in ("new", "upgraded") and not dry_run:
            _write(there, text)
    if not dry_run:
        _write(project / MANIFEST, json.dumps(known, indent=1, sort_keys=True) + "\n")
    return changes


def uninstall(project: Path, *, dry_run: bool = False) -> list[Change]:
    """Removes what was put there and nobody changed since."""
    known = _manifest(project)
    changes: list[Change] = []
    for path, mark in known.items():
        there = project / path
        text = _read(there)
        if text is None:
            continue
        ours = _hash(text) == mark
        changes.append(Change(path, "removed" if ours else "kept: changed there"))
        if ours and not dry_run:
            _remove(there)
            if there.parent.parent.name == "pipelines" and not any(there.parent.iterdir()):
                there.parent.rmdir()
    if not dry_run:
        _remove(project / MANIFEST)
    return changes


def _manifest(project: Path) -> dict[str, str]:
    if not os.path.isfile(project / "metadata.yaml"):  # noqa: PTH113 - which refuses no path, however long
        raise RequestError(f"PATH: {project} is not a Mage project: it has no metadata.yaml; `mage init` makes one")
    try:
        known = json.loads((project / MANIFEST).read_text(encoding="utf-8"))
        if not isinstance(known, dict) or not all(isinstance(mark, str) for mark in known.values()):
            raise ValueError
    except FileNotFoundError:
        return {}
    except (OSError, ValueError):
        raise ConfigurationError(f"{project / MANIFEST} can't be read: delete it, and nothing is overwritten") from None
    return known


def _read(path: Path) -> str | None:
    """The file's text, with what isn't UTF-8 made readable; None where nothing is. A folder there is an error."""
    try:
        return path.read_bytes().decode(errors="replace").replace("\r\n", "\n")
    except FileNotFoundError:
        return None
    except OSError as error:
        raise ConfigurationError(f"{path} can't be read ({error.strerror})") from None


def _write(path: Path, text: str) -> None:
    """Half a file would be taken for one that somebody has changed."""
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        write_whole(path, text)
    except OSError as error:
        raise ConfigurationError(f"{path} can't be written ({error.strerror})") from None


def _remove(path: Path) -> None:
    try:
        path.unlink(missing_ok=True)
    except OSError as error:
        raise ConfigurationError(f"{path} can't be removed ({error.strerror})") from None


def _hash(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()
