"""A connection that cannot be made is one failed CONNECT, whoever wanted it and whatever the reason."""

from __future__ import annotations

import asyncio
import socket
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

import asyncpg
import pytest
import pytest_asyncio
from asyncpg.connect_utils import SessionAttribute

from tests.faults.scripted import refused_port
from tests.patches.asyncpg_failing import SECRET, fails, via
from tests.span_relations import assert_span, untimed
from tests.waiting import cancelled_after

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from tests.recording import Recording

PATCHES = ["asyncpg"]


@pytest.mark.asyncio
@pytest.mark.parametrize("way", ["connect", "module", "imported before", "pool", "pool.fetchval", "pool.acquire"])
async def test_server_that_is_not_there(recorded: Recording, postgres_url: str, way: str) -> None:
    """A refused connection is one span, whoever wanted it, with the address that was tried."""
    from asyncpg.connection import connect

    with refused_port() as port:
        url = via(postgres_url, port, database="shop")

        async def work() -> None:
            if way == "connect":
                await asyncpg.connect(url)
            elif way == "module":
                await connect(url)
            elif way == "imported before":
                await BEFORE(url)
            elif way == "pool":
                await asyncpg.create_pool(url)
            else:
                async with asyncpg.create_pool(url, min_size=0) as pool:
                    await (pool.fetchval("SELECT 1") if way == "pool.fetchval" else pool.acquire(timeout=20))

        failure = await fails(recorded, work)
    assert isinstance(failure.error, ConnectionRefusedError)
    operation: dict[str, Any] = {"db.operation.name": "CONNECT"}
    if way == "pool.fetchval":  # the one span of that is the method's
        operation = {"db.query.text": "SELECT ?", "db.query.summary": "SELECT"}
    assert failure.span.name == operation.get("db.query.summary", "CONNECT shop")
    assert untimed(failure.attributes) == {
        "db.system.name": "postgresql",
        "db.namespace": "shop",
        **operation,
        "server.address": "127.0.0.1",
        "server.port": port,
        "error.type": "ConnectionRefusedError",
    }


BEFORE = asyncpg.connect  # as a program has it that imported the name before the patches were installed


@pytest.mark.asyncio
@pytest.mark.parametrize("pool", [False, True], ids=["connect", "pool"])
async def test_wrong_database_and_user(recorded: Recording, postgres_url: str, pool: bool) -> None:
    """What the server says to a connection is the span's SQLSTATE."""
    port = urlsplit(postgres_url).port or 5432

    async def work(url: str) -> None:
        if pool:
            async with asyncpg.create_pool(url, min_size=0) as opened:
                await opened.execute("SELECT 1")
        else:
            await asyncpg.connect(url)

    failure = await fails(recorded, lambda: work(via(postgres_url, port, database="missing")))
    name = "SELECT" if pool else "CONNECT missing"
    assert (failure.span.name, failure.attributes["error.type"]) == (name, "3D000")
    assert failure.attributes["db.namespace"] == "missing"
    failure = await fails(recorded, lambda: work(via(postgres_url, port, user="nobody")))
    name = "SELECT" if pool else "CONNECT postgres"
    assert (failure.span.name, failure.attributes["error.type"]) == (name, "28000")


@pytest_asyncio.fixture
async def locked(connection: asyncpg.Connection[Any], postgres_url: str) -> AsyncIterator[str]:
    """The URL of a role with another password, which the server asks for."""
    path = await connection.fetchval("SHOW hba_file")
    rules = await connection.fetchval("SELECT pg_read_file($1)", path)

    async def write(text: str) -> None:
        lines = ", ".join("'" + line.replace("'", "''") + "'" for line in text.splitlines() if line.strip())
        await connection.execute(f"COPY (SELECT unnest(ARRAY[{lines}])) TO '{path}'; SELECT pg_reload_conf()")

    await connection.execute("DROP ROLE IF EXISTS locked; CREATE ROLE locked LOGIN PASSWORD 'another'")
    await write("host all locked 127.0.0.1/32 scram-sha-256\n" + rules.replace("\t", " "))
    url = via(postgres_url, urlsplit(postgres_url).port or 5432, user="locked")
    for _ in range(600):  # until the server has read its file
        try:
            await (await asyncpg.connect(url)).close()
        except asyncpg.InvalidPasswordError:
            break
        await asyncio.sleep(0.05)
    yield url
    await write(rules.replace("\t", " "))
    await connection.execute("DROP ROLE locked")


