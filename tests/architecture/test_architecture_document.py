"""`docs/architecture.md` names files and functions that exist."""

from __future__ import annotations

import re
from pathlib import Path

CHECKOUT = Path(__file__).parents[2]
TEXT = (CHECKOUT / "docs" / "architecture.md").read_text(encoding="utf-8")
PATH = r"\w+(?:/\w+)*(?:/|\.(?:py|sql|yaml|toml))"
LAYERS = (CHECKOUT / "pyproject.toml").read_text(encoding="utf-8").partition("layers = [")[2].partition("]")[0]


def found(path: str) -> Path | None:
    """The file or folder, in the repository or in the package."""
    places = (CHECKOUT / "async_extractor" / path, CHECKOUT / path)
    return next((place for place in places if place.exists()), None)


def test_paths_exist() -> None:
    paths = re.findall(rf"`({PATH})`", TEXT)
    assert len(paths) > 40
    assert [path for path in paths if not found(path)] == []


def test_functions_stand_in_their_files() -> None:
    """`file` `function` and `file` `Class.method` are read as a pair."""
    pairs = re.findall(rf"`({PATH})` `([\w.]+)`", TEXT)
    assert len(pairs) > 30
    assert [pair for pair in pairs if not defined(*pair)] == []


def defined(path: str, name: str) -> bool:
    """Whether the file defines each part of the name."""
    file = found(path)
    source = file.read_text(encoding="utf-8") if file and file.is_file() else ""
    return all(re.search(rf"(?:def|class|FUNCTION|-- name:) (?:ops\.)?{part}\b", source) for part in name.split("."))


def test_other_functions_exist() -> None:
    """A name that stands without its file is defined somewhere."""
    sources = [*(CHECKOUT / "async_extractor").rglob("*.py"), *(CHECKOUT / "sql").rglob("*.sql")]
    code = "\n".join(path.read_text(encoding="utf-8") for path in sources)
    named = {
        part
        for name in re.findall(r"`((?:[A-Z]\w+\.)?_?[a-z]\w*_\w+|[A-Z]\w+\.\w+)`", TEXT)
        for part in name.split(".")
    }
    unknown = {
        name for name in named if not re.search(rf"(?:def|class|-- name:) {name}\b|^    {name}:", code, re.MULTILINE)
    }
    assert unknown - {"fecha_inicio"} == set()


def test_rooms_are_those_of_the_contract() -> None:
    """In the same order, from the commands down."""
    rows = re.findall(r"^\| (`.+?) \|", TEXT, re.MULTILINE)
    written = [{Path(path).stem for path in re.findall(rf"`({PATH})`", row)} for row in rows]
    layers = [set(re.findall(r"\w+", layer)) for layer in re.findall(r'"(.+?)"', LAYERS)]
    assert written == [*layers[:-3], set().union(*layers[-3:])]
