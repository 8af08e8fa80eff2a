"""A terminal view of the ledger: runs, the chunks and the checks of one, live while a run goes on. It reads only."""

from __future__ import annotations

import json
from collections.abc import Sequence
from datetime import datetime
from typing import Any, ClassVar

from textual.app import App, ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Horizontal, Vertical
from textual.widgets import DataTable, Footer, Header, Static

from async_extractor.validation import Validation, latest
from async_extractor.warehouse.connection import Connection
from async_extractor.warehouse.statements import statement
from async_extractor.windows import UTC

_MARKS = {"ok": "✓", "notice": "i", "warning": "!", "error": "✕", None: ""}
_RUN_COLUMNS = ("run", "entity", "mode", "state", "range (UTC)", "chunks", "rows", "requests", "seconds", "checks")
_CHUNK_COLUMNS = (
    "window (UTC)",
    "state",
    "expected",
    "read",
    "inserted",
    "updated",
    "unchanged",
    "requests",
    "seconds",
)
_CHECK_COLUMNS = ("", "check", "what was found", "what to do")


class Browser(App[None]):
    """Runs above, the chosen run's chunks and checks below; looked up anew every `refresh` seconds."""

    TITLE = "qbo-backfill"
    CSS = """
    #runs { height: 40%; }
    #below { height: 1fr; }
    #chunks { width: 55%; }
    #checks { width: 45%; }
    #line { height: auto; max-height: 4; padding: 0 1; color: $text-muted; }
    DataTable { border: round $primary; }
    """
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("q", "quit", "Quit"),
        Binding("r", "look", "Look again"),
        Binding("tab", "app.focus_next", "Next pane", show=True),
    ]

    def __init__(self, connection: Connection, refresh: float = 2.0) -> None:
        super().__init__()
        self._connection = connection
        self._every = refresh
        self._chosen: int | None = None
        self._looking = False

    def compose(self) -> ComposeResult:
        yield Header()
        yield DataTable(id="runs", cursor_type="row", zebra_stripes=True)
        with Horizontal(id="below"):
            yield DataTable(id="chunks", cursor_type="row")
            with Vertical(id="checks-pane"):
                yield DataTable(id="checks", cursor_type="row")
        yield Static("", id="line", markup=False)
        yield Footer()

    async def on_mount(self) -> None:
        for name, title, columns in (
            ("runs", "Runs, newest first", _RUN_COLUMNS),
            ("chunks", "Chunks", _CHUNK_COLUMNS),
            ("checks", "Checks", _CHECK_COLUMNS),
        ):
            table = self._table(name)
            table.border_title = title
            for column in columns:
                table.add_column(column, key=column)
        await self.action_look()
        self.set_interval(self._every, self.action_look)

    async def action_look(self) -> None:
        """Looks everything up anew; the cursor stays where it is."""
        if self._looking:  # a slow answer; the next one will do
            return
        self._looking = True
        try:
            runs = await self._connection.fetch(statement("browse_runs"))
            self._fill("runs", [(str(run["run_id"]), _run_cells(run)) for run in runs])
            if self._chosen is None and runs:
                self._chosen = runs[0]["run_id"]
            if self._chosen is not None:
                await self._show(self._chosen, runs)
        finally:
            self._looking = False

    async def on_data_table_row_highlighted(self, event: DataTable.RowHighlighted) -> None:
        if event.data_table.id == "runs" and event.row_key is not None and event.row_key.value is not None:
            chosen = int(event.row_key.value)
            if chosen != self._chosen:
                self._chosen = chosen
                await self.action_look()

    async def _show(self, run_id: int, runs: Sequence[Any]) -> None:
        chunks = await self._connection.fetch(statement("browse_chunks"), run_id)
        self._fill("chunks", [(str(chunk["chunk_id"]), _chunk_cells(chunk)) for chunk in chunks])
        self._table("chunks").border_title = f"Chunks of run {run_id}"
        rows = await self._connection.fetch(statement("validations_of"), run_id)
        checks = latest(
            Validation(row["name"], row["severity"], row["message"], json.loads(row["found"]), row["advice"])
            for row in rows
        )
        self._fill(
            "checks",
            [(c.name, (_MARKS[c.severity], c.name, c.message, c.advice)) for c in checks],
        )
        self._table("checks").border_title = f"Checks of run {run_id}"
        error = next((run["error"] for run in runs if run["run_id"] == run_id), None)
        now = f"looked up {datetime.now(UTC):%H:%M:%S} UTC; nothing here writes"
        self.query_one("#line", Static).update(f"{error}\n{now}" if error else now)

    def _fill(self, name: str, rows: Sequence[tuple[str, Sequence[str]]]) -> None:
        """The table's rows, changed in place where they stand in the same order, so that nothing flickers."""
        table = self._table(name)
        keys = [key for key, _ in rows]
        if [row.key.value for row in table.ordered_rows] != keys:
            at = table.cursor_row
            table.clear()
            for key, cells in rows:
                table.add_row(*cells, key=key)
            if rows:
                table.move_cursor(row=min(at, len(rows) - 1), animate=False)
            return
        for key, cells in rows:
            for column, cell in zip(table.ordered_columns, cells, strict=True):
                if table.get_cell(key, column.key) != cell:
                    table.update_cell(key, column.key, cell, update_width=True)

    def _table(self, name: str) -> DataTable[str]:
        table: DataTable[str] = self.query_one(f"#{name}", DataTable)
        return table


def _run_cells(run: Any) -> tuple[str, ...]:
    failed = f" ({run['chunks_failed']} failed)" if run["chunks_failed"] else ""
    return (
        str(run["run_id"]),
        run["entity"],
        run["mode"],
        run["status"],
        f"{run['range_start']:%Y-%m-%d} - {run['range_end']:%Y-%m-%d}",
        f"{run['chunks_done']}/{run['chunks_planned']}{failed}",
        f"{run['rows_read']:,}",
        f"{run['requests']:,}",
        f"{run['seconds']:.1f}",
        f"{_MARKS[run['worst_check']]} {run['worst_check'] or ''}".strip(),
    )


def _chunk_cells(chunk: Any) -> tuple[str, ...]:
    end = f"{chunk['window_end']:%Y-%m-%d %H:%M}" if chunk["window_end"] else "now"
    kind = " catch-up" if chunk["kind"] == "catch_up" else ""
    return (
        f"{chunk['window_start']:%Y-%m-%d %H:%M} - {end}{kind}",
        chunk["status"] + (f": {chunk['error']}" if chunk["error"] else ""),
        "" if chunk["expected_rows"] is None else f"{chunk['expected_rows']:,}",
        *(
            "" if chunk[name] is None else f"{chunk[name]:,}"
            for name in ("rows_read", "rows_inserted", "rows_updated", "rows_unchanged", "requests")
        ),
        "" if chunk["seconds"] is None else f"{chunk['seconds']:.1f}",
    )
