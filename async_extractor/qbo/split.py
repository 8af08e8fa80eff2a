"""A page's bytes cut into records without re-encoding them, so that a payload is what Intuit sent.

msgspec's `Raw` keeps each record as the bytes between its braces: `639.00` stays `639.00`, a number of
twenty digits keeps them all, and a key that nobody knows comes along. Only the few fields that the
load needs are decoded besides; whether the rest is UTF-8 is Postgres' to say, which looks at each byte anyway.
"""

from __future__ import annotations

import codecs
import functools
import json
import re
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from typing import Any

import msgspec

from async_extractor.entities import Entity
from async_extractor.printable import printable
from async_extractor.qbo.faults import PageFault, TransientFault
from async_extractor.windows import UTC


class Record(msgspec.Struct, frozen=True, gc=False):  # a thousand a page: cheaper than a dataclass
    """One record: its bytes as Intuit sent them, and what the load needs to know of it.

    Times are in UTC; None where the record has none. `txn_date` is None also where it is no date. `totals` is an object
    with what the record says of its TotalAmt, Balance and CurrencyRef; None for a record without a TotalAmt.
    `raw` is a view of its page, which stays in memory as long: copies would be as many bytes again, all over the heap.
    """

    id: str
    sync_token: int
    last_updated: datetime | None
    created: datetime | None
    txn_date: date | None
    totals: bytes | None
    raw: msgspec.Raw

    @property
    def version(self) -> tuple[int, datetime | None]:
        """Equal for equal versions: a changed balance moves the time and leaves the SyncToken."""
        return self.sync_token, self.last_updated


@dataclass(frozen=True)
class Unreadable:
    """Something in the list that can't be kept as a record: its bytes, why, and its Id where that can be read.

    The Id is made printable, and is at most LONGEST_ID characters.
    """

    raw: bytes
    reason: str
    id: str | None = None


@dataclass(frozen=True)
class SplitPage:
    """The contents of one answer. `rows` is the length of the list.

    `total_count` is set for COUNT(*) only. `server_time` is QuickBooks' clock, None where the answer has none, or one
    without an offset, or no time at all.
    """

    records: list[Record]
    unreadable: list[Unreadable]
    total_count: int | None
    server_time: datetime | None

    @property
    def rows(self) -> int:
        return len(self.records) + len(self.unreadable)


@dataclass(frozen=True)
class DeletedRecord:
    """A record that QuickBooks says was deleted, and when (UTC)."""

    id: str
    deleted_at: datetime | None


@dataclass(frozen=True)
class ChangedRecords:
    """An answer of change data capture: how many objects it had, the deleted ones, QuickBooks' clock."""

    rows: int
    deleted: list[DeletedRecord]
    server_time: datetime | None = None


# Digits in practice. Postgres' indexes take 2,700 bytes, and a person reads fewer.
LONGEST_ID = 100
# What timestamptz takes: less than 16 hours from UTC.
MOST_OFFSET = timedelta(hours=16)


class _MetaData(msgspec.Struct):
    CreateTime: datetime | None = None
    LastUpdatedTime: datetime | None = None


_NOTHING = msgspec.Raw(b"null")


class _IdOnly(msgspec.Struct):
    Id: str | int | None = None


class _Undated(_IdOnly):
    SyncToken: str | int | None = None
    MetaData: _MetaData | None = None


class _Header(_Undated):
    TxnDate: date | None = None
    TotalAmt: msgspec.Raw = _NOTHING
    Balance: msgspec.Raw = _NOTHING
    CurrencyRef: msgspec.Raw = _NOTHING

    def totals(self) -> bytes | None:
        if self.TotalAmt is _NOTHING:
            return None
        return b'{"TotalAmt":%b,"Balance":%b,"CurrencyRef":%b}' % (self.TotalAmt, self.Balance, self.CurrencyRef)


_decode_header = msgspec.json.Decoder(_Header).decode
_decode_undated = msgspec.json.Decoder(_Undated).decode
_decode_wrapper = msgspec.json.Decoder(dict[str, msgspec.Raw]).decode
_decode_id = msgspec.json.Decoder(_IdOnly).decode
_CANT_BE_DECODED = (msgspec.DecodeError, UnicodeDecodeError, RecursionError)


@functools.cache
def _page_decoder(response_name: str) -> msgspec.json.Decoder[msgspec.Struct]:
    response = msgspec.defstruct(
        "QueryResponse",
        [
            (response_name, list[msgspec.Raw], msgspec.field(default_factory=list)),
            ("totalCount", int | None, None),
        ],
    )
    return msgspec.json.Decoder(msgspec.defstruct("Page", [("QueryResponse", response), ("time", Any, None)]))


class _AnyPage(msgspec.Struct):
    QueryResponse: dict[str, msgspec.Raw]


