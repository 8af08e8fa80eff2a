"""docs/api.md, from the docstrings of what `async_extractor` exports: `python docs/api_document.py` writes it anew."""

from __future__ import annotations

import inspect
import re
import sys
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parents[1]))

import async_extractor

DOCUMENT = Path(__file__).with_name("api.md")

_INTRODUCTION = """\
# The Python interface

*Made from the docstrings by `python docs/api_document.py`; don't edit it by hand.*

{about}

```python
import asyncio
from async_extractor import BackfillRequest, run_backfill
from async_extractor.secrets import MageSecrets

request = BackfillRequest.parse("invoices", "2024-01-01", "2024-12-31", concurrency=8)
result = asyncio.run(run_backfill(request, MageSecrets.locate()))
print(result.status, result.rows["inserted"], result.error)
```

`import async_extractor` is all that a program needs; modules below it may change with any version. Mage's blocks call
`async_extractor.mage`, one function a block.
"""


def describe() -> str:
    """The document."""
    parts = [_INTRODUCTION.format(about=inspect.getdoc(async_extractor))]
    for name in ("run_backfill", *(n for n in async_extractor.__all__ if n != "run_backfill")):
        member = getattr(async_extractor, name)
        if inspect.isclass(member):
            parts.append(_class(name, member))
        else:
            parts.append(f"\n## {name}\n\n{_signature('async def ', name, member)}\n\n{inspect.getdoc(member)}\n")
    return "".join(parts)


def _class(name: str, cls: type[Any]) -> str:
    text = f"\n## {name}\n\n{inspect.getdoc(cls)}\n"
    if issubclass(cls, async_extractor.BackfillError):
        return f"{text}\n`exit_code` is {cls.exit_code}.\n"
    for method, member in vars(cls).items():
        function = member.__func__ if isinstance(member, (classmethod, staticmethod)) else member
        if isinstance(member, property):
            text += f"\n### {name}.{method}\n\n{inspect.getdoc(member)}\n"
        elif inspect.isfunction(function) and not method.startswith("_") and inspect.getdoc(function):
            kind = "async def " if inspect.iscoroutinefunction(function) else "def "
            text += f"\n### {name}.{method}\n\n{_signature(kind, method, function)}\n\n{inspect.getdoc(function)}\n"
    return text


def _signature(kind: str, name: str, function: Any) -> str:
    # Annotations are text there, as they stand in the source; defaults keep their quotes.
    signature = re.sub(r"(: |-> )'([^']*)'", r"\1\2", str(inspect.signature(function)))
    for own in ("(self, ", "(cls, "):
        signature = signature.replace(own, "(")
    return f"```python\n{kind}{name}{signature.replace('(self)', '()')}\n```"


def main() -> None:
    DOCUMENT.write_text(describe(), encoding="utf-8")


if __name__ == "__main__":
    main()
