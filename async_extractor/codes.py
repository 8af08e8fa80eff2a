"""The stable codes of events, checks and errors: QBF-, a letter, a phase's digit, and two digits.

The letter says how grave it is at its gravest: I for information, W for a warning, E for an error. The
first digit is the phase: 1 auth, 2 plan, 3 extract, 4 load, 5 validate, 6 report. A code never changes its
meaning; docs/error-codes.md is this table for people.
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Code:
    """`name` is the event's, the check's or the error's; `meaning` and `action` are for people."""

    code: str
    name: str
    meaning: str
    action: str = ""


# Emitted as events: in Mage's log, as JSON lines, and, from a warning upwards, in ops.events and the report.
EVENTS = (
    Code("QBF-I101", "token_refreshed", "A new access token was issued; a rotated refresh token is stored already."),
    Code(
        "QBF-W102",
        "token_retry",
        "Intuit's token endpoint gave no answer; the refresh is tried again.",
        "Nothing, unless it goes on: then look at Intuit's status page.",
    ),
    Code(
        "QBF-W103",
        "token_not_stored",
        "The rotated refresh token could not be stored in Mage Secrets yet; it is tried again.",
        "Make Mage's database writable; until then the new token is in this process only.",
    ),
    Code("QBF-I201", "planned", "The range was cut into chunks in the ledger."),
    Code(
        "QBF-W202",
        "budget_not_shared",
        "Postgres can't hold the company's shared budget, so this process takes a safe part of it.",
        "Mend the connection or the role's rights (POSTGRES_*); the run is slower, not wrong.",
    ),
    Code("QBF-I203", "repair_begun", "A verification reads windows again and marks rows deleted."),
    Code("QBF-I313", "extract_begun", "The workers begin; how many chunks are to be read."),
    Code("QBF-I301", "chunk_started", "A worker began a chunk."),
    Code("QBF-I302", "chunk_released", "A chunk was given back on purpose, to be resumed.", "Run the same again."),
    Code(
        "QBF-E303",
        "chunk_failed",
        "A chunk could not be read; the others go on.",
        "`qbo-backfill retry`; intuit_tid names the failure to Intuit's support.",
    ),
    Code("QBF-W304", "chunk_lost", "Another worker has taken the chunk over; nothing is written twice."),
    Code(
        "QBF-W305",
        "retry",
        "A request failed for a passing reason (5xx, a cut connection, HTML for JSON) and is sent again.",
        "Nothing: it is counted among the retries.",
    ),
    Code(
        "QBF-W306",
        "throttled",
        "QuickBooks answered 429; the whole company pauses.",
        "Nothing; when it comes often, another program asks the same company: lower the concurrency of either.",
    ),
    Code(
        "QBF-W307",
        "breaker",
        "The circuit breaker opened, probed or closed: QuickBooks is out of reach, or answers again.",
        "Look at Intuit's status page; the run waits 15 minutes and then ends resumable.",
    ),
    Code("QBF-W308", "order_ignored", "QuickBooks did not honour ORDERBY; windows that fit one page are read instead."),
    Code(
        "QBF-W309",
        "page_split",
        "QuickBooks can't serve a page; it is halved down to the record that breaks it.",
        "`qbo-backfill quarantine list` names the record.",
    ),
    Code(
        "QBF-W310",
        "incomplete",
        "The run ended with chunks that are not done.",
        "`qbo-backfill resume`.",
    ),
    Code(
        "QBF-W311",
        "changes_cut_off",
        "QuickBooks' list of changes was full, so deleted records may be missing from it.",
        "`qbo-backfill verify ... --repair` finds and marks them.",
    ),
    Code("QBF-W312", "more_events", "More events of the kinds above than are kept; their number is told."),
    Code("QBF-I314", "answered", "QuickBooks answered a request; the event has its status, seconds and bytes."),
    Code("QBF-I401", "page_loaded", "A page is in raw."),
    Code("QBF-I406", "progress", "How far the run is: chunks, rows, rate, and the time left."),
    Code("QBF-I402", "chunk_done", "All pages of a chunk are in raw, and the ledger says so."),
    Code(
        "QBF-W403",
        "quarantined",
        "A record that Postgres can't hold, or that Intuit can't serve, was set aside whole; its page went on.",
        "`qbo-backfill quarantine show`; after a correction in QuickBooks `qbo-backfill quarantine retry`.",
    ),
    Code(
        "QBF-W404",
        "database_retry",
        "Postgres was out of reach or refused for a passing reason; the work is done again.",
        "Nothing; after 90 s the run ends resumable.",
    ),
    Code("QBF-W405", "marked_deleted", "Records were deleted in QuickBooks: marked in raw, their payload kept."),
    Code("QBF-W501", "validated", "A check has its result; its own code is in the field check_code."),
    Code("QBF-I601", "run_finished", "The run's figures."),
    Code("QBF-I603", "report_written", "The report's files are there; the event names the page."),
    Code(
        "QBF-W602",
        "report_not_written",
        "The report's files could not be written; the run itself is not touched.",
        "Make the folder writable, then `qbo-backfill report RUN`.",
    ),
)

