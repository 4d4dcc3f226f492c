"""Every operation of every asynchronous driver, to be called on a server whose answers are held back on the way."""

from __future__ import annotations

import asyncio
import io
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from functools import partial
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

import asyncpg
import httpx
import neo4j
import pytest_asyncio
import redis.asyncio

from tests.services.slow import SlowServer, slow

if TYPE_CHECKING:
    import pytest

    from tests.services.fixtures import GraphServer

__all__ = ["ASYNCPG", "CALLS", "CODES", "HTTPX", "NEO4J", "REDIS", "Call", "Prepare", "server_and_client"]

Call = Callable[[], Awaitable[Any]]
Prepare = Callable[[Any, bool], Awaitable[Call]]
"""Given a client and whether it is to fail: what to do at once, and then the call to be measured."""


def _at_once(make: Callable[[Any, bool], Awaitable[Any]]) -> Prepare:
    """Nothing to prepare."""

    async def prepare(client: Any, fails: bool) -> Call:
        return lambda: make(client, fails)

    return prepare


def _query(method: str) -> Prepare:
    return _at_once(lambda connection, fails: getattr(connection, method)("SELECT 1/0" if fails else "SELECT 1"))


def _batch(method: str) -> Prepare:
    query = "SELECT 1 / $1::int"
    return _at_once(lambda connection, fails: getattr(connection, method)(query, [(1,), (0 if fails else 2,)]))


def _prepared(method: str) -> Prepare:
    async def prepare(connection: Any, fails: bool) -> Call:
        statement = await connection.prepare("SELECT 1 / $1::int")
        return lambda: getattr(statement, method)(0 if fails else 1)

    return prepare


def _prepared_batch(method: str) -> Prepare:
    async def prepare(connection: Any, fails: bool) -> Call:
        statement = await connection.prepare("SELECT 1 / $1::int")
        return lambda: getattr(statement, method)([(1,), (0 if fails else 2,)])

    return prepare


async def _iterated(connection: Any, fails: bool) -> Call:
    statement = await connection.prepare("SELECT 1 / $1::int")
    await connection.transaction().start()

    async def iterate() -> None:
        async for _ in statement.cursor(0 if fails else 1):
            pass

    return iterate


async def _fetched(connection: Any, fails: bool) -> Call:
    await connection.transaction().start()
    cursor = await connection.cursor("SELECT 1 / ($1 - n) FROM generate_series(1, 2) AS n", 2 if fails else 5)
    return lambda: cursor.fetch(3)


def _copy(method: str, **options: Any) -> Prepare:
    def copy(connection: Any, fails: bool) -> Awaitable[Any]:
        files = {name: kind(b"1\n") if name == "source" else kind() for name, kind in options.items() if kind}
        copied: Awaitable[Any] = getattr(connection, method)("nowhere" if fails else "durations", **files)
        return copied

    return _at_once(copy)


ASYNCPG: dict[str, Prepare] = {
    **{f"Connection.{name}": _query(name) for name in ("execute", "fetch", "fetchval", "fetchrow")},
    **{f"Connection.{name}": _batch(name) for name in ("executemany", "fetchmany")},
    **{f"PreparedStatement.{name}": _prepared(name) for name in ("fetch", "fetchval", "fetchrow")},
    **{f"PreparedStatement.{name}": _prepared_batch(name) for name in ("executemany", "fetchmany")},
    "BaseCursor._bind_exec": _iterated,
    "BaseCursor._exec": _fetched,
    "Connection.copy_from_query": _at_once(
        lambda connection, fails: connection.copy_from_query("SELECT 1/0" if fails else "SELECT 1", output=io.BytesIO())
    ),
    "Connection.copy_from_table": _copy("copy_from_table", output=io.BytesIO),
    "Connection.copy_to_table": _copy("copy_to_table", source=io.BytesIO),
    "Connection.copy_records_to_table": _at_once(
        lambda connection, fails: connection.copy_records_to_table(
            "durations", records=[(1,)], columns=["nothing" if fails else "n"]
        )
    ),
}


@asynccontextmanager
async def _asyncpg_client(server: SlowServer) -> AsyncIterator[Any]:
    connection = await asyncpg.connect(host="127.0.0.1", port=server.port, user="postgres", database="postgres")
    await connection.execute("DROP TABLE IF EXISTS durations; CREATE TABLE durations (n int)")
    yield connection
    await connection.close()  # not terminate(): the server may still be asked to cancel


async def _watching(client: Any, fails: bool) -> Call:
    pipeline = client.pipeline()
    await pipeline.watch("list")

    async def get() -> Any:
        async with pipeline:
            return await pipeline.get("list" if fails else "text")

    return get


def _pipeline(transaction: bool) -> Prepare:
    return _at_once(
        lambda client, fails: client.pipeline(transaction=transaction).get("list" if fails else "text").execute()
    )


