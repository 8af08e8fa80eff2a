"""Several companies and entities in one command: side by side within each company's budget, told in one table."""

from __future__ import annotations

import asyncio
import json
import re
from collections import Counter
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from async_extractor.cli.screen import Column, print_fitted, screen
from async_extractor.errors import BackfillError, IncompleteError, NotOfferedError, RequestError
from async_extractor.events import Event, Listener
from async_extractor.mage.profiles import shown
from async_extractor.request import BackfillRequest
from async_extractor.spoken import say

# Entities of one company at once: as many as the course has pipelines.
AT_ONCE = 3
FIGURES = (
    Column("rows read", number=True),
    Column("inserted", 1, number=True),
    Column("updated", 2, number=True),
    Column("requests", 3, number=True),
    Column("seconds", 5, number=True),
)
# Connections of one command to Postgres, which takes 100 unless told otherwise, three of them kept for superusers: the
# rest is left to Mage, to people, and to whatever else runs. Memory goes with them (docs/many-companies.md).
CONNECTIONS = 70
# What a run has beside one connection for each worker: the ledger's, and the budget's.
OF_A_RUN = 2


@dataclass(frozen=True)
class Job:
    """One company's entity; '' is the company without a prefix."""

    profile: str
    request: BackfillRequest

    @property
    def entity(self) -> str:
        return self.request.entity.name

    @property
    def connections(self) -> int:
        """To Postgres, at the most."""
        return self.request.concurrency + OF_A_RUN


class Result(Protocol):
    """How an entity ended."""

    @property
    def status(self) -> str: ...
    def as_dict(self) -> dict[str, Any]: ...


def status_of(error: BackfillError | None) -> str:
    """What a run that ended with this error, and has no result, is called."""
    if isinstance(error, NotOfferedError):
        return "not offered"
    return "incomplete" if isinstance(error, IncompleteError) else "failed"


@dataclass(frozen=True)
class Outcome:
    """A job's result, or the error that it ended with."""

    job: Job
    result: Result | None = None
    error: BackfillError | None = None
    good: tuple[str, ...] = ("done",)

    @property
    def entity(self) -> str:
        return self.job.entity

    @property
    def status(self) -> str:
        return status_of(self.error) if self.result is None else self.result.status

    @property
    def exit_code(self) -> int:
        if self.error is not None:
            return self.error.exit_code
        return 0 if self.status in self.good else IncompleteError.exit_code

    @property
    def why(self) -> str:
        """Why it didn't end well; '' where it did."""
        return str(self.error or self.as_dict().get("error") or "")

    def as_dict(self) -> dict[str, Any]:
        told = {"entity": self.entity, "status": self.status, "exit_code": self.exit_code}
        return {**told, **(self.result.as_dict() if self.result else {"error": str(self.error)})}


class Turn:
    """A job's place. `listener` gives it up when QuickBooks makes the company wait and others could go on."""

    def __init__(self, turns: Turns | None, job: Job) -> None:
        self.given_up = False
        # What is begun anew resumes; another mode would do again, or leave, what was done so far.
        self._turns = turns if job.request.mode == "resume" else None
        self._job = job

    def listener(self, stop: Callable[[str], None]) -> Listener:
        """For the events of a run, which `stop` ends so that it can be resumed."""

        def heard(event: Event) -> None:
            waits = event.name == "throttled" or (event.name == "breaker" and event.fields.get("state") == "open")
            if waits and not self.given_up and self._turns is not None and self._turns.give_up(self._job):
                self.given_up = True
                stop("QuickBooks keeps this company waiting: other companies went first")

        return heard


class Turns:
    """Who may begin: so many in all, so many of a company, and of a company's entity one at a time.

    A company that QuickBooks keeps waiting, for up to a quarter of an hour, gives its places to those that have yet to
    begin, and goes on when these have begun.
    """

    def __init__(self, jobs: Sequence[Job], places: int) -> None:
        self._places = asyncio.Semaphore(places)
        self._of_company = {job.profile: asyncio.Semaphore(AT_ONCE) for job in jobs}
        self._of_entity = {(job.profile, job.entity): asyncio.Lock() for job in jobs}
        self._to_begin = Counter(job.profile for job in jobs)
        self._held_up: set[str] = set()
        self._changed = asyncio.Condition()

    async def take(self, job: Job, work: Callable[[Turn], Awaitable[Outcome]]) -> Outcome:
        """What the work comes to in its turn, and in a second one where it gave up the first."""
        async with self._of_entity[job.profile, job.entity], self._of_company[job.profile]:
            turn = Turn(self, job)
            async with self._places:
                self._to_begin[job.profile] -= 1
                await self._tell()
                outcome = await work(turn)
            if not turn.given_up or outcome.exit_code == 0:
                return outcome
            await self._tell()
            async with self._changed:
                await self._changed.wait_for(lambda: not self._others_wait(job))
            async with self._places:
                return await work(Turn(None, job))

    def give_up(self, job: Job) -> bool:
        """Whether the job should give up its place: somebody waits for one who can use it."""
        self._held_up.add(job.profile)
        return self._others_wait(job)

    def _others_wait(self, job: Job) -> bool:
        return any(left for profile, left in self._to_begin.items() if profile not in {*self._held_up, job.profile})

    async def _tell(self) -> None:
        async with self._changed:
            self._changed.notify_all()


