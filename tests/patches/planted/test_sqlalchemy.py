"""Waits of 300 ms in calls of SQLAlchemy: each is in the right part of the right span, and in no other part."""

from __future__ import annotations

import asyncio
import threading
import time
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

import asyncpg
import pytest
from sqlalchemy import Connection, event, text
from sqlalchemy.pool import AsyncAdaptedQueuePool

from causal_otel.engine.context import suppress as untraced
from causal_otel.names import CAUSAL_CONNECT, CAUSAL_FETCH, CAUSAL_POOL_WAIT, CAUSAL_SERVER
from causal_otel.patches.asyncpg import AsyncpgOptions
from causal_otel.patches.sqlalchemy import SqlalchemyOptions
from tests.patches.any_engine import AnyEngine, any_engine, url_of
from tests.patches.authors import root
from tests.patches.planted.waits import WAIT, assert_part, only, parts
from tests.services.slow import slow
from tests.span_relations import assert_span, attributes, seconds

if TYPE_CHECKING:
    from pathlib import Path

    from tests.recording import Recording

SLOW = WAIT / 2
PATCHES = {"asyncpg": AsyncpgOptions(slow_plumbing=SLOW), "sqlalchemy": SqlalchemyOptions(slow_plumbing=SLOW)}
POSTGRES = ["asyncpg", "psycopg", "psycopg_async"]


def until_somebody_waits(engine: AnyEngine) -> None:
    """Wait, in a thread, until a checkout waits for the one connection of a pool of threads."""
    pool: Any = engine.sync.pool
    deadline = time.monotonic() + 60
    while not pool._pool.not_empty._waiters and time.monotonic() < deadline:
        time.sleep(0.001)


@pytest.mark.asyncio
@pytest.mark.parametrize("driver", ["asyncpg", "aiosqlite"])
async def test_pool_wait(recorded: Recording, postgres_url: str, tmp_path: Path, driver: str) -> None:
    """A session that waits for a connection has a span of that before its statement's, which does not carry it."""
    one: dict[str, Any] = {"poolclass": AsyncAdaptedQueuePool, "pool_size": 1, "max_overflow": 0}
    async with any_engine(url_of(driver, postgres_url, tmp_path), **one) as engine:
        held, enough = asyncio.Event(), asyncio.Event()

        async def hold() -> None:
            async with engine.asyncio.connect():  # type: ignore[union-attr]
                held.set()
                await enough.wait()

        holding = asyncio.create_task(hold())
        await held.wait()
        with root(recorded) as spans:
            waiting = asyncio.create_task(engine.in_session(lambda session: session.scalar(text("SELECT 1"))))
            await asyncio.sleep(0)  # it has begun to wait: until then it awaits nothing
            await asyncio.sleep(WAIT)
            enough.set()
            assert await waiting == 1
        await holding
    acquire, statement = only(spans, "ACQUIRE "), only(spans, "SELECT")
    told = assert_span(acquire, acquire.parent, lasts=WAIT)
    assert (told["causal.pool.size"], told["causal.pool.waiting"]) == (1, 0)
    assert_part(acquire, CAUSAL_POOL_WAIT)
    assert CAUSAL_POOL_WAIT not in attributes(statement)
    assert (statement.start_time or 0) >= (acquire.end_time or 0)


@pytest.mark.asyncio
async def test_pool_wait_of_threads(recorded: Recording, postgres_url: str, tmp_path: Path) -> None:
    """A thread that waits for a connection has a span of that, where it asks for one."""
    async with any_engine(url_of("psycopg", postgres_url, tmp_path), pool_size=1, max_overflow=0) as engine:
        held = engine.sync.connect()

        def give_back() -> None:
            until_somebody_waits(engine)
            time.sleep(WAIT)
            held.close()

        thread = threading.Thread(target=give_back)
        with root(recorded) as spans:
            thread.start()
            engine.sync.connect().close()
            thread.join()
    acquire = only(spans, "ACQUIRE ")
    told = assert_span(acquire, acquire.parent, lasts=WAIT)
    assert (told["causal.pool.size"], told["causal.pool.waiting"]) == (1, 0)
    assert_part(acquire, CAUSAL_POOL_WAIT)


@pytest.mark.asyncio
@pytest.mark.parametrize("driver", POSTGRES)
async def test_connect(recorded: Recording, postgres_url: str, tmp_path: Path, driver: str) -> None:
    """A server that is slow to let a connection in is in the connect of getting it, and no span of its own."""
    parts_of_url = urlsplit(postgres_url)
    with slow(parts_of_url.hostname or "", parts_of_url.port or 0) as server:
        arguments = {"ssl": False} if driver == "asyncpg" else {}  # asking for TLS would wait, too
        url = url_of(driver, postgres_url, tmp_path, server.port)
        async with any_engine(url, connect_args=arguments) as engine:
            await engine.dispose()
            server.delay = WAIT
            with root(recorded) as spans:
                await engine.connected()
            server.delay = 0
    acquire = only(spans, "ACQUIRE ")
    assert_span(acquire, acquire.parent, lasts=WAIT)
    assert_part(acquire, CAUSAL_CONNECT)


