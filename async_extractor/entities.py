"""The entities that can be backfilled: one row each. Adding one is a row here and a trigger file in Mage."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Entity:
    """A kind of QuickBooks record.

    `name` is what people type and the ledger holds; `query_name` is QuickBooks' own name in
    `SELECT * FROM`; `table` is the table in schema raw. `has_active`: inactive records are left out
    of a query, and of its COUNT, unless `Active IN (true, false)` is asked for. `has_txn_date`: the
    record has a `TxnDate` to filter by. `can_be_deleted`: transactions can be deleted, and only change data
    capture then shows it; names are made inactive instead.
    """

    name: str
    query_name: str
    table: str
    has_active: bool
    has_txn_date: bool
    can_be_deleted: bool


ENTITIES = {
    entity.name: entity
    for entity in (
        Entity("invoices", "Invoice", "qb_invoices", has_active=False, has_txn_date=True, can_be_deleted=True),
        Entity("customers", "Customer", "qb_customers", has_active=True, has_txn_date=False, can_be_deleted=False),
        Entity("items", "Item", "qb_items", has_active=True, has_txn_date=False, can_be_deleted=False),
    )
}
