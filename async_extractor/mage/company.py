"""What the blocks of `qb_company_backfill` call: its entities listed, each backfilled in a child of its own, all told.

A child does for its entity what the four blocks of the other pipelines do, by the same functions, in one process.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from async_extractor.entity_names import entities_named
from async_extractor.errors import IncompleteError, NotOfferedError, RequestError
from async_extractor.events import Event, Listener
from async_extractor.mage import blocks
from async_extractor.mage.stage import Variables, in_a_block
from async_extractor.settings import Settings

if TYPE_CHECKING:
    import pandas as pd  # type: ignore[import-untyped]

# The block that runs once for each entity.
ENTITY = "qb_entity"
_FIGURES = ("rows_read", "rows_inserted", "rows_updated", "requests")


def list_entities(variables: Variables) -> list[list[dict[str, str]]]:
    """The entities that `entities` names (all, or a list), and what the child of each is called.

    So Mage's dynamic blocks take it. Everything is checked for each of them here: RequestError names what is wrong, and
    nothing is read or written then.
    """

    async def stage(_: list[Listener]) -> list[list[dict[str, str]]]:
        names = _names(variables)
        wrong: list[str] = []
        for name in names:
            try:
                asked = blocks.asked_of(_of_entity(variables, name))
            except RequestError as error:
                wrong.append(str(error))
        if wrong:
            raise RequestError("; ".join(dict.fromkeys(wrong)))
        Settings.read(asked.secrets, asked.profile)
        return [[{"entity": name} for name in names], [{"block_uuid": name} for name in names]]

    return in_a_block(variables, "plan", stage)


def backfill_entity(one: Mapping[str, str], variables: Variables) -> dict[str, Any]:
    """One entity's backfill: planned, read, checked, reported. What it came to, as plain JSON.

    An entity that the company doesn't have is told in it. Raises IncompleteError when the run isn't done: another try
    goes on with what this one left.
    """
    name = one["entity"]
    variables = _of_entity(variables, name)

    async def plan(listeners: list[Listener]) -> dict[str, Any]:
        try:
            return await blocks.plan_run(variables, listeners)
        except NotOfferedError as error:
            listeners[0](Event("NotOfferedError", "plan", "warning", str(error)))
            return {"entity": name, "status": "not offered", "why": str(error)}

    planned = in_a_block(variables, "plan", plan)
    if "run_id" not in planned:
        return planned
    extracted = blocks.extract(planned, variables)
    if not planned["run_id"]:  # played in the editor, where extracting is all of it
        return {**extracted, "status": "done"}
    total = blocks.report(blocks.validate(extracted, variables), variables).iloc[0]
    return {
        "entity": name,
        "status": str(total["status"]),
        "why": str(total["what"]),
        "run": int(total["run"]),
        **{figure: int(total[figure]) for figure in _FIGURES},
        "seconds": float(total["seconds"]),
        "report": str(total["report"]),
    }


def report(ended: Mapping[str, Any] | Sequence[Mapping[str, Any]], variables: Variables) -> pd.DataFrame:
    """A table of the company's entities. IncompleteError where one that was asked for is missing from it."""
    import pandas as pd  # noqa: PLC0415 - half a second, and only Mage has it

    async def stage(_: list[Listener]) -> pd.DataFrame:
        rows = [ended] if isinstance(ended, Mapping) else list(ended)
        told = {row["entity"] for row in rows}
        missing = [name for name in _names(variables) if name not in told]
        if missing:
            raise IncompleteError(f"nothing is known of {', '.join(missing)}; `qbo-backfill status` shows the runs")
        table = pd.DataFrame(rows, columns=["entity", "status", *_FIGURES, "seconds", "why", "report", "run"])
        return table.astype(dict.fromkeys((*_FIGURES, "run"), "Int64"))

    return in_a_block(variables, "report", stage)


def _names(variables: Variables) -> list[str]:
    """The entities asked for; `entities` may be a list, too."""
    if variables.get("entity"):
        raise RequestError("entity: is not a variable of this pipeline; entities is")
    given = variables.get("entities")
    text = ",".join(map(str, given)) if isinstance(given, (list, tuple)) else str(given or "")
    if not text.strip():
        raise RequestError("entities: is missing; all, or names such as invoices,payments")
    return [entity.name for entity in entities_named(text)]


def _of_entity(variables: Variables, name: str) -> dict[str, Any]:
    """The variables as a pipeline of this entity's would have them; Mage gives a child only its own name."""
    others = {key: value for key, value in variables.items() if key not in ("entities", "dynamic_block_index")}
    return {**others, "entity": name, "block_uuid": f"{ENTITY}:{name}"}