@pytest.mark.asyncio
@pytest.mark.parametrize("driver", POSTGRES)
async def test_lock(
    recorded: Recording, postgres_url: str, tmp_path: Path, authors: asyncpg.Connection[Any], driver: str
) -> None:
    """A statement that waits for another transaction's lock waits for the server."""
    waiting = "SELECT count(*) FROM pg_stat_activity WHERE wait_event_type = 'Lock' AND query LIKE 'UPDATE books%'"
    begun = threading.Event()
    with untraced():
        await authors.execute("INSERT INTO books VALUES (1)")

    async def hold() -> None:
        locker = await asyncpg.connect(postgres_url)
        watcher = await asyncpg.connect(postgres_url)
        async with locker.transaction():
            await locker.execute("UPDATE books SET id = id")
            begun.set()
            async with asyncio.timeout(60):
                while not await watcher.fetchval(waiting):  # noqa: ASYNC110  # nothing tells
                    await asyncio.sleep(0.005)
            await asyncio.sleep(WAIT)
        await locker.close()
        await watcher.close()

    def hold_in_a_thread() -> None:
        with untraced():
            asyncio.run(hold())

    async with any_engine(url_of(driver, postgres_url, tmp_path)) as engine:
        thread = threading.Thread(target=hold_in_a_thread)
        thread.start()
        assert begun.wait(60)
        with root(recorded) as spans:
            await engine.committed(lambda connection: connection.execute(text("UPDATE books SET id = id")))
        thread.join()
    statement = only(spans, "UPDATE books")
    assert_span(statement, statement.parent, lasts=WAIT)
    assert_part(statement, CAUSAL_SERVER)


@pytest.mark.asyncio
@pytest.mark.parametrize("driver", POSTGRES)
async def test_commit(
    recorded: Recording, postgres_url: str, tmp_path: Path, authors: asyncpg.Connection[Any], driver: str
) -> None:
    """A COMMIT behind a deferred constraint is a span of its own, and all of it is the server's."""
    with untraced():
        await authors.execute(f"""
            CREATE OR REPLACE FUNCTION ponder() RETURNS trigger LANGUAGE plpgsql AS
                'BEGIN PERFORM pg_sleep({WAIT}); RETURN NULL; END';
            CREATE CONSTRAINT TRIGGER ponder AFTER INSERT ON books DEFERRABLE INITIALLY DEFERRED
                FOR EACH ROW EXECUTE FUNCTION ponder();
        """)
    async with any_engine(url_of(driver, postgres_url, tmp_path)) as engine:
        with root(recorded) as spans:
            await engine.committed(lambda connection: connection.execute(text("INSERT INTO books VALUES (1)")))
    commit = only(spans, "COMMIT")
    told = assert_span(commit, commit.parent, lasts=WAIT)
    assert told["db.operation.name"] == "COMMIT"
    assert_part(commit, CAUSAL_SERVER)
    assert sum(parts(only(spans, "INSERT")).values()) < seconds(commit)


@pytest.mark.asyncio
@pytest.mark.parametrize("driver", ["psycopg", "psycopg_async"])
async def test_slow_rows(recorded: Recording, postgres_url: str, tmp_path: Path, driver: str) -> None:
    """Rows that a server-side cursor waits for are fetching."""
    rows = f"SELECT pg_sleep(CASE WHEN n = 1 THEN 0 ELSE {WAIT / 2} END) FROM generate_series(1, 3) AS n"

    def read(connection: Connection) -> None:
        assert len(list(connection.execute(text(rows), execution_options={"yield_per": 1}))) == 3

    async with any_engine(url_of(driver, postgres_url, tmp_path)) as engine:
        with root(recorded) as spans:
            await engine.connected(read)
    statement = only(spans, "SELECT")
    assert assert_span(statement, statement.parent, lasts=WAIT)["db.response.returned_rows"] == 3
    assert_part(statement, CAUSAL_FETCH)


@pytest.mark.asyncio
async def test_slow_consumer(recorded: Recording, postgres_url: str, tmp_path: Path) -> None:
    """What the program does between two rows is in no part, and does not lengthen the span."""
    took = 0.0

    def read(connection: Connection) -> None:
        nonlocal took
        began = time.perf_counter()
        result = connection.execute(text("SELECT generate_series(1, 3)"), execution_options={"yield_per": 1})
        for number in result.scalars():
            if number == 2:
                time.sleep(WAIT)
        took = time.perf_counter() - began

    async with any_engine(url_of("psycopg", postgres_url, tmp_path)) as engine:
        with root(recorded) as spans:
            await engine.connected(read)
    statement = only(spans, "SELECT")
    assert_span(statement, statement.parent)
    assert seconds(statement) + WAIT <= took
    assert sum(parts(statement).values()) + WAIT <= took


@pytest.mark.asyncio
@pytest.mark.parametrize("driver", ["aiosqlite", "pysqlite"])
async def test_function(recorded: Recording, postgres_url: str, tmp_path: Path, driver: str) -> None:
    """What SQLite takes for a statement counts as the server's, which it has none of."""
    async with any_engine(url_of(driver, postgres_url, tmp_path), known=False) as engine:

        @event.listens_for(engine.sync, "connect")
        def connected(connection: Any, record: object) -> None:
            connection.create_function("nap", 0, lambda: time.sleep(WAIT))

        await engine.connected()
        with root(recorded) as spans:
            await engine.connected(lambda connection: connection.execute(text("SELECT nap()")))
    statement = only(spans, "SELECT")
    assert_span(statement, statement.parent, lasts=WAIT)
    assert_part(statement, CAUSAL_SERVER)