REDIS: dict[str, Prepare] = {
    "Redis.execute_command": _at_once(lambda client, fails: client.get("list" if fails else "text")),
    "Pipeline.immediate_execute_command": _watching,
    "Pipeline.execute": _pipeline(transaction=True),
    "Pipeline.execute (no transaction)": _pipeline(transaction=False),
}


@asynccontextmanager
async def _redis_client(server: SlowServer) -> AsyncIterator[Any]:
    async with redis.asyncio.Redis(port=server.port) as client:
        await client.delete("list", "text")
        await client.rpush("list", "one")
        await client.set("text", "one")
        yield client


_WELL, _WRONG = "RETURN 1 AS n", "RETURN nothing"


async def _session_run(session: Any, fails: bool) -> Call:
    async def run() -> None:
        await (await session.run(_WRONG if fails else _WELL)).consume()

    return run


async def _transaction_run(session: Any, fails: bool) -> Call:
    transaction = await session.begin_transaction()

    async def run() -> None:
        await (await transaction.run(_WRONG if fails else _WELL)).consume()

    return run


def _managed(method: str) -> Prepare:
    async def work(transaction: Any, query: str) -> None:
        await (await transaction.run(query)).consume()

    return _at_once(lambda session, fails: getattr(session, method)(work, _WRONG if fails else _WELL))


async def _managed_run(session: Any, fails: bool) -> Call:
    ready: asyncio.Future[Any] = asyncio.get_running_loop().create_future()
    go = asyncio.Event()

    async def work(transaction: Any) -> None:
        if not ready.done():
            ready.set_result(None)
        await go.wait()
        await (await transaction.run(_WRONG if fails else _WELL)).consume()

    task = asyncio.create_task(session.execute_write(work))
    await ready

    async def run() -> None:
        go.set()
        await task

    return run


NEO4J: dict[str, Prepare] = {
    "AsyncSession.run": _session_run,
    "AsyncTransaction.run": _transaction_run,
    "AsyncSession.execute_read": _managed("execute_read"),
    "AsyncSession.execute_write": _managed("execute_write"),
    "AsyncManagedTransaction.run": _managed_run,
    "AsyncDriver.execute_query": _at_once(
        lambda session, fails: session.driver_of_tests.execute_query(
            _WRONG if fails else _WELL, database_=session.database_of_tests
        )
    ),
}


@asynccontextmanager
async def _neo4j_client(server: SlowServer, graph: GraphServer) -> AsyncIterator[Any]:
    async with neo4j.AsyncGraphDatabase.driver(
        f"bolt://127.0.0.1:{server.port}", auth=graph.auth, notifications_min_severity="OFF"
    ) as driver:
        await driver.execute_query(_WELL, database_=graph.database)
        async with driver.session(database=graph.database) as session:
            session.driver_of_tests = driver  # type: ignore[attr-defined]
            session.database_of_tests = graph.database  # type: ignore[attr-defined]
            yield session


HTTPX: dict[str, Prepare] = {
    "AsyncHTTPTransport.handle_async_request": _at_once(
        lambda client, fails: client.get("/status/503" if fails else "/echo")
    ),
}


@asynccontextmanager
async def _httpx_client(server: SlowServer) -> AsyncIterator[Any]:
    async with httpx.AsyncClient(base_url=f"http://127.0.0.1:{server.port}", trust_env=False) as client:
        yield client


CALLS = {"asyncpg": ASYNCPG, "redis": REDIS, "httpx": HTTPX}
CODES = {
    "asyncpg": ("db.response.status_code", ("22012", "42P01", "42703")),
    "redis": ("db.response.status_code", ("WRONGTYPE",)),
    "neo4j": (
        "db.response.status_code",
        ("Neo.ClientError.Statement.SyntaxError", "Neo.ClientError.Statement.SemanticError"),
    ),
    "httpx": ("http.response.status_code", (503,)),
}


@pytest_asyncio.fixture
async def server_and_client(request: pytest.FixtureRequest, driver: str) -> AsyncIterator[tuple[SlowServer, Any]]:
    """A client of the driver, made before anything is installed, and what stands before its server."""
    client: Any
    if driver == "neo4j":
        graph = request.getfixturevalue("neo4j_server")
        url, client = graph.url, partial(_neo4j_client, graph=graph)
    else:
        fixture = {"asyncpg": "postgres_url", "redis": "redis_url", "httpx": "server"}[driver]
        url = request.getfixturevalue(fixture)
        client = {"asyncpg": _asyncpg_client, "redis": _redis_client, "httpx": _httpx_client}[driver]
    parts = urlsplit(url)
    with slow(parts.hostname or "127.0.0.1", parts.port or 0) as server:
        async with AsyncExitStack() as stack:
            yield server, await stack.enter_async_context(client(server))
            server.delay = 0
