"""A page's records are the bytes that QuickBooks sent; what isn't a record, or not a whole page, is told apart."""

from __future__ import annotations

import json
import re
from datetime import date, datetime
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from async_extractor.entities import ENTITIES
from async_extractor.qbo.faults import PageFault, TransientFault
from async_extractor.qbo.split import (
    LONGEST_ID,
    ChangedRecords,
    DeletedRecord,
    Record,
    Unreadable,
    split_changes,
    split_page,
)
from async_extractor.windows import UTC

INVOICES, CUSTOMERS, ITEMS = ENTITIES["invoices"], ENTITIES["customers"], ENTITIES["items"]
TIME = '"time":"2026-11-24T02:30:00.123-08:00"'
# A record that makes msgspec refuse the whole page: an escape that is half of a pair.
HALF_A_PAIR = rb'{"Id":"9","DisplayName":"half \ud83d"}'


def page_of(*records: bytes | str, key: str = "Invoice") -> bytes:
    texts = [record.encode() if isinstance(record, str) else record for record in records]
    return (
        b'{"QueryResponse":{"' + key.encode() + b'":[' + b",".join(texts) + b'],"startPosition":1,"maxResults":'
        b"%d},%s}" % (len(records), TIME.encode())
    )


RECORDS = [
    # Amounts keep their scale, numbers all of their digits.
    '{"Id":"1","TotalAmt":639.00,"Balance":0,"UnitPrice":0.5306667}',
    '{"Id":"2","DocNumber":12345678901234567890,"ExchangeRate":1.00000000000000000000000001}',
    '{"Id":"3","TotalAmt":1e2,"Balance":-0.0,"Qty":1E-7}',
    # Text stays as it was escaped, or wasn't.
    r'{"Id":"4","PrivateNote":"\u00e9\u20ac\/\"\\\t\n\ud83d\ude00"}',
    '{"Id":"5","PrivateNote":"é€😀 中文 עברית"}',
    r'{"Id":"6","PrivateNote":"nul \u0000 inside"}',
    # Keys that nobody knows, in any order, doubled, with white space between.
    '{ "Later" : [ 1 , { } , [ ] , null ] ,\n\t"SyncToken" : "7" , "Id" : "7" }',
    '{"MetaData":{"LastUpdatedTime":"2024-01-10T12:30:15-08:00"},"Id":"8","domain":"QBO","domain":"QBO","":{}}',
]


@pytest.mark.parametrize("through", [[], [HALF_A_PAIR]], ids=["as it is", "beside half a surrogate pair"])
def test_every_record_is_the_bytes_that_quickbooks_sent(through: list[bytes]) -> None:
    page = split_page(INVOICES, page_of(*RECORDS, *through))
    assert [bytes(record.raw) for record in page.records[: len(RECORDS)]] == [text.encode() for text in RECORDS]
    assert [record.id for record in page.records] == ["1", "2", "3", "4", "5", "6", "7", "8"]
    assert [bad.raw for bad in page.unreadable] == through


def test_white_space_between_records_belongs_to_none_of_them() -> None:
    page = split_page(INVOICES, b' { "QueryResponse" : { "Invoice" : [ {"Id":"1"} , \n {"Id":"2"} ] } } ')
    assert [bytes(record.raw) for record in page.records] == [b'{"Id":"1"}', b'{"Id":"2"}']


UNDECODABLE = {
    "half a pair": HALF_A_PAIR,
    "the other half": rb'{"Id":"9","DisplayName":"\uDE00\ud83d\ude00"}',
    "two first halves": rb'{"Id":"9","DisplayName":"\ud83d\ud83d\ude00"}',
    "a control character": b'{"Id":"9","DisplayName":"a\x01b"}',
    "a raw line break": b'{"DisplayName":"a\nb","Id":"9"}',
    "a raw NUL": b'{"Id":"9","DisplayName":"a\x00b"}',
}