def places_for(jobs: Sequence[Job], connections: int) -> int:
    """How many run at once within so many connections to Postgres; RequestError where not even one can."""
    most = max(job.connections for job in jobs)
    if most > connections:
        raise RequestError(
            f"connections: a run with {most - OF_A_RUN} workers needs {most}, and {connections} are too few"
        )
    return connections // most


async def each(
    jobs: Sequence[Job],
    work: Callable[[Job, Turn], Awaitable[Result]],
    good: tuple[str, ...] = ("done",),
    *,
    connections: int = CONNECTIONS,
    ended: Callable[[Outcome], None] = lambda _outcome: None,
) -> list[Outcome]:
    """`work` on each job, side by side. One that ends early doesn't stop the others. `ended` is told of each."""
    turns = Turns(jobs, places_for(jobs, connections))

    async def once(job: Job, turn: Turn) -> Outcome:
        try:
            return Outcome(job, await work(job, turn), good=good)
        except BackfillError as error:
            return Outcome(job, error=error)

    async def one(job: Job) -> Outcome:
        outcome = await turns.take(job, lambda turn: once(job, turn))
        ended(outcome)
        return outcome

    # Each company's first entity before any company's second.
    places = Counter[str]()
    order = {id(job): places.update([job.profile]) or places[job.profile] for job in jobs}
    tasks = {id(job): asyncio.ensure_future(one(job)) for job in sorted(jobs, key=lambda job: order[id(job)])}
    found = await asyncio.gather(*(tasks[id(job)] for job in jobs), return_exceptions=True)
    for outcome in found:
        if isinstance(outcome, BaseException):
            raise outcome  # a mistake of ours, to be seen whole, once the others have ended
    return [outcome for outcome in found if isinstance(outcome, Outcome)]


def tell(outcomes: Sequence[Outcome], title: str, *, as_json: bool) -> int:
    """The table of entities, or of companies where there are several; or one JSON object. The gravest exit code."""
    code = max((outcome.exit_code for outcome in outcomes), default=0)
    by_company: dict[str, list[Outcome]] = {}
    for outcome in outcomes:
        by_company.setdefault(outcome.job.profile, []).append(outcome)
    if as_json:
        print(json.dumps(_as_dict(by_company, code)), flush=True)
        return code
    several = len(by_company) > 1
    names = ("company", "status", "entities") if several else ("entity", "status", "run")
    columns = [Column(names[0]), Column(names[1]), Column(names[2], 0 if several else 4), *FIGURES]
    if several:
        rows = [_company_row(profile, group) for profile, group in by_company.items()]
    else:
        rows = [
            (one.entity, say(one.status), str(one.as_dict().get("run_id") or ""), *_figures([one])) for one in outcomes
        ]
    console = screen()
    print_fitted(console, title, columns, rows)
    for profile, group in by_company.items():
        for who, why in _reasons(group, errors_only=several):
            company = f"{shown(profile)}, " if several else ""
            console.print(f"{company}{who}: {say(why)}", markup=False, highlight=False)
    return code


def _as_dict(by_company: dict[str, list[Outcome]], code: int) -> dict[str, Any]:
    companies = [of_company(profile, group) for profile, group in by_company.items()]
    return {"exit_code": code, **({"companies": companies} if len(companies) > 1 else companies[0])}


def of_company(profile: str, group: Sequence[Outcome]) -> dict[str, Any]:
    """A company's end for programs: the gravest exit code, and each entity's end."""
    code = max(outcome.exit_code for outcome in group)
    return {"profile": shown(profile), "exit_code": code, "entities": [outcome.as_dict() for outcome in group]}


def _company_row(profile: str, group: Sequence[Outcome]) -> tuple[str, ...]:
    """A company's row: the gravest of its entities' ends."""
    gravest = max(group, key=lambda outcome: outcome.exit_code)
    well = sum(outcome.exit_code == 0 for outcome in group)
    status = group[0].good[0] if gravest.exit_code == 0 else gravest.status
    return (shown(profile), say(status), say(f"{well} of {len(group)}"), *_figures(group))


def _reasons(group: Sequence[Outcome], *, errors_only: bool) -> list[tuple[str, str]]:
    """Each reason once, with the entities that it is of, as text. What isn't offered is no error.

    Those that differ by Intuit's transaction id only are one, and the first tells it.
    """
    reasons: dict[str, tuple[str, list[str]]] = {}
    for outcome in group:
        if outcome.exit_code or (outcome.why and not errors_only):
            why = outcome.why or outcome.status
            key = re.sub(r" \(intuit_tid [^)]*\)", "", why)
            reasons.setdefault(key, (why, []))[1].append(outcome.entity)
    return [(", ".join(names) if len(names) < len(group) else say("all"), why) for why, names in reasons.values()]


def _figures(group: Sequence[Outcome]) -> tuple[str, ...]:
    """Sums of rows and requests, and the seconds of the longest; empty where nothing is known."""
    told = [outcome.as_dict() for outcome in group]
    rows = [one["rows"] for one in told if isinstance(one.get("rows"), dict)]
    sent = [
        one["requests"]["sent"] if isinstance(one["requests"], dict) else one["requests"]
        for one in told
        if "requests" in one
    ]
    seconds = [one["seconds"] for one in told if "seconds" in one]
    return (
        *(f"{sum(one[name] for one in rows):,}" if rows else "" for name in ("read", "inserted", "updated")),
        f"{sum(sent):,}" if sent else "",
        f"{max(seconds):,.1f}" if seconds else "",
    )
