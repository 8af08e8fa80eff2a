"""The command line in Spanish: what people read of a run, its errors and its result has no English left."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest

from qbo_simulator import SimulatorConfig, run_in_thread
from tests.support.commands import CommandLine, Ended, store
from tests.support.databases import execute
from tests.unit.test_spoken import ENGLISH

RANGE = ("--fecha-inicio", "2015-01-01", "--fecha-fin", "2026-01-31")
EVERY = ("--every", "P6Y", "--start", "2026-12-01T02:00:00Z")
COMMANDS = re.compile(r"SELECT \* FROM|`[^`]*`|qbo-backfill [\w -]+|--[\w-]+|https?://\S+|[\w./-]+/[\w./-]+")


def spanish(ended: Ended) -> str:
    """All that a command has said; none of it in English."""
    text = ended.stdout + ended.stderr
    left = [line for line in text.splitlines() if ENGLISH.search(COMMANDS.sub("", line))]
    assert not left, text
    return text


@pytest.mark.slow
def test_commands(command_line: CommandLine, database: Any, tmp_path: Path) -> None:
    project = Path(command_line.environ["MAGE_REPO_PATH"])
    command_line.environ["QBO_BACKFILL_LANG"] = "es"
    with run_in_thread(SimulatorConfig(invoices=60, customers=10, items=10, years=1)) as simulator:
        store(command_line, simulator, database)
        for words, code, said in (
            (("check", "--probe", "--yes", "--out", str(tmp_path / "probe.json")), 0, "Listo: una ejecución"),
            (("secrets", "list"), 0, "El client id de la app de Intuit"),
            (("mage", "install", str(project), "--dry-run"), 0, "archivos de"),
            (("mage", "install", str(project)), 0, "nuevo: custom"),
            (("triggers", "list"), 0, "Triggers de una sola vez"),
            (("triggers", "plan", "invoices", *RANGE, *EVERY, "--dry-run"), 0, "No se escribió nada"),
            (("triggers", "plan", "invoices", *RANGE, *EVERY), 0, "en estado inactivo"),
            (("triggers", "rearm", "invoices_once_20150101_20261231"), 2, "NAME"),
            (("metrics", "--out", str(tmp_path / "metrics")), 0, "Escrito: "),
            (("bench", "invoices", *RANGE, "--concurrency", "2", "--no-limits"), 0, "recomendado: --concurrency 2"),
            (("plan", "invoices", *RANGE), 0, "60 filas en QuickBooks"),
            (("status",), 0, "Todavía no hay ejecuciones."),
            (("run", "invoices", *RANGE), 0, "Completo: "),
            (("run", "invoices,customers", *RANGE), 0, "Todas las entidades"),
            (("reprocess", "items", *RANGE), 0, "Completo: "),
            (("status",), 0, "solicitudes este mes"),
            (("profiles",), 0, "Empresas en Mage Secrets"),
            (("auth", "status"), 0, "refresh token: en uso desde hace"),
            (("resume",), 0, "No hay nada que retomar"),
            (("retry",), 0, "No hay nada que repetir"),
            (("quarantine", "list"), 0, "No hay nada en cuarentena."),
            (("verify", "invoices", *RANGE), 0, "Verificación"),
            (("run", "facturas", *RANGE), 2, "no es una entidad; invoices sí"),
            (("run", "invoices", "--fecha-inicio", "ayer", "--fecha-fin", "2024-01-01"), 2, "no es una fecha ISO"),
            (("report", "99"), 2, "no existe la ejecución 99"),
        ):
            ended = command_line.run(*words)
            assert ended.code == code, ended
            assert said in re.sub(r"\s+", " ", spanish(ended)), ended
        execute(database, "DELETE FROM raw.qb_invoices WHERE id IN (SELECT min(id) FROM raw.qb_invoices)")
        assert "algo mal según" in spanish(command_line.run("verify", "invoices", *RANGE))
    command_line.secrets.set("POSTGRES_PORT", "1")
    assert "nada responde ahí" in spanish(command_line.run("status"))
    command_line.environ["QBO_BACKFILL_LANG"] = "fr"
    wrong = command_line.run("status")
    assert (wrong.code, wrong.stderr) == (2, "qbo-backfill: QBO_BACKFILL_LANG: 'fr' is not one of en, es\n")