def split_page(entity: Entity, body: bytes, *, counting: bool = False) -> SplitPage:
    """The records of an answer's body, or with `counting` the figure of COUNT(*).

    PageFault, with the body, when that isn't a page in JSON and UTF-8, when COUNT(*) has no figure, and when there is
    a list under another name than the entity's: what isn't read isn't empty.
    """
    body = body.removeprefix(codecs.BOM_UTF8)
    decode = _page_decoder(entity.response_name).decode
    try:
        try:
            page: Any = decode(body)
        except msgspec.ValidationError:
            raise
        except msgspec.DecodeError:
            page = decode(masked := _masked(body))
            raws = _where(getattr(page.QueryResponse, entity.response_name), masked)
            items = [_read_record(entity, msgspec.Raw(body[a:z]), masked[a:z]) for a, z in raws]
        else:
            items = [_read_record(entity, raw) for raw in getattr(page.QueryResponse, entity.response_name)]
        total = page.QueryResponse.totalCount
        if not items and total is None:
            _refuse_other_lists(entity, body)
        if counting and (total is None or not 0 <= total < 2**63):
            raise PageFault("QuickBooks answered COUNT(*) without a totalCount")
    except PageFault as fault:
        fault.body = body
        raise
    except _CANT_BE_DECODED as error:
        undecodable = PageFault(f"QuickBooks' answer is not a page in JSON and UTF-8 ({type(error).__name__}: {error})")
        undecodable.body = body
        raise undecodable from None
    return SplitPage(
        records=[item for item in items if isinstance(item, Record)],
        unreadable=[item for item in items if isinstance(item, Unreadable)],
        total_count=total,
        server_time=_clock(page.time),
    )


def _refuse_other_lists(entity: Entity, body: bytes) -> None:
    for name, value in msgspec.json.decode(body, type=_AnyPage).QueryResponse.items():
        if bytes(value).lstrip()[:1] == b"[" and name != entity.response_name:
            raise PageFault(f"QuickBooks answered a list of {name!r} to a query of {entity.query_name}")


# A pair of surrogates or another escape, which stay as they are; or half of a pair.
_HALVES = re.compile(
    rb"(\\(?:u[dD][89abAB][0-9a-fA-F]{2}\\u[dD][c-fC-F][0-9a-fA-F]{2}|[^u]))|\\u[dD][89a-fA-F][0-9a-fA-F]{2}"
)
_CONTROLS = bytes.maketrans(bytes(range(32)), b" " * 32)


def _masked(body: bytes) -> bytes:
    """The body with what msgspec refuses inside a string by something else of the same length, byte for byte.

    That is control characters and halves of surrogate pairs. Neither opens or ends anything in JSON, so that records
    begin and end where they do in the body itself; which of them holds such a thing is then looked at one by one.
    """
    return _HALVES.sub(lambda match: match[1] or rb"\uFFFD", body.translate(_CONTROLS))


def _where(raws: list[msgspec.Raw], masked: bytes) -> list[tuple[int, int]]:
    """Where in the masked page each record of its list begins and ends."""
    found: list[tuple[int, int]] = []
    for raw in map(bytes, raws):
        start = masked.index(raw, found[-1][1] if found else 0)
        if found and masked[found[-1][1] : start].strip() != b",":
            raise PageFault("QuickBooks' answer holds the same list twice")
        found.append((start, start + len(raw)))
    return found


def split_changes(entity: Entity, body: bytes) -> ChangedRecords:
    """The deleted records in an answer of change data capture.

    `PageFault` when it isn't a whole one; TransientFault when QuickBooks says that it couldn't make it.
    """
    try:
        # Read leniently: only Ids, marks and times matter of it, and one odd record must not hide all deletions.
        said = json.loads(body.decode("utf-8-sig", "replace"), strict=False)
        parts = said["CDCResponse"][0]["QueryResponse"]
        if any("fault" in (key.lower() for key in part) for part in parts):
            raise TransientFault("QuickBooks' list of changes holds a Fault")
        lists = [(name, value) for part in parts for name, value in part.items() if isinstance(value, list)]
        unknown = {name for name, _ in lists} - {entity.query_name, entity.response_name}
        if unknown:
            raise PageFault(f"QuickBooks answered a list of {min(unknown)!r} to changes of {entity.query_name}")
        objects = [_inside(item) if entity.wrapped else item for _, found in lists for item in found]
        deleted = [
            DeletedRecord(printable(str(item["Id"]), LONGEST_ID), _deleted_at(item.get("MetaData")))
            for item in objects
            if str(item.get("status")).lower() == "deleted" and item.get("Id")
        ]
    except (ValueError, LookupError, TypeError, AttributeError, RecursionError) as error:
        raise PageFault(f"QuickBooks' answer is not a list of changes ({type(error).__name__})") from None
    return ChangedRecords(len(objects), deleted, _clock(said.get("time")))


