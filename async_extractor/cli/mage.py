"""`qbo-backfill mage`: the pipelines put into any Mage project, and taken out again."""

from __future__ import annotations

from pathlib import Path

import typer

from async_extractor.entity_names import entities_named
from async_extractor.mage import project
from async_extractor.mage.location import MageData
from async_extractor.spoken import say

app = typer.Typer(no_args_is_help=True)

PROJECT = typer.Argument(..., metavar="PATH", help="The Mage project's folder, which holds its metadata.yaml.")
DRY_RUN = typer.Option(False, "--dry-run", help="Only say what would be done.")
ENTITIES = typer.Argument(..., metavar="ENTITY...", help="payments bills, or all; docs/entities.md has their names.")
INTO = typer.Option("", "--project", metavar="PATH", help="The Mage project; mage_project or this folder unless given.")


@app.command()
def install(path: Path = PROJECT, dry_run: bool = DRY_RUN) -> None:
    """Put pipelines, blocks, callback and triggers into a project. A file that was changed there stays as it is."""
    _tell(path, project.install(path, project.files(), dry_run=dry_run), dry_run)


@app.command()
def add(entities: list[str] = ENTITIES, into: str = INTO, dry_run: bool = DRY_RUN) -> None:
    """Put a pipeline of each entity with its trigger, and the blocks that they need, into a project.

    A file that was changed there stays as it is; the trigger is inactive and waits for its dates.
    """
    names = [entity.name for entity in entities_named(",".join(entities))]
    there = Path(into) if into else MageData.locate().project
    _tell(there, project.install(there, project.files(names), dry_run=dry_run), dry_run)


@app.command()
def uninstall(path: Path = PROJECT, dry_run: bool = DRY_RUN) -> None:
    """Remove what `install` and `add` put there, but for what was changed since."""
    _tell(path, project.uninstall(path, dry_run=dry_run), dry_run)


def _tell(path: Path, changes: list[project.Change], dry_run: bool) -> None:
    for change in changes:
        typer.echo(f"{say(change.fate)}: {change.path}")
    changed = sum(change.fate in ("new", "upgraded", "removed") for change in changes)
    typer.echo(say(f"{path}: {changed} of {len(changes)} files {'would be ' if dry_run else ''}changed."))
