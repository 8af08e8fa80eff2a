"""The entities that answer otherwise than the rest, each by name, as QuickBooks answers."""

from __future__ import annotations

import pytest

from async_extractor.entities import ENTITIES
from async_extractor.qbo.faults import PageFault, QueryRefusedFault, says_not_offered
from async_extractor.qbo.query import Query
from async_extractor.qbo.split import split_changes, split_page

TIMES = b'"MetaData":{"CreateTime":"2024-01-01T00:00:00-08:00","LastUpdatedTime":"2024-01-02T00:00:00-08:00"}'


def page(name: bytes, *records: bytes) -> bytes:
    return b'{"QueryResponse":{"%b":[%b]},"time":"2024-01-01T00:00:00Z"}' % (name, b",".join(records))


def test_credit_card_payments_come_under_another_key() -> None:
    entity = ENTITIES["credit_card_payments"]
    read = split_page(entity, page(b"CreditCardPaymentTxn", b'{"Id":"7",%b}' % TIMES))
    assert [record.id for record in read.records] == ["7"]
    with pytest.raises(PageFault, match="a list of 'CreditCardPayment'"):
        split_page(entity, page(b"CreditCardPayment", b'{"Id":"7"}'))


def test_a_recurring_transaction_stands_inside_an_object_which_is_kept() -> None:
    raw = b'{"Bill":{"Id":"7","SyncToken":"2",%b}}' % TIMES
    read = split_page(ENTITIES["recurring_transactions"], page(b"RecurringTransaction", raw, b'{"Bill":{},"X":{}}'))
    (record,), (odd,) = read.records, read.unreadable
    assert (record.id, record.sync_token, bytes(record.raw)) == ("7", 2, raw)
    assert record.created is not None
    assert odd.reason == "it holds 2 objects instead of one"


def test_an_exchange_rate_has_its_currencies_and_its_day_for_an_id() -> None:
    raw = b'{"SourceCurrencyCode":"EUR","TargetCurrencyCode":"USD","AsOfDate":"2026-05-05","Rate":1.1}'
    read = split_page(ENTITIES["exchange_rates"], page(b"ExchangeRate", raw, b'{"SourceCurrencyCode":"EUR"}'))
    assert [record.id for record in read.records] == ["EUR/USD/2026-05-05"]
    assert read.unreadable[0].reason == "it has no TargetCurrencyCode"


def test_a_tax_code_may_have_a_word_for_an_id_and_no_sync_token() -> None:
    read = split_page(ENTITIES["tax_codes"], page(b"TaxCode", b'{"Id":"TAX",%b}' % TIMES))
    assert [(record.id, record.sync_token) for record in read.records] == [("TAX", 0)]


@pytest.mark.parametrize("name", ["preferences", "company_info"])
def test_one_record_is_asked_for_without_pages(name: str) -> None:
    assert Query(ENTITIES[name]).text() == f"SELECT * FROM {ENTITIES[name].query_name}"


def test_changes_under_an_unknown_key_are_not_taken_for_none() -> None:
    body = b'{"CDCResponse":[{"QueryResponse":[{"Other":[{"Id":"7","status":"Deleted"}]}]}]}'
    with pytest.raises(PageFault, match="a list of 'Other'"):
        split_changes(ENTITIES["credit_card_payments"], body)


@pytest.mark.parametrize("wrapped", [b'{"Bill":{"Id":"7","status":"Deleted"}}', b'{"Id":"7","status":"Deleted"}'])
def test_a_deleted_template_is_read_with_its_object_and_without(wrapped: bytes) -> None:
    body = b'{"CDCResponse":[{"QueryResponse":[{"RecurringTransaction":[%b]}]}]}' % wrapped
    assert [gone.id for gone in split_changes(ENTITIES["recurring_transactions"], body).deleted] == ["7"]


@pytest.mark.parametrize(
    ("code", "words", "expected"),
    [
        ("4001", "QueryValidationError: invalid context declaration: JournalCode", True),
        ("4001", "QueryValidationError: Metadata not found for Entity: TaxService", True),
        ("4001", "QueryValidationError: Property X not found for Entity Budget", False),
        ("5020", "You do not have permission to access this feature.", True),
        ("5030", "Feature Not Supported", True),
        ("4000", "QueryParserError", False),
    ],
)
def test_what_a_company_lacks_is_told_from_a_query_that_is_wrong(code: str, words: str, expected: bool) -> None:
    assert says_not_offered(QueryRefusedFault(words, status=400, code=code)) is expected
