"""The documentation says what is so: links lead somewhere, commands exist, tables agree with the code."""

from __future__ import annotations

import re
import shlex
from datetime import datetime, timezone
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import pytest
import yaml

from async_extractor import codes
from async_extractor.cli import command as command_line
from async_extractor.mage.secrets import KNOWN_SECRETS
from qbo_simulator import config, scenarios
from qbo_simulator.behaviour import behaviour
from tests.support.documents import READMES, ROOT, Document, documents, table, target_of
from tools.docs import api_document, draw

DOCUMENTS = [Document(path) for path in documents()]
EVERY_DOCUMENT = pytest.mark.parametrize("document", DOCUMENTS, ids=lambda d: str(d.path.relative_to(ROOT)))
BOTH_READMES = pytest.mark.parametrize("lang", READMES)

HEADINGS = {
    "en": {
        "secrets": "Secrets management",
        "pipelines": "The three pipelines",
        "triggers": "One-time triggers",
        "raw": "The `raw` schema",
        "checks": "Validations and volume",
        "runbook": "Runbook",
        "troubleshooting": "Troubleshooting",
        "checklist": "Acceptance checklist",
    },
    "es": {
        "secrets": "Gestión de secretos",
        "pipelines": "Los tres pipelines",
        "triggers": "Trigger one-time",
        "raw": "Esquema raw",
        "checks": "Validaciones/volumetría",
        "runbook": "Runbook",
        "troubleshooting": "Troubleshooting",
        "checklist": "Checklist de aceptación",
    },
}


@EVERY_DOCUMENT
def test_every_link_leads_to_a_file_and_to_a_heading_in_it(document: Document) -> None:
    dead = []
    for link in document.links():
        path, fragment = target_of(document, link)
        if not path.exists() or (fragment and path.suffix == ".md" and fragment not in Document(path).anchors()):
            dead.append(link)
    assert dead == []


@EVERY_DOCUMENT
def test_every_command_and_option_that_is_named_exists(document: Document) -> None:
    unknown = [call for call in document.commands("qbo-backfill") if not _exists(call)]
    assert unknown == []


@EVERY_DOCUMENT
def test_every_target_of_make_that_is_named_exists(document: Document) -> None:
    makefile = (ROOT / "Makefile").read_text()
    named = {call.split()[0] for call in document.commands("make")}
    assert {name for name in named if not re.search(rf"^{re.escape(name)}:", makefile, re.MULTILINE)} == set()


@EVERY_DOCUMENT
def test_every_code_that_is_named_is_one(document: Document) -> None:
    known = {code.code for code in (*codes.EVENTS, *codes.CHECKS, *codes.ERRORS)}
    assert set(re.findall(r"QBF-[IWE]\d{3}", document.text)) <= known


def test_every_code_is_documented() -> None:
    text = (ROOT / "docs" / "error-codes.md").read_text(encoding="utf-8")
    missing = [code.code for code in (*codes.EVENTS, *codes.CHECKS, *codes.ERRORS) if code.code not in text]
    assert missing == []


def test_no_document_names_a_path_of_somebodys_machine() -> None:
    for document in DOCUMENTS:
        assert re.findall(r"(?<!\w)/(?:work|root|home/(?!src|mage\b))[/\w]*", document.text) == [], document.path


@BOTH_READMES
def test_the_table_of_secrets_is_the_list_of_known_secrets(lang: str) -> None:
    rows = table(_section(lang, "secrets"))
    assert {name for row in rows for name in row[0].split(", ")} == set(KNOWN_SECRETS)
    assert all(len(row) == 4 and all(row) for row in rows)


@BOTH_READMES
def test_the_table_of_parameters_is_what_the_pipelines_take(lang: str) -> None:
    rows = {row[0]: row[1] for row in table(_section(lang, "pipelines"))}
    for path in ROOT.glob("mage_project/pipelines/*/metadata.yaml"):
        variables = yaml.safe_load(path.read_text())["variables"]
        only = {"entities"} if path.parent.name == "qb_company_backfill" else {"entity", "workers"}
        assert set(rows) - {"entities", "entity", "workers"} | only == set(variables)
        for name in ("chunk", "concurrency", "filter_field", "mode", "lang"):
            assert rows[name] == str(variables[name])


@BOTH_READMES
def test_the_table_of_triggers_is_what_the_files_say_and_guayaquil_is_right(lang: str) -> None:
    rows = {row[0]: row for row in table(_section(lang, "triggers"))}
    files = sorted(ROOT.glob("mage_project/pipelines/*/triggers.yaml"))
    assert len(rows) == len(files) == 4
    for path in files:
        (trigger,) = yaml.safe_load(path.read_text())["triggers"]
        _, pipeline, utc, guayaquil, dates = rows[trigger["name"]]
        start: datetime = trigger["start_time"].replace(tzinfo=timezone.utc)
        variables = trigger["variables"]
        assert pipeline == trigger["pipeline_uuid"]
        assert utc == f"{start:%Y-%m-%d %H:%M}"
        assert guayaquil == f"{start.astimezone(ZoneInfo('America/Guayaquil')):%Y-%m-%d %H:%M}"
        assert dates == f"{variables['fecha_inicio']} – {variables['fecha_fin']}"
        assert trigger["status"] == "inactive"


@BOTH_READMES
def test_the_table_of_raw_names_every_column(lang: str) -> None:
    named = {name for row in table(_section(lang, "raw")) for name in row[0].split(", ")}
    sql = (ROOT / "sql" / "raw_entity.sql").read_text()
    columns = set(re.findall(r"^    ([a-z_]+) +(?:text|jsonb|timestamptz|integer|bigint)", sql, re.MULTILINE))
    assert named == columns.union(re.findall(r"ADD COLUMN IF NOT EXISTS ([a-z_]+)", sql))