@pytest.mark.parametrize("bad", UNDECODABLE.values(), ids=UNDECODABLE.keys())
def test_undecodable_record(bad: bytes) -> None:
    """A record that can't be decoded is kept as its bytes, by its Id; the rest of its page is whole."""
    page = split_page(CUSTOMERS, page_of(RECORDS[0], bad, RECORDS[4], bad, RECORDS[3], key="Customer"))
    assert [bytes(record.raw) for record in page.records] == [RECORDS[n].encode() for n in (0, 4, 3)]
    assert [(one.raw, one.id) for one in page.unreadable] == [(bad, "9"), (bad, "9")]
    assert "half of a surrogate pair" in page.unreadable[0].reason
    assert page.server_time == datetime(2026, 11, 24, 10, 30, 0, 123_000, tzinfo=UTC)
    assert page.rows == 5


def test_escapes_that_only_look_like_halves() -> None:
    """A backslash that is escaped, pairs, and other escapes beside half a pair stay as they are."""
    sound = [rb'{"Id":"1","A":"\\ud83d"}', rb'{"Id":"2","A":"\\\\\ud83d\uDE00\u00e9\"\/"}', b'{\n\t"Id":\r\n"3"}']
    page = split_page(INVOICES, page_of(*sound, HALF_A_PAIR))
    assert [bytes(record.raw) for record in page.records] == sound


def test_byte_order_mark() -> None:
    """A BOM before the page belongs to nothing."""
    (record,) = split_page(INVOICES, b"\xef\xbb\xbf" + page_of(RECORDS[0])).records
    assert bytes(record.raw) == RECORDS[0].encode()


def test_what_the_load_needs_is_read_in_utc() -> None:
    record = split_page(
        INVOICES,
        page_of(
            '{"Id":"145","SyncToken":"12","TxnDate":"2024-02-29","MetaData":'
            '{"CreateTime":"2024-03-10T01:59:59-08:00","LastUpdatedTime":"2024-03-10T03:00:00-07:00"}}'
        ),
    ).records[0]
    assert (record.id, record.sync_token, record.txn_date) == ("145", 12, date(2024, 2, 29))
    # The two are one second apart: Pacific time changed its offset between them.
    assert record.created == datetime(2024, 3, 10, 9, 59, 59, tzinfo=UTC)
    assert record.last_updated == datetime(2024, 3, 10, 10, 0, 0, tzinfo=UTC)
    assert record.created.tzinfo is UTC


def test_the_hour_that_pacific_time_repeats_is_told_apart_by_its_offset() -> None:
    first, second = (
        split_page(INVOICES, page_of(f'{{"Id":"1","MetaData":{{"CreateTime":"2024-11-03T01:30:00{offset}"}}}}'))
        .records[0]
        .created
        for offset in ("-07:00", "-08:00")
    )
    assert (first, second) == (datetime(2024, 11, 3, 8, 30, tzinfo=UTC), datetime(2024, 11, 3, 9, 30, tzinfo=UTC))


def test_a_record_with_nothing_but_an_id_is_a_record() -> None:
    assert split_page(ITEMS, page_of('{"Id":"1"}', key="Item")).records == [
        Record(
            id="1",
            sync_token=0,
            last_updated=None,
            created=None,
            txn_date=None,
            totals=None,
            raw=msgspec.Raw(b'{"Id":"1"}'),
        )
    ]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ('{"Id":7,"SyncToken":3}', ("7", 3)),
        ('{"Id":"007","SyncToken":""}', ("007", 0)),
        ('{"Id":"7","SyncToken":null,"TxnDate":null,"MetaData":null}', ("7", 0)),
        ('{"Id":"7","SyncToken":"9223372036854775807"}', ("7", 2**63 - 1)),
        ('{"Id":"123456789012345678901234567890"}', ("123456789012345678901234567890", 0)),
    ],
)
def test_ids_and_sync_tokens_may_be_numbers_or_digits(text: str, expected: tuple[str, int]) -> None:
    record = split_page(INVOICES, page_of(text)).records[0]
    assert (record.id, record.sync_token) == expected


