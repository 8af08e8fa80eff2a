"""Whatever a person can get wrong in a request is said in one line that names the parameter; what is right is taken."""

from __future__ import annotations

from dataclasses import FrozenInstanceError
from datetime import date, datetime, timedelta, timezone
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from async_extractor.entities import ENTITIES
from async_extractor.entity_names import entities_named
from async_extractor.errors import RequestError
from async_extractor.request import VARIABLES, BackfillRequest, misspelt
from async_extractor.windows import UTC, Window

NOW = datetime(2026, 11, 24, 10, 30, tzinfo=UTC)
BEYOND = "٢٠٢٤-01-01"  # digits, but not those of ISO 8601


def parse(**changed: Any) -> BackfillRequest:
    values: dict[str, Any] = {"entity": "invoices", "fecha_inicio": "2024-01-01", "fecha_fin": "2024-01-31"}
    return BackfillRequest.parse(**{**values, "now": NOW, **changed})


def utc(*parts: int) -> datetime:
    return datetime(*parts, tzinfo=UTC)  # type: ignore[arg-type, misc]


def refusal(**changed: Any) -> str:
    with pytest.raises(RequestError) as refused:
        parse(**changed)
    assert refused.value.exit_code == 2
    line = str(refused.value)
    assert "\n" not in line
    return line


def test_dates_alone_are_enough_and_the_rest_has_defaults() -> None:
    request = parse()
    assert request.entity is ENTITIES["invoices"]
    assert request.window == Window(utc(2024, 1, 1), utc(2024, 2, 1))
    assert (request.chunk, request.concurrency, request.filter_field, request.mode, request.lang) == (
        "auto",
        5,
        "last_updated",
        "resume",
        "en",
    )
    assert request.step is None


def test_a_bare_fecha_fin_is_inclusive() -> None:
    assert parse(fecha_inicio="2024-02-29", fecha_fin="2024-02-29").window == Window(utc(2024, 2, 29), utc(2024, 3, 1))


def test_a_timestamp_as_fecha_fin_is_exclusive() -> None:
    assert parse(fecha_fin="2024-01-31T00:00:00Z").window.end == utc(2024, 1, 31)


@pytest.mark.parametrize(
    ("text", "moment"),
    [
        ("2024-01-10", utc(2024, 1, 10)),
        ("  2024-01-10 ", utc(2024, 1, 10)),
        ("2024-01-10T12:30:15Z", utc(2024, 1, 10, 12, 30, 15)),
        ("2024-01-10t12:30:15z", utc(2024, 1, 10, 12, 30, 15)),
        ("2024-01-10 12:30Z", utc(2024, 1, 10, 12, 30)),
        ("2024-01-10T12:30:15+00:00", utc(2024, 1, 10, 12, 30, 15)),
        ("2024-01-10T12:30:15-05:00", utc(2024, 1, 10, 17, 30, 15)),
        ("2024-01-10T12:30:15-0500", utc(2024, 1, 10, 17, 30, 15)),
        ("2024-01-10T01:00+05:30", utc(2024, 1, 9, 19, 30)),
        # QuickBooks' times have whole seconds: the first that is not before 15.5 is 16.
        ("2024-01-10T12:30:15.5Z", utc(2024, 1, 10, 12, 30, 16)),
        ("2024-01-10T12:30:15.1234-05:00", utc(2024, 1, 10, 17, 30, 16)),
        ("2024-01-10T12:30:15.000000Z", utc(2024, 1, 10, 12, 30, 15)),
        ("2024-01-10T23:59:59.999999Z", utc(2024, 1, 11)),
        (date(2024, 1, 10), utc(2024, 1, 10)),
        (utc(2024, 1, 10, 12), utc(2024, 1, 10, 12)),
        (datetime(2024, 1, 10, 12, 0, 0, 1, tzinfo=timezone(timedelta(hours=-8))), utc(2024, 1, 10, 20, 0, 1)),
    ],
)
def test_fecha_inicio_is_read_in_utc_and_on_a_whole_second(text: object, moment: datetime) -> None:
    assert parse(fecha_inicio=text).window.start == moment


