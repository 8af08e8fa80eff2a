"""Control totals come from what a page says of a record's amounts, and are what its payload says."""

from __future__ import annotations

import itertools
from typing import Any

from async_extractor.warehouse.statements import statement
from qbo_simulator import Simulator, SimulatorConfig
from tests.integration.loading import START
from tests.support.backfilling import backfill, secrets_for, simulate
from tests.support.databases import execute

AMOUNTS = ["639.00", "-0.01", "1e3", "1e400", '"12"', "null", "{}", None]
CURRENCIES = ['{"value":"USD","name":"US \\u0024"}', '{"value":"EUR"}', '{"value":7}', "[]", '"USD"', None]


def invoice(number: int, total: str | None, balance: str | None, currency: str | None) -> dict[str, str]:
    when = START.isoformat()
    said = {
        "Id": f'"{number}"',
        "TxnDate": f'"2024-0{1 + number % 9}-30"',  # there is no 30th of February
        "TotalAmt": total,
        "Balance": balance,
        "CurrencyRef": currency,
        "MetaData": f'{{"CreateTime":"{when}","LastUpdatedTime":"{when}"}}',
    }
    fields = [f'"{name}":{value}' for name, value in said.items() if value is not None]
    if number % 5 == 0:
        fields.append('"TotalAmt":1.10')  # of a key that stands twice jsonb keeps the last
    return {"payload": f"{{{','.join(fields)}}}"}


async def test_totals_are_the_payloads(database: Any) -> None:
    odd = itertools.product(AMOUNTS, AMOUNTS, CURRENCIES)
    records = [invoice(number, *values) for number, values in enumerate(odd, 1)]
    async with Simulator(SimulatorConfig(invoices=0, limits=False)) as simulator:
        await simulate(simulator, "load", {"entity": "Invoice", "replace": True, "records": records})
        result = await backfill(secrets_for(simulator, database), "invoices")
        assert (result.status, result.rows["inserted"]) == ("done", len(records)), result.error
    sums = statement("control_totals", table="qb_invoices", raw_schema="raw")
    sums = sums.replace("$1", "'2015-01-01'").replace("$2", "'2027-01-01'").replace("$3", "'last_updated'")
    found = execute(database, sums)
    assert sum(row[2] for row in found) == len(records)
    assert {row[1] for row in found} == {"USD", "EUR", ""}
    ((told,),) = execute(database, "SELECT count(totals) FROM raw.qb_invoices")
    ((without,),) = execute(database, "SELECT count(*) FROM raw.qb_invoices WHERE NOT payload ? 'TotalAmt'")
    assert without > 0
    # An odd TxnDate has its record read again without these: its payload is opened.
    assert len(records) * 3 // 4 < told < len(records) - without
    execute(database, "SET qbo_backfill.writes = 'on'; UPDATE raw.qb_invoices SET totals = NULL")
    assert str(execute(database, sums)) == str(found)  # text, in which NaN is NaN and 1.10 isn't 1.1
