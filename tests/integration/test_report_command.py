"""`qbo-backfill report --index` and `--open`: pages in the folder of reports, and where they stand."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

from qbo_simulator import SimulatorConfig, run_in_thread
from tests.support.commands import CommandLine, store
from tests.support.databases import execute

SMALL = SimulatorConfig(invoices=120, customers=20, items=10)
ODD = """
UPDATE raw.qb_invoices
   SET payload = payload || '{"TotalAmt": "a lot", "TxnDate": "2024-02-31", "Balance": {}, "CurrencyRef": [1]}'
 WHERE id = (SELECT min(id) FROM raw.qb_invoices)
"""
BEYOND = """
UPDATE raw.qb_invoices SET payload = payload || '{"TotalAmt": 9e131071, "Balance": 1e-9999}'
 WHERE id IN (SELECT id FROM raw.qb_invoices ORDER BY id LIMIT 2)
"""


def test_all_runs_on_a_page_and_a_report_in_the_browser(
    command_line: CommandLine, database: Any, tmp_path: Path
) -> None:
    opened = tmp_path / "opened"
    browser = f"{sys.executable} -c \"import sys; open('{opened}', 'a').write(sys.argv[1] + '\\n')\" %s"
    shell = CommandLine({**command_line.environ, "BROWSER": browser})
    with run_in_thread(SMALL) as simulator:
        store(shell, simulator, database)
        empty = shell.run("report", "--index")
        assert (empty.code, empty.stdout) == (0, ""), empty.stderr
        page = Path(empty.stderr.removeprefix("Written: ").strip())
        assert "No run yet" in page.read_text()
        for entity in ("invoices", "items"):
            assert shell.backfill(entity).code == 0
        company = simulator.realm_id
    (page.parent / "run-2-items.html").unlink()
    ended = shell.run("report", "--index", "--open", "--lang", "es")
    assert (ended.code, ended.stderr) == (0, f"Escrito: {page}\n")
    text = page.read_text()
    assert "La última ejecución de cada entidad está completa" in text
    assert '<a href="run-1-invoices.html">1</a>' in text
    assert "run-2-items.html" not in text
    assert company in text
    assert opened.read_text() == page.as_uri() + "\n"

    execute(database, ODD)
    ended = shell.run("report", "2", "--open")
    assert (ended.code, ended.stdout) == (0, "")
    assert opened.read_text().splitlines()[-1] == (page.parent / "run-2-items.html").as_uri()
    odd = shell.run("report", "1")
    assert odd.code == 0, odd.stderr
    assert "| - | - | 1 | - | - |" in odd.stdout  # nothing to add up, and said so

    execute(database, BEYOND)
    beyond = shell.run("report", "1")
    assert beyond.code == 0, beyond.stderr
    assert "| ? |" in beyond.stdout  # what can't be added up isn't

    ended = shell.run("report", "7", "--index")
    assert (ended.code, ended.stderr.count("\n")) == (2, 1)
    assert "index: is a page of all runs" in ended.stderr