def test_fecha_fin_as_a_date_is_inclusive_and_as_a_datetime_exclusive() -> None:
    assert parse(fecha_fin=date(2024, 1, 31)).window.end == utc(2024, 2, 1)
    assert parse(fecha_fin=utc(2024, 1, 31)).window.end == utc(2024, 1, 31)


def test_a_fraction_of_the_second_before_the_end_still_reads_that_second() -> None:
    assert parse(fecha_fin="2024-01-31T00:00:00.001Z").window.end == utc(2024, 1, 31, 0, 0, 1)


@pytest.mark.parametrize("name", ["fecha_inicio", "fecha_fin"])
@pytest.mark.parametrize(
    ("value", "why"),
    [
        (None, "is missing"),
        ("", "is missing"),
        ("  ", "is missing"),
        ("31/01/2024", "is not an ISO date"),
        ("2024-1-5", "is not an ISO date"),
        ("20240105", "is not an ISO date"),
        (20240105, "is not an ISO date"),
        ("yesterday", "is not an ISO date"),
        ("2024-01-05\n2024-01-06", "is not an ISO date"),
        ("2024-01-05T10", "is not an ISO date"),
        ("2024-01-05T10:00:00+5", "is not an ISO date"),
        ("2024-01-05T10:00:00 UTC", "is not an ISO date"),
        ("2024-01-05T10:00:00.12345678Z", "is not an ISO date"),
        ("2024-W05-1", "is not an ISO date"),
        (["2024-01-05"], "is not an ISO date"),
        (True, "is not an ISO date"),
        ("2024-01-05T10:00:00", "has a time but no offset"),
        ("2024-01-05 10:00", "has a time but no offset"),
        (datetime(2024, 1, 5, 10), "has a time but no offset"),  # noqa: DTZ001 - naive is what is refused
        ("2023-02-29", "is not a date of the calendar"),
        ("2024-13-01", "is not a date of the calendar"),
        ("2024-01-32", "is not a date of the calendar"),
        ("2024-01-05T25:00Z", "is not a date of the calendar"),
        ("2024-01-05T10:60Z", "is not a date of the calendar"),
        ("2024-01-05T10:00+24:00", "is not a date of the calendar"),
        ("0000-01-01", "is not a date of the calendar"),
        ("0001-01-01T00:00:00+14:00", "is not a date of the calendar"),
        ("9999-12-31T23:59:59.5Z", "is not a date of the calendar"),
        (BEYOND, "is not a date of the calendar"),
    ],
)
def test_what_is_not_a_date_is_refused_with_its_name(name: str, value: object, why: str) -> None:
    line = refusal(**{name: value})
    assert line.startswith(f"{name}: ")
    assert why in line


@pytest.mark.parametrize(
    ("changed", "name", "why"),
    [
        ({"fecha_inicio": "1989-12-31"}, "fecha_inicio", "the earliest is 1990-01-01"),
        ({"fecha_inicio": "0001-01-01"}, "fecha_inicio", "the earliest is 1990-01-01"),
        ({"fecha_fin": "2026-11-25"}, "fecha_fin", "in the future"),
        ({"fecha_fin": "2026-11-25T00:00:01Z"}, "fecha_fin", "the latest day is 2026-11-24 (UTC)"),
        ({"fecha_fin": "9999-12-31"}, "fecha_fin", "in the future"),
        ({"fecha_fin": "9998-12-31T00:00Z"}, "fecha_fin", "in the future"),
        ({"fecha_inicio": "2030-01-01", "fecha_fin": "2030-02-01"}, "fecha_inicio", "in the future"),
        ({"fecha_inicio": "2024-02-01"}, "fecha_fin", "is not after fecha_inicio 2024-02-01"),
        (
            {"fecha_inicio": "2024-01-05T10:00Z", "fecha_fin": "2024-01-05T10:00Z"},
            "fecha_fin",
            "is not after fecha_inicio",
        ),
        (
            {"fecha_inicio": "2024-01-05T10:00Z", "fecha_fin": "2024-01-05T11:00+01:00"},
            "fecha_fin",
            "is not after fecha_inicio",
        ),
    ],
)
def test_what_is_out_of_range_or_reversed_is_refused(changed: dict[str, Any], name: str, why: str) -> None:
    line = refusal(**changed)
    assert line.startswith(f"{name}: ")
    assert why in line


