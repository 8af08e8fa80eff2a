"""Walks that have failed, in their shortest form, by what was broken."""

from __future__ import annotations

from tests.chaos.walks.script import Change, Command, Cut, Pass, Walk

KEPT = {
    "rows edited while a run reads only chunks that a killed one had planned": Walk(
        steps=(
            Command("run", chunk="P1M", concurrency=1, cut=Cut("kill", at=2)),
            Command("run", end="2025-11-30", chunk="P1M", concurrency=1, during=((2, Change("edit", count=40)),)),
        )
    ),
    "rows edited while retry --chunk reads the one that had failed": Walk(
        steps=(
            Command("run", chunk="P1M", concurrency=1, cut=Cut("refuse", at=3)),
            Command("retry-chunk", start="2025-02-10", during=((1, Change("edit", count=60)),)),
        )
    ),
    "rows edited while verify --repair reads what was missing": Walk(
        invoices=10,
        customers=140,
        steps=(
            Command(
                "run",
                "customers",
                chunk="P1M",
                concurrency=1,
                cut=Cut("refuse", at=6),
                beside=Command("repair", "customers", concurrency=1),
                beside_at=7,
                during=((13, Change("edit", "Customer", 60)),),
            ),
        ),
    ),
    "rows of chunks that a killed reprocess has superseded": Walk(
        steps=(
            Command(
                "run",
                field="created",
                chunk="P1M",
                concurrency=1,
                beside=Command("reprocess", field="created", chunk="P1M", concurrency=1, cut=Cut("kill", at=8)),
                beside_at=1,
            ),
        )
    ),
    "a record that quarantine retry was to read when the company had lapsed": Walk(
        steps=(
            Change("spoil"),
            Command("run", field="created"),
            Change("heal"),
            Command("quarantine-retry", cut=Cut("lapse", at=1)),
        )
    ),
    "a catch-up that has failed once, and then there is more to read": Walk(
        steps=(
            Command("run", end="today", concurrency=1, cut=Cut("refuse", at=4)),
            Change("insert", count=3),
            Pass(1),
        )
    ),
    "deletions among more than 1,000 changes": Walk(
        invoices=1_160,
        steps=(
            Command("run", end="today"),
            Change("edit", count=1_150),
            Change("delete", count=7),
            Command("run", end="today"),
        ),
    ),
    "invoices dated today and in the future": Walk(
        steps=(
            Command("run", end="ahead", field="txn_date"),
            Change("insert", txn_date="today"),
            Command("run", end="ahead", field="txn_date"),
        )
    ),
    "a deletion, by created": Walk(
        steps=(
            Command("run", field="created"),
            Change("delete"),
            Command("reprocess", field="created"),
        )
    ),
    "a deletion, where nothing new is to be read": Walk(steps=(Command("run"), Change("delete"), Command("run"))),
    "a customer that was merged away": Walk(
        steps=(Command("run", "customers"), Change("merge", "Customer"), Command("run", "customers"))
    ),
    "an edit, by created, where all is done": Walk(
        steps=(Command("run", field="created"), Change("edit"), Command("run", field="created"))
    ),
    "an edit before verify, by created": Walk(
        steps=(Command("run", field="created"), Change("edit"), Command("verify", field="created"))
    ),
    "an edit back into the range, by txn_date": Walk(
        steps=(
            Command("run", end="2025-06-15", field="txn_date"),
            Change("edit", count=20, txn_date="2025-02-10"),
            Command("run", end="2025-06-15", field="txn_date"),
        )
    ),
    "a range never read, in mode retry": Walk(steps=(Command("retry-mode"),)),
    "pages that are empty where COUNT(*) says there are rows": Walk(steps=(Command("run", cut=Cut("empty", at=1)),)),
    "verify where COUNT(*) says that there are rows, pages are empty and raw has none": Walk(
        steps=(Command("verify", cut=Cut("empty", at=1)),)
    ),
    "an edit before verify --deep, up to today": Walk(
        steps=(Command("run", end="today"), Change("edit"), Command("verify-deep", end="today"))
    ),
    "a deletion of more than thirty days ago": Walk(
        clock_hours=-960,
        steps=(
            Command("run", end="today"),
            Change("delete"),
            Pass(840),
            Change("insert"),
            Pass(1),
            Command("run", end="today"),
        ),
    ),
    "edited before a reprocess by created and deleted in it": Walk(
        steps=(
            Command("run", field="created", chunk="P1M"),
            Change("edit", count=60),
            Command(
                "reprocess", field="created", chunk="P1M", concurrency=1, during=((3, Change("delete", count=40)),)
            ),
        )
    ),
    "a quarantine entry of a catch-up, by txn_date": Walk(
        steps=(
            Command("run", field="txn_date", concurrency=1, during=((3, Change("spoil")),)),
            Change("heal"),
            Command("quarantine-retry"),
        )
    ),
}
