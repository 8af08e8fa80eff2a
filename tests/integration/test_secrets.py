from __future__ import annotations

import asyncio
import json
import re
import socket
import stat
import threading
from concurrent.futures import ThreadPoolExecutor, wait
from pathlib import Path
from typing import TYPE_CHECKING

import psycopg2
import pytest
from cryptography.fernet import Fernet

from async_extractor.errors import ConfigurationError, RequestError
from async_extractor.mage import database
from async_extractor.mage.secrets import MageSecrets

if TYPE_CHECKING:
    from local_postgres.embedded import PostgresAddress
    from tests.integration.conftest import MageHome

CANARY = "canary-4a1f-value"

MAGES_OWN = """
import json, os, sys
from mage_ai.settings.repo import set_repo_path
set_repo_path(os.environ['MAGE_REPO_PATH'])
from mage_ai.orchestration.db import db_connection
db_connection.start_session()
from mage_ai.data_preparation.shared.secrets import (
    create_secret, get_secret_value, get_valid_secrets_for_repo)
create, get = json.loads(sys.argv[1]), json.loads(sys.argv[2])
for name, value in create.items():
    create_secret(name, value)
print(json.dumps({
    'values': [get_secret_value(name, suppress_warning=True) for name in get],
    'listed': sorted(secret.name for secret in get_valid_secrets_for_repo()),
}))
"""

ROTATE = """
import sys
from async_extractor.mage.secrets import MageSecrets
secrets = MageSecrets.locate()
for _ in range(int(sys.argv[1])):
    with secrets.exclusive() as held:
        number = int(held.get('QBO_REFRESH_TOKEN'))
        held.put({'QBO_REFRESH_TOKEN': str(number + 1), 'QBO_ACCESS_TOKEN': f'for {number + 1}'})
"""


SLOW = """
CREATE FUNCTION slow() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN PERFORM pg_sleep(1); RETURN new; END';
CREATE TRIGGER slow BEFORE UPDATE ON secret FOR EACH ROW EXECUTE FUNCTION slow()
"""


def mages_own(mage: MageHome, *, create: dict[str, str], get: list[str]) -> dict[str, list[str | None]]:
    output = mage.output(MAGES_OWN, json.dumps(create), json.dumps(get))
    return json.loads(output.splitlines()[-1])


def test_what_is_set_is_got_and_setting_again_replaces_it(mage: MageHome) -> None:
    mage.secrets.set("NAME_OF_OURS", "123")
    assert mage.secrets.get("NAME_OF_OURS") == "123"
    mage.secrets.set("NAME_OF_OURS", "ñandú \\ 'quote' %s")
    assert mage.secrets.get("NAME_OF_OURS") == "ñandú \\ 'quote' %s"
    assert mage.secrets.names() == ["NAME_OF_OURS"]


def test_mage_reads_what_we_set_and_we_read_what_mage_created(mage: MageHome) -> None:
    mage.secrets.set("QBO_CLIENT_ID", "set by us")
    theirs = mages_own(mage, create={"QBO_CLIENT_SECRET": "created by Mage"}, get=["QBO_CLIENT_ID"])
    assert theirs == {"values": ["set by us"], "listed": ["QBO_CLIENT_ID", "QBO_CLIENT_SECRET"]}
    assert mage.secrets.get("QBO_CLIENT_SECRET") == "created by Mage"
    mage.secrets.set("QBO_CLIENT_SECRET", "replaced by us")
    assert mages_own(mage, create={}, get=["QBO_CLIENT_SECRET"])["values"] == ["replaced by us"]


def test_a_key_that_mage_made_is_used_and_made_private(mage: MageHome) -> None:
    mages_own(mage, create={"QBO_CLIENT_ID": "created by Mage"}, get=[])
    key = (mage.secrets_dir / "key").read_text()
    mage.secrets.set("QBO_REALM_ID", "1")
    assert (mage.secrets_dir / "key").read_text() == key
    assert mage.secrets.get("QBO_CLIENT_ID") == "created by Mage"
    assert stat.S_IMODE(mage.secrets_dir.stat().st_mode) == 0o700
    assert stat.S_IMODE((mage.secrets_dir / "key").stat().st_mode) == 0o600
    assert stat.S_IMODE((mage.secrets_dir / "uuid").stat().st_mode) == 0o600


