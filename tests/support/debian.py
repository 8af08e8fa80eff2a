"""PostgreSQL, pgbouncer and tinyproxy as Debian packages them: servers of a test's own, from their binaries.

What isn't installed skips the test by its name. `.ci/run` installs them where it is root.
"""

from __future__ import annotations

import contextlib
import os
import pwd
import shutil
import socket
import subprocess
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.conftest import Database
from tests.support.databases import execute

PASSWORD = "of-a-throwaway-server"


def majors() -> list[str]:
    """The installed majors, the oldest first."""
    found = [path.parts[4] for path in Path("/usr/lib/postgresql").glob("*/bin/initdb")]
    return sorted(found, key=int)


def has_ipv6() -> bool:
    """Whether ::1 can be listened on; where IPv6 is switched off /proc/net/if_inet6 may be there all the same."""
    try:
        with socket.socket(socket.AF_INET6) as probe:
            probe.bind(("::1", 0))
    except OSError:
        return False
    return True


def needed(program: str) -> str:
    path = shutil.which(program, path=f"{os.environ.get('PATH', '')}:/usr/sbin:/usr/bin")
    if path is None:
        pytest.skip(f"NOT RUN: {program} isn't installed (apt-get install {program})")
    return path


@contextlib.contextmanager
def cluster(
    major: str, *, hba: str = "host all all all scram-sha-256", tls: Path | None = None, in_recovery: bool = False
) -> Iterator[Database]:
    """A cluster of that major; the superuser's address. `tls` is a folder with server.crt and server.key.

    `in_recovery` makes it a standby that waits for a primary: read-only, as every replica is.
    """
    with _folder() as folder:
        binaries, data = Path(f"/usr/lib/postgresql/{major}/bin"), folder / "data"
        password = folder / "password"
        _write(password, PASSWORD)
        _run(
            folder, str(binaries / "initdb"), "-D", str(data), "-U", "postgres", f"--pwfile={password}", "-E", "UTF8",
            "--locale=C", "--auth=scram-sha-256", "--no-sync",
        )  # fmt: skip
        port = _free_port()
        settings = {
            "listen_addresses": "'127.0.0.1, 127.0.0.2, ::1'",
            "port": str(port),
            "unix_socket_directories": "''",
            "fsync": "off",
            "max_connections": "100",
        }
        if tls is not None:
            for name in ("server.crt", "server.key"):
                _write(data / name, (tls / name).read_text())
            settings["ssl"] = "on"
        with (data / "postgresql.conf").open("a") as file:
            file.writelines(f"{name} = {value}\n" for name, value in settings.items())
        _write(data / "pg_hba.conf", hba + "\n")
        if in_recovery:
            _write(data / "standby.signal", "")
        control = (str(binaries / "pg_ctl"), "-D", str(data), "-l", str(folder / "log"), "-w", "-s")
        _run(folder, *control, "start")
        try:
            yield Database("127.0.0.1", port, "postgres", PASSWORD, "postgres")
        finally:
            _run(folder, *control, "-m", "immediate", "stop")


@contextlib.contextmanager
def pgbouncer(server: Database, mode: str, *, pool: int = 20, more: str = "") -> Iterator[Database]:
    """A pooler before the server, in `session` or `transaction` mode; its address."""
    program = needed("pgbouncer")
    with _folder() as folder:
        port = _free_port()
        _write(folder / "users", f'"{server.user}" "{server.password}"\n')
        _write(
            folder / "pgbouncer.ini",
            f"[databases]\n* = host={server.host} port={server.port}\n"
            f"[pgbouncer]\nlisten_addr = 127.0.0.1\nlisten_port = {port}\nunix_socket_dir =\npool_mode = {mode}\n"
            f"auth_type = scram-sha-256\nauth_file = {folder}/users\nlogfile = {folder}/log\n"
            f"default_pool_size = {pool}\n{more}\n",
        )
        with _daemon(folder, port, program, str(folder / "pgbouncer.ini")):
            yield Database("127.0.0.1", port, server.user, server.password, server.dbname)


@contextlib.contextmanager
def tinyproxy(user: str, password: str) -> Iterator[tuple[str, Path]]:
    """An HTTP proxy that wants a password and tunnels anywhere; its URL with it, and its log."""
    program = needed("tinyproxy")
    with _folder() as folder:
        port, log = _free_port(), folder / "log"
        _write(
            folder / "tinyproxy.conf",
            f'Port {port}\nListen 127.0.0.1\nTimeout 60\nLogFile "{log}"\nLogLevel Info\nMaxClients 50\n'
            f"Allow 127.0.0.1\nBasicAuth {user} {password}\n",
        )
        with _daemon(folder, port, program, "-d", "-c", str(folder / "tinyproxy.conf")):
            yield f"http://{user}:{password}@127.0.0.1:{port}", log


def new_database(server: Database, name: str) -> Database:
    execute(server, f"CREATE DATABASE {name}")
    return Database(server.host, server.port, server.user, server.password, name)


@contextlib.contextmanager
def _folder() -> Iterator[Path]:
    """A folder that the server's user may enter, and nobody else."""
    folder = Path(tempfile.mkdtemp(prefix="qbo-backfill-debian-", dir="/var/tmp"))
    if os.geteuid() == 0:
        shutil.chown(folder, _user())
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _user() -> str:
    for name in ("postgres", "nobody"):
        with contextlib.suppress(KeyError):
            return pwd.getpwnam(name).pw_name
    pytest.skip("NOT RUN: there is no OS user postgres or nobody, and these servers refuse root")


def _write(path: Path, text: str) -> None:
    path.write_text(text)
    path.chmod(0o600)
    if os.geteuid() == 0:
        shutil.chown(path, _user())


def _as_user(folder: Path) -> dict[str, Any]:
    common: dict[str, Any] = {
        "cwd": folder,
        "stdin": subprocess.DEVNULL,
        "env": {"PATH": "/usr/bin:/bin", "LC_ALL": "C"},
    }
    if os.geteuid() != 0:
        return common
    account = pwd.getpwnam(_user())
    return common | {"user": account.pw_uid, "group": account.pw_gid, "extra_groups": []}


def _run(folder: Path, *command: str) -> None:
    with (folder / "output").open("w+") as output:
        ended = subprocess.run(command, stdout=output, stderr=subprocess.STDOUT, check=False, **_as_user(folder))
        output.seek(0)
        assert ended.returncode == 0, output.read()


@contextlib.contextmanager
def _daemon(folder: Path, port: int, *command: str) -> Iterator[None]:
    """In the foreground until its port answers; ended afterwards."""
    with (folder / "output").open("w+") as output:
        process = subprocess.Popen(command, stdout=output, stderr=subprocess.STDOUT, **_as_user(folder))
        try:
            while True:
                with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), timeout=5):
                    break
                assert process.poll() is None, (folder / "output").read_text()
                time.sleep(0.02)
            yield
        finally:
            process.terminate()
            process.wait()


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])