# Checks: rows of ops.validations.
CHECKS = (
    Code("QBF-E511", "keys", "Ids are not empty, stand once, and are their payload's Id.", "verify --repair"),
    Code("QBF-E512", "utc", "LastUpdatedTime is inside the window that a row was read in, in UTC.", "verify --repair"),
    Code("QBF-E513", "pages", "Page numbers run from 1 to the pages that were read, without holes.", "verify --repair"),
    Code("QBF-E514", "chunk_counts", "Each chunk gave as many rows as COUNT(*) said when it was planned."),
    Code(
        "QBF-E515",
        "ledger",
        "Chunks cover the range without holes, all are done, and each that is done was read.",
        "verify --repair, or run the range again",
    ),
    Code("QBF-E516", "quarantine", "No record stands in quarantine.", "quarantine list"),
    Code("QBF-E517", "source_count", "QuickBooks' COUNT(*) of the range is raw's.", "verify --repair"),
    Code(
        "QBF-E518",
        "volume",
        "No gaps, empty days or outliers by weekday (median and MAD), and no row lost since the last run.",
        "verify",
    ),
    Code("QBF-E519", "seals", "Each day is as the last run left it: nobody else has changed rows.", "verify --repair"),
    Code("QBF-E520", "source_rows", "The differing windows, record by record: which Ids, and how.", "verify --repair"),
    Code("QBF-E521", "windows", "Each row's window is a chunk of the ledger and holds it.", "verify --repair"),
    Code("QBF-E522", "repair", "What a repair read again and marked, and whether all is well after it."),
    Code("QBF-E523", "reprocess", "Reading a window again left the same rows with the same hash.", "verify --deep"),
)

# What ends a command: the class of the one-line error, and the exit code.
ERRORS = (
    Code("QBF-E901", "RequestError", "Exit 2: a parameter is wrong. Nothing was asked of anyone.", "Correct it."),
    Code(
        "QBF-E902",
        "IncompleteError",
        "Exit 3: chunks are left, or raw differs from QuickBooks. Nothing is lost.",
        "`qbo-backfill resume`, or `verify --repair`.",
    ),
    Code(
        "QBF-E903",
        "ConfigurationError",
        "Exit 4: a secret, the authorization, or the database's set-up is wrong.",
        "The line says which; retrying will not help.",
    ),
)

_BY_NAME = {code.name: code for code in (*EVENTS, *CHECKS, *ERRORS)}
_PHASES = {"auth": 1, "plan": 2, "extract": 3, "load": 4, "validate": 5, "report": 6}


def code_of(name: str, phase: str = "report") -> str:
    """The code of an event, check or error; `QBF-I313` and the like for an event that has none of its own."""
    known = _BY_NAME.get(name)
    return known.code if known is not None else f"QBF-I{_PHASES[phase]}00"


def about(name: str) -> Code | None:
    """What a code means, by the event's, check's or error's name."""
    return _BY_NAME.get(name)
