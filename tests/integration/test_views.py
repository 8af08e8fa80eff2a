"""The views over raw: made from the entities' facts, whatever the payloads hold, and never in anybody's way."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from dataclasses import replace
from datetime import date, datetime, timezone
from decimal import Decimal
from typing import Any

import asyncpg
import pytest

from async_extractor.entities import ENTITIES, Entity
from async_extractor.errors import ConfigurationError
from async_extractor.warehouse.schema import bring_up_to_date
from async_extractor.warehouse.views import columns_of, make_views
from qbo_simulator import Simulator, SimulatorConfig
from tests.conftest import Database

# Each of these stands in the place of each value that a view shows.
ODD = (
    None, True, False, 0, -0.0, 1e300, 10**400, "", " ", "x", "1,5", "NaN", "infinity", "now", "2023-02-29",
    "2023-02-30", "0000-01-01", "9999-12-31", "2023-13-01", "99999-01-01", "2023-01-01\n", "2023-1-1",
    "2024-02-29T24:00:00Z", "2023-02-29T10:00:00Z", "2023-01-01T10:00:00", "2023-01-01T10:00:60Z",
    "2023-01-01T10:00:00+15:59",
    "2023-01-01T10:00:00.1234567890123Z", "0000-01-01T00:00:00Z", "9999-12-31T23:59:59-14:00",
    "0001-01-01T00:00:00+14:00", "١٢٣٤-01-01",
    [], {}, [1], ["2023-01-01"], {"value": {"a": 1}, "name": [2]}, [{"value": "7"}], [[{"CreateTime": "x"}]],
    "\U0001f4a9",
)  # fmt: skip
# Of Intuit's pages on the entities; the simulator's records are without.
UNSENT = """
accounts.AccountSubType accounts.AcctNum attachables.Note bills.DocNumber budgets.EndDate budgets.StartDate
classes.ParentRef.name classes.ParentRef.value departments.ParentRef.name departments.ParentRef.value
employees.EmployeeNumber employees.FamilyName employees.HiredDate employees.ReleasedDate inventory_adjustments.DocNumber
journal_codes.Description journal_codes.Type payment_methods.Type purchase_orders.DocNumber purchases.DocNumber
recurring_transactions.CustomerRef.name recurring_transactions.CustomerRef.value
recurring_transactions.RecurringInfo.ScheduleInfo.NextDate tax_payments.Description tax_rates.AgencyRef.name
tax_rates.Description time_activities.Description time_activities.VendorRef.name time_activities.VendorRef.value
vendor_credits.Balance vendor_credits.DocNumber vendors.CompanyName vendors.PrimaryEmailAddr.Address
"""
INSERT = """
INSERT INTO raw.{} (id, payload, extract_window_start_utc, extract_window_end_utc, page_number, page_size,
    request_payload, run_id)
SELECT place, payload, now(), now(), 1, 1, '{{"query": ""}}', 1
  FROM unnest($1::jsonb[]) WITH ORDINALITY AS given (payload, place)