def test_today_is_the_latest_day_that_can_be_asked_for() -> None:
    assert parse(fecha_fin="2026-11-24").window.end == utc(2026, 11, 25)
    assert parse(fecha_fin="2026-11-25T00:00Z").window.end == utc(2026, 11, 25)


def test_today_is_todays_day_in_utc() -> None:
    evening_in_california = datetime(2026, 11, 24, 20, tzinfo=timezone(timedelta(hours=-8)))
    assert parse(fecha_fin="2026-11-25", now=evening_in_california).window.end == utc(2026, 11, 26)


def test_1990_is_the_earliest_year() -> None:
    assert parse(fecha_inicio="1990-01-01").window.start == utc(1990, 1, 1)


@pytest.mark.parametrize("value", [0, 11, -1, 2.5, True, False, "five", "0", "11", "1e1", "5 6", "5.5", "٥", [5]])
def test_concurrency_is_a_whole_number_from_1_to_10(value: object) -> None:
    assert refusal(concurrency=value).startswith("concurrency: ")
    assert "is not a whole number from 1 to 10" in refusal(concurrency=value)


@pytest.mark.parametrize(
    ("value", "expected"), [(1, 1), (10, 10), ("7", 7), (" 3 ", 3), ("05", 5), (5.0, 5), ("5.0", 5)]
)
def test_concurrency_may_come_as_text(value: object, expected: int) -> None:
    assert parse(concurrency=value).concurrency == expected


@pytest.mark.parametrize(
    ("name", "value", "allowed"),
    [
        ("entity", "vendors; DROP TABLE raw.qb_items", ", ".join(ENTITIES)),
        ("filter_field", "updated", "last_updated, created, txn_date"),
        ("mode", "force", "resume, reprocess, retry"),
        ("mode", 1, "resume, reprocess, retry"),
        ("lang", "fr", "en, es"),
    ],
)
def test_an_unknown_word_is_refused_with_those_that_are_known(name: str, value: object, allowed: str) -> None:
    assert refusal(**{name: value}) == f"{name}: {str(value)!r} is not one of {allowed}"


@pytest.mark.parametrize(
    ("value", "meant"),
    [
        *(("invoice", "invoices"), ("Invoices", "invoices"), ("factura", "invoices"), ("BILL", "bills")),
        *(("CreditMemo", "credit_memos"), ("proveedor", "vendors"), ("artículo", "items"), ("paymets", "payments")),
        *(("tipo de cambio", "exchange_rates"), ("todo", "all")),
    ],
)
def test_an_entity_by_another_name_is_refused_with_the_right_one(value: str, meant: str) -> None:
    assert refusal(entity=value) == f"entity: {value!r} is not an entity; {meant} is"


def test_what_cant_be_queried_is_refused_with_the_reason() -> None:
    assert refusal(entity="Entitlements").startswith("entity: Entitlements can't be queried: ")


def test_a_list_names_each_entity_once_and_all_is_every_one() -> None:
    assert [entity.name for entity in entities_named("payments, invoices")] == ["payments", "invoices"]
    assert len(entities_named("all")) == len(ENTITIES)
    with pytest.raises(RequestError, match="'invoice' is not an entity; invoices is; entity: bills is there twice"):
        entities_named("invoice,bills,bills")


@given(st.lists(st.one_of(st.sampled_from([*ENTITIES, "all", ""]), st.text()), max_size=6))
def test_a_list_of_entities_is_taken_as_written_or_refused_in_one_sentence(names: list[str]) -> None:
    text = ",".join(names)
    given_names = [name.strip() for name in text.split(",")]
    if given_names == ["all"]:
        assert [entity.name for entity in entities_named(text)] == list(ENTITIES)
    elif set(given_names) <= ENTITIES.keys() and len(set(given_names)) == len(given_names):
        assert [entity.name for entity in entities_named(text)] == given_names
    else:
        with pytest.raises(RequestError, match=r"^entity: "):
            entities_named(text)


@pytest.mark.parametrize("value", [None, "", " "])
def test_an_empty_value_is_the_default_and_an_entity_has_none(value: object) -> None:
    empty = dict.fromkeys(("chunk", "concurrency", "filter_field", "mode", "lang"), value)
    assert parse(**empty) == parse()
    assert refusal(entity=value) == f"entity: is missing; one of {', '.join(ENTITIES)}"


