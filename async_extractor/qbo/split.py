"""A page's bytes cut into records without re-encoding them, so that a payload is what Intuit sent.

msgspec's `Raw` keeps each record as the bytes between its braces: `639.00` stays `639.00`, a number of
twenty digits keeps them all, and a key that nobody knows comes along. Only the few fields that the
load needs are decoded besides.
"""

from __future__ import annotations

import functools
import json
import re
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import date, datetime

import msgspec

from async_extractor.entities import Entity
from async_extractor.qbo.faults import TransientFault
from async_extractor.windows import UTC


class Record(msgspec.Struct, frozen=True, gc=False):  # a thousand a page: cheaper than a dataclass
    """One record: its bytes as Intuit sent them, and what the load needs to know of it.

    Times are in UTC; None where the record has none.
    """

    id: str
    sync_token: int
    last_updated: datetime | None
    created: datetime | None
    txn_date: date | None
    raw: bytes


@dataclass(frozen=True)
class Unreadable:
    """Something in the list that isn't a record with an Id: its bytes and why."""

    raw: bytes
    reason: str


@dataclass(frozen=True)
class SplitPage:
    """The contents of one answer. `total_count` is set for COUNT(*) only; `rows` is the length of the list."""

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
    """An answer of change data capture: how many objects it had, and the deleted ones."""

    rows: int
    deleted: list[DeletedRecord]


class _MetaData(msgspec.Struct):
    CreateTime: datetime | None = None
    LastUpdatedTime: datetime | None = None


class _Header(msgspec.Struct):
    Id: str | int | None = None
    SyncToken: str | int | None = None
    TxnDate: date | None = None
    MetaData: _MetaData | None = None


_decode_header = msgspec.json.Decoder(_Header).decode


@functools.cache
def _page_decoder(query_name: str) -> msgspec.json.Decoder[msgspec.Struct]:
    response = msgspec.defstruct(
        "QueryResponse",
        [
            (query_name, list[msgspec.Raw], msgspec.field(default_factory=list)),
            ("totalCount", int | None, None),
        ],
    )
    return msgspec.json.Decoder(
        msgspec.defstruct("Page", [("QueryResponse", response), ("time", datetime | None, None)])
    )


def split_page(entity: Entity, body: bytes) -> SplitPage:
    """The records of an answer's body; `TransientFault` when the body isn't a whole page in JSON and UTF-8."""
    try:
        page = _page_decoder(entity.query_name).decode(body)
        response = page.QueryResponse  # type: ignore[attr-defined]
        raws = [bytes(raw) for raw in getattr(response, entity.query_name)]
        for raw in raws:
            # msgspec skips over what it isn't asked for. One record at a time, since a page with an emoji is a str
            # of four bytes a character.
            if not raw.isascii():
                raw.decode("utf-8")
    except (msgspec.DecodeError, RecursionError):
        return _split_slowly(entity, body)
    except UnicodeDecodeError:
        raise TransientFault("QuickBooks' answer is not UTF-8") from None
    items = [_read_record(raw) for raw in raws]
    return _page(items, response.totalCount, page.time)  # type: ignore[attr-defined]


_NOT_A_LIST_OF_CHANGES = (
    ValueError,
    LookupError,
    TypeError,
    AttributeError,
    OverflowError,
    RecursionError,
    msgspec.ValidationError,
)


def split_changes(entity: Entity, body: bytes) -> ChangedRecords:
    """The deleted records in an answer of change data capture; `TransientFault` when it isn't a whole one."""
    try:
        parts = json.loads(body)["CDCResponse"][0]["QueryResponse"]
        if any("fault" in (key.lower() for key in part) for part in parts):
            raise TransientFault("QuickBooks' list of changes holds a Fault")
        objects = [item for part in parts for item in part.get(entity.query_name, [])]
        deleted = [
            DeletedRecord(str(item["Id"]), _known(msgspec.convert(item.get("MetaData", {}), _MetaData).LastUpdatedTime))
            for item in objects
            if item.get("status") == "Deleted" and item.get("Id")
        ]
    except _NOT_A_LIST_OF_CHANGES as error:
        raise TransientFault(f"QuickBooks' answer is not a list of changes ({type(error).__name__})") from None
    return ChangedRecords(len(objects), deleted)


def _page(items: list[Record | Unreadable], total_count: int | None, server_time: datetime | None) -> SplitPage:
    return SplitPage(
        records=[item for item in items if isinstance(item, Record)],
        unreadable=[item for item in items if isinstance(item, Unreadable)],
        total_count=total_count,
        server_time=server_time,
    )