def _inside(wrapper: Any) -> Any:
    """The record inside an object under its kind's name; the object itself where it stands for no kind."""
    values = [value for value in wrapper.values() if isinstance(value, dict) and "Id" in value]
    return values[0] if len(values) == 1 and "Id" not in wrapper else wrapper


def _read_record(entity: Entity, raw: msgspec.Raw, masked: bytes | None = None) -> Record | Unreadable:
    """A record of these bytes; `masked` are the same with what can't be decoded masked, for its Id."""
    header: _Undated
    txn_date, totals = None, None
    try:
        if entity.wrapped or entity.key != ("Id",):
            return _odd_record(entity, raw)
        try:
            header = _decode_header(raw)
            txn_date, totals = header.TxnDate, header.totals()
        except msgspec.ValidationError:
            header = _decode_undated(raw)  # only its TxnDate is odd, or this raises, too
        return _record(header, raw, txn_date, totals)
    except msgspec.ValidationError as error:
        reason = f"it is not a record: {error}"
    except UnicodeDecodeError:
        reason = "it is not UTF-8"
    except msgspec.DecodeError as error:
        reason = f"it holds half of a surrogate pair or a control character: {error}"
    except ValueError as error:
        reason = str(error)
    return Unreadable(bytes(raw), printable(reason), _id_of(masked or raw))


def _odd_record(entity: Entity, raw: msgspec.Raw) -> Record:
    """One that stands inside another object, or has no Id but a key of several parts. Raises as `_record` does."""
    if entity.wrapped:
        kinds = _decode_wrapper(raw)
        if len(kinds) != 1:
            raise ValueError(f"it holds {len(kinds)} objects instead of one")
        return _record(_decode_undated(next(iter(kinds.values()))), raw)
    said = _decode_wrapper(raw)
    parts = [msgspec.convert(msgspec.json.decode(said.get(name, b"null")), str | None) for name in entity.key]
    if not all(parts):
        raise ValueError(f"it has no {entity.key[[not part for part in parts].index(True)]}")
    header = _decode_undated(raw)
    header.Id = "/".join(part for part in parts if part)
    return _record(header, raw)


def _record(header: _Undated, raw: msgspec.Raw, txn_date: date | None = None, totals: bytes | None = None) -> Record:
    """ValueError with the reason when it can't be kept."""
    record_id = "" if header.Id is None else str(header.Id)
    if not (record_id.isascii() and record_id.isdecimal() and len(record_id) <= LONGEST_ID):
        if record_id.strip() == "":
            raise ValueError("it has no Id")
        if len(record_id) > LONGEST_ID:
            raise ValueError(f"its Id is longer than {LONGEST_ID} characters")
        if printable(record_id, LONGEST_ID) != record_id:
            raise ValueError("its Id holds a control character")
    try:
        sync_token = int(header.SyncToken or 0)
    except ValueError:
        raise ValueError("its SyncToken is not a number") from None
    if not 0 <= sync_token < 2**63:
        raise ValueError("its SyncToken is beyond 64 bits")
    meta = header.MetaData
    return Record(
        id=record_id,
        sync_token=sync_token,
        last_updated=None if meta is None else _instant(meta.LastUpdatedTime),
        created=None if meta is None else _instant(meta.CreateTime),
        txn_date=txn_date if txn_date is not None and 1 < txn_date.year < 9999 else None,
        totals=totals,
        raw=raw,
    )


def _id_of(raw: bytes | msgspec.Raw) -> str | None:
    """The Id of what can't be kept, as the quarantine is to have it; None when it can't be read."""
    try:
        found = _decode_id(raw).Id
        return None if found is None else printable(str(found), LONGEST_ID).strip() or None
    except (*_CANT_BE_DECODED, ValueError):
        return None


def _instant(moment: datetime | None) -> datetime | None:
    """In UTC; ValueError with the reason when Postgres can't take it, or windows couldn't begin and end round it."""
    if moment is None:
        return None
    offset = moment.utcoffset()
    if offset is None:
        raise ValueError("a time in its MetaData has no offset")
    if not -MOST_OFFSET < offset < MOST_OFFSET:
        raise ValueError("a time in its MetaData has an offset of 16 hours or more")
    if not 1 < moment.year < 9999:
        raise ValueError("a time in its MetaData is beyond the calendar")
    return moment.astimezone(UTC)


def _clock(value: object) -> datetime | None:
    """QuickBooks' clock as an answer tells it, in UTC; None for what can't be relied on."""
    try:
        moment = _instant(msgspec.convert(value, datetime | None)) if isinstance(value, str) else None
    except (msgspec.ValidationError, ValueError):
        return None
    return moment if moment is not None and moment.year >= 2000 else None


def _deleted_at(meta: object) -> datetime | None:
    try:
        return _instant(msgspec.convert(meta, _MetaData | None).LastUpdatedTime)
    except (msgspec.ValidationError, ValueError, AttributeError):
        return None
