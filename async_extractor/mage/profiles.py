"""Which companies a text names: one profile, several joined by commas, or `all` that Mage Secrets holds."""

from __future__ import annotations

import difflib
import os
import re
from collections.abc import Mapping

from async_extractor.errors import RequestError
from async_extractor.mage.secrets import ALL, DEFAULT, KNOWN_SECRETS, MageSecrets

_OF_A_COMPANY = "|".join(secret.name for secret in KNOWN_SECRETS.values() if secret.per_company)


def shown(profile: str) -> str:
    """The profile's name for people, and on the command line; secrets without a prefix are the company `default`."""
    return profile or DEFAULT


def profiles_held(environ: Mapping[str, str] = os.environ) -> list[str]:
    """The profiles of which Mage Secrets holds anything that is a company's own; '' is the one without a prefix.

    One whose secrets aren't complete is among them: what is missing is told when it is used.
    """
    found = set()
    for name in MageSecrets.locate(environ).names():
        if match := re.fullmatch(rf"(?:([A-Z][A-Z0-9_]{{0,30}})_)?(?:{_OF_A_COMPANY})", name):
            found.add((match.group(1) or "").lower())
    return sorted(found)


def profiles_named(text: str, environ: Mapping[str, str] = os.environ) -> list[str]:
    """The profiles of a list, in its order; '' alone is the company without a prefix, `all` is every one.

    RequestError names each that is wrong or doubled, and the one that was meant.
    """
    names = [name.strip() for name in text.split(",")]
    if names == [""]:
        return [""]
    held = profiles_held(environ)
    if names == [ALL]:
        if not held:
            raise RequestError("profile: Mage Secrets holds no company yet; begin with `qbo-backfill secrets set`")
        return held
    known = [shown(profile) for profile in held]
    wrong = [_wrong(name, known) for name in dict.fromkeys(names) if name not in known]
    wrong += [f"{name} is there twice" for name in dict.fromkeys(names) if names.count(name) > 1]
    if wrong:
        raise RequestError(f"profile: {'; '.join(wrong)}")
    return ["" if name == DEFAULT else name for name in names]


def require_own(profile: str, environ: Mapping[str, str] = os.environ) -> None:
    """ConfigurationError with the secret of its own that a company lacks, so that no run of it can be."""
    secrets = MageSecrets.locate(environ, profile=profile)
    for known in KNOWN_SECRETS.values():
        if known.per_company and known.required:
            secrets.require(known.name)


def _wrong(name: str, known: list[str]) -> str:
    if name == ALL:
        return f"{name!r} stands alone"
    close = difflib.get_close_matches(name.lower(), [*known, ALL], 1)
    told = ", ".join(known[:10]) + (f" and {len(known) - 10} more" if len(known) > 10 else "")
    meant = f"; did you mean {close[0]!r}?" if close else f" ({told or 'none yet'})"
    return f"{name!r} is none that Mage Secrets holds{meant}"