"""


@pytest.fixture
async def warehouse(database: Database) -> AsyncIterator[Any]:
    connection = await asyncpg.connect(database.dsn)
    await bring_up_to_date(connection, entities=ENTITIES)
    yield connection
    await connection.close()


async def put(connection: Any, entity: Entity, payloads: list[Any]) -> None:
    await connection.execute(INSERT.format(entity.table), [json.dumps(payload) for payload in payloads])


def with_value(path: list[str], value: object) -> object:
    return {path[0]: with_value(path[1:], value)} if path else value


async def test_every_entity_has_a_view_and_each_column_says_what_it_is(warehouse: Any) -> None:
    for entity in ENTITIES.values():
        told = await warehouse.fetch(
            "SELECT attname, col_description(attrelid, attnum) FROM pg_attribute "
            "WHERE attrelid = $1::text::regclass AND attnum > 0 ORDER BY attnum",
            f"raw_views.{entity.name}",
        )
        assert [tuple(row) for row in told] == [(column.name, column.comment) for column in columns_of(entity)]
        assert ("active" in dict(told)) == (entity.has_active or entity.wrapped), entity.name


async def test_an_invoice_is_a_row_of_its_keys(warehouse: Any) -> None:
    await put(warehouse, ENTITIES["invoices"], [{
        "DocNumber": "1037", "TxnDate": "2024-02-29", "DueDate": "2024-03-31", "TotalAmt": 639.0, "Balance": 0,
        "CustomerRef": {"value": "3", "name": "Señal"}, "CurrencyRef": {"value": "USD", "name": "US Dollar"},
        "MetaData": {"CreateTime": "2024-02-29T10:00:00-08:00"},
    }])  # fmt: skip
    await warehouse.execute("UPDATE raw.qb_invoices SET payload = jsonb_set(payload, '{TotalAmt}', '639.00')")
    row = dict(await warehouse.fetchrow("SELECT * FROM raw_views.invoices"))
    assert row == {
        "id": "1", "doc_number": "1037", "txn_date": date(2024, 2, 29), "customer_id": "3", "customer_name": "Señal",
        "currency": "USD", "total_amt": Decimal("639.00"), "balance": Decimal(0), "due_date": date(2024, 3, 31),
        "created_utc": datetime(2024, 2, 29, 18, tzinfo=timezone.utc), "last_updated_utc": None, "deleted": False,
        "deleted_at_utc": None,
    }  # fmt: skip
    assert str(row["total_amt"]) == "639.00"


async def test_no_payload_breaks_a_view(warehouse: Any) -> None:
    """Each value that is shown, missing and in every odd form: a null, or what it is, and never an error."""
    for entity in ENTITIES.values():
        paths = [*(path.split(".") for path in entity.shows.split()), ["MetaData", "CreateTime"], ["MetaData"]]
        paths += [[*path, part] for path in paths if path[-1].endswith("Ref") for part in ("value", "name")]
        payloads: list[Any] = [{}, {"a": {}}, {"a": []}, {"a": "x"}]
        payloads += [with_value(path, odd) for path in paths for odd in ODD]
        if entity.wrapped:
            payloads += [{"Bill": payload} for payload in payloads]
        await put(warehouse, entity, payloads)
        rows = await warehouse.fetch(f"SELECT * FROM raw_views.{entity.name}")
        assert len(rows) == len(payloads)
        assert await warehouse.fetchval(f"SELECT sum(hashtext(v::text)) FROM raw_views.{entity.name} v") is not None


def paths_of(value: object, path: str = "") -> set[str]:
    """Where in a record there is something."""
    if not isinstance(value, dict):
        return {path}
    return {path, *(found for key, inner in value.items() for found in paths_of(inner, f"{path}.{key}".strip(".")))}


async def test_what_a_record_has_stands_in_its_columns(warehouse: Any) -> None:
    """Keys that the simulator sends have values; those that it never sends are listed, and of Intuit's pages."""
    unsent: set[str] = set()
    config = SimulatorConfig(invoices=300, customers=80, items=60, everything=True, limits=False)
    async with Simulator(config) as simulator:
        for entity in ENTITIES.values():
            table = simulator.service.table(entity.query_name)
            payloads = [json.loads(table.payload(slot)) for slot in table.slots()]
            await put(warehouse, entity, payloads)
            records = [next(iter(payload.values())) if entity.wrapped else payload for payload in payloads]
            sent = set().union(*map(paths_of, records))
            rows = await warehouse.fetch(f"SELECT * FROM raw_views.{entity.name}")
            assert len(rows) == len(payloads) > 0
            for column in columns_of(entity):
                path, _, rule = column.comment.partition("; null where")
                if rule and path not in sent:
                    unsent.add(f"{entity.name}.{path}")
                elif rule:
                    assert any(row[column.name] is not None for row in rows), (entity.name, column)
    assert unsent == set(UNSENT.split())


async def test_a_profile_has_views_of_its_own_and_cannot_take_those_of_another(warehouse: Any) -> None:
    await bring_up_to_date(warehouse, "raw_acme")
    assert await warehouse.fetchval("SELECT count(*) FROM raw_acme_views.invoices") == 0
    assert "over raw_acme " in await warehouse.fetchval("SELECT obj_description('raw_acme_views'::regnamespace)")
    with pytest.raises(ConfigurationError, match=r"schema raw_views is for views .* another name"):
        await bring_up_to_date(warehouse, "raw_views")


async def test_a_view_of_an_older_version_is_made_anew_and_somebody_elses_stays(warehouse: Any) -> None:
    ours = await warehouse.fetchval("SELECT obj_description('raw_views.terms'::regclass)")
    await warehouse.execute(
        f"""
        DROP VIEW raw_views.items, raw_views.terms, raw_views.bills;
        CREATE VIEW raw_views.items AS SELECT 1 AS mine;
        CREATE VIEW raw_views.terms AS SELECT 'old' AS id; COMMENT ON VIEW raw_views.terms IS '{ours}';
        CREATE VIEW raw_views.bills AS SELECT 'old' AS id; COMMENT ON VIEW raw_views.bills IS '{ours}';
        CREATE VIEW public.rests_on_it AS SELECT * FROM raw_views.bills;
        """
    )
    told = await make_views(warehouse, "raw")
    assert [line.partition(":")[0] for line in told] == [
        "raw_views.items is somebody else's, and stays",
        "raw_views.bills stays as it was",
    ]
    assert await warehouse.fetchval("SELECT mine FROM raw_views.items") == 1
    assert await warehouse.fetch("SELECT due_days FROM raw_views.terms") == []
    assert await make_views(warehouse, "raw") == told


async def test_a_role_that_can_make_no_schema_does_without(database: Database) -> None:
    owner = await asyncpg.connect(database.dsn)
    await owner.execute(
        "CREATE ROLE plain LOGIN PASSWORD 'p'; "
        "CREATE SCHEMA raw AUTHORIZATION plain; CREATE SCHEMA ops AUTHORIZATION plain"
    )
    plain = await asyncpg.connect(replace(database, user="plain", password="p").dsn)
    try:
        await bring_up_to_date(plain)
        (told,) = await make_views(plain, "raw")
        assert told.startswith("the role may not make views in schema raw_views")
        await owner.execute("CREATE SCHEMA raw_views AUTHORIZATION plain")
        assert await make_views(plain, "raw") == []
        assert await plain.fetchval("SELECT count(*) FROM raw_views.customers") == 0
    finally:
        await plain.close()
        await owner.execute("DROP OWNED BY plain; DROP ROLE plain")
        await owner.close()
