"""`qbo-backfill verify`: raw held against QuickBooks, and repaired."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Sequence

import typer
from rich.console import Console

from async_extractor.checks import CheckResult
from async_extractor.checks.messages import check_name
from async_extractor.checks.verification_result import VerificationResult
from async_extractor.cli.many import Job, Turn, each, tell
from async_extractor.cli.options import (
    CONCURRENCY,
    CONNECTIONS,
    ENTITY,
    FECHA_FIN,
    FECHA_INICIO,
    FILTER_FIELD,
    LANG,
    NO_LIMITS,
    PROFILES,
)
from async_extractor.cli.progress import PlainLines, name_of
from async_extractor.cli.run import until_signalled
from async_extractor.cli.screen import Column, print_fitted, screen
from async_extractor.entity_names import entities_named
from async_extractor.errors import BackfillError, IncompleteError
from async_extractor.mage.profiles import profiles_named
from async_extractor.mage.secrets import MageSecrets
from async_extractor.profile_option import with_profile
from async_extractor.request import BackfillRequest
from async_extractor.spoken import say, spoken
from async_extractor.verification import Verification

REPAIR = typer.Option(False, "--repair", help="Read what differs again, and mark deleted what QuickBooks has no more")
DEEP = typer.Option(
    False, "--deep", help="Compare every record, not only where counts or seals differ; costs as much as reading all"
)
AS_JSON = typer.Option(False, "--json", help="The last line of stdout is one JSON object with all Ids that differ")

MARKS = {"ok": "ok", "notice": "note", "warning": "WARNING", "error": "ERROR"}


def verify(
    entity: str = ENTITY,
    fecha_inicio: str = FECHA_INICIO,
    fecha_fin: str = FECHA_FIN,
    filter_field: str = FILTER_FIELD,
    repair: bool = REPAIR,
    deep: bool = DEEP,
    concurrency: str = CONCURRENCY,
    as_json: bool = AS_JSON,
    no_limits: bool = NO_LIMITS,
    profile: str = PROFILES,
    lang: str = LANG,
    connections: int = CONNECTIONS,
) -> int:
    """Compare raw with QuickBooks, name what differs, repair it.

    Exit 0: nothing is missing or wrong (any more); 3: something is; 2: bad parameters; 4: configuration.
    """
    try:
        requests = [
            BackfillRequest.parse(
                one, fecha_inicio, fecha_fin, concurrency=concurrency, filter_field=filter_field, lang=lang
            )
            for one in entities_named(entity)
        ]
        profiles = profiles_named(profile)
        jobs = [Job(one, request) for one in profiles for request in requests]
        lines = PlainLines()

        async def work(job: Job, _turn: Turn | None = None) -> VerificationResult:
            several = len(profiles) > 1
            name = name_of(job.profile, job.entity, several_companies=several) if len(jobs) > 1 else ""
            secrets = MageSecrets.locate(profile=job.profile)
            with lines.of(name) as listeners:
                verification = Verification(job.request, secrets, listeners, limits=not no_limits, profile=job.profile)
                return await until_signalled(verification, lambda: verification.verify(deep=deep, repair=repair))

        if len(jobs) > 1:
            outcomes = asyncio.run(each(jobs, work, good=("equal", "repaired"), connections=connections))
            told = "Verification of all companies" if len(profiles) > 1 else "Verification of all entities"
            return tell(outcomes, told, as_json=as_json)
        result = asyncio.run(work(jobs[0]))
    except BackfillError as error:
        if as_json:
            refused = {"run_id": None, "entity": entity, "status": "failed"}
            print(json.dumps({**refused, "error": str(error), "exit_code": error.exit_code}), flush=True)
        raise
    if as_json:
        print(json.dumps(result.as_dict()), flush=True)
    else:
        print_checks(result.checks, screen(), f"Verification {result.run_id}: {entity}, {result.status}")
    if result.status == "different":
        raise IncompleteError(_what_now(result, repaired=repair))
    return 0


def _what_now(result: VerificationResult, *, repaired: bool) -> str:
    wrong = [check for check in result.checks if check.severity == "error"]
    what = f"{result.entity}: {', '.join(check.name for check in wrong)} found wrong"
    if repaired:
        return with_profile(f"{what}, also after the repair; see the table, and `qbo-backfill report {result.run_id}`")
    advice = next((check.advice for check in wrong if check.advice), "")
    return f"{what}; repair it with: {advice}" if advice else what


def print_checks(checks: Sequence[CheckResult], console: Console, title: str) -> None:
    """A table of checks: how grave, which, what was found; beneath it what to do, each command whole on a line."""
    names = [check_name(check.name, spoken()) for check in checks]
    columns = (Column(""), Column("check", folds=20), Column("what was found", folds=40))
    rows = [
        (say(MARKS[check.severity]), name, check.words(spoken())) for name, check in zip(names, checks, strict=True)
    ]
    print_fitted(console, title, columns, rows)
    for name, check in zip(names, checks, strict=True):
        if check.advice:
            told = f"{name}: {say(f'to do: {check.advice}')}"
            console.print(told, markup=False, highlight=False, soft_wrap=True)