@BOTH_READMES
def test_the_table_of_checks_names_only_checks_that_exist(lang: str) -> None:
    named = {name for row in table(_section(lang, "checks")) for name in row[0].split(", ")}
    assert named <= {check.name for check in codes.CHECKS}
    assert {"keys", "source_count", "chunk_counts", "utc", "volume"} <= named


@BOTH_READMES
def test_every_point_of_the_checklist_is_ticked_and_has_proofs_that_exist_and_a_command_that_makes_them(
    lang: str,
) -> None:
    rows = table(_section(lang, "checklist"))
    assert len(rows) == 9
    readme = Document(READMES[lang])
    for mark, requirement, proof, made_by in rows:
        assert mark == "☑", requirement
        assert all(command.startswith("make ") for command in made_by.split(", ")), requirement
        links = re.findall(r"\]\(([^)]+)\)", proof)
        assert links, requirement
        for link in links:
            assert target_of(readme, link)[0].exists(), link


def test_the_course_s_headings_stand_in_the_spanish_readme() -> None:
    headings = Document(READMES["es"]).anchors()
    for wanted in (
        "gestión-de-secretos",
        "trigger-one-time",
        "esquema-raw",
        "validacionesvolumetría",
        "runbook",
        "troubleshooting",
        "checklist-de-aceptación",
    ):
        assert wanted in headings


def test_both_readmes_have_the_same_sections_and_tables() -> None:
    outlines = [re.findall(r"^#+(?= )", Document(path).prose, re.MULTILINE) for path in READMES.values()]
    assert outlines[0] == outlines[1]
    rows = [len(re.findall(r"^\|", Document(path).prose, re.MULTILINE)) for path in READMES.values()]
    assert rows[0] == rows[1]


@pytest.mark.parametrize("source", sorted(draw.FOLDER.glob("*.yaml")), ids=lambda path: path.name)
def test_each_picture_is_what_its_text_says(source: Path) -> None:
    picture = yaml.safe_load(source.read_text(encoding="utf-8"))
    for lang in draw.LANGUAGES:
        drawn = source.with_suffix(f".{lang}.svg").read_text(encoding="utf-8")
        assert drawn == draw.draw(picture, lang), "run `python -m tools.docs.draw`"


def test_the_python_interface_is_what_the_docstrings_say() -> None:
    written = api_document.DOCUMENT.read_text(encoding="utf-8")
    assert written == api_document.describe(), "run `python -m tools.docs.api_document`"


def test_the_scenario_shown_is_one_that_the_simulator_takes() -> None:
    text = (ROOT / "docs" / "simulator.md").read_text(encoding="utf-8")
    (shown,) = re.findall(r"```yaml\n(.*?)```", text, re.DOTALL)
    taken = behaviour(yaml.safe_load(shown))
    assert taken.latency.base_ms == (200, 900)
    assert [fault.kind for fault in taken.faults] == ["unavailable"]


def test_every_scenario_is_in_the_simulators_document() -> None:
    text = (ROOT / "docs" / "simulator.md").read_text(encoding="utf-8")
    named = re.findall(r"^\| `([a-z-]+)` \|", text, re.MULTILINE)
    assert sorted(named) == scenarios.names()


def test_the_credentials_to_store_by_hand_are_the_simulators() -> None:
    text = (ROOT / "docs" / "simulator.md").read_text(encoding="utf-8")
    stored = dict(re.findall(r"^(QBO_[A-Z_]+) +(\S+)$", text, re.MULTILINE))
    assert stored == {
        "QBO_ENVIRONMENT": "simulator",
        "QBO_SIMULATOR_URL": "http://127.0.0.1:8900",
        "QBO_REALM_ID": config.REALM_ID,
        "QBO_CLIENT_ID": config.CLIENT_ID,
        "QBO_CLIENT_SECRET": config.CLIENT_SECRET,
        "QBO_REFRESH_TOKEN": config.REFRESH_TOKEN,
    }


def test_the_index_of_the_documentation_names_every_page() -> None:
    index = Document(ROOT / "docs" / "README.md")
    named = {target_of(index, link)[0] for link in index.links()}
    assert {path for path in (ROOT / "docs").glob("*.md") if path.name != "README.md"} <= named


@pytest.mark.parametrize("name", ["README.md", "README.es.md"])
def test_every_file_of_the_evidence_is_shown_on_its_page(name: str) -> None:
    page = Document(ROOT / "evidence" / name)
    named = {target_of(page, link)[0] for link in page.links()}
    made = {path for folder in ("pictures", "text", "report") for path in (page.path.parent / folder).glob("*")}
    assert made <= named


def _section(lang: str, name: str) -> str:
    return Document(READMES[lang]).section(HEADINGS[lang][name])


def _exists(call: str) -> bool:
    """Whether `qbo-backfill <call>` names a command and options of it. `...` and capital words stand for values."""
    words = [word.strip("[],.;:)") for word in _split(call)]
    command: Any = command_line()
    while commands := getattr(command, "commands", None):
        if not words or words[0].startswith("-"):
            break
        if words[0] not in commands:
            return False
        _, command, words = command.resolve_command(command.context_class(command), words)
    if command.name in ("simulator", "postgres"):  # have parsers of their own
        return True
    known = {option for parameter in command.params for option in parameter.opts} | {"--help"}
    return all(word.split("=")[0] in known for word in words if word.startswith("--"))


def _split(call: str) -> list[str]:
    try:
        return shlex.split(call)
    except ValueError:  # an apostrophe in prose
        return call.split()