def test_a_variable_that_is_misspelt_is_told_with_the_right_name() -> None:
    assert misspelt(["fecha_fn", "concurrencia", "Mode", "fecha-inicio"]) == [
        "fecha_fn: is not a variable of this pipeline; fecha_fin is",
        "concurrencia: is not a variable of this pipeline; concurrency is",
        "Mode: is not a variable of this pipeline; mode is",
        "fecha-inicio: is not a variable of this pipeline; fecha_inicio is",
    ]


def test_mages_own_variables_and_a_persons_others_are_not_misspelt() -> None:
    mages = "block_uuid pipeline_uuid pipeline_run_id trigger_name execution_date execution_partition ds hr env event"
    others = (
        "interval_start_datetime interval_end_datetime interval_seconds repo_path configuration context logger retry"
    )
    assert misspelt([*mages.split(), *others.split(), "dynamic_block_index", "my_note", *VARIABLES]) == []


def test_a_run_gives_its_request_back() -> None:
    request = parse(chunk="P1M", concurrency=3, mode="reprocess", lang="es", filter_field="created")
    row = {
        "entity": "invoices",
        "range_start": request.window.start,
        "range_end": request.window.end,
        "chunk": "P1M",
        "concurrency": 3,
        "filter_field": "created",
        "mode": "reprocess",
        "settings": b'{"lang": "es"}',
    }
    assert BackfillRequest.of_run(row) == request


@pytest.mark.parametrize("value", ["customers", " customers ", ENTITIES["customers"]])
def test_an_entity_comes_as_its_name_or_itself(value: object) -> None:
    assert parse(entity=value).entity is ENTITIES["customers"]


@pytest.mark.parametrize(
    "value",
    [
        "month",
        "P",
        "PT",
        "P0D",
        "P1.5D",
        "P٣D",
        "6H",
        "P101Y",
        "PT99999999999999999999S",
        "P1M\nP1D",
        30,
        "auto,day",
    ],
)
def test_an_unknown_chunk_is_refused_with_examples(value: object) -> None:
    line = refusal(chunk=value)
    assert line.startswith("chunk: ")
    assert line.endswith(" auto, day, week or an ISO 8601 duration such as P1M or PT6H")
    assert line.count("P1M or") == 1


@pytest.mark.parametrize(
    ("value", "taken"),
    [("auto", "auto"), ("AUTO", "auto"), ("Day", "day"), (" week ", "week"), ("p1m", "P1M"), ("pt6h", "PT6H")],
)
def test_a_chunk_is_taken_in_either_case(value: str, taken: str) -> None:
    request = parse(chunk=value)
    assert request.chunk == taken
    assert (request.step is None) == (taken == "auto")


def test_a_chunk_that_would_cut_a_decade_into_too_many_is_refused() -> None:
    line = refusal(fecha_inicio="2010-01-01", fecha_fin="2019-12-31", chunk="PT1M")
    assert line.startswith("chunk: 'PT1M' would cut ")
    assert line.endswith("into more than 100,000 chunks; use a longer one or auto")
    assert parse(fecha_inicio="2010-01-01", fecha_fin="2019-12-31", chunk="PT1H").chunk == "PT1H"


@pytest.mark.parametrize("entity", ["customers", "items"])
def test_only_invoices_have_a_txn_date(entity: str) -> None:
    line = refusal(entity=entity, filter_field="txn_date")
    assert line.startswith(f"filter_field: {ENTITIES[entity].query_name} records have no TxnDate")
    assert parse(filter_field="txn_date").filter_field == "txn_date"


@pytest.mark.parametrize("chunk", ["PT6H", "P1DT12H", "PT1S", "P1MT1H"])
def test_a_txn_date_is_not_cut_by_the_hour(chunk: str) -> None:
    assert refusal(filter_field="txn_date", chunk=chunk).startswith(
        f"chunk: {chunk!r} cuts days, but TxnDate is a date"
    )


@pytest.mark.parametrize("chunk", ["auto", "day", "week", "P1M", "P10D", "PT48H"])
def test_a_txn_date_is_cut_by_whole_days(chunk: str) -> None:
    assert parse(filter_field="txn_date", chunk=chunk).chunk == chunk


