"""The parameters that several commands have, each worded once."""

from __future__ import annotations

import typer

from async_extractor.cli.many import CONNECTIONS as AT_MOST
from async_extractor.mage.secrets import MEANINGS
from async_extractor.profile_option import work_for
from async_extractor.spoken import VARIABLE, speak


def company(profile: str) -> str:
    """Notes the one company that a command is about, so that what it suggests is about it, too."""
    if profile.isidentifier() and profile not in MEANINGS:
        work_for(profile)
    return profile


def language(lang: str) -> str:
    """Notes the language that a command's texts are in."""
    speak(lang)
    return lang


ENTITY = typer.Argument(..., help="invoices, or several: invoices,payments; or all. docs/entities.md has their names")
FECHA_INICIO = typer.Option(..., "--fecha-inicio", help="First day (2024-01-01), or a timestamp with an offset or Z")
FECHA_FIN = typer.Option(
    ..., "--fecha-fin", help="Last day, the whole UTC day included; or a timestamp, which is an exclusive end"
)
CHUNK = typer.Option("auto", help="auto, day, week or an ISO 8601 duration such as P1M")
CONCURRENCY = typer.Option("5", help="Chunks fetched at once, 1 to 10")
FILTER_FIELD = typer.Option("last_updated", help="last_updated, created or txn_date (transactions only)")
MODE = typer.Option("resume", help="resume: what is not done; reprocess: all again; retry: only what failed")
AS_JSON = typer.Option(False, "--json", help="The last line of stdout is one JSON object")
NO_LIMITS = typer.Option(False, "--no-limits", help="No budget of requests; in the simulator's environment only")
PROFILE = typer.Option(
    "", callback=company, help="Which company's secrets: acme reads ACME_QBO_REALM_ID and fills schema raw_acme"
)
PROFILES = typer.Option(
    "",
    "--profile",
    callback=company,
    help="Which company's secrets, or several: acme,globex; or all that there are",
)
CONNECTIONS = typer.Option(
    AT_MOST, "--connections", min=1, help="To Postgres, at most, for several entities or companies at once"
)
LANG = typer.Option(
    "en", "--lang", envvar=VARIABLE, callback=language, help="The language of what is said, and of the report: en or es"
)
INCLUDE = typer.Option(
    "",
    help="enhancedAllCustomFields: custom fields beyond the first three, too; none: no longer. As before unless given",
)
CHUNKS = typer.Option(False, "--chunks", help="List each chunk at the end, also where there are many")
DRY_RUN = typer.Option(False, "--dry-run", help="Only say what it would cost, as `plan` does")
EVENTS = typer.Option("", "--events", metavar="FILE", help="Every event as a JSON line, appended to FILE; - is stderr")
ON_END = typer.Option(
    "",
    "--on-end",
    metavar="CMD",
    help="A command at the end: the result as JSON on its stdin; its own end changes nothing",
)
