"""Other people's QuickBooks clients, unmodified, read the simulator as if it were QuickBooks.

Each is installed at a pinned version into an environment of its own (below `.state/clients`, kept between runs). They
have Intuit's host names built in; an HTTPS proxy on loopback takes those for the simulator, which serves a certificate
of a local authority, and refuses every other host. Intuit's limits are enforced throughout.
"""

from __future__ import annotations

import contextlib
import json
import os
import ssl
import subprocess
import urllib.request
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from qbo_simulator import SimulatorProcess, run_as_process
from tools import environments

pytestmark = [pytest.mark.long, pytest.mark.timeout(1_500)]

HERE = Path(__file__).parent / "other_clients"
ROOT = Path(__file__).parents[2]
INVOICES, CUSTOMERS, ITEMS = 2_500, 700, 300


def environment_of(name: str, requirements_in: Path = HERE, kept_in: Path = ROOT / ".state" / "clients") -> Path:
    """The client's own virtual environment; the test is skipped, by the client's name, where it can't be installed."""
    try:
        return environments.python_of(requirements_in / f"{name}.txt", kept_in).parent
    except environments.InstallError as error:
        pytest.skip(f"NOT RUN: {error}")


def test_a_client_that_can_not_be_installed_is_told_by_name_and_not_passed(tmp_path: Path) -> None:
    (tmp_path / "some-client.txt").write_text(f"{tmp_path}/there-is-no-such-package\n")
    with pytest.raises(pytest.skip.Exception, match="NOT RUN: some-client can't be installed here: ERROR"):
        environment_of("some-client", tmp_path, tmp_path / "kept")
    with pytest.raises(pytest.skip.Exception, match="NOT RUN: some-client"):
        environment_of("some-client", tmp_path, tmp_path / "kept")


@dataclass(frozen=True)
class QuickBooks:
    """The simulator behind Intuit's names, and what a client's process needs to meet it there."""

    process: SimulatorProcess
    authority: Path

    def variables(self) -> dict[str, str]:
        kept = {name: os.environ[name] for name in ("PATH", "HOME", "LANG", "TMPDIR") if name in os.environ}
        proxied = {
            name: str(self.process.proxy_url) for name in ("HTTPS_PROXY", "https_proxy", "HTTP_PROXY", "http_proxy")
        }
        trusted = {name: str(self.authority) for name in ("REQUESTS_CA_BUNDLE", "SSL_CERT_FILE", "CURL_CA_BUNDLE")}
        return kept | proxied | trusted | {"NO_PROXY": "", "PYTHONUTF8": "1"}

    def control(self, path: str, body: dict[str, Any] | None = None) -> bytes:
        request = urllib.request.Request(  # noqa: S310 - the simulator's own address
            f"{self.process.url}/_simulator/{path}",
            data=None if body is None else json.dumps(body).encode(),
            headers={"Content-Type": "application/json"},
        )
        context = ssl.create_default_context(cafile=str(self.authority))
        opener = urllib.request.build_opener(
            urllib.request.ProxyHandler({}), urllib.request.HTTPSHandler(context=context)
        )
        with opener.open(request) as answer:
            found: bytes = answer.read()
        return found

    def ledger(self) -> dict[str, Any]:
        found: dict[str, Any] = json.loads(self.control("ledger"))
        return found

    def truth(self, entity: str) -> dict[str, dict[str, Any]]:
        rows = (json.loads(line) for line in self.control(f"truth/{entity}").splitlines())
        return {row["Id"]: row for row in rows}


@contextlib.contextmanager
def quickbooks(folder: Path, *options: str) -> Iterator[QuickBooks]:
    tls = folder / "tls"
    sizes = ["--invoices", str(INVOICES), "--customers", str(CUSTOMERS), "--items", str(ITEMS)]
    # 110 ms an answer, so that clients that ask one after another stay below 10 requests a second, as they do in fact.
    with run_as_process("--tls", str(tls), "--proxy-port", "0", "--latency-ms", "110", *sizes, *options) as process:
        yield QuickBooks(process, tls / "authority.crt")


def run(bin_folder: Path, command: list[str], simulated: QuickBooks, folder: Path) -> subprocess.CompletedProcess[str]:
    done = subprocess.run(
        [str(bin_folder / command[0]), *command[1:]],
        capture_output=True,
        text=True,
        check=False,
        cwd=folder,
        env=simulated.variables(),
        timeout=1_200,
    )
    assert done.returncode == 0, done.stderr[-3_000:] + done.stdout[-3_000:]
    return done


