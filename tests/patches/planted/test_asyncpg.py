"""Waits of 300 ms, planted where asyncpg waits: each is in the part of the span that is for it and in no other."""

from __future__ import annotations

import asyncio
import inspect
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any

import asyncpg
import pytest
import pytest_asyncio

from causal_otel.names import (
    CAUSAL_CONNECT,
    CAUSAL_CONNECT_DNS,
    CAUSAL_CONNECT_TLS,
    CAUSAL_FETCH,
    CAUSAL_POOL_SETUP,
    CAUSAL_POOL_SIZE,
    CAUSAL_POOL_WAIT,
    CAUSAL_POOL_WAITING,
    CAUSAL_SERVER,
)
from causal_otel.patches.asyncpg import AsyncpgOptions
from tests.patches.asyncpg_failing import late_postgres, pairs, via
from tests.patches.planted.waits import WAIT, assert_no_part, assert_part
from tests.recording import Recording, recording
from tests.span_relations import assert_span, attributes

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable, Iterator

    from opentelemetry.sdk.trace import ReadableSpan

    from tests.services.slow import SlowServer

__all__ = ["late_postgres", "pairs"]


@pytest.fixture
def recorded() -> Iterator[Recording]:
    """What takes longer than half of a planted wait is a span."""
    with recording({"asyncpg": AsyncpgOptions(slow_plumbing=WAIT / 2)}) as kept:
        yield kept


@pytest_asyncio.fixture
async def other(postgres_url: str) -> AsyncIterator[asyncpg.Connection[Any]]:
    """A connection of somebody else's."""
    connection = await asyncpg.connect(postgres_url)
    yield connection
    await connection.close()


async def _only(recorded: Recording, call: Callable[[], Awaitable[Any]], name: str | None = None) -> ReadableSpan:
    """The one span (of that name) inside a root that a call makes, which went well.

    On a busy machine what is plumbing else may be slow enough to be a span, too.
    """
    recorded.clear()
    with recorded.tracer.start_as_current_span("root") as root:
        await call()
    (span,) = [each for each in recorded.spans if each.parent is not None and name in (None, each.name)]
    assert_span(span, root)
    return span


@asynccontextmanager
async def _pool(url: str, **options: Any) -> AsyncIterator[asyncpg.Pool[Any]]:
    """A pool of one connection, which nobody waits for at the end: it may be in use still, as where a test fails."""
    pool = await asyncpg.create_pool(url, min_size=0, max_size=1, **options)
    try:
        yield pool
    finally:
        pool.terminate()


def _later(call: Any) -> asyncio.Task[Any]:
    """Do something after the planted wait."""

    async def later() -> None:
        await asyncio.sleep(WAIT)
        await call()

    return asyncio.create_task(later())


@asynccontextmanager
async def _held(other: asyncpg.Connection[Any], statement: str) -> AsyncIterator[asyncio.Task[Any]]:
    """Somebody else has done ``statement`` in a transaction, which is rolled back after the planted wait."""
    transaction = other.transaction()
    await transaction.start()
    await other.execute(statement)
    task = _later(transaction.rollback)
    yield task
    await task


@pytest.mark.asyncio
@pytest.mark.parametrize("way", ["acquire", "timeout", "method"])
async def test_pool_that_is_too_small(recorded: Recording, postgres_url: str, way: str) -> None:
    """Waiting for a pool is its own part, with how big the pool is and how many waited before."""
    async with asyncpg.create_pool(postgres_url, min_size=1, max_size=1) as pool:
        taken = await pool.acquire()
        before = asyncio.create_task(pool.fetchval("SELECT 1"))
        await asyncio.sleep(0)
        release = _later(lambda: pool.release(taken))
        if way == "method":
            span = await _only(recorded, lambda: pool.fetchval("SELECT 2"), "SELECT")
        else:
            acquired = pool.acquire(timeout=60 if way == "timeout" else None)
            span = await _only(recorded, acquired.__aenter__, "ACQUIRE postgres")
            await acquired.__aexit__()
        await asyncio.gather(release, before)
    assert_part(span, CAUSAL_POOL_WAIT)
    assert (attributes(span)[CAUSAL_POOL_SIZE], attributes(span)[CAUSAL_POOL_WAITING]) == (1, 1)


@pytest.mark.asyncio
@pytest.mark.parametrize("way", ["connect", "acquire", "method"])
async def test_server_that_is_late(recorded: Recording, postgres_url: str, late_postgres: SlowServer, way: str) -> None:
    """Connecting is a part of whatever wanted a connection, and the span of a connection that is made by itself."""
    url = via(postgres_url, late_postgres.port)
    late_postgres.delay = 2 * WAIT  # as the proxy has its share of a busy machine in all that follows

    class Unreset(asyncpg.Connection):
        def get_reset_query(self) -> str:
            return ""

    async def on_time(connection: Any) -> None:
        late_postgres.delay = 0

    async with _pool(url, init=on_time, ssl=False, connection_class=Unreset) as pool:
        if way == "connect":
            opened: list[Any] = []
            span = await _only(recorded, lambda: _kept(asyncpg.connect(url, ssl=False), opened), "CONNECT postgres")
            opened[0].terminate()
        elif way == "acquire":
            span = await _only(recorded, lambda: pool.acquire().__aenter__(), "ACQUIRE postgres")
        else:
            span = await _only(recorded, lambda: pool.fetchval("SELECT 1"), "SELECT")
            assert attributes(span)["server.port"] == late_postgres.port
    assert_part(span, CAUSAL_CONNECT, 2 * WAIT)


