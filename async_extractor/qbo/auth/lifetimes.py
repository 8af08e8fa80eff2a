"""How old the stored tokens are and when they end, from what is stored: Intuit is not asked. Tokens are never shown."""

from __future__ import annotations

import time
from datetime import datetime
from typing import Any

from async_extractor.qbo.auth.access_tokens import StoredTokens, mark_of
from async_extractor.windows import UTC

DAY = 86_400.0


def look(refresh_token: str | None, access_token: str | None, now: float) -> dict[str, Any]:
    """Ages and remaining lives in seconds; None where Intuit has not said, or nothing is stored."""
    stored = StoredTokens.read(access_token)
    current = stored if stored and refresh_token and stored.refresh == mark_of(refresh_token) else None

    def left(end: float | None) -> float | None:
        return None if end is None else round(end - now)

    def age(begin: float | None) -> float | None:
        return None if begin is None else round(now - begin)

    ends = [] if current is None else [current.refresh_ends_at, current.consent_ends_at]
    return {
        "refresh_token_stored": bool(refresh_token),
        "connected": bool(refresh_token)
        and all(end is None or end > now for end in ends)
        and (current is None or current.refused_at is None),
        "refused_seconds_ago": age(current.refused_at) if current else None,
        "access_token_seconds_left": left(current.expires_at) if current and current.token else None,
        "refreshed_seconds_ago": age(current.refreshed_at) if current else None,
        "refresh_token_age_seconds": age(current.refresh_since) if current else None,
        "refresh_token_seconds_left": left(current.refresh_ends_at) if current else None,
        "consent_seconds_left": left(current.consent_ends_at) if current else None,
    }


def sentences(found: dict[str, Any]) -> list[str]:
    """The same for people."""
    if not found["refresh_token_stored"]:
        return ["No refresh token is stored: qbo-backfill auth login"]
    access, refused = found["access_token_seconds_left"], found["refused_seconds_ago"]
    if refused is not None:
        first = f"access token: Intuit refused the refresh token {span(refused)} ago"
    elif access is None:
        first = "access token: none yet; the next run gets one"
    elif access <= 0:
        first = f"access token: ended {span(-access)} ago; the next run renews it"
    else:
        first = f"access token: good for {span(access)} more, refreshed {span(found['refreshed_seconds_ago'])} ago"
    age = found["refresh_token_age_seconds"]
    known = "stored, its age is known after the next refresh" if age is None else f"in use for {span(age)}"
    lines = [
        first,
        f"refresh token: {known}; "
        + _end(found["refresh_token_seconds_left"], "unless it is used before", "100 days after its last use"),
        "consent: " + _end(found["consent_seconds_left"], "whatever is used", "five years after it was given"),
    ]
    if found["connected"]:
        return lines
    why = f"Intuit refused its refresh token {span(refused)} ago" if refused is not None else "its token has ended"
    return [*lines, f"The company must be reauthorised, {why}: qbo-backfill auth login"]


def _end(left: float | None, condition: str, rule: str) -> str:
    if left is None:
        return f"ends {rule}; Intuit tells the day with the next refresh"
    day = datetime.fromtimestamp(time.time() + left, UTC)
    return f"ended on {day:%Y-%m-%d}" if left <= 0 else f"ends in {span(left)}, on {day:%Y-%m-%d}, {condition}"


def span(seconds: float) -> str:
    """`3 days`, `2 hours`: the largest unit of which there are at least two."""
    for unit, size in (("days", DAY), ("hours", 3600.0), ("minutes", 60.0)):
        if seconds >= 2 * size:
            return f"{seconds / size:.0f} {unit}"
    return f"{seconds:.0f} seconds"
