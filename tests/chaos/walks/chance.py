"""A walk from a seed: the same seed is the same walk."""

from __future__ import annotations

from dataclasses import replace
from random import Random

from tests.chaos.walks.script import Change, Command, Cut, How, Name, Pass, Step, Walk

QUERY_NAMES = {"invoices": "Invoice", "customers": "Customer", "items": "Item"}
# How often each kind of change comes, for transactions and for names.
OF_INVOICES = {"edit": 30, "insert": 16, "delete": 20, "void": 5, "balance": 8, "silent": 4, "spoil": 2, "heal": 2}
OF_NAMES = {
    "edit": 25, "insert": 15, "inactivate": 8, "activate": 5, "balance": 10, "silent": 4,
    "rename": 8, "merge": 12, "spoil": 1, "heal": 1,
}  # fmt: skip
COMMANDS: dict[Name, int] = {
    "run": 40, "reprocess": 10, "retry-mode": 3, "verify": 8, "verify-deep": 5, "repair": 8, "resume": 6,
    "retry": 5, "retry-chunk": 7, "quarantine-retry": 4, "workers": 8,
}  # fmt: skip
CUTS: dict[How, int] = {"kill": 43, "terminate": 16, "sigterm": 12, "refuse": 16, "lapse": 8, "empty": 5}
# Which of a step's requests: what is new takes three or so, a range in months a dozen.
REQUESTS = (1, 1, 2, 2, 3, 3, 4, 4, 5, 6, 8, 11, 14)
BOUNDS = ("2025-01-01", "2025-04-01", "2025-06-15", "2025-09-01", "2025-12-31")
LARGE = 1_080  # more changes than Intuit lists


def walk(seed: int) -> Walk:
    return _Chance(seed).walk()


class _Chance:
    def __init__(self, seed: int) -> None:
        self._seed = seed
        self._chance = Random(f"walk {seed}")
        self._entity = self._chance.choices(["invoices", "customers", "items"], [60, 28, 12])[0]
        self._fields = ["last_updated", "created"] + ["txn_date"] * (self._entity == "invoices")
        self._ranges = [self._range() for _ in range(self._chance.randint(1, 3))]

    def walk(self) -> Walk:
        chance = self._chance
        large = chance.random() < 0.06
        sizes = {"invoices": chance.randint(10, 60), "customers": chance.randint(8, 30), "items": chance.randint(6, 20)}
        sizes[self._entity] = LARGE + 20 if large else chance.randint(30, 160)
        month = chance.random() < 0.08
        clock = -40 * 24 if month else chance.choice([-24, 0, 0, 24])
        steps: list[Step] = [self._command("run")]
        for _ in range(chance.randint(3, 6)):
            if chance.random() < 0.75:
                steps += [self._change() for _ in range(chance.randint(1, 3))]
            if chance.random() < 0.15:
                steps.append(Pass(chance.choice([0.01, 1, 20])))
            steps.append(self._command())
        if large:
            steps.insert(1, Change("edit", QUERY_NAMES[self._entity], LARGE, chance.randrange(1000)))
        if month:
            steps.insert(chance.randrange(1, len(steps)), Pass(35 * 24))
        return Walk(tuple(steps), self._seed, **sizes, clock_hours=clock)

    def _range(self) -> tuple[str, str, str]:
        chance = self._chance
        field = chance.choice(self._fields)
        start, end = sorted(chance.sample(BOUNDS, 2))
        until = chance.choices(["past", "all", "today"], [35, 30, 35])[0]
        if until != "past":
            start, end = BOUNDS[0], BOUNDS[-1]
        if until == "today":
            end = "today" if field != "txn_date" else "ahead"
        return start, end, field

    def _command(self, name: Name | None = None, beside: bool = False) -> Command:
        chance = self._chance
        name = name or chance.choices(list(COMMANDS), list(COMMANDS.values()))[0]
        start, end, field = chance.choice(self._ranges)
        if name == "retry-chunk":
            start = chance.choice([*BOUNDS[:-1], "2025-10-20", "today"])
        command = Command(
            name,
            self._entity,
            start,
            end,
            field,
            chunk=chance.choices(["auto", "P1M", "P3M", "P2W"], [40, 30, 20, 10])[0],
            concurrency=chance.choice([1, 2, 4]),
        )
        if chance.random() < (0.2 if beside else 0.38):
            how = chance.choices(["kill", "terminate", "sigterm", "refuse", "lapse", "empty"], [43, 16, 12, 16, 8, 5])[
                0
            ]
            cut = Cut(how, chance.choice(REQUESTS), chance.choice([0, 0, 5, 15, 40]))  # type: ignore[arg-type]
            command = replace(command, cut=cut)
        if beside:
            return command
        times = chance.choices([0, 1, 2, 4], [45, 25, 20, 10])[0]
        command = replace(command, during=tuple((chance.choice(REQUESTS), self._change()) for _ in range(times)))
        if chance.random() < 0.22:
            other = self._command(beside=True)
            command = replace(command, beside=other, beside_at=chance.choice(REQUESTS))
        return command

    def _change(self) -> Change:
        chance = self._chance
        entity = self._entity
        # What others' records do shows in this entity's: a customer's name in invoices, an invoice in balances.
        if chance.random() < 0.15:
            entity = chance.choice(list(QUERY_NAMES))
        kinds = OF_INVOICES if entity == "invoices" else OF_NAMES
        kind = chance.choices(list(kinds), list(kinds.values()))[0]
        count = 1 if kind in ("merge", "spoil", "rename") else chance.choices([1, 2, 5, 12], [50, 25, 15, 10])[0]
        day = ""
        if entity == "invoices" and kind in ("edit", "insert") and chance.random() < 0.4:
            day = chance.choice(["2025-02-10", "2025-07-04", "2025-11-30", "today", "ahead"])
        ripple = entity == "invoices" and kind in ("edit", "insert", "delete", "void") and chance.random() < 0.2
        return Change(kind, QUERY_NAMES[entity], count, chance.randrange(1000), day, ripple)
