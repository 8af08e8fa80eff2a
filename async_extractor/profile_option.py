"""`--profile` in the commands that texts suggest: what a person copies acts on the company that the text is about."""

from __future__ import annotations

import contextvars
import re

# The commands that take it; a test holds these against the command line.
_WORDS = (
    "secrets (?:set|delete|list|rotate)|auth (?:login|status)|quarantine (?:list|show|retry)|warehouse migrate"
    "|check|plan|run|status|resume|retry|reprocess|verify|report|metrics|bench"
)
_COMMAND = re.compile(rf"\bqbo-backfill (?:{_WORDS})(?![\w-]| --profile)")
_current: contextvars.ContextVar[str] = contextvars.ContextVar("profile", default="")


def work_for(profile: str) -> None:
    """From here on, in this task, texts are about this company; '' is the one whose secrets have no prefix."""
    _current.set(profile)


def with_profile(text: str, profile: str | None = None) -> str:
    """The text, each command in it for the profile; for the one that is worked for unless another is named."""
    profile = _current.get() if profile is None else profile
    return _COMMAND.sub(rf"\g<0> --profile {profile}", text) if profile else text