def test_the_same_id_twice_is_two_records() -> None:
    page = split_page(INVOICES, page_of('{"Id":"1","SyncToken":"0"}', '{"Id":"1","SyncToken":"1"}'))
    assert [(record.id, record.sync_token) for record in page.records] == [("1", 0), ("1", 1)]


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ('{"DisplayName":"nobody"}', "it has no Id"),
        ('{"Id":null}', "it has no Id"),
        ('{"Id":""}', "it has no Id"),
        ('{"Id":"  "}', "it has no Id"),
        ("{}", "it has no Id"),
        (r'{"Id":"1\u0000"}', "its Id holds a control character"),
        (r'{"Id":"1\u001b[31m"}', "its Id holds a control character"),
        ('{"Id":"' + "1" * 101 + '"}', "its Id is longer than 100 characters"),
        ('{"Id":"' + "x" * 9000 + '"}', "its Id is longer than 100 characters"),
        ('{"Id":true}', "it is not a record: "),
        ('{"Id":1.5}', "it is not a record: "),
        ('{"Id":["1"]}', "it is not a record: "),
        ('{"Id":' + "1" * 5000 + "}", ""),
        ("null", "it is not a record: "),
        ("17", "it is not a record: "),
        ('"text"', "it is not a record: "),
        ('[{"Id":"1"}]', "it is not a record: "),
        ('{"Id":"1","SyncToken":"x"}', "its SyncToken is not a number"),
        ('{"Id":"1","SyncToken":"-1"}', "its SyncToken is beyond 64 bits"),
        ('{"Id":"1","SyncToken":"9223372036854775808"}', "its SyncToken is beyond 64 bits"),
        ('{"Id":"1","MetaData":{"LastUpdatedTime":"2024-01-10"}}', "it is not a record: "),
        ('{"Id":"1","MetaData":{"LastUpdatedTime":"2024-01-10T12:30:60Z"}}', "it is not a record: "),
        ('{"Id":"1","MetaData":[]}', "it is not a record: "),
        (
            '{"Id":"1","MetaData":{"CreateTime":"2024-01-10T12:30:15+16:00"}}',
            "a time in its MetaData has an offset of 16 hours or more",
        ),
        (
            '{"Id":"1","MetaData":{"LastUpdatedTime":"2024-01-10T12:30:15-23:59"}}',
            "a time in its MetaData has an offset of 16 hours or more",
        ),
        (
            '{"Id":"1","MetaData":{"LastUpdatedTime":"9999-12-31T23:59:59Z"}}',
            "a time in its MetaData is beyond the calendar",
        ),
        ('{"Id":"1","MetaData":{"LastUpdatedTime":"2024-01-10T12:30:15"}}', "a time in its MetaData has no offset"),
        ('{"Id":"1","MetaData":{"CreateTime":"2024-01-10T12:30:15"}}', "a time in its MetaData has no offset"),
        (
            '{"Id":"1","MetaData":{"CreateTime":"0001-01-01T00:00:00+05:00"}}',
            "a time in its MetaData is beyond the calendar",
        ),
    ],
)
@pytest.mark.parametrize("through", [[], [HALF_A_PAIR]], ids=["as it is", "beside half a surrogate pair"])
def test_what_is_not_a_record_is_kept_with_the_reason_and_the_rest_goes_on(
    text: str, reason: str, through: list[bytes]
) -> None:
    page = split_page(INVOICES, page_of(RECORDS[0], text, RECORDS[1], *through))
    assert [bytes(record.raw) for record in page.records] == [RECORDS[0].encode(), RECORDS[1].encode()]
    bad = page.unreadable[0]
    assert bad.raw == text.encode()
    assert bad.reason.startswith(reason)
    assert "\n" not in bad.reason
    assert page.rows == 3 + len(through)
    has_one = re.match(r'\{"Id":"([^"\\]{1,99})', text)
    assert bad.id is None if has_one is None or not has_one[1].strip() else (bad.id or "").startswith(has_one[1])
    assert len(bad.id or "") <= LONGEST_ID