@contextlib.contextmanager
def trusted_by(bin_folder: Path, authority: Path) -> Iterator[None]:
    """For a client that asks no variable whom to trust: its environment's own store trusts the authority meanwhile."""
    asked = [str(bin_folder / "python"), "-c", "import certifi; print(certifi.where())"]
    store = Path(subprocess.run(asked, capture_output=True, text=True, check=True).stdout.strip())
    before = store.read_bytes()
    store.write_bytes(before + b"\n" + authority.read_bytes())
    try:
        yield
    finally:
        store.write_bytes(before)


def test_python_quickbooks_lists_counts_filters_orders_captures_and_batches(tmp_path: Path) -> None:
    client = environment_of("python-quickbooks")
    with quickbooks(tmp_path) as simulated:
        edited = json.loads(simulated.control("edit", {"entity": "Invoice", "edit": 3, "insert": 2}))
        customers = simulated.truth("Customer")
        invoices = simulated.truth("Invoice")
        active = [row for row in customers.values() if row["Active"]]
        process = simulated.process
        script = (HERE / "ask_with_python_quickbooks.py").read_text()
        (tmp_path / "ask.py").write_text(script)
        credentials = {
            "CLIENT_ID": process.client_id,
            "CLIENT_SECRET": process.client_secret,
            "REFRESH_TOKEN": process.refresh_token,
            "REALM_ID": process.realm_id,
        }
        done = subprocess.run(
            [str(client / "python"), "ask.py"],
            capture_output=True,
            text=True,
            check=False,
            cwd=tmp_path,
            env=simulated.variables() | credentials,
            timeout=600,
        )
        assert done.returncode == 0, done.stderr[-3_000:]
        found = json.loads(done.stdout)

        assert found["authorization_url"].startswith("https://appcenter.intuit.com/connect/oauth2?client_id=")
        assert found["token_endpoint"] == "https://oauth.platform.intuit.com/oauth2/v1/tokens/bearer"
        assert (found["refresh_token"], found["expires_in"]) == (process.refresh_token, 3600)
        assert found["customers"] == {
            key: [row["DisplayName"], row["Active"], row["SyncToken"]] for key, row in customers.items()
        }
        assert (found["default_page"], found["first_ten"]) == (100, 10)
        assert found["counts"][0] == len(active)
        assert found["counts"][2] == INVOICES + 2
        assert found["count_where"] == CUSTOMERS
        assert len(found["filtered"]) == 1
        assert len(found["quoted"]) == 3
        assert all(len(names) == 1 and "'" in names[0] for names in found["quoted"])
        assert len(found["chosen"]) == 2
        days = [day for day, _ in found["ordered"]]
        assert days == sorted(days, reverse=True)
        assert len(days) == 50
        assert all(total > 500 for _, total in found["ordered"])
        assert days[0] == max(row["TxnDate"] for row in invoices.values() if row["TotalAmt"] > 500)
        assert found["read"][0]
        assert found["read"][2]
        assert found["changed"] == sorted(edited["edit"] + edited["insert"])
        assert found["changed_customers"] is False
        assert found["batch_created"] == ["Batch Ñandú", "Batch 🌵"]
        assert found["batch_refused"] == [["6240", "Duplicate Name Exists Error"]]
        assert found["batch_updated"] == [["Batch & Co.", "1"]] * 2
        assert found["batch_deleted"] == [2, 0]
        assert found["count_after"] == INVOICES
        assert found["not_found"] == 610
        assert found["refused"][0] == 4001
        assert found["stranger"] == [401, True, {"error": "invalid_client"}]
        ledger = simulated.ledger()
        assert ledger["violations_total"] == 0
        assert ledger["requests"]["batch"] == 3


def records_of(output: str) -> dict[str, list[dict[str, Any]]]:
    """The records a connector wrote, by stream. Singer names the stream beside the record, Airbyte within it."""
    found: dict[str, list[dict[str, Any]]] = {}
    for message in map(json.loads, output.splitlines()):
        if message["type"] == "RECORD":
            record = message["record"]
            stream, row = (message["stream"], record) if "stream" in message else (record["stream"], record["data"])
            found.setdefault(stream, []).append(row)
    return found


