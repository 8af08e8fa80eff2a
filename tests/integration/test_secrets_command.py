from __future__ import annotations

import contextlib
import json
import os
import pty
import subprocess
import time
from typing import TYPE_CHECKING

import pytest

from tests.support.commands import COMMAND, Ended
from tests.support.leaks import forbids_core_dumps

if TYPE_CHECKING:
    from tests.integration.conftest import MageHome

CANARY = "canary-77c1-value"


def run(mage: MageHome, *arguments: str, value: str = "") -> Ended:
    return mage.command_line.run("secrets", *arguments, text=value)


def test_a_password_loses_one_newline_and_nothing_else(mage: MageHome) -> None:
    done = run(mage, "set", "POSTGRES_PASSWORD", value=f"  {CANARY} \n")
    assert done.code == 0
    assert mage.secrets.get("POSTGRES_PASSWORD") == f"  {CANARY} "
    assert CANARY not in done.stdout + done.stderr


def test_what_pasting_adds_is_taken_off_and_told(mage: MageHome) -> None:
    done = run(mage, "set", "QBO_CLIENT_SECRET", value=f"\ufeff {CANARY} \r\n")
    assert mage.secrets.get("QBO_CLIENT_SECRET") == CANARY
    assert "without 2 blanks or line ends, U+FEFF" in done.stdout
    assert CANARY not in done.stdout + done.stderr


def test_the_prompt_does_not_show_what_is_typed(mage: MageHome) -> None:
    shown = typed(mage, ["secrets", "set", "QBO_CLIENT_SECRET"], ["QBO_CLIENT_SECRET"], [CANARY])
    assert CANARY not in shown
    assert mage.secrets.get("QBO_CLIENT_SECRET") == CANARY


URL = f"postgresql://me%40x:{CANARY}%2F@db.example.net:6000/books?sslmode=require&channel_binding=require"


@pytest.mark.parametrize("typed", [True, False])
def test_a_url_is_taken_apart(mage: MageHome, typed: bool) -> None:
    arguments = ["set", "--from-url", *([URL] if typed else [])]
    done = run(mage, *arguments, value="" if typed else f"{URL}\n")
    assert done.code == 0, done.stderr
    assert CANARY not in done.stdout + done.stderr
    assert {name: mage.secrets.get(f"POSTGRES_{name}") for name in ("HOST", "PORT", "DB", "USER", "PASSWORD")} == {
        "HOST": "db.example.net",
        "PORT": "6000",
        "DB": "books",
        "USER": "me@x",
        "PASSWORD": f"{CANARY}/",
    }
    assert mage.secrets.get("POSTGRES_SSLMODE") == "require"
    assert ("history" in done.stderr) is typed


@pytest.mark.parametrize(
    "url", ["", "mysql://a:canary-77c1-value@h/d", "postgresql://canary-77c1-value@h/d", "postgresql://a:b@h:99x/d",
            "postgresql://a:canary-77c1-value@h/d?options=x"],
)  # fmt: skip
def test_a_url_that_cannot_be_kept_is_one_line(mage: MageHome, url: str) -> None:
    done = run(mage, "set", "--from-url", value=url)
    assert (done.code, done.stderr.count("\n")) == (2, 1)
    assert CANARY not in done.stderr
    assert mage.secrets.names() == []


def test_without_a_name_what_is_missing_is_asked_for_one_after_the_other(mage: MageHome) -> None:
    for name in ("QBO_CLIENT_ID", "QBO_CLIENT_SECRET", "QBO_REFRESH_TOKEN", "POSTGRES_HOST", "POSTGRES_PORT"):
        mage.secrets.set(name, "5432")
    shown = typed(
        mage,
        ["secrets", "set"],
        ["QBO_REALM_ID", "QBO_ENVIRONMENT", "QBO_ENVIRONMENT", "POSTGRES_DB", "POSTGRES_USER", "POSTGRES_PASSWORD"],
        ["4620816365", "prod", "sandbox", "books", "", CANARY],
    )
    assert "QBO_ENVIRONMENT is sandbox, production or" in shown
    assert "Still missing: POSTGRES_USER." in shown
    assert CANARY not in shown
    assert mage.secrets.get("QBO_ENVIRONMENT") == "sandbox"
    assert mage.secrets.get("POSTGRES_PASSWORD") == CANARY


def test_without_a_name_and_a_terminal_it_says_so(mage: MageHome) -> None:
    done = run(mage, "set")
    assert (done.code, done.stderr.count("\n")) == (2, 1)
    assert "terminal" in done.stderr


def typed(mage: MageHome, arguments: list[str], prompts: list[str], answers: list[str]) -> str:
    """What a terminal shows of a command that asks `prompts`, and is given `answers`."""
    master, slave = pty.openpty()
    process = subprocess.Popen(
        [*COMMAND, *arguments],
        stdin=slave,
        stdout=slave,
        stderr=slave,
        env={**os.environ, **mage.environ},
        start_new_session=True,
    )
    os.close(slave)
    shown = b""
    for prompt, answer in zip(prompts, answers, strict=True):
        before = len(shown)
        while f"{prompt}: ".encode() not in shown[before:]:  # its last space is written once the echo is off
            shown += os.read(master, 1024)
        os.write(master, answer.encode() + b"\n")
    with contextlib.suppress(OSError):  # Linux's way to say that the other side is closed
        while chunk := os.read(master, 1024):
            shown += chunk
    os.close(master)
    assert process.wait() == 0, shown
    return shown.decode()


