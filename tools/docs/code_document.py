"""Generate docs/error-codes.md from async_extractor/codes.py: `python -m tools.docs.code_document`."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from async_extractor.codes import CHECKS, ERRORS, EVENTS, Code

DOCUMENT = Path(__file__).parents[2] / "docs" / "error-codes.md"

_INTRODUCTION = """\
# Codes

*Generated from `async_extractor/codes.py` by `python -m tools.docs.code_document`; don't edit it by hand.*

Each event, check and error has a code that never changes its meaning: `QBF-`, a letter for its severity at its worst
(I information, W warning, E error), a digit for the phase (1 auth, 2 plan, 3 extract, 4 load, 5 validate, 6 report,
9 the end of a command), and two digits. They are in Mage's log as the field `code`, in JSON lines
(`qbo-backfill run ... --events FILE`), in `ops.events`, and in the report.
"""

_EXAMPLE = """
## One event as a JSON line

```json
{"level": "error", "code": "QBF-E303", "phase": "extract", "message": "chunk 7 [2024-03-05 00:00, 2024-03-06 00:00) \
UTC failed: QuickBooks answered HTTP 400, code 4001: Invalid query (intuit_tid 1-5f3c)", "fields": {"chunk_id": 7, \
"intuit_tid": "1-5f3c"}, "event": "chunk_failed", "timestamp": "2026-11-24T11:12:32.104512Z"}
```
"""


def describe() -> str:
    """The document."""
    return (
        _INTRODUCTION
        + _table("Events", "Event", EVENTS)
        + _table("Checks", "Check", CHECKS)
        + "\n[validations.md](validations.md) explains each check.\n"
        + _table("Errors", "Error", ERRORS)
        + _EXAMPLE
    )


def _table(title: str, kind: str, codes: Sequence[Code]) -> str:
    rows = "".join(f"| {c.code} | `{c.name}` | {c.means[0]} | {c.action} |\n" for c in codes)
    return f"\n## {title}\n\n| Code | {kind} | What it means | What to do |\n|---|---|---|---|\n{rows}"


def main() -> None:
    """Write the document."""
    DOCUMENT.write_text(describe(), encoding="utf-8")


if __name__ == "__main__":
    main()