@pytest.mark.parametrize("offset", ["+15:59", "-15:59", "+00:00", "Z"])
def test_offsets_of_postgres(offset: str) -> None:
    """An offset that timestamptz takes is taken."""
    text = f'{{"Id":"1","MetaData":{{"LastUpdatedTime":"2024-01-10T12:30:15{offset}"}}}}'
    assert split_page(INVOICES, page_of(text)).rows == 1
    assert split_page(INVOICES, page_of(text)).unreadable == []


@pytest.mark.parametrize(
    "day",
    ["20223-01-10", "", "2024-05-05-07:00", "2024-05-05T00:00:00.000-07:00", "2024-02-30", "soon", "9999-12-31"],
)
def test_odd_txn_date(day: str) -> None:
    """A TxnDate that is no date is none; the record is one all the same."""
    (record,) = split_page(INVOICES, page_of(f'{{"Id":"1","SyncToken":"3","TxnDate":"{day}"}}')).records
    assert (record.id, record.sync_token, record.txn_date) == ("1", 3, None)


def test_no_id_and_half_a_pair() -> None:
    """Without an Id it is kept by its bytes alone."""
    raw = rb'{"DisplayName":"\udc00"}'
    (bad,) = split_page(CUSTOMERS, page_of(raw, key="Customer")).unreadable
    assert (bad.raw, bad.id) == (raw, None)
    assert split_page(CUSTOMERS, page_of("{}", key="Customer")).unreadable == [Unreadable(b"{}", "it has no Id")]


@pytest.mark.parametrize(
    "body",
    [
        b'{"QueryResponse":{},"time":"2026-11-24T02:30:00.123-08:00"}',
        b'{"QueryResponse":{"Invoice":[]}}',
        b'{"QueryResponse":{"startPosition":1,"maxResults":0}}',
    ],
)
def test_a_page_without_the_entitys_list_is_empty(body: bytes) -> None:
    page = split_page(INVOICES, body)
    assert (page.records, page.unreadable, page.rows, page.total_count) == ([], [], 0, None)


@pytest.mark.parametrize("others", ['"Customer":[{"Id":"1"}]', '"a":1,"\\u001b[0m":[]', '"x": [1],"Invoice":[]'])
def test_list_under_another_name(others: str) -> None:
    """A list that isn't the entity's is no empty page."""
    with pytest.raises(PageFault, match=r"answered a list of '.*' to a query of Invoice") as fault:
        split_page(INVOICES, f'{{"QueryResponse":{{{others}}}}}'.encode())
    assert str(fault.value).isprintable()


@pytest.mark.parametrize(
    "response", [b"", b'"totalCount":null', b'"totalCount":-1', b'"totalCount":9223372036854775808']
)
def test_count_without_figure(response: bytes) -> None:
    """COUNT(*) without a figure is no 0."""
    with pytest.raises(PageFault, match="without a totalCount"):
        split_page(INVOICES, b'{"QueryResponse":{' + response + b"}}", counting=True)


@pytest.mark.parametrize(
    "told",
    [
        '"2026-05-05T05:16:21.718"',
        "1777975779000",
        "null",
        "{}",
        '"yesterday"',
        '""',
        '"0001-01-01T00:00:00Z"',
        '"9999-12-31T23:59:59Z"',
        '"2026-05-05T05:16:21+23:00"',
    ],
)
def test_odd_clock(told: str) -> None:
    """A time that can't be relied on is no clock, and no fault."""
    page = split_page(INVOICES, f'{{"QueryResponse":{{"Invoice":[{{"Id":"1"}}]}},"time":{told}}}'.encode())
    assert (page.rows, page.server_time) == (1, None)
    body = f'{{"CDCResponse":[{{"QueryResponse":[{{}}]}}],"time":{told}}}'.encode()
    assert split_changes(INVOICES, body) == ChangedRecords(0, [], None)


