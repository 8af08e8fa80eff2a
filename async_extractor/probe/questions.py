"""Ask a company what is assumed of QuickBooks: some twenty read-only requests, what was assumed beside what was found.

The result holds no names, amounts or Ids, and is what the simulator takes as `--as FILE`. What can't be told from this
company's books is left open, never guessed: then the simulator keeps its own default.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from datetime import datetime, timedelta
from importlib import metadata
from typing import Any

from async_extractor.entities import ENTITIES
from async_extractor.probe.answers import (
    Asked,
    ProbingClient,
    Seen,
    above,
    lonely,
    moment_of,
    order_of_ties,
    tied,
    time_style,
)
from async_extractor.qbo.query import CREATED, LAST_UPDATED, MINOR_VERSION, MOST_ROWS, TXN_DATE, DateField
from async_extractor.windows import DAY, SECOND, UTC, iso

# What the run is told of before it begins; some are left out where an answer before made them needless.
MOST_REQUESTS = 22
# Fewer ties, or records, prove nothing.
ENOUGH = 5
# One of those that Intuit's page on change data capture leaves out.
LEFT_OUT = "TaxCode"
LONG_AGO = timedelta(days=400)
REACH = timedelta(days=30)


@dataclass(frozen=True)
class Finding:
    """One question: what is assumed, and what this company's QuickBooks did. `value` is of the simulator's `switch`."""

    question: str
    assumed: str
    found: str
    switch: str = ""
    value: Any = None


class Probe:
    """The questions, in order. `rows` are each entity's, as QuickBooks has counted them."""

    def __init__(self, client: ProbingClient, rows: Mapping[str, int], tell: Callable[[Finding], None]) -> None:
        self._client = client
        self._rows = rows
        self._tell = tell
        # The one with the most to see; invoices where there are enough, since most is open of them.
        name = "invoices" if rows.get("invoices", 0) >= 100 else max(rows, key=lambda one: rows[one])
        self._entity = ENTITIES[name]
        self._count_seconds: list[float] = []
        self._times: list[Any] = []
        self._page = Seen()
        self.findings: list[Finding] = []
        self.requests = 0

    async def ask_all(self) -> None:
        """Raises QboFault where QuickBooks doesn't answer; what was found until then stands."""
        await self._orders()
        await self._ids()
        await self._largest_page()
        await self._active()
        await self._bounds()
        await self._naive_times()
        await self._changes()
        await self._sku()
        self._answers()

    def as_dict(self) -> dict[str, Any]:
        """What a user may send: no names, amounts, Ids, nor how many rows exactly."""
        switches: dict[str, dict[str, Any]] = {}
        for finding in self.findings:
            if finding.switch and finding.value is not None:
                section, name = finding.switch.split(".")
                switches.setdefault(section, {})[name] = finding.value
        return {
            "about": "what a company's QuickBooks was found to do, by `qbo-backfill check --probe`",
            "switches": switches,
            "findings": [{k: v for k, v in asdict(one).items() if k != "value"} for one in self.findings],
            "header_names": sorted(self._client.header_names),
            "rows_digits": {name: len(str(rows)) for name, rows in self._rows.items()},
            "requests": self.requests,
            "minor_version": MINOR_VERSION,
            "version": metadata.version("async-extractor"),
        }

    def _add(self, question: str, assumed: str, found: str, switch: str = "", value: Any = None) -> None:
        self.findings.append(Finding(question, assumed, found, switch, value))
        self._tell(self.findings[-1])

    async def _ask(self, asked: Asked) -> Seen:
        self.requests += 1
        seen = await self._client.ask(asked)
        if not seen.refused:
            self._times.append(seen.time)
        return seen

    async def _select(self, *conditions: str, order: str = "", most: int = 100, columns: str = "*") -> Seen:
        also = ("Active IN (true, false)",) if self._entity.has_active else ()
        where = f" WHERE {' AND '.join((*conditions, *also))}" if conditions or also else ""
        order = f" ORDERBY {order} ASC" if order else ""
        text = f"SELECT {columns} FROM {self._entity.query_name}{where}{order} STARTPOSITION 1 MAXRESULTS {most}"
        return await self._ask(Asked("query", {"query": text}))

    async def _count(self, *conditions: str, entity: str = "") -> int | None:
        """None where it is refused."""
        name = entity or self._entity.query_name
        also = ("Active IN (true, false)",) if self._entity.has_active and not entity else ()
        where = f" WHERE {' AND '.join((*conditions, *also))}" if conditions or also else ""
        seen = await self._ask(Asked("query", {"query": f"SELECT COUNT(*) FROM {name}{where}"}))
        if not seen.refused:
            self._count_seconds.append(seen.seconds)
        return seen.count

    # Orders

    async def _orders(self) -> None:
        self._page = await self._select(order=LAST_UPDATED.path, most=MOST_ROWS)
        honoured = [self._ordered(LAST_UPDATED, self._page)]
        honoured.append(self._ordered(CREATED, await self._select(order=CREATED.path)))
        ties_by = TXN_DATE if self._entity.has_txn_date else LAST_UPDATED
        first = self._page if ties_by is LAST_UPDATED else await self._select(order=ties_by.path, most=MOST_ROWS)
        if ties_by is TXN_DATE:
            honoured.append(self._ordered(TXN_DATE, first))
        if False in honoured:
            self._add("ORDERBY", "honoured", "ignored without a word", "queries.order_by", "ignored")
        elif None not in honoured:
            self._add("ORDERBY", "honoured", "honoured", "queries.order_by", "honoured")
        again = await self._select(order=ties_by.path, most=MOST_ROWS)
        otherwise = await self._select(f"{ties_by.path} >= '1990-01-01'", order=ties_by.path, most=MOST_ROWS)
        if honoured[-1] is False or (ties := tied(first, ties_by)) < ENOUGH:
            self._add("order of equal values", "by statement", "can't be told: too few of them, or no order")
            return
        same = [order_of_ties(seen, ties_by) == order_of_ties(first, ties_by) for seen in (again, otherwise)]
        value = "stable" if all(same) else "by-statement" if same[0] else "shuffled"
        words = {
            "stable": "the same in all statements",
            "by-statement": "the same for one statement, another in another",
            "shuffled": "another in each answer",
        }
        self._add("order of equal values", "by statement", f"{words[value]} ({ties} ties)", "queries.ties", value)

    def _ordered(self, by: DateField, seen: Seen) -> bool | None:
        values = [moment_of(row, by) for row in seen.rows]
        known = None if len(set(values)) < ENOUGH else values == sorted(values)
        found = {None: "can't be told: too few records", True: "honoured", False: "ignored"}[known]
        self._add(f"ORDERBY {by.path}", "honoured", "refused" if seen.refused else found)
        return False if seen.refused else known

    # Ids

    async def _ids(self) -> None:
        seen = await self._select(order="Id")
        ids = [int(row["Id"]) for row in seen.rows if str(row.get("Id")).isdecimal()]
        if seen.refused:
            self._add("ORDERBY Id", "ignored", f"refused ({seen.code})", "queries.order_by_id", "refused")
        elif len(ids) < ENOUGH:
            self._add("ORDERBY Id", "ignored", "can't be told: too few records")
        else:
            value = "honoured" if ids == sorted(ids) else "ignored"
            self._add("ORDERBY Id", "ignored", value, "queries.order_by_id", value)
        known, condition = self._known_window()
        texts = sorted(str(row["Id"]) for row in known)
        best = max(texts, key=lambda one: abs(above(texts, one) - above(texts, one, text=True)), default="0")
        conditions = (condition, f"Id > '{best}'") if condition else (f"Id > '{best}'",)
        count = await self._count(*conditions)
        number, text = above(texts, best), above(texts, best, text=True)
        if count is None:
            self._add("Id > 'n'", "compares numbers", "refused", "queries.compare_id", "refused")
        elif not texts or count not in (number, text):
            self._add("Id > 'n'", "compares numbers", "can't be told: the count is of neither")
        elif number == text:
            self._add("Id > 'n'", "compares numbers", "taken; numbers or text can't be told apart here")
        elif count == number:
            self._add("Id > 'n'", "compares numbers", "compares numbers", "queries.compare_id", "number")
        else:
            self._add("Id > 'n'", "compares numbers", "compares text")

    def _known_window(self) -> tuple[list[dict[str, Any]], str]:
        """Records of which all are known that fulfil a condition; '' for the whole company."""
        rows = self._page.rows
        if len(rows) < MOST_ROWS:
            return rows, ""
        last = max(moment_of(row, LAST_UPDATED) for row in rows)
        return [row for row in rows if moment_of(row, LAST_UPDATED) < last], LAST_UPDATED.before(last)

    async def _largest_page(self) -> None:
        seen = await self._select(most=MOST_ROWS + 1, columns="Id")
        question = f"MAXRESULTS {MOST_ROWS + 1}"
        if seen.refused:
            self._add(question, "cut to 1000", f"refused ({seen.code})", "queries.over_1000", "refused")
        elif len(seen.rows) > MOST_ROWS:
            self._add(question, "cut to 1000", f"{len(seen.rows)} rows")
        else:
            more = self._rows[self._entity.name] > MOST_ROWS
            found = "cut to 1000" if more else "taken; there are no more rows to cut"
            self._add(question, "cut to 1000", found, "queries.over_1000", "capped")

    async def _active(self) -> None:
        named = [one for one in self._rows if ENTITIES[one].has_active]
        if not named:
            return
        name = max(named, key=lambda one: self._rows[one])
        every, entity = self._rows[name], ENTITIES[name].query_name
        plain = await self._count(entity=entity)
        active = await self._count("Active = true", entity=entity)
        if active == every:
            found = "can't be told: none is inactive"
        else:
            found = {active: "left out", every: "counted"}.get(plain, "neither left out nor counted whole")
        self._add("inactive names without a word on Active", "left out", found)

    # Times

    async def _bounds(self) -> None:
        """Each with a second, or a day, whose records are all in a page that was read."""
        page = self._page
        moment, rows = lonely(page, LAST_UPDATED, SECOND)
        if moment is None:
            self._add("bounds and fractions of a second", "inclusive, none", "can't be told: too few records")
            return
        path, at, after = LAST_UPDATED.path, LAST_UPDATED.literal(moment), LAST_UPDATED.literal(moment + SECOND)
        whole = await self._count(f"{path} >= {at}", f"{path} < {after}")
        exact = await self._count(f"{path} >= {at}", f"{path} <= {at}")
        beyond = await self._count(f"{path} > {at}", f"{path} < {after}")
        seen = (whole, exact, beyond)
        switch = "queries.hidden_fractions"
        if seen == (rows, rows, 0):
            self._add("fractions of a second behind the filter", "none", "none; >= and <= are inclusive", switch, False)
        elif whole == rows and beyond == rows:
            self._add("fractions of a second behind the filter", "none", "there are", switch, True)
        else:
            self._add("fractions of a second behind the filter", "none", f"{seen} of {rows}: neither")

    async def _naive_times(self) -> None:
        moment, rows = lonely(self._page, LAST_UPDATED, SECOND, apart=timedelta(hours=15))
        question, assumed = "a time without offset", "Pacific"
        if moment is None:
            self._add(question, assumed, "can't be told: too few records")
            return
        shown = next(row for row in self._page.rows if moment_of(row, LAST_UPDATED) == moment)
        offset = datetime.fromisoformat(str(shown["MetaData"]["LastUpdatedTime"]).replace("Z", "+00:00")).utcoffset()
        for local, value in ((moment + (offset or timedelta()), "pacific"), (moment, "utc")):
            start, end = (f"'{iso(one).removesuffix('Z')}'" for one in (local, local + SECOND))
            count = await self._count(f"{LAST_UPDATED.path} >= {start}", f"{LAST_UPDATED.path} < {end}")
            if count is None:
                self._add(question, assumed, "refused", "queries.naive_times", "refused")
                return
            if count == rows:
                found = {"pacific": "read in the zone that records show", "utc": "read as UTC"}[value]
                self._add(question, assumed, found, "queries.naive_times", value)
                return
        self._add(question, assumed, "neither the zone that records show nor UTC")

    # Change data capture

    async def _changes(self) -> None:
        now = datetime.now(UTC).replace(microsecond=0)
        name, question = self._entity.query_name, "changedSince more than 30 days back"
        far = await self._cdc(name, now - LONG_AGO)
        oldest = min((moment_of(row, LAST_UPDATED) for row in far.rows if "MetaData" in row), default=now)
        switch = "cdc.older"
        if far.refused:
            self._add(question, "cut to 30 days", f"refused ({far.code})", switch, "refused")
        elif oldest < now - REACH - DAY:
            self._add(question, "cut to 30 days", f"answered, {(now - oldest).days} days back", switch, "accepted")
        else:
            path = LAST_UPDATED.path
            older = await self._count(f"{path} >= '{iso(now - LONG_AGO)}'", f"{path} < '{iso(now - REACH - DAY)}'")
            if older and len(far.rows) < MOST_ROWS:
                self._add(question, "cut to 30 days", "cut to 30 days", switch, "cut")
            else:
                self._add(question, "cut to 30 days", "can't be told from what changed here")
        question = f"change data capture of {LEFT_OUT}, which Intuit's page leaves out"
        left_out = await self._cdc(LEFT_OUT, now - REACH + DAY)
        switch = "cdc.exceptions"
        if left_out.refused:
            self._add(question, "refused", f"refused ({left_out.code})", switch, "refused")
        elif left_out.rows:
            self._add(question, "refused", "listed", switch, "listed")
        elif await self._count(f"{LAST_UPDATED.path} >= '{iso(now - REACH + DAY)}'", entity=LEFT_OUT):
            self._add(question, "refused", "an empty list, though some changed", switch, "empty")
        else:
            self._add(question, "refused", "an empty list; none changed")

    async def _cdc(self, entity: str, since: datetime) -> Seen:
        return await self._ask(Asked("cdc", {"entities": entity, "changedSince": iso(since)}))

    async def _sku(self) -> None:
        if not self._rows.get("items"):
            return
        text = f"SELECT {{}} FROM Item WHERE Active IN (true, false) STARTPOSITION 1 MAXRESULTS {MOST_ROWS}"
        for columns, value, found in (("*", "always", "given"), ("*, Sku", "named", "given only where it is named")):
            seen = await self._ask(Asked("query", {"query": text.format(columns)}))
            if any("Sku" in row for row in seen.rows):
                self._add("Sku in SELECT * FROM Item", "given", found, "queries.sku", value)
                return
        self._add("Sku in SELECT * FROM Item", "given", "can't be told: no item has one")

    # What all answers have in common

    def _answers(self) -> None:
        if self._entity.name == "invoices":
            found = "absent" if self._page.count is None else "there"
            value = "absent" if self._page.count is None else "seen"
            self._add("totalCount in pages of invoices", "there", found, "answers.total_count", value)
        found = time_style(self._times)
        words = {
            "seen": "with offset and milliseconds",
            "whole": "with offset, whole seconds",
            "utc": "with Z",
            "naive": "without offset",
            "milliseconds": "a number of milliseconds",
            "absent": "absent",
            "nonsense": "no time",
        }
        self._add("time of an answer", words["seen"], words[found], "answers.time", found)
        told = [one for one in ("intuit_tid", "qbo-version", "service-time") if one in self._client.header_names]
        self._add("headers", "intuit_tid, qbo-version, service-time", ", ".join(told) or "none of these")
        quick = sorted(seconds * 1000 for seconds in self._count_seconds)
        if quick:
            base = [float(math.floor(quick[0])), float(math.ceil(quick[-1]))]
            self._add("milliseconds of a COUNT(*)", "", f"{base[0]:.0f} - {base[1]:.0f}", "latency.base_ms", base)
            rows, spent = len(self._page.rows), self._page.seconds * 1000
            each = round(max(0.0, spent - quick[len(quick) // 2]) / max(rows, 1), 3)
            self._add(f"milliseconds of a page of {rows}", "", f"{spent:.0f}", "latency.row_ms", each)
