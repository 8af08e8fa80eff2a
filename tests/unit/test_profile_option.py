"""Commands in texts carry the profile that the text is about."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from async_extractor.cli import COMMANDS, loaded
from async_extractor.profile_option import with_profile


def commands(made: Any, words: str) -> Iterator[tuple[str, bool]]:
    """Each command with its words, and whether it takes --profile."""
    for name, part in getattr(made, "commands", {}).items():
        yield from commands(part, f"{words} {name}")
    if not hasattr(made, "commands"):
        yield words, any("--profile" in parameter.opts for parameter in made.params)


ALL = [found for name in COMMANDS if name not in ("simulator", "postgres") for found in commands(loaded(name), name)]


@pytest.mark.parametrize(("words", "takes_it"), ALL, ids=[words for words, _ in ALL])
def test_each_command(words: str, takes_it: bool) -> None:
    """Those that take it have it, once, behind their words; `profiles` lists companies and needs none."""
    told = with_profile(f"see `qbo-backfill {words} --json`", "acme")
    needs = takes_it and words != "profiles"
    assert told == f"see `qbo-backfill {words}{' --profile acme' if needs else ''} --json`"
    assert with_profile(told, "acme") == told
    assert with_profile(f"qbo-backfill {words}", "") == f"qbo-backfill {words}"
