"""Generate docs/entities.md from async_extractor/entities.py: `python -m tools.docs.entity_document`."""

from __future__ import annotations

from pathlib import Path

from async_extractor.entities import ENTITIES, FIRST_CLASS, NOT_QUERYABLE, SOURCES, Entity

DOCUMENT = Path(__file__).parents[2] / "docs" / "entities.md"

_INTRODUCTION = """\
# Entities

*Generated from `async_extractor/entities.py` by `python -m tools.docs.entity_document`; don't edit it by hand.*

Every entity that QuickBooks lets one query, with what is known of it and from where. Each fills a table of its own,
`raw.qb_` and its name, which is made when it is first asked for (by the owner: `qbo-backfill warehouse migrate` makes
all). A range is one of LastUpdatedTime, CreateTime or TxnDate, where the entity has them.
"""

_LEAVES = {
    "deleted": "deleted",
    "inactive": "made inactive",
    "merged": "made inactive, or merged away",
    "stays": "no",
    "superseded": "superseded: raw keeps it",
}


def describe() -> str:
    """The document."""
    return (
        _INTRODUCTION
        + "\n| Entity | QuickBooks | TxnDate | Active | Change data capture | Can a record go? "
        + "| Needs | Known from | Sources |\n"
        + "|---|---|---|---|---|---|---|---|---|\n"
        + "".join(_row(entity) for entity in ENTITIES.values())
        + "\n**In bold**: with a pipeline of their own in `mage_project`. What isn't in change data capture is looked "
        "for by counts, and record by record where the range is a page.\n"
        + "\n## What is odd\n\n| Entity | What |\n|---|---|\n"
        + "".join(f"| `{entity.name}` | {_odd(entity)} |\n" for entity in ENTITIES.values() if _odd(entity))
        + "\n## What can't be queried\n\n| | Why |\n|---|---|\n"
        + "".join(f"| {name} | {why} |\n" for name, why in NOT_QUERYABLE.items())
        + "\n## Sources\n\n| | How sure | What |\n|---|---|---|\n"
        + "".join(f"| {name} | {sure} | {what} |\n" for name, (sure, what) in SOURCES.items())
    )


def _row(entity: Entity) -> str:
    name = f"**`{entity.name}`**" if entity.name in FIRST_CLASS else f"`{entity.name}`"
    cells = (
        name,
        entity.query_name,
        "yes" if entity.has_txn_date else "",
        "yes" if entity.has_active else "",
        "yes" if entity.in_cdc else "no",
        _LEAVES[entity.leaves],
        entity.needs,
        entity.status,
        " ".join(entity.sources),
    )
    return f"| {' | '.join(cells)} |\n"


def _odd(entity: Entity) -> str:
    said = [entity.note]
    if entity.volatile:
        said.append(f"Not compared, and no reason to write: {', '.join(entity.volatile)}.")
    if entity.custom_fields:
        said.append("Takes `include=enhancedAllCustomFields`.")
    return " ".join(part for part in said if part)


def main() -> None:
    """Write the document."""
    DOCUMENT.write_text(describe(), encoding="utf-8")


if __name__ == "__main__":
    main()