def assert_whole(read: list[dict[str, Any]], truth: dict[str, dict[str, Any]], entity: str) -> None:
    """Every record of the company was read, once, in its present version."""
    assert len(read) == len(truth), entity
    assert {row["Id"]: str(row["SyncToken"]) for row in read} == {
        key: row["SyncToken"] for key, row in truth.items()
    }, entity


def test_tap_quickbooks_discovers_and_syncs_three_streams(tmp_path: Path) -> None:
    client = environment_of("tap-quickbooks")
    with quickbooks(tmp_path) as simulated:
        process = simulated.process
        config = {
            "client_id": process.client_id,
            "client_secret": process.client_secret,
            "refresh_token": process.refresh_token,
            "realm_id": process.realm_id,
            "user_agent": "somebody@example.com",
            "start_date": "2020-01-01T00:00:00Z",
            "sandbox": "true",
        }
        (tmp_path / "config.json").write_text(json.dumps(config))
        discovered = run(client, ["tap-quickbooks", "--config", "config.json", "--discover"], simulated, tmp_path)
        catalog = json.loads(discovered.stdout)
        streams = {stream["tap_stream_id"]: stream for stream in catalog["streams"]}
        for name in ("invoices", "customers", "items"):
            for entry in streams[name]["metadata"]:
                if entry["breadcrumb"] == []:
                    entry["metadata"]["selected"] = True
        (tmp_path / "catalog.json").write_text(json.dumps(catalog))
        synced = run(
            client, ["tap-quickbooks", "--config", "config.json", "--catalog", "catalog.json"], simulated, tmp_path
        )
        read = records_of(synced.stdout)
        assert set(read) == {"invoices", "customers", "items"}
        for name, entity in (("invoices", "Invoice"), ("customers", "Customer"), ("items", "Item")):
            assert_whole(read[name], simulated.truth(entity), entity)
        ledger = simulated.ledger()
        assert ledger["violations_total"] == 0
        assert ledger["requests"]["batch"] == 4  # 1,000 invoices a batch, and one that is empty


def test_airbyte_source_quickbooks_checks_and_reads_three_streams(tmp_path: Path) -> None:
    client = environment_of("airbyte-source-quickbooks")
    with quickbooks(tmp_path) as simulated, trusted_by(client, simulated.authority):
        process = simulated.process
        config = {
            "client_id": process.client_id,
            "client_secret": process.client_secret,
            "refresh_token": process.refresh_token,
            "access_token": "none yet",
            "token_expiry_date": "2020-01-01T00:00:00Z",
            "realm_id": process.realm_id,
            # Its first slice is open at its start, so the start lies before the books.
            "start_date": "2022-12-30T00:00:00Z",
            "sandbox": True,
        }
        (tmp_path / "config.json").write_text(json.dumps(config))
        checked = run(client, ["source-quickbooks", "check", "--config", "config.json"], simulated, tmp_path)
        (status,) = (
            message["connectionStatus"]["status"]
            for message in map(json.loads, checked.stdout.splitlines())
            if message["type"] == "CONNECTION_STATUS"
        )
        assert status == "SUCCEEDED"
        names = {"invoices": "Invoice", "customers": "Customer", "items": "Item"}
        catalog = {
            "streams": [
                {
                    "stream": {
                        "name": name,
                        "json_schema": {},
                        "supported_sync_modes": ["full_refresh", "incremental"],
                    },
                    "sync_mode": "full_refresh",
                    "destination_sync_mode": "overwrite",
                }
                for name in names
            ]
        }
        (tmp_path / "catalog.json").write_text(json.dumps(catalog))
        done = run(
            client,
            ["source-quickbooks", "read", "--config", "config.json", "--catalog", "catalog.json"],
            simulated,
            tmp_path,
        )
        read = records_of(done.stdout)
        assert set(read) == set(names)
        for name, entity in names.items():
            truth = simulated.truth(entity)
            assert_whole(read[name], truth, entity)
            # Airbyte passes records on as they are, but for a cursor of its own.
            for row in read[name]:
                assert {key: value for key, value in row.items() if key != "airbyte_cursor"} == truth[row["Id"]]
        ledger = simulated.ledger()
        assert ledger["violations_total"] == 0
        assert ledger["statuses"] == {"200": sum(ledger["requests"].values())}
