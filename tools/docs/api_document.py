"""docs/api.md, from the docstrings of what `async_extractor` exports: `python -m tools.docs.api_document`."""

from __future__ import annotations

import inspect
import os
import re
import sys
from pathlib import Path
from typing import Any, Literal, get_origin

import async_extractor
from async_extractor.mage.secrets import MageSecrets

DOCUMENT = Path(__file__).parents[2] / "docs" / "api.md"

_INTRODUCTION = """\
# The Python interface

*Made from the docstrings by `python -m tools.docs.api_document`; don't edit it by hand.*

{about}

```python
import asyncio
from async_extractor import BackfillRequest, run_backfill
from async_extractor.mage.secrets import MageSecrets

request = BackfillRequest.parse("invoices", "2024-01-01", "2024-12-31", concurrency=8)
result = asyncio.run(run_backfill(request, MageSecrets.locate()))
print(result.status, result.rows["inserted"], result.error)
```

`async_extractor` and `async_extractor.mage.secrets.MageSecrets` are all that a program needs; other modules may change
with any version. Mage's blocks call `async_extractor.mage.blocks`, one function a block.
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
    parts.append(_class("MageSecrets", MageSecrets))
    return "".join(parts)


def _class(name: str, cls: type[Any]) -> str:
    text = f"\n## {name}\n\n{inspect.getdoc(cls)}\n"
    if issubclass(cls, async_extractor.BackfillError):
        return f"{text}\n`exit_code` is {cls.exit_code}.\n"
    fields = [f"{field}: {_kind(cls, kind)}" for field, kind in inspect.get_annotations(cls).items() if field[0] != "_"]
    if fields:
        text += "\n```python\n" + "\n".join(fields) + "\n```\n"
    for method, member in vars(cls).items():
        function = member.__func__ if isinstance(member, (classmethod, staticmethod)) else member
        if isinstance(member, property):
            text += f"\n### {name}.{method}\n\n{inspect.getdoc(member)}\n"
        elif inspect.isfunction(function) and not method.startswith("_") and inspect.getdoc(function):
            kind = "async def " if inspect.iscoroutinefunction(function) else "def "
            text += f"\n### {name}.{method}\n\n{_signature(kind, method, function)}\n\n{inspect.getdoc(function)}\n"
    return text


def _kind(cls: type[Any], kind: str) -> str:
    """A field's type as it stands in the source; a name for some words becomes those words."""
    named = getattr(sys.modules[cls.__module__], kind, None)
    return str(named).removeprefix("typing.") if get_origin(named) is Literal else kind


class _Environment:
    """Stands for `os.environ`, whose own text would be this machine's."""

    def __repr__(self) -> str:
        return "os.environ"


def _signature(kind: str, name: str, function: Any) -> str:
    found = inspect.signature(function)
    parameters = [
        parameter.replace(default=_Environment()) if parameter.default is os.environ else parameter
        for parameter in found.parameters.values()
    ]
    # Annotations are text there, as they stand in the source; defaults keep their quotes.
    signature = re.sub(r"(: |-> )'([^']*)'", r"\1\2", str(found.replace(parameters=parameters)))
    for own in ("(self, ", "(cls, "):
        signature = signature.replace(own, "(")
    return f"```python\n{kind}{name}{signature.replace('(self)', '()')}\n```"


def main() -> None:
    DOCUMENT.write_text(describe(), encoding="utf-8")


if __name__ == "__main__":
    main()