@pytest.mark.parametrize("count", [0, 41, 1_000_000])
def test_a_count_is_its_total_and_has_no_rows(count: int) -> None:
    page = split_page(INVOICES, b'{"QueryResponse":{"totalCount":%d},%s}' % (count, TIME.encode()))
    assert page.total_count == count
    assert page.rows == 0
    assert page.server_time == datetime(2026, 11, 24, 10, 30, 0, 123_000, tzinfo=UTC)


WHOLE = page_of(*RECORDS)


@pytest.mark.parametrize("length", [*range(0, len(WHOLE), 37), len(WHOLE) - 1])
def test_cut_off_page(length: int) -> None:
    """A page that was cut off anywhere is a fault with its bytes."""
    with pytest.raises(PageFault) as fault:
        split_page(INVOICES, WHOLE[:length])
    assert fault.value.body == WHOLE[:length]


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"  ",
        b"[]",
        b"null",
        b'"QueryResponse"',
        b"{}",
        b'{"QueryResponse":null}',
        b'{"QueryResponse":[]}',
        b'{"QueryResponse":{"Invoice":{}}}',
        b'{"QueryResponse":{"Invoice":null}}',
        b'{"QueryResponse":{"Invoice":[{"Id":"1"} {"Id":"2"}]}}',
        b"<html><title>Back soon</title></html>",
        page_of(rb'{"Id":"1","DisplayName":"\q"}'),
        page_of('{"Id":"1","Qty":NaN}'),
        page_of('{"Id":"1"}').decode().encode("utf-16"),
        pytest.param(page_of('{"Id":"1","Line":' + "[" * 100_000 + "]" * 100_000 + "}"), id="nested without end"),
    ],
)
def test_what_is_not_a_page_in_json_and_utf_8_is_a_page_fault(body: bytes) -> None:
    with pytest.raises(PageFault) as fault:
        split_page(INVOICES, body)
    assert "\n" not in str(fault.value)


plain = st.text(alphabet=st.characters(exclude_categories=["Cs"]))
values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | plain,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(plain, inner, max_size=3),
    max_leaves=8,
)
known_keys = st.fixed_dictionaries(
    {},
    optional={
        "Id": st.integers(0, 10**6).map(str) | values,
        "SyncToken": st.integers(0, 99).map(str) | values,
        "TxnDate": st.dates().map(str) | values,
        "MetaData": values
        | st.fixed_dictionaries(
            {}, optional={"CreateTime": st.datetimes().map(lambda moment: moment.isoformat() + "-08:00") | values}
        ),
    },
)


def as_json(record: Any, *, escaped: bool, indent: int | None) -> bytes:
    return json.dumps(record, ensure_ascii=escaped, indent=indent).encode()


@given(
    st.lists(st.builds(dict.__or__, st.dictionaries(plain, values, max_size=4), known_keys) | values, max_size=5),
    st.booleans(),
    st.none() | st.integers(0, 3),
)
def test_masking_a_page_changes_no_record(records: list[Any], escaped: bool, indent: int | None) -> None:
    texts = [as_json(record, escaped=escaped, indent=indent) for record in records]
    fast = split_page(INVOICES, page_of(*texts))
    slow = split_page(INVOICES, page_of(*texts, HALF_A_PAIR))
    assert slow.unreadable[-1].raw == HALF_A_PAIR
    assert (fast.records, fast.unreadable) == (slow.records, slow.unreadable[:-1])
    assert fast.server_time == slow.server_time
    # Nothing is lost and nothing is made: the pieces are the page.
    assert sorted([bytes(record.raw) for record in fast.records] + [bad.raw for bad in fast.unreadable]) == sorted(
        texts
    )


