"""Debian's PostgreSQL, its TLS and its pg_hba.conf, and pgbouncer before it."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from async_extractor.errors import ConfigurationError
from async_extractor.events import Events
from async_extractor.warehouse.connection import Address
from async_extractor.warehouse.first_connection import connect_first
from async_extractor.warehouse.shared_connection import CompanyConnection
from qbo_simulator import Simulator, SimulatorConfig
from qbo_simulator.tls import AUTHORITY, server_context
from tests.conftest import Database
from tests.support import debian
from tests.support.backfilling import backfill, in_raw, secrets_for, truth
from tests.support.commands import CommandLine, store
from tests.support.databases import execute

pytestmark = pytest.mark.skipif(
    not debian.majors(), reason="NOT RUN: Debian's PostgreSQL isn't installed (apt-get install postgresql)"
)

HBA = """
host      all    postgres   all    scram-sha-256
hostssl   all    onlytls    all    scram-sha-256
hostnossl all    nottls     all    scram-sha-256
host      all    pooled     all    scram-sha-256
"""


@pytest.fixture(scope="module")
def tls(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An authority's certificate and a server's, for localhost and 127.0.0.1."""
    folder = tmp_path_factory.mktemp("tls")
    server_context(folder)
    return folder


@pytest.fixture(scope="module")
def server(tls: Path) -> Iterator[Database]:
    with debian.cluster(debian.majors()[0], hba=HBA, tls=tls) as server:
        for role in ("onlytls", "nottls", "pooled"):
            execute(server, f"CREATE ROLE {role} LOGIN SUPERUSER PASSWORD '{debian.PASSWORD}'")
        yield server


@pytest.fixture(scope="module")
def plain() -> Iterator[Database]:
    """A server without TLS."""
    with debian.cluster(debian.majors()[-1]) as server:
        yield server


def address(server: Database, **changed: Any) -> Address:
    return replace(Address(server.host, server.port, server.dbname, server.user, server.password), **changed)


async def opened(where: Address) -> bool:
    """Whether the session is encrypted."""
    connection = await connect_first(where)
    try:
        return bool(await connection.fetchval("SELECT ssl FROM pg_stat_ssl WHERE pid = pg_backend_pid()"))
    finally:
        await connection.close()


async def refusal(where: Address) -> str:
    with pytest.raises(ConfigurationError) as refused:
        await opened(where)
    said = str(refused.value)
    assert "\n" not in said
    assert where.password not in said
    return said


async def test_a_backfill_runs_on_the_oldest_that_is_installed(server: Database) -> None:
    database = debian.new_database(server, "backfilled")
    async with Simulator(SimulatorConfig(invoices=200, customers=30, items=20)) as simulator:
        for entity in ("invoices", "customers", "items"):
            result = await backfill(secrets_for(simulator, database), entity, limits=True, concurrency=3)
            assert result.status == "done"
            assert await in_raw(database, entity) == await truth(simulator, entity)


@pytest.mark.parametrize(
    ("sslmode", "rootcert", "encrypted"),
    [
        ("disable", False, False),
        ("prefer", False, True),
        ("require", False, True),
        ("require", True, True),
        ("verify-ca", True, True),
        ("verify-full", True, True),
    ],
)
async def test_each_mode_of_tls(server: Database, tls: Path, sslmode: str, rootcert: bool, encrypted: bool) -> None:
    where = address(server, sslmode=sslmode, sslrootcert=str(tls / AUTHORITY) if rootcert else "")
    assert await opened(where) is encrypted


async def test_the_role_decides_whether_prefer_ends_with_tls_or_without(server: Database) -> None:
    assert await opened(address(server, user="onlytls")) is True
    assert await opened(address(server, user="nottls")) is False


async def test_a_server_without_tls_is_taken_by_prefer_and_by_nothing_stricter(plain: Database, tls: Path) -> None:
    assert await opened(address(plain)) is False
    for sslmode in ("require", "verify-ca", "verify-full"):
        where = address(plain, sslmode=sslmode, sslrootcert=str(tls / AUTHORITY))
        assert "it has no TLS, which POSTGRES_SSLMODE asks for" in await refusal(where)


async def test_a_server_that_nobody_vouches_for_is_refused(server: Database, tls: Path, tmp_path: Path) -> None:
    server_context(tmp_path)  # another authority
    for sslmode in ("require", "verify-ca", "verify-full"):
        said = await refusal(address(server, sslmode=sslmode, sslrootcert=str(tmp_path / AUTHORITY)))
        assert "its certificate isn't trusted" in said
        assert "POSTGRES_SSLROOTCERT" in said
    assert "its certificate isn't trusted" in await refusal(
        address(server, sslmode="verify-full", sslrootcert="system")
    )