def test_a_missing_secret_is_none_and_requiring_it_says_how_to_set_it(mage: MageHome) -> None:
    assert mage.secrets.get("QBO_REALM_ID") is None
    with pytest.raises(
        ConfigurationError,
        match=r"^The Mage secret QBO_REALM_ID is missing; set it with: "
        r"qbo-backfill secrets set QBO_REALM_ID$",
    ):
        mage.secrets.require("QBO_REALM_ID")


def test_an_empty_value_is_refused_and_nothing_is_made(empty_mage: MageHome) -> None:
    with pytest.raises(RequestError, match="The value of QBO_REALM_ID is empty"):
        empty_mage.secrets.set("QBO_REALM_ID", "")
    assert not Path(empty_mage.environ["MAGE_DATA_DIR"]).exists()


def test_deleting_removes_one_and_says_when_there_was_none(mage: MageHome) -> None:
    mage.secrets.set("QBO_REALM_ID", "1")
    mage.secrets.set("QBO_CLIENT_ID", "2")
    assert mage.secrets.delete("QBO_REALM_ID") is True
    assert mage.secrets.delete("QBO_REALM_ID") is False
    assert mage.secrets.names() == ["QBO_CLIENT_ID"]


@pytest.mark.mage
def test_the_first_set_lets_mage_make_its_database_and_says_so_in_one_line(empty_mage: MageHome) -> None:
    lines: list[str] = []
    secrets = MageSecrets.locate(empty_mage.environ, announce=lines.append)
    assert secrets.get("QBO_REALM_ID") is None
    assert secrets.names() == []
    # Looking makes nothing.
    assert not Path(empty_mage.environ["MAGE_DATA_DIR"]).exists()
    secrets.set("QBO_REALM_ID", "1")
    assert len(lines) == 1
    assert mages_own(empty_mage, create={}, get=["QBO_REALM_ID"])["values"] == ["1"]


def test_looking_never_imports_mage(mage: MageHome) -> None:
    mage.secrets.set("QBO_REALM_ID", "1")
    script = (
        "import sys; from async_extractor.mage.secrets import MageSecrets as M\n"
        "M.locate().require('QBO_REALM_ID')\n"
        "print([name for name in sys.modules if name.split('.')[0] in ('mage_ai', 'pandas')])"
    )
    assert mage.output(script) == "[]\n"


def test_four_processes_that_rotate_at_once_lose_no_rotation(mage: MageHome) -> None:
    mage.secrets.set("QBO_REFRESH_TOKEN", "0")
    processes = [mage.run(ROTATE, "25") for _ in range(4)]
    assert ["" for _ in processes] == [process.communicate()[1] for process in processes]
    assert mage.secrets.get("QBO_REFRESH_TOKEN") == "100"
    assert mage.secrets.get("QBO_ACCESS_TOKEN") == "for 100"


