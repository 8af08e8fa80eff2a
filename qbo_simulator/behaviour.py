"""How the simulated server behaves: every switch, with what it is when nothing is said.

What is known of the real server is fixed in the code; what is open, or changes from day to day, is a switch here.
Scenarios are named sets of switches.
"""

from __future__ import annotations

from typing import Any, Literal

import msgspec

from qbo_simulator.query.select import QueryRules

FaultKind = Literal[
    "throttle",
    "unauthorized",
    "unauthorized-xml",
    "forbidden",
    "user-rights-lost",
    "company-status",
    "system-fault",
    "internal-error",
    "bad-gateway",
    "unavailable",
    "empty-503",
    "gateway-timeout",
    "reset",
    "truncated",
    "truncated-gzip",
    "slow-body",
    "fault-in-200",
    "html-in-200",
    "batch-item",
    "empty-page",
    "short-page",
    "zero-count",
    "other-key",
    "bom",
    "gzip-bomb",
    "endless-body",
    "fuzz",
]
RequestKind = Literal["query", "count", "batch", "cdc", "companyinfo", "read", "write", "token"]


class Section(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A group of switches; a switch that does not exist is an error."""


class Limits(Section, frozen=True):
    """Intuit's published limits, as sliding windows: no 60 s hold more than `per_minute` admitted requests.

    `realm_batches_per_minute`: other applications' batches count there, too; this one's alone never reach it.
    `batch_counts`: whether a batch is one request, or each of its items is.
    `monthly_calls` is the Builder tier's budget of metered calls: past it every metered call is answered 429 (None: no
    such budget). Refused requests do not count against the windows.
    """

    enforced: bool = True
    per_minute: int = 500
    per_second: int = 10
    in_flight: int = 10
    batches_per_minute: int = 40
    realm_batches_per_minute: int = 120
    batch_counts: Literal["once", "each-item"] = "once"
    monthly_calls: int | None = None
    body: Literal["json", "xml", "mixed"] = "json"
    retry_after: Literal["absent", "present"] = "absent"
    retry_after_seconds: int = 60


class Tokens(Section, frozen=True):
    """OAuth. The refresh token's value changes on the first refresh after `rotate_after_seconds` (0: on each).

    `grace_seconds`: how long the replaced value goes on working. `reuse`: what a dead value does.
    `drop_rotated_answers`: so many rotations happen and their answers are lost on the way.
    """

    access_seconds: int = 3600
    rotate_after_seconds: float = 86_400
    grace_seconds: float = 0
    reuse: Literal["refused", "revokes-all"] = "refused"
    drop_rotated_answers: int = 0
    milliseconds: float = 40


class Latency(Section, frozen=True):
    """Milliseconds from request to answer: a base between two bounds, and what rows and their lines add.

    `body_seconds`: the body trickles for so long.
    """

    base_ms: tuple[float, float] = (0, 0)
    row_ms: float = 0
    line_ms: float = 0
    body_seconds: float = 0


class Edits(Section, frozen=True):
    """What changes in the books after each page that was read: how many rows on average.

    `silent` edits change a record and its SyncToken but not its LastUpdatedTime: it is not known that every payment and
    every stock movement moves that. `balance` moves LastUpdatedTime and not the SyncToken. `rename` changes the name
    that old invoices say, without a new version of them. `merge`: a name becomes another one and vanishes.
    `ripple`: an invoice that comes, changes or goes moves its customer's balance and its items' stock.
    """

    touch: float = 0
    insert: float = 0
    void: float = 0
    delete: float = 0
    inactivate: float = 0
    silent: float = 0
    balance: float = 0
    rename: float = 0
    merge: float = 0
    ripple: bool = False


class Fault(Section, frozen=True):
    """A fault, the requests it hits (none named means all but token requests), and how often.

    `containing`: only requests whose statement or address holds this text, without case. `empty-page` has no rows
    though COUNT(*) says there are some, `short-page` one too few; `zero-count` counts none; `other-key` has the rows
    under `<Entity>Txn`; `bom` puts a byte order mark before the page; `gzip-bomb` unpacks to `megabytes`;
    `endless-body` sends a space a second until the client leaves; `fuzz` makes one to three things wrong at random:
    status, headers, bytes, shape.
    `rate` is a probability. The first `after` requests are spared, `times` bounds how many are hit, and the rule ends
    `seconds` after it was switched on. `body_seconds` is how long a `slow-body` trickles.
    """

    kind: FaultKind
    rate: float = 1.0
    requests: tuple[RequestKind, ...] = ()
    after: int = 0
    times: int | None = None
    seconds: float | None = None
    body_seconds: float = 20
    megabytes: int = 600
    containing: str = ""


class Poison(Section, frozen=True):
    """Records no page can hold: so many by entity, or those with these Ids. `code` is what their page is answered."""

    count: dict[str, int] = {}
    ids: dict[str, tuple[str, ...]] = {}
    code: Literal["10000", "4002"] = "10000"


class ChangeDataCapture(Section, frozen=True):
    """`/cdc`: how many objects an answer holds, and how many days back it knows.

    `older`: what a `changedSince` further back does; it was seen to be taken without a word, and `cut` then gives what
    the days hold. `exceptions`: the entities that Intuit's page leaves out. `merged`: whether merged-away names are
    listed as Deleted.
    """

    objects: int = 1000
    days: float = 30
    older: Literal["cut", "accepted", "refused"] = "cut"
    exceptions: Literal["refused", "empty", "listed"] = "refused"
    merged: Literal["absent", "listed"] = "absent"


class Answers(Section, frozen=True):
    """`without_accept`: what a client gets that does not ask for JSON. `url_characters`: longer paths with their query
    are refused with 414 (None: no such limit; Intuit documents none). `total_count`: whether pages of the entities
    that were seen with it carry `totalCount`. `time`: the envelope's; `seen` is Pacific with milliseconds, or without
    when there are none. `header_bytes`: the length of one more header. `new_keys`: records carry keys that were never
    seen, as they come inside a minor version without notice. `custom_fields`: so many beyond the first three come with
    `include=enhancedAllCustomFields` on records of the entities that take it."""

    without_accept: Literal["xml", "json"] = "xml"
    url_characters: int | None = None
    total_count: Literal["seen", "absent"] = "seen"
    time: Literal["seen", "whole", "utc", "naive", "milliseconds", "nonsense", "absent"] = "seen"
    header_bytes: int = 0
    new_keys: bool = False
    custom_fields: int = 0


class Behaviour(Section, frozen=True):
    about: str = ""
    queries: QueryRules = QueryRules()
    limits: Limits = Limits()
    tokens: Tokens = Tokens()
    latency: Latency = Latency()
    edits: Edits = Edits()
    poison: Poison = Poison()
    cdc: ChangeDataCapture = ChangeDataCapture()
    answers: Answers = Answers()
    faults: tuple[Fault, ...] = ()


class BehaviourError(ValueError):
    """A switch that does not exist, or a value it can't have: one line."""


def merged(base: dict[str, Any], over: dict[str, Any]) -> dict[str, Any]:
    """Switches of `over` on top of `base`; faults add up."""
    result = dict(base)
    for name, value in over.items():
        if name == "faults" and isinstance(value, list):
            result[name] = [*result.get(name, []), *value]
        elif isinstance(value, dict) and isinstance(result.get(name), dict):
            result[name] = merged(result[name], value)
        else:
            result[name] = value
    return result


def behaviour(switches: dict[str, Any]) -> Behaviour:
    """The typed form. BehaviourError names the switch."""
    try:
        return msgspec.convert(switches, Behaviour)
    except msgspec.ValidationError as error:
        raise BehaviourError(str(error)) from error