async def test_another_hosts_certificate_is_refused_by_verify_full_alone(server: Database, tls: Path) -> None:
    elsewhere = {"host": "127.0.0.2", "sslrootcert": str(tls / AUTHORITY)}  # none of the certificate's names
    assert await opened(address(server, sslmode="verify-ca", **elsewhere))
    said = await refusal(address(server, sslmode="verify-full", **elsewhere))
    assert "its certificate isn't trusted" in said
    assert "127.0.0.2" in said


@pytest.mark.skipif(not debian.has_ipv6(), reason="NOT RUN: this machine has no address ::1")
async def test_an_ipv6_address(server: Database, tls: Path) -> None:
    where = address(server, host="::1", sslmode="verify-full", sslrootcert=str(tls / AUTHORITY))
    assert await opened(where)
    assert f"postgres@[::1]:{server.port}/" in str(where)


@pytest.mark.parametrize(
    ("changed", "says"),
    [
        ({"user": "onlytls", "sslmode": "disable"}, "no pg_hba.conf entry"),
        ({"user": "nobody_here"}, "no pg_hba.conf entry"),
        ({"password": "wrong-one"}, "password authentication failed"),
        ({"database": "wh?sslmode=require"}, 'database "wh?sslmode=require" does not exist'),
        ({"host": "no-such-host.invalid"}, "nothing answers there (gaierror"),
        ({"port": 1}, "nothing answers there (ConnectionRefusedError"),
        ({"host": "a" * 70}, "POSTGRES_HOST"),
    ],
)
async def test_the_servers_own_words_are_told(server: Database, changed: dict[str, Any], says: str) -> None:
    assert says in await refusal(address(server, **changed))


def test_somebody_elses_home_is_no_reason_to_fail(
    server: Database, command_line: CommandLine, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A look into HOME that fails, as where HOME is another user's: made to fail, since root may look anywhere."""

    def refuse(*_: object) -> None:
        raise PermissionError(13, "Permission denied", "/somebody/.postgresql")

    monkeypatch.setattr("asyncpg.connect_utils._dot_postgresql_path", refuse)
    assert asyncio.run(opened(address(server))) is True


@pytest.mark.parametrize("options", ["", "ignore_startup_parameters = extra_float_digits"])
async def test_a_pooler_in_session_mode_works(server: Database, options: str) -> None:
    database = debian.new_database(server, f"pooled_{len(options)}")
    with debian.pgbouncer(replace(database, user="pooled"), "session", more=options) as pooler:
        async with Simulator(SimulatorConfig(invoices=200, customers=30, items=20)) as simulator:
            result = await backfill(secrets_for(simulator, pooler), "invoices", limits=True, concurrency=3)
            assert result.status == "done"
            assert await in_raw(database, "invoices") == await truth(simulator, "invoices")


async def test_behind_a_pooler_the_backend_is_the_one_that_works(server: Database) -> None:
    """A place in the queue is told to a backend by its pid: the one that the pooler makes up is nobody's."""
    with debian.pgbouncer(replace(server, user="pooled"), "session") as pooler:
        company = CompanyConnection(address(pooler), "4620816365000001234", Events([]))
        await company.call("moment_before", "P1D")
        try:
            found = execute(server, f"SELECT usename FROM pg_stat_activity WHERE pid = {company.backend}")
            assert found == [("pooled",)]
        finally:
            await company.close()


@pytest.mark.parametrize("options", ["", "server_round_robin = 1"])
async def test_a_pooler_in_transaction_mode_is_refused_in_one_line(
    server: Database, command_line: CommandLine, options: str
) -> None:
    with debian.pgbouncer(replace(server, user="pooled"), "transaction", more=options) as pooler:
        for _ in range(2):  # what the first left behind on the pooler's connections doesn't hide it
            said = await refusal(address(pooler))
            assert "a pooler in transaction mode is there" in said
        async with Simulator(SimulatorConfig(items=2)) as simulator:
            store(command_line, simulator, pooler)
            ended = await asyncio.to_thread(command_line.backfill, "items")
            assert simulator.service.ledger.tokens["refreshed"] == 0
    assert ended.code == 4
    assert ended.stderr.count("\n") == 1
    assert "session mode" in ended.stderr


@pytest.mark.slow
async def test_a_pool_of_one_connection_is_told(server: Database, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("async_extractor.warehouse.connection.CONNECT_SECONDS", 2.0)
    with debian.pgbouncer(replace(server, user="pooled"), "session", pool=1) as pooler:
        assert "keeps a second one waiting" in await refusal(address(pooler))


async def test_a_replica_is_refused() -> None:
    with debian.cluster(debian.majors()[-1], in_recovery=True) as replica:
        async with Simulator(SimulatorConfig(items=2)) as simulator:
            with pytest.raises(ConfigurationError, match="is a replica, which is read-only"):
                await backfill(secrets_for(simulator, replica), "items")
