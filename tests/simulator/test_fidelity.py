"""The comparison with recorded traffic: what it reads, what it says, and what it says of the recordings there are."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pytest

from qbo_simulator.company import CompanySize
from qbo_simulator.fidelity.__main__ import main
from qbo_simulator.fidelity.coverage import coverage
from qbo_simulator.fidelity.recordings import exchanges

SAMPLES = Path(__file__).parent / "samples"
CORPUS = Path(__file__).parents[2].parent / "shared" / "corpus"
SIZE = CompanySize(invoices=4_000, customers=1_000, items=400)


def test_every_kind_of_recording_is_read() -> None:
    found = {exchange.source: exchange for exchange in exchanges(SAMPLES)}
    told = {source: (exchange.method, exchange.target, exchange.status) for source, exchange in found.items()}
    assert told == {
        "invoices.json": ("GET", "query?query=SELECT+%2A+FROM+Invoice+STARTPOSITION+1+MAXRESULTS+100", 200),
        "wrong-id.json": ("GET", "customer/1.5", 400),
        "browser.har#0": ("GET", "customer/5?minorversion=75", 200),
        "browser.har#1": ("POST", "query", 200),
        "cassette.yml#0": ("GET", "query?query=SELECT%20*%20FROM%20Item", 200),
        "cassette.yml#1": ("GET", "query?query=SELECT%20*%20FROM%20Customer", 200),
    }
    assert found["browser.har#1"].body == "SELECT COUNT(*) FROM Customer"
    assert found["cassette.yml#0"].document["QueryResponse"]["Item"][0]["Name"] == "Riego"
    xml = found["cassette.yml#1"].document["QueryResponse"]
    assert (xml["Customer"]["Id"], xml["maxResults"]) == ("7", "1")
    assert found["wrong-id.json"].headers is not None


@pytest.mark.parametrize("folder", [SAMPLES, CORPUS] if CORPUS.is_dir() else [SAMPLES], ids=lambda folder: folder.name)
def test_every_genuine_record_is_wholly_inside(folder: Path) -> None:
    for found in coverage(exchanges(folder), SIZE):
        assert found.records
        assert (found.by_kind, found.outside, dict(found.types), dict(found.order)) == (100, [], {}, {}), found.entity


def test_the_samples_are_answered_alike(capsys: pytest.CaptureFixture[str]) -> None:
    assert main([str(SAMPLES), "--invoices", "4000"]) == 0
    said = capsys.readouterr().out
    assert "Invoice              2         2         59     59 = 100.0 %" in said, said
    assert "Requests: 6 sent again, 6 answered alike, 0 otherwise" in said, said


def changed(tmp_path: Path, change: Any) -> Path:
    folder = tmp_path / "samples"
    shutil.copytree(SAMPLES, folder)
    path = folder / "json" / "invoices.json"
    document = json.loads(path.read_text())
    change(document)
    path.write_text(json.dumps(document))
    return folder


def test_what_the_simulator_never_says_is_named(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    def change(document: Any) -> None:
        first, second = document["QueryResponse"]["Invoice"]
        first["Line"][0]["Surcharge"] = {"Percent": 3}
        second["TotalAmt"] = "100"
        second["domain"] = second.pop("domain")

    assert main([str(changed(tmp_path, change)), "--invoices", "400", "--verbose"]) == 3
    said = capsys.readouterr().out
    assert "Invoice, key paths never produced: Line[].Surcharge.Percent (1 records)" in said
    assert "outside: Invoice 161 of invoices.json: Line[].Surcharge, Line[].Surcharge.Percent" in said
    assert "Invoice, values of another type: TotalAmt is text (1 records)" in said
    assert "Invoice, keys in another order: Invoice: Balance before domain (1 records)" in said
    assert "Invoice Line[].Amount: 2" in said


def test_requests_answered_otherwise_are_told_field_by_field(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    def change(document: Any) -> None:
        page = document["QueryResponse"]
        page["Invoice"].reverse()
        page["maxResults"] = 3
        document["time"] = "2026-05-05T03:06:39.79Z"
        document["warnings"] = None

    assert main([str(changed(tmp_path, change)), "--invoices", "4000"]) == 3
    said = capsys.readouterr().out
    for line in (
        "QueryResponse.Invoice: the rows stand in another order",
        "QueryResponse.maxResults: 3 there, 2 here",
        "warnings: there, not here",
        "time: 2026-05-05T03:06:39.79Z there",
    ):
        assert line in said, said


@pytest.mark.parametrize(
    ("name", "text", "told"),
    [
        ("a.har", "{}", "a.har is no HAR"),
        ("a.yml", "http_interactions: [{}]", "a.yml is no VCR cassette"),
        ("a.yml", "{", "a.yml is no VCR cassette"),
        ("MANIFEST.tsv", "\na\trecording\tnone.json\t\t200\tget /x\n", "MANIFEST.tsv names none.json"),
    ],
)
def test_what_cannot_be_read_is_one_line(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], name: str, text: str, told: str
) -> None:
    (tmp_path / name).write_text(text)
    assert main([str(tmp_path)]) == 2
    assert main([str(tmp_path / "nowhere")]) == 2
    first, second = capsys.readouterr().err.splitlines()
    assert told in first
    assert "there is no folder" in second
