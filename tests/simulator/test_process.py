"""The simulator as a process and in a thread: starting, telling where it is, ending."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import urllib.request
from pathlib import Path

import pytest

from qbo_simulator import Control, SimulatorConfig, StartError, run_as_process, run_in_thread


def told_by(url: str) -> dict[str, object]:
    with urllib.request.urlopen(url) as answer:  # noqa: S310 - the simulator's own address
        found: dict[str, object] = json.loads(answer.read())
    return found


def test_a_process_tells_its_address_and_ends_with_the_block() -> None:
    with run_as_process("--invoices", "12", "--customers", "3", "--items", "2", "--log-format", "json") as process:
        assert told_by(f"{process.url}/_simulator/")["rows"] == {"Invoice": 12, "Customer": 3, "Item": 2}
        pid = process.pid
    with pytest.raises(ProcessLookupError):
        os.kill(pid, 0)


def test_the_same_seed_is_the_same_company_in_another_process() -> None:
    def company(seed: str) -> bytes:
        with run_as_process("--seed", seed, "--invoices", "200") as process:
            return b"".join(
                urllib.request.urlopen(f"{process.url}/_simulator/truth/{entity}").read()  # noqa: S310
                for entity in ("Invoice", "Customer", "Item")
            )

    first = company("3")
    assert first == company("3")
    assert first != company("4")


def test_a_thread_serves_callers_without_a_loop() -> None:
    with run_in_thread(SimulatorConfig(invoices=5)) as sim:
        assert told_by(f"{sim.url}/_simulator/")["realm_id"] == sim.realm_id
        with (
            pytest.raises(StartError, match=r"can't listen on .*in use"),
            run_in_thread(SimulatorConfig(invoices=5, port=int(sim.url.rpartition(":")[2]))),
        ):
            pass


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_it_ends_on_a_signal_with_exit_code_0(number: signal.Signals, tmp_path: Path) -> None:
    process = subprocess.Popen(
        [sys.executable, "-m", "qbo_simulator", "--invoices", "5"],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    assert process.stdout is not None
    line = process.stdout.readline()
    assert line.startswith("QuickBooks Online simulator ready at http://127.0.0.1:")
    process.send_signal(number)
    rest, errors = process.communicate(timeout=20)
    assert (process.returncode, rest, errors) == (0, "", "")


def test_a_file_of_switches_is_behaved_by(tmp_path: Path) -> None:
    file = tmp_path / "found.json"
    file.write_text('{"asked": "2026-05-05", "switches": {"queries": {"order_by_id": "honoured"}}}')
    with run_as_process("--invoices", "5", "--scenario", "busy", "--as", str(file)) as process:
        behaviour = Control(process.url).ask("faults")
    assert (behaviour["queries"]["order_by_id"], behaviour["edits"]["touch"]) == ("honoured", 1)
    file.write_text('{"switches": {"queries": {"order": "honoured"}}}')
    with pytest.raises(RuntimeError, match=r"--scenario or --as: .*order"), run_as_process("--as", str(file)):
        pass


@pytest.mark.parametrize(
    ("options", "told"),
    [
        (["--port", "x"], "argument --port: 'x' is not a whole number from 0 to 65535"),
        (["--invoices", "-1"], "argument --invoices: '-1' is not a whole number from 0 to 5000000"),
        (["--years", "0"], "argument --years: '0' is not a number of years up to 40"),
        (["--end", "soon"], "argument --end: 'soon' is not a date like 2026-01-01"),
        (["--end", "1999-01-01"], "argument --end: '1999-01-01' is not between 2000 and 2037"),
        (["--latency-ms", "slow"], "argument --latency-ms: 'slow' is not a number of milliseconds"),
        (["--scenario", "calm,windy"], "--scenario: no scenario 'windy'; there are busy, calm"),
        (["--host", "192.0.2.1"], "can't listen on 192.0.2.1:0"),
        (["--host", "no.such.host.invalid"], "can't listen on no.such.host.invalid:0"),
        (["--ready-file", "/nonexistent/ready.json"], "can't write the ready file /nonexistent/ready.json"),
        (["--tls", "/dev/null/x"], "can't write to the TLS folder /dev/null/x"),
        (["--proxy-port", "0"], "--proxy-port needs --tls"),
        (["--as", "/nonexistent/file"], "argument --as: /nonexistent/file can't be read"),
        (["--as", __file__], "is no JSON object with switches"),
        (["--nonsense"], "unrecognized arguments: --nonsense"),
    ],
)
def test_a_bad_option_is_one_clear_line_and_exit_code_2(options: list[str], told: str) -> None:
    ended = subprocess.run(
        [sys.executable, "-m", "qbo_simulator", "--invoices", "5", *options],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert ended.returncode == 2
    assert told in ended.stderr
    assert ended.stderr.count("\n") == 1


def test_a_simulator_that_does_not_start_says_why() -> None:
    with pytest.raises(RuntimeError, match="no scenario 'windy'"), run_as_process("--scenario", "windy"):
        pass


def test_the_simulator_and_the_extractor_do_not_know_each_other() -> None:
    root = Path(__file__).parents[2]
    for package, other in (("qbo_simulator", "async_extractor"), ("async_extractor", "qbo_simulator")):
        for path in (root / package).rglob("*.py"):
            code = [line for line in path.read_text().splitlines() if line.lstrip().startswith(("import ", "from "))]
            assert not [line for line in code if other in line], path
