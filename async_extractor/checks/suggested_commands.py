"""The commands that a person can copy to mend what a check found."""

from __future__ import annotations

from async_extractor.profile_option import with_profile
from async_extractor.windows import DAY, Window, iso


def range_options(window: Window, filter_field: str = "last_updated") -> str:
    """`--fecha-inicio ... --fecha-fin ...` for a window: bare days where it is made of whole days."""
    midnights = all((m.hour, m.minute, m.second) == (0, 0, 0) for m in (window.start, window.end))
    if midnights:
        dates = f"--fecha-inicio {window.start:%Y-%m-%d} --fecha-fin {window.end - DAY:%Y-%m-%d}"
    else:
        dates = f"--fecha-inicio {iso(window.start)} --fecha-fin {iso(window.end)}"
    return dates if filter_field == "last_updated" else f"{dates} --filter-field {filter_field}"


def verify(
    entity: str, window: Window, filter_field: str = "last_updated", *, repair: bool = False, deep: bool = False
) -> str:
    """The command that compares a window with QuickBooks, record by record with `deep`, and mends it."""
    options = f"{range_options(window, filter_field)}{' --deep' if deep else ''}{' --repair' if repair else ''}"
    return with_profile(f"qbo-backfill verify {entity} {options}")


def run(entity: str, window: Window, filter_field: str = "last_updated", mode: str = "resume") -> str:
    """The command that backfills a window."""
    chosen = "" if mode == "resume" else f" --mode {mode}"
    return with_profile(f"qbo-backfill run {entity} {range_options(window, filter_field)}{chosen}")


def quarantine() -> str:
    """The command that lists what was set aside."""
    return with_profile("qbo-backfill quarantine list")