def _split_slowly(entity: Entity, body: bytes) -> SplitPage:
    """The same by Python's own JSON, which lets a lone surrogate pass where msgspec refuses the whole page."""
    try:
        text = body.decode("utf-8")
        top = _members(text, 0)
        response = _members(text, top["QueryResponse"][0])
        items: list[Record | Unreadable] = []
        if entity.query_name in response:
            items = [
                _read_record(text[start:end].encode()) for start, end in _elements(text, response[entity.query_name][0])
            ]
        total, moment = (
            json.loads(text[slice(*span)]) if span else None for span in (response.get("totalCount"), top.get("time"))
        )
        server_time = msgspec.convert(moment, datetime | None, strict=False)
    except UnicodeDecodeError:
        raise TransientFault("QuickBooks' answer is not UTF-8") from None
    except (ValueError, LookupError, RecursionError, msgspec.ValidationError) as error:
        raise TransientFault(f"QuickBooks' answer is not a whole page ({type(error).__name__})") from None
    return _page(items, total, server_time)


_SPACE = re.compile(r"[ \t\r\n]*")
_scan = json.JSONDecoder().raw_decode


def _elements(text: str, start: int) -> Iterator[tuple[int, int]]:
    """Where each element of the array at `start` begins and ends; ValueError when it is not one."""
    at = _next(text, _expect(text, start, "["))
    while text[at] != "]":
        _, end = _scan(text, at)
        yield at, end
        at = _next(text, end)
        if text[at] != "]":
            at = _next(text, _expect(text, at, ","))


def _members(text: str, start: int) -> dict[str, tuple[int, int]]:
    """Where each member's value of the object at `start` begins and ends, by key; ValueError when it is not one."""
    members: dict[str, tuple[int, int]] = {}
    at = _next(text, _expect(text, _next(text, start), "{"))
    while text[at] != "}":
        key, end = _scan(text, at)
        value = _next(text, _expect(text, _next(text, end), ":"))
        _, end = _scan(text, value)
        members[key] = (value, end)
        at = _next(text, end)
        if text[at] != "}":
            at = _next(text, _expect(text, at, ","))
    return members


def _next(text: str, at: int) -> int:
    match = _SPACE.match(text, at)
    return match.end() if match else at


def _expect(text: str, at: int, character: str) -> int:
    if text[at] != character:
        raise ValueError(f"no {character!r} at {at}")
    return at + 1


def _read_header(raw: bytes) -> _Header:
    try:
        return _decode_header(raw)
    except msgspec.ValidationError:
        raise
    except msgspec.DecodeError:
        # A lone surrogate somewhere in the record; the fields that matter are still readable.
        return msgspec.convert(json.loads(raw), _Header)


def _read_record(raw: bytes) -> Record | Unreadable:
    try:
        header = _read_header(raw)
    except (msgspec.ValidationError, ValueError, RecursionError) as error:
        return Unreadable(raw, f"is not a record: {error}")
    record_id = "" if header.Id is None else str(header.Id)
    if not record_id.isdecimal():
        if record_id.strip() == "":
            return Unreadable(raw, "has no Id")
        if re.search(r"[\0\ud800-\udfff]", record_id):
            return Unreadable(raw, "its Id holds a character that is none")
    try:
        sync_token = int(header.SyncToken or 0)
    except ValueError:
        return Unreadable(raw, "its SyncToken is not a number")
    if not 0 <= sync_token < 2**63:
        return Unreadable(raw, "its SyncToken is beyond 64 bits")
    meta = header.MetaData or _MetaData()
    for moment in (meta.CreateTime, meta.LastUpdatedTime):
        if moment is not None and moment.tzinfo is None:
            return Unreadable(raw, "a time in its MetaData has no offset")
    try:
        created, last_updated = _utc(meta.CreateTime), _utc(meta.LastUpdatedTime)
    except OverflowError:
        return Unreadable(raw, "a time in its MetaData is beyond the calendar")
    return Record(
        id=record_id,
        sync_token=sync_token,
        last_updated=last_updated,
        created=created,
        txn_date=header.TxnDate,
        raw=raw,
    )


def _utc(moment: datetime | None) -> datetime | None:
    return None if moment is None else moment.astimezone(UTC)


def _known(moment: datetime | None) -> datetime | None:
    """In UTC; None for a time without an offset, whose zone nobody documents."""
    return None if moment is None or moment.tzinfo is None else _utc(moment)