def changes_of(*objects: dict[str, Any]) -> bytes:
    listed = {"Invoice": list(objects), "startPosition": 1, "maxResults": len(objects)}
    return json.dumps({"CDCResponse": [{"QueryResponse": [listed]}], "time": "2026-11-24T02:30:00.123-08:00"}).encode()


def stub(record_id: object, updated: object = "2026-11-03T01:30:00-08:00") -> dict[str, Any]:
    """What change data capture leaves of a deleted record."""
    return {"Id": record_id, "domain": "QBO", "status": "Deleted", "MetaData": {"LastUpdatedTime": updated}}


def test_the_deleted_are_told_from_the_changed_and_all_are_counted() -> None:
    changed = split_changes(INVOICES, changes_of({"Id": "1", "TotalAmt": 1.5}, stub("7"), stub("9")))
    moment = datetime(2026, 11, 3, 9, 30, tzinfo=UTC)
    deleted = [DeletedRecord("7", moment), DeletedRecord("9", moment)]
    assert changed == ChangedRecords(3, deleted, datetime(2026, 11, 24, 10, 30, 0, 123_000, tzinfo=UTC))


@pytest.mark.parametrize("status", ["Deleted", "deleted", "DELETED"])
def test_deleted_in_any_case(status: str) -> None:
    """The mark of a deletion counts however it is written."""
    assert [each.id for each in split_changes(INVOICES, changes_of({**stub("7"), "status": status})).deleted] == ["7"]


def test_odd_record_among_changes() -> None:
    """One that can't be decoded hides no deletion."""
    for odd in UNDECODABLE.values():
        body = changes_of({"Id": "ODD"}, stub("7")).replace(b'{"Id": "ODD"}', odd)
        assert [each.id for each in split_changes(INVOICES, body).deleted] == ["7"]


@pytest.mark.parametrize(
    "body", [b'{"CDCResponse":[{"QueryResponse":[{}]}]}', b'{"CDCResponse":[{"QueryResponse":[]}]}']
)
def test_no_change_is_no_fault(body: bytes) -> None:
    assert split_changes(INVOICES, body) == ChangedRecords(0, [])


@pytest.mark.parametrize("updated", [None, "2026-11-03T01:30:00", "yesterday", "0001-01-01T00:00:00+05:00", 17])
def test_a_deletion_without_a_time_or_without_its_offset_has_no_known_time(updated: object) -> None:
    assert split_changes(INVOICES, changes_of(stub("7", updated))).deleted == [DeletedRecord("7", None)]
    assert split_changes(INVOICES, changes_of({"Id": "7", "status": "Deleted"})).deleted == [DeletedRecord("7", None)]


@pytest.mark.parametrize("record_id", [None, ""])
def test_a_deletion_of_nothing_marks_nothing(record_id: object) -> None:
    assert split_changes(INVOICES, changes_of(stub(record_id), stub("8"))).rows == 2
    assert [each.id for each in split_changes(INVOICES, changes_of(stub(record_id), stub("8"))).deleted] == ["8"]


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"null",
        b"<html></html>",
        b"{}",
        b'{"CDCResponse":null}',
        b'{"CDCResponse":[]}',
        b'{"CDCResponse":[{"QueryResponse":["x"]}]}',
        b'{"CDCResponse":[{"QueryResponse":[{"Invoice":["x"]}]}]}',
        b'{"CDCResponse":[{"QueryResponse":[{"Fault":{"Error":[{"code":"10000"}]}}]}]}',
        b'{"CDCResponse":[{"QueryResponse":[{"fault":{}}]}]}',
        changes_of(stub("7"))[:-5],
        pytest.param(b'{"CDCResponse":' + b"[" * 100_000, id="nested without end"),
    ],
)
def test_what_is_not_a_whole_list_of_changes_is_worth_another_try(body: bytes) -> None:
    with pytest.raises(TransientFault):
        split_changes(INVOICES, body)