async def _kept(call: Awaitable[Any], kept: list[Any]) -> None:
    kept.append(await call)


@pytest.mark.asyncio
async def test_slow_names(recorded: Recording, postgres_url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Looking up a name is told apart from the rest of connecting."""
    loop = asyncio.get_running_loop()
    look_up = loop.getaddrinfo

    async def slow(*args: Any, **kwargs: Any) -> Any:
        await asyncio.sleep(WAIT)
        return await look_up(*args, **kwargs)

    monkeypatch.setattr(loop, "getaddrinfo", slow)
    url = postgres_url.replace("127.0.0.1", "localhost")
    assert "localhost" in url
    opened: list[Any] = []
    span = await _only(recorded, lambda: _kept(asyncpg.connect(url, ssl=False), opened), "CONNECT postgres")
    await opened[0].close()
    assert_part(span, CAUSAL_CONNECT_DNS)


@pytest.mark.asyncio
async def test_slow_tls(recorded: Recording, postgres_url: str, late_postgres: SlowServer) -> None:
    """Negotiating TLS is told apart as well, whatever comes of it."""
    late_postgres.delay = WAIT
    _later(_on_time(late_postgres))
    opened: list[Any] = []
    url = via(postgres_url, late_postgres.port)
    span = await _only(recorded, lambda: _kept(asyncpg.connect(url, ssl="prefer"), opened), "CONNECT postgres")
    opened[0].terminate()
    assert_part(span, CAUSAL_CONNECT_TLS)


def _on_time(server: SlowServer) -> Any:
    async def on_time() -> None:
        server.delay = 0

    return on_time


@pytest.mark.asyncio
@pytest.mark.parametrize("hook", ["init", "setup", "reset"])
@pytest.mark.parametrize("method", [False, True], ids=["plumbing", "method"])
async def test_slow_hook(recorded: Recording, postgres_url: str, hook: str, method: bool) -> None:
    """What a pool's hooks wait for is a part of getting or giving back a connection; their queries are no spans."""
    if hook == "reset" and "reset" not in inspect.signature(asyncpg.create_pool).parameters:
        pytest.skip("since asyncpg 0.30")

    async def slow(connection: Any) -> None:
        await connection.fetchval(f"SELECT pg_sleep({WAIT})")

    arguments: dict[str, Any] = {hook: slow}
    async with _pool(postgres_url, **arguments) as pool:
        if method:
            span = await _only(recorded, lambda: pool.fetchval("SELECT 1"), "SELECT")
        elif hook == "reset":
            taken = await pool.acquire()
            span = await _only(recorded, lambda: pool.release(taken), "RELEASE postgres")
        else:
            span = await _only(recorded, lambda: pool.acquire().__aenter__(), "ACQUIRE postgres")
        assert_part(span, CAUSAL_POOL_SETUP)


@pytest.mark.asyncio
async def test_locks(
    recorded: Recording,
    connection: asyncpg.Connection[Any],
    other: asyncpg.Connection[Any],
    pairs: None,
) -> None:
    """Waiting for somebody else's transaction is the server's time: of a query, of PREPARE and of COMMIT."""
    await connection.execute("INSERT INTO pairs VALUES (1, 1)")
    async with _held(other, "UPDATE pairs SET n = 2"):
        update = await _only(
            recorded, lambda: connection.execute("UPDATE pairs SET n = 3 WHERE id = $1", 1), "UPDATE pairs"
        )
    assert_part(update, CAUSAL_SERVER)
    async with _held(other, "LOCK TABLE pairs IN ACCESS EXCLUSIVE MODE"):
        prepare = await _only(recorded, lambda: connection.prepare("SELECT id, n FROM pairs"), "PREPARE SELECT pairs")
    assert_part(prepare, CAUSAL_SERVER)
    async with _held(other, "INSERT INTO pairs VALUES (7, 7)"):
        transaction = connection.transaction()
        await transaction.start()
        await connection.execute("INSERT INTO pairs VALUES (7, 8)")  # its constraint is looked at when it is over
        commit = await _only(recorded, lambda: transaction.commit(), "COMMIT postgres")
    assert_part(commit, CAUSAL_SERVER)


@pytest.mark.asyncio
async def test_cursors(recorded: Recording, connection: asyncpg.Connection[Any]) -> None:
    """Rows that are slow to come are fetching; a program that is slow to take them is in no part, as in no span."""
    late = f"SELECT n, pg_sleep({WAIT / 30}) FROM generate_series(1, 30) AS n"

    async def read(query: str, pause: float = 0) -> None:
        async with connection.transaction():
            async for _ in connection.cursor(query, prefetch=10):
                await asyncio.sleep(pause)

    assert_part(await _only(recorded, lambda: read(late)), CAUSAL_FETCH)
    quick = "SELECT n FROM generate_series(1, 30) AS n"
    assert_no_part(await _only(recorded, lambda: read(quick, WAIT / 30)))