def test_a_command_leaves_no_core_dump(mage: MageHome) -> None:
    waiting = mage.command_line.start("secrets", "set", "QBO_CLIENT_SECRET", input="for its value")
    deadline = time.monotonic() + 60
    while not forbids_core_dumps(waiting.pid):
        assert time.monotonic() < deadline
        time.sleep(0.05)
    waiting.communicate(CANARY)
    assert waiting.returncode == 0


def test_the_list_shows_names_and_what_is_missing_but_no_value(mage: MageHome) -> None:
    mage.secrets.set("QBO_CLIENT_SECRET", CANARY)
    mage.secrets.set("SOMETHING_ELSE", CANARY)
    done = run(mage, "list")
    assert done.code == 0
    assert CANARY not in done.stdout
    states = {
        line.split("│")[1].strip(): line.split("│")[2].strip() for line in done.stdout.splitlines() if "│" in line
    }
    assert states["QBO_CLIENT_SECRET"] == "stored"
    assert states["QBO_CLIENT_ID"] == "missing"
    assert states["QBO_SIMULATOR_URL"] == "not set"
    assert states["SOMETHING_ELSE"] == "stored"


def test_the_list_as_json_is_one_object(mage: MageHome) -> None:
    mage.secrets.set("QBO_CLIENT_SECRET", CANARY)
    done = run(mage, "list", "--json")
    listed = {row["name"]: row for row in json.loads(done.stdout)["secrets"]}
    assert listed["QBO_CLIENT_SECRET"]["stored"] is True
    assert listed["QBO_CLIENT_ID"]["stored"] is False
    assert CANARY not in done.stdout


def test_delete_removes_it(mage: MageHome) -> None:
    mage.secrets.set("QBO_CLIENT_SECRET", CANARY)
    assert run(mage, "delete", "QBO_CLIENT_SECRET").code == 0
    assert mage.secrets.get("QBO_CLIENT_SECRET") is None


@pytest.mark.parametrize(
    ("arguments", "value", "message"),
    [
        (["set", "QBO_REALM"], "1", "NAME 'QBO_REALM' is unknown; --any takes it all the same."),
        (["set", "QBO_REALM_ID"], "\n", "The value of QBO_REALM_ID is empty; nothing was stored."),
        (["set", "QBO_REALM_ID"], "1\n2\n", "The value of QBO_REALM_ID has more than one line"),
        (
            ["set", "QBO_ENVIRONMENT"],
            "prod",
            "QBO_ENVIRONMENT is sandbox, production or simulator",
        ),
        (["set", "POSTGRES_PORT"], "70000", "POSTGRES_PORT is not a port: a number from 1 to 65535."),
        (["set", "QBO_REALM_ID", "--profile", "A-1"], "1", "profile 'A-1': lower-case letters"),
        (["delete", "QBO_REALM_ID"], "", "NAME 'QBO_REALM_ID' is not stored"),
    ],
)
def test_bad_input_is_one_line_and_exit_2_and_stores_nothing(
    mage: MageHome, arguments: list[str], value: str, message: str
) -> None:
    done = run(mage, *arguments, value=value)
    assert done.code == 2
    assert message in done.stderr
    assert len(done.stderr.splitlines()) == 1
    assert mage.secrets.names() == []


def test_any_takes_a_name_that_the_project_does_not_know(mage: MageHome) -> None:
    assert run(mage, "set", "OTHER", "--any", value="1").code == 0
    assert mage.secrets.get("OTHER") == "1"


def test_a_store_that_cannot_be_used_is_one_line_and_exit_4(mage: MageHome) -> None:
    mage.secrets.set("QBO_REALM_ID", "1")
    (mage.secrets_dir / "key").unlink()
    done = run(mage, "list")
    assert done.code == 4
    assert "key is missing" in done.stderr
    assert len(done.stderr.splitlines()) == 1


@pytest.mark.parametrize(
    "arguments",
    [
        ["set", "postgresql://u:Xyzzy-1@h/db"],
        ["set", "POSTGRES_PASSWORD=Xyzzy-1"],
        ["set", "POSTGRES_PASSWORD", "Xyzzy-1"],
        ["delete", "postgresql://u:Xyzzy-1@h/db"],
        ["rotate", "Xyzzy-1"],
    ],
)
def test_a_value_in_a_names_place_is_not_repeated(mage: MageHome, arguments: list[str]) -> None:
    done = run(mage, *arguments)
    assert done.code == 2
    assert "Xyzzy" not in done.stdout + done.stderr
    assert done.stderr.count("\n") == 1