@pytest.mark.parametrize("name", ["fecha_inicio", "fecha_fin"])
@pytest.mark.parametrize("filter_field", ["txn_date", " txn_date "])
@pytest.mark.parametrize("value", ["2024-01-05T10:00Z", "2024-01-05T00:00-05:00"])
def test_a_range_of_txn_dates_has_no_time_of_day(name: str, filter_field: str, value: str) -> None:
    line = refusal(filter_field=filter_field, **{name: value})
    assert line.startswith(f"{name}: ")
    assert "has a time, but TxnDate is a date" in line


def test_a_txn_date_may_lie_ten_years_ahead_and_no_more() -> None:
    assert parse(filter_field="txn_date", fecha_fin="2036-11-24").window.end == utc(2036, 11, 25)
    assert "in the future" in refusal(filter_field="txn_date", fecha_fin="2036-11-25")


def test_all_parameters_that_are_wrong_are_named_in_the_one_line() -> None:
    line = refusal(entity="bill", chunk="monthly", concurrency=99, mode="again")
    assert [part.split(":")[0] for part in line.split("; ") if ": '" in part] == [
        "entity",
        "chunk",
        "concurrency",
        "mode",
    ]


def test_both_dates_are_named_when_both_are_wrong() -> None:
    line = refusal(fecha_inicio="01/02/2024", fecha_fin="31/12/2024")
    assert "fecha_inicio: '01/02/2024' is not" in line
    assert "; fecha_fin: '31/12/2024' is not" in line


def test_a_wrong_date_does_not_hide_what_else_is_wrong() -> None:
    line = refusal(fecha_inicio="yesterday", concurrency=99)
    assert line.startswith("fecha_inicio: 'yesterday' is not an ISO date")
    assert "; concurrency: '99' is not a whole number from 1 to 10" in line


def test_a_request_cant_be_changed_once_it_is_checked() -> None:
    with pytest.raises(FrozenInstanceError):
        parse().concurrency = 99  # type: ignore[misc]


anything = st.one_of(
    st.none(), st.booleans(), st.integers(), st.floats(), st.text(), st.binary(), st.dates(), st.datetimes()
)


def outcome(**changed: Any) -> BackfillRequest | str:
    """The request, or the line that refuses it; any other error goes through."""
    try:
        return parse(**changed)
    except RequestError as refused:
        return str(refused)


@given(anything, anything)
def test_nothing_that_is_passed_ends_in_another_error_or_in_more_than_a_line(value: object, other: object) -> None:
    for name in ("entity", "fecha_inicio", "fecha_fin", "chunk", "concurrency", "filter_field", "mode", "lang"):
        for changed in ({name: value}, {name: value, "filter_field": other}, {name: value, "chunk": other}):
            found = outcome(**changed)
            if isinstance(found, str):
                assert "\n" not in found
                # A start that is a date may lie after the end, which is then what is told.
                assert any(f"{named}: " in found for named in {*changed, "fecha_fin"})


@given(
    st.from_regex(r"P(\d{1,25}[YMWD]){1,4}(T(\d{1,25}[HMS]){1,3})?", fullmatch=True),
    st.from_regex(
        r"[0-9]{4}-[01][0-9]-[0-3][0-9](T[0-2][0-9]:[0-5][0-9](Z|[+-][0-2][0-9]:[0-5][0-9]))?", fullmatch=True
    ),
)
def test_what_looks_right_is_taken_or_refused_in_one_line(chunk: str, moment: str) -> None:
    for changed in ({"chunk": chunk}, {"fecha_inicio": moment}, {"fecha_fin": moment}):
        found = outcome(**changed)
        if isinstance(found, str):
            assert found.startswith(("chunk: ", "fecha_inicio: ", "fecha_fin: "))
            assert "\n" not in found


def test_include_is_one_of_two_words_or_empty() -> None:
    assert parse(include="").include == parse(include=None).include == parse().include == ""
    assert parse(include="enhancedAllCustomFields").include == "enhancedAllCustomFields"
    assert refusal(include="all") == "include: 'all' is not one of enhancedAllCustomFields, none"