@pytest.mark.asyncio
async def test_wrong_password(recorded: Recording, locked: str) -> None:
    """A password that the server refuses is a span with that SQLSTATE, and in none of it is the password."""
    failure = await fails(recorded, lambda: asyncpg.connect(locked))
    assert (failure.span.name, failure.attributes["error.type"]) == ("CONNECT postgres", "28P01")


@pytest.mark.asyncio
@pytest.mark.parametrize("way", ["connect", "pool", "acquire"])
async def test_connecting_that_takes_too_long(recorded: Recording, postgres_url: str, way: str) -> None:
    """A timeout of the driver's own is an error of the call that has it, after that time."""
    with socket.create_server(("127.0.0.1", 0)) as silent:  # it accepts, and never says anything
        url = via(postgres_url, silent.getsockname()[1])

        async def work() -> None:
            if way == "connect":
                await asyncpg.connect(url, timeout=0.1)
            else:
                timeout = 0.1 if way == "pool" else 60
                async with asyncpg.create_pool(url, min_size=0, timeout=timeout) as pool:
                    await pool.acquire(timeout=0.1 if way == "acquire" else None)

        # Where not connecting has the timeout but who waits for it, connecting is cancelled and says so.
        others = ["CONNECT postgres"] if way == "acquire" else []
        failure = await fails(recorded, work, *others)
    assert isinstance(failure.error, TimeoutError)
    assert failure.attributes["error.type"] == "TimeoutError"
    assert failure.span.name == ("ACQUIRE" if way == "acquire" else "CONNECT postgres")
    assert failure.seconds >= 0.09
    for span in recorded.spans:
        if span.name in others:
            assert dict(span.attributes or {})["causal.cancelled"] is True


@pytest.mark.asyncio
async def test_cancelled_connecting(recorded: Recording, postgres_url: str) -> None:
    """A connection that the caller gives up is one span, unset and marked, whether or not a pool wanted it."""
    with socket.create_server(("127.0.0.1", 0)) as silent:
        url = via(postgres_url, silent.getsockname()[1])
        for timeout in (None, 60):
            recorded.clear()
            async with asyncpg.create_pool(url, min_size=0) as pool:
                with recorded.tracer.start_as_current_span("root") as root:
                    await cancelled_after(0.1, pool.acquire(timeout=timeout))
            assert recorded.names() == ["CONNECT postgres", "root"]
            assert_span(recorded.spans[0], root, cancelled=True, lasts=0.1)


@pytest.mark.asyncio
async def test_host_that_is_no_primary(recorded: Recording, postgres_url: str) -> None:
    """What asyncpg asks a host before it takes it is no query of the user's; that no host is fit is one span."""
    failure = await fails(
        recorded, lambda: asyncpg.connect(postgres_url, target_session_attrs=SessionAttribute.standby)
    )
    assert failure.span.name == "CONNECT postgres"
    assert failure.attributes["error.type"].endswith("TargetServerAttributeNotMatched")


@pytest.mark.asyncio
async def test_arguments_that_the_driver_refuses(recorded: Recording) -> None:
    """A connection that is not even tried has a span without an address, and nothing of its arguments."""
    failure = await fails(recorded, lambda: asyncpg.connect(f"nonsense://a:{SECRET}@h/d"))
    assert (failure.span.name, "server.address" in failure.attributes) == ("CONNECT", False)