def test_threads_of_one_process_exclude_each_other_too(mage: MageHome) -> None:
    mage.secrets.set("QBO_REFRESH_TOKEN", "0")
    secrets = mage.secrets

    def rotate() -> None:
        for _ in range(10):
            with secrets.exclusive() as held:
                held.put({"QBO_REFRESH_TOKEN": str(int(held.get("QBO_REFRESH_TOKEN") or "") + 1)})

    threads = [threading.Thread(target=rotate) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert secrets.get("QBO_REFRESH_TOKEN") == "40"


async def test_enter_put_and_exit_may_each_run_in_another_thread(mage: MageHome) -> None:
    mage.secrets.set("QBO_REFRESH_TOKEN", "old")
    exclusive = mage.secrets.exclusive()
    held = await asyncio.to_thread(exclusive.__enter__)
    assert await asyncio.to_thread(held.get, "QBO_REFRESH_TOKEN") == "old"
    await asyncio.to_thread(held.put, {"QBO_REFRESH_TOKEN": "new"})
    await asyncio.to_thread(exclusive.__exit__, None, None, None)
    assert mage.secrets.get("QBO_REFRESH_TOKEN") == "new"


def test_reading_goes_on_while_another_holds_the_token(mage: MageHome) -> None:
    mage.secrets.set("QBO_REFRESH_TOKEN", "old")
    with mage.secrets.exclusive():
        assert mage.secrets.get("QBO_REFRESH_TOKEN") == "old"
        mage.secrets.set("QBO_CLIENT_SECRET", "changed meanwhile")
    assert mage.secrets.get("QBO_CLIENT_SECRET") == "changed meanwhile"


def test_a_token_that_a_person_sets_during_a_refresh_wins(mage: MageHome) -> None:
    mage.secrets.set("QBO_REFRESH_TOKEN", "old")
    with mage.secrets.exclusive() as held:
        person = mage.run(
            "from async_extractor.mage.secrets import MageSecrets as M\n"
            "print('setting', flush=True); M.locate().set('QBO_REFRESH_TOKEN', 'by a person')"
        )
        assert person.stdout is not None
        assert person.stdout.readline() == "setting\n"
        with pytest.raises(Exception, match="timed out"):
            person.wait(timeout=1)
        held.put({"QBO_REFRESH_TOKEN": "by the refresh"})
    person.communicate()
    assert mage.secrets.get("QBO_REFRESH_TOKEN") == "by a person"


def test_a_store_that_takes_nothing_is_known_before_the_exchange(mage: MageHome) -> None:
    mage.secrets.set("QBO_REFRESH_TOKEN", "old")
    with mage.secrets.exclusive() as held:
        held.check_writable("QBO_REFRESH_TOKEN")
        in_file = held._held.connection.in_file
        held._held.connection.change("PRAGMA query_only = on" if in_file else "SET TRANSACTION READ ONLY")
        with pytest.raises(ConfigurationError, match=r"readonly|read-only"):
            held.check_writable("QBO_REFRESH_TOKEN")
    assert mage.secrets.get("QBO_REFRESH_TOKEN") == "old"


def test_a_server_that_falls_silent_is_given_up(
    postgres_server: PostgresAddress, monkeypatch: pytest.MonkeyPatch
) -> None:
    """In a statement, or before the login: psycopg2 by itself would wait for ever, deaf to Ctrl-C."""
    server = {"host": postgres_server.host, "user": postgres_server.user, "password": postgres_server.password}
    monkeypatch.setattr(database, "_BUSY_TIMEOUT_S", 0.3)
    with database.MageDatabase(server={**server, "port": postgres_server.port}).session() as connection:
        assert connection.rows("SELECT :given AS got", given="100 %") == [{"got": "100 %"}]
        with pytest.raises(psycopg2.OperationalError, match="said nothing for 0 s"):
            connection.rows("SELECT pg_sleep(30)")
        connection._begun = False
    monkeypatch.setattr(database, "_CONNECT_TIMEOUT_S", 0.3)
    with socket.create_server(("127.0.0.1", 0)) as silent:
        deaf = database.MageDatabase(server={**server, "port": silent.getsockname()[1]})
        with pytest.raises(ConfigurationError, match="said nothing for 0 s"):
            deaf.exists()


def test_a_row_that_is_held_is_waited_for_again_and_again(mage: MageHome, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(database, "_WAIT_A_WHILE", "SET LOCAL lock_timeout = '100ms'")
    mage.secrets.set("QBO_REFRESH_TOKEN", "old")

    def next_one() -> str | None:
        with mage.secrets.exclusive() as held:
            return held.get("QBO_REFRESH_TOKEN")

    with ThreadPoolExecutor() as pool:
        with mage.secrets.exclusive() as held:
            waiting = pool.submit(next_one)
            assert not wait([waiting], timeout=0.5).done
            held.put({"QBO_REFRESH_TOKEN": "new"})
        assert waiting.result() == "new"


def test_nothing_that_others_hold_can_hold_up_the_storing(mage: MageHome, monkeypatch: pytest.MonkeyPatch) -> None:
    """The rows of both tokens are waited for before the exchange."""
    monkeypatch.setattr(database, "_WAIT_A_WHILE", "SET LOCAL lock_timeout = '100ms'")
    values = {"QBO_REFRESH_TOKEN": "old", "QBO_ACCESS_TOKEN": "old"}
    for name, value in values.items():
        mage.secrets.set(name, value)
    key, table = mage.secrets._key(), mage.secrets._table
    assert key is not None

    def rotate() -> None:
        with mage.secrets.exclusive() as held:
            held.check_writable("QBO_REFRESH_TOKEN")
            held.put(dict.fromkeys(values, "new"))

    with ThreadPoolExecutor() as pool, table.session() as person:
        person.change(database._REWRITE, **key.owner.parameters(name="QBO_ACCESS_TOKEN"))
        rotating = pool.submit(rotate)
        if not person.in_file:  # SQLite's writers wait for each other anyway
            assert not wait([rotating], timeout=0.5).done
        person.commit()
        rotating.result()
    assert [mage.secrets.get(name) for name in values] == ["new", "new"]


def test_storing_a_rotated_token_takes_its_time(mage: MageHome, monkeypatch: pytest.MonkeyPatch) -> None:
    """A second, where all else is given up after a fifth: what isn't stored now can't be had again."""
    mage.secrets.set("QBO_REFRESH_TOKEN", "old")
    monkeypatch.setattr(database, "_BUSY_TIMEOUT_S", 0.2)
    with mage.secrets.exclusive() as held, mage.secrets._table._connected() as other:
        if other.in_file:
            other.change("BEGIN IMMEDIATE")
            threading.Timer(1, other.rollback).start()
        else:
            other.be_patient()
            other.change(SLOW)
            other.commit()
        held.put({"QBO_REFRESH_TOKEN": "new"})
    assert mage.secrets.get("QBO_REFRESH_TOKEN") == "new"


def test_a_holder_that_is_killed_lets_the_next_one_in_with_the_old_token(mage: MageHome) -> None:
    mage.secrets.set("QBO_REFRESH_TOKEN", "old")
    holder = mage.run(
        "from async_extractor.mage.secrets import MageSecrets as M\n"
        "with M.locate().exclusive(): print('held', flush=True); input()"
    )
    assert holder.stdout is not None
    assert holder.stdout.readline() == "held\n"
    holder.kill()
    with mage.secrets.exclusive() as held:
        assert held.get("QBO_REFRESH_TOKEN") == "old"
    holder.communicate()


def test_an_exception_inside_changes_nothing_and_lets_go(mage: MageHome) -> None:
    mage.secrets.set("QBO_REFRESH_TOKEN", "old")
    with pytest.raises(RuntimeError, match="Intuit didn't answer"), mage.secrets.exclusive():
        raise RuntimeError("Intuit didn't answer")
    with mage.secrets.exclusive() as held:
        assert held.get("QBO_REFRESH_TOKEN") == "old"


def test_without_a_refresh_token_there_is_nothing_to_hold(mage: MageHome) -> None:
    with pytest.raises(ConfigurationError, match="QBO_REFRESH_TOKEN is missing"), mage.secrets.exclusive():
        pass
    mage.secrets.set("QBO_REALM_ID", "1")
    with pytest.raises(ConfigurationError, match="QBO_REFRESH_TOKEN is missing"), mage.secrets.exclusive():
        pass


def test_a_value_of_another_key_is_one_line_and_setting_it_again_repairs_it(mage: MageHome) -> None:
    mage.secrets.set("QBO_REALM_ID", CANARY)
    (mage.secrets_dir / "key").write_text(Fernet.generate_key().decode())
    with pytest.raises(ConfigurationError) as caught:
        mage.secrets.get("QBO_REALM_ID")
    assert re.fullmatch(
        r"The Mage secret QBO_REALM_ID was encrypted with another key than the one in \S+: restore that key, "
        r"or store it again with: qbo-backfill secrets set QBO_REALM_ID",
        str(caught.value),
    )
    mage.secrets.set("QBO_REALM_ID", "2")
    assert mage.secrets.get("QBO_REALM_ID") == "2"


def test_a_lost_key_is_one_line_and_no_new_one_is_made_behind_our_back(mage: MageHome) -> None:
    mage.secrets.set("QBO_REALM_ID", CANARY)
    (mage.secrets_dir / "key").unlink()
    for act in (lambda: mage.secrets.get("QBO_REALM_ID"), lambda: mage.secrets.set("QBO_CLIENT_ID", "x")):
        with pytest.raises(ConfigurationError, match=r"key is missing .* while 1 secrets are stored"):
            act()
    assert not (mage.secrets_dir / "key").exists()
    assert mage.secrets.delete("QBO_REALM_ID") is True
    mage.secrets.set("QBO_REALM_ID", "2")
    assert mage.secrets.get("QBO_REALM_ID") == "2"


def test_a_spoiled_key_file_is_one_line(mage: MageHome) -> None:
    mage.secrets.set("QBO_REALM_ID", "1")
    (mage.secrets_dir / "key").write_text("not a key")
    with pytest.raises(ConfigurationError, match=r"/key doesn't hold a key of Mage's: restore it\.$"):
        mage.secrets.get("QBO_REALM_ID")


def test_an_unreachable_database_is_one_line_without_the_password(tmp_path: Path) -> None:
    secrets = MageSecrets.locate(
        {
            "MAGE_DATA_DIR": str(tmp_path),
            "MAGE_DATABASE_CONNECTION_URL": f"postgresql+psycopg2://mage:{CANARY}@127.0.0.1:1/meta",
        }
    )
    with pytest.raises(ConfigurationError) as caught:
        secrets.get("QBO_REALM_ID")
    assert str(caught.value).startswith("Mage's database can't be reached (Postgres 127.0.0.1:1/meta): ")
    assert "\n" not in str(caught.value)
    assert CANARY not in str(caught.value) + repr(secrets) + secrets.where
    assert caught.value.__cause__ is None


def test_a_file_that_is_no_database_is_one_line(empty_mage: MageHome) -> None:
    database = Path(empty_mage.environ["MAGE_DATA_DIR"]) / "mage_project" / "mage-ai.db"
    database.parent.mkdir(parents=True)
    database.write_bytes(b"no database, but long enough to look at" * 100)
    with pytest.raises(ConfigurationError, match=r"can't be used \(SQLite .*\): file is not a database"):
        empty_mage.secrets.get("QBO_REALM_ID")


def test_six_processes_that_make_the_key_at_once_agree_on_one(mage: MageHome) -> None:
    script = "import sys; from async_extractor.mage.secrets import MageSecrets as M; M.locate().set(*sys.argv[1:])"
    processes = [mage.run(script, f"NAME_{number}", f"value {number}") for number in range(6)]
    assert ["" for _ in processes] == [process.communicate()[1] for process in processes]
    assert [mage.secrets.get(f"NAME_{number}") for number in range(6)] == [f"value {n}" for n in range(6)]
    assert sorted(path.name for path in mage.secrets_dir.iterdir()) == ["key", "uuid"]


def test_a_profile_has_its_own_company_and_shares_the_app(mage: MageHome) -> None:
    acme = MageSecrets.locate(mage.environ, profile="acme")
    mage.secrets.set("QBO_CLIENT_ID", "shared")
    mage.secrets.set("QBO_REALM_ID", "1")
    mage.secrets.set("QBO_REFRESH_TOKEN", "of the first")
    assert acme.get("QBO_CLIENT_ID") == "shared"
    assert acme.get("QBO_REALM_ID") is None  # never another company's
    with pytest.raises(ConfigurationError, match="secret ACME_QBO_REALM_ID is missing"):
        acme.require("QBO_REALM_ID")
    with pytest.raises(ConfigurationError, match="ACME_QBO_REFRESH_TOKEN is missing"), acme.exclusive():
        pass
    acme.set("QBO_REALM_ID", "2")
    acme.set("QBO_REFRESH_TOKEN", "of acme")
    assert (mage.secrets.get("QBO_REALM_ID"), acme.get("QBO_REALM_ID")) == ("1", "2")
    assert acme.names() == ["QBO_REALM_ID", "QBO_REFRESH_TOKEN"]
    with acme.exclusive() as held, mage.secrets.exclusive():  # two companies don't wait for each other
        held.put({"QBO_REFRESH_TOKEN": "of acme, renewed"})
    assert mage.secrets.get("QBO_REFRESH_TOKEN") == "of the first"
    assert mage.secrets.get("ACME_QBO_REFRESH_TOKEN") == "of acme, renewed"


def test_a_profile_that_could_not_be_a_schema_is_refused(mage: MageHome) -> None:
    with pytest.raises(RequestError, match="profile 'Acme; DROP'"):
        MageSecrets.locate(mage.environ, profile="Acme; DROP")
