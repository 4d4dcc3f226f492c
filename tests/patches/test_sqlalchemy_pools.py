"""Getting connections from SQLAlchemy's pools: silent when quick and well, a span when not, and measured."""

from __future__ import annotations

import asyncio
import sqlite3
import time
from typing import TYPE_CHECKING, Any

import pytest
from opentelemetry.instrumentation.asyncpg import AsyncPGInstrumentor
from opentelemetry.instrumentation.sqlalchemy import SQLAlchemyInstrumentor
from opentelemetry.sdk.trace import TracerProvider
from sqlalchemy import Connection, event, exc, text
from sqlalchemy.pool import AsyncAdaptedQueuePool, NullPool, Pool, QueuePool, StaticPool

from causal_otel.patches.sqlalchemy import SqlalchemyOptions, pools
from tests.faults.scripted import refused_port
from tests.patches.any_engine import any_engine, url_of
from tests.patches.authors import LATE, root
from tests.recording import Recording, recording
from tests.slow_machine import assert_at_least
from tests.span_relations import assert_span

if TYPE_CHECKING:
    from pathlib import Path

PATCHES = ["asyncpg", "sqlalchemy"]
DRIVERS = ["asyncpg", "psycopg", "psycopg_async"]


def select_one(connection: Connection) -> Any:
    return connection.scalar(text("SELECT 1"))


@pytest.mark.asyncio
@pytest.mark.parametrize("driver", DRIVERS)
@pytest.mark.parametrize("pool", [None, NullPool, StaticPool])
async def test_quick_and_well(
    recorded: Recording, postgres_url: str, tmp_path: Path, driver: str, pool: type[Pool] | None
) -> None:
    """Connecting for the first time, with all that SQLAlchemy and listeners ask, pings and resets are no spans."""
    options: dict[str, Any] = {"pool_pre_ping": True} if pool is None else {"poolclass": pool}
    async with any_engine(url_of(driver, postgres_url, tmp_path), known=False, **options) as engine:
        event.listen(engine.sync, "connect", ask)
        for _ in range(2):
            with root(recorded) as spans:
                assert await engine.connected(select_one) == 1
            (span,) = spans
            assert span.name == "SELECT"
            assert_span(span, span.parent)


@pytest.mark.asyncio
@pytest.mark.parametrize("driver", DRIVERS)
async def test_refused(recorded: Recording, postgres_url: str, tmp_path: Path, driver: str) -> None:
    """A server that is not there is one failed span: that of asyncpg's connecting, or that of getting a connection."""
    with refused_port() as port:
        async with any_engine(url_of(driver, postgres_url, tmp_path, port), known=False) as engine:
            with root(recorded) as spans, pytest.raises((exc.OperationalError, ConnectionRefusedError)):
                await engine.in_session(lambda session: session.execute(text("SELECT 1")))
    (span,) = spans
    error = "ConnectionRefusedError" if driver == "asyncpg" else "psycopg.OperationalError"
    told = assert_span(span, span.parent, error=error)
    assert told["db.operation.name"] == ("CONNECT" if driver == "asyncpg" else "ACQUIRE")
    assert told["server.port"] == port


@pytest.mark.asyncio
async def test_refused_by_its_own_error(recorded: Recording, postgres_url: str, tmp_path: Path) -> None:
    """A login that asyncpg says is refused is asyncpg's failed span and no other, though SQLAlchemy wraps the error."""
    url = f"{url_of('asyncpg', postgres_url, tmp_path)}_missing"
    async with any_engine(url, known=False) as engine:
        with root(recorded) as spans, pytest.raises(Exception, match="does not exist"):
            await engine.connected()
    (span,) = spans
    assert assert_span(span, span.parent, error="3D000")["db.operation.name"] == "CONNECT"


@pytest.mark.asyncio
@pytest.mark.parametrize("driver", DRIVERS)
async def test_listener_that_fails(recorded: Recording, postgres_url: str, tmp_path: Path, driver: str) -> None:
    """What a program's listener asks for in vain fails the getting of the connection, with the server's code."""
    async with any_engine(url_of(driver, postgres_url, tmp_path), known=False) as engine:

        @event.listens_for(engine.sync, "connect")
        def connected(connection: Any, record: object) -> None:
            connection.cursor().execute("SET nothing.such = ")

        with root(recorded) as spans, pytest.raises(Exception, match="syntax error"):
            await engine.connected()
    (span,) = spans
    assert assert_span(span, span.parent, error="42601")["db.operation.name"] == "ACQUIRE"


@pytest.mark.asyncio
@pytest.mark.parametrize("driver", ["asyncpg", "psycopg"])
async def test_pool_that_is_exhausted(recorded: Recording, postgres_url: str, tmp_path: Path, driver: str) -> None:
    """A connection that does not come in time is a failed span, as long as the wait, with the size of the pool."""
    limits: Any = {"pool_size": 1, "max_overflow": 1, "pool_timeout": LATE}
    async with any_engine(url_of(driver, postgres_url, tmp_path), **limits) as engine:

        def in_vain(connection: Connection) -> None:
            with engine.sync.connect(), pytest.raises(exc.TimeoutError):
                engine.sync.connect()

        with root(recorded) as spans:
            await engine.connected(in_vain)
    (span,) = spans
    told = assert_span(span, span.parent, error="sqlalchemy.exc.TimeoutError", lasts=LATE)
    assert told["db.operation.name"] == "ACQUIRE"
    assert (told["causal.pool.size"], told["causal.pool.waiting"]) == (2, 0)
    assert_at_least(0.8 * LATE, told["causal.pool.wait"])


@pytest.mark.asyncio
async def test_wait_that_is_cancelled(recorded: Recording, postgres_url: str, tmp_path: Path) -> None:
    """A wait for a connection that is cancelled is a span that says so, and tells how many waited before."""
    url = url_of("asyncpg", postgres_url, tmp_path)
    async with any_engine(url, pool_size=1, max_overflow=0) as engine:
        assert engine.asyncio is not None
        async with engine.asyncio.connect():
            with root(recorded) as spans:
                tasks = [asyncio.create_task(engine.connected()) for _ in range(2)]
                await asyncio.sleep(LATE)  # both wait after the first turn of the loop
                for task in tasks:
                    task.cancel()
                await asyncio.wait(tasks)
    told = [assert_span(span, span.parent, cancelled=True, lasts=LATE / 2) for span in spans]
    assert [each["db.operation.name"] for each in told] == ["ACQUIRE"] * 2
    assert sorted(each["causal.pool.waiting"] for each in told) == [0, 1]


def ask(connection: Any, record: object) -> None:
    """A listener of the program's own."""
    cursor = connection.cursor()
    cursor.execute("SET lock_timeout = 1000")
    cursor.close()


@pytest.mark.asyncio
async def test_engine_that_was_there_before(postgres_url: str, tmp_path: Path) -> None:
    """An engine made before the patch is traced, its listeners' statements are not; all is undone by an uninstall."""
    async with any_engine(url_of("asyncpg", postgres_url, tmp_path)) as engine:
        event.listen(engine.sync, "connect", ask)
        before = vars(Connection)["_exec_single_context"]
        await engine.dispose()
        with recording(PATCHES) as recorded:
            await engine.connected(select_one)
            assert recorded.names() == ["SELECT"]
            await engine.dispose()
            recorded.clear()
        assert vars(Connection)["_exec_single_context"] is before
        assert await engine.connected(select_one) == 1
        assert recorded.spans == []
    assert not event.contains(Pool, "connect", pools._connected)


@pytest.mark.asyncio
@pytest.mark.parametrize("driver", ["asyncpg", "psycopg"])
async def test_beside_opentelemetry_s(recorded: Recording, postgres_url: str, tmp_path: Path, driver: str) -> None:
    """Beside OpenTelemetry's own instrumentations calls go on, and our spans are those that they are without."""
    theirs: list[Any] = [SQLAlchemyInstrumentor(), AsyncPGInstrumentor()]  # type: ignore[no-untyped-call]
    for each in theirs:
        each.instrument(tracer_provider=TracerProvider(), skip_dep_check=True)
    try:
        async with any_engine(url_of(driver, postgres_url, tmp_path)) as engine:
            with recorded.tracer.start_as_current_span("root"):
                recorded.clear()
                assert await engine.connected(select_one) == 1
    finally:
        for each in theirs:
            each.uninstrument()
    assert recorded.names().count("SELECT") == 1


class _Lingering(sqlite3.Connection):
    """A connection whose closing takes its time."""

    def close(self) -> None:
        time.sleep(LATE)
        super().close()


class _Failing(sqlite3.Connection):
    """A connection that is closed and says that it cannot be."""

    def close(self) -> None:
        super().close()
        raise sqlite3.OperationalError("disk I/O error")


@pytest.mark.asyncio
@pytest.mark.parametrize(
    ("driver", "kind"), [("pysqlite", _Lingering), ("aiosqlite", _Lingering), ("pysqlite", _Failing)]
)
async def test_closing(postgres_url: str, tmp_path: Path, driver: str, kind: type[sqlite3.Connection]) -> None:
    """A connection that cannot be closed, or not at once, is a span, though its pool keeps it to itself."""
    pool = AsyncAdaptedQueuePool if driver == "aiosqlite" else QueuePool
    options: dict[str, Any] = {"poolclass": pool, "connect_args": {"factory": kind}}
    with recording({"sqlalchemy": SqlalchemyOptions(slow_plumbing=LATE)}) as recorded:
        async with any_engine(url_of(driver, postgres_url, tmp_path), **options) as engine:
            assert await engine.connected(select_one) == 1
            with root(recorded) as spans:
                await engine.dispose()
    (span,) = spans
    failing = kind is _Failing
    told = assert_span(
        span, span.parent, error="sqlite3.OperationalError" if failing else None, lasts=0 if failing else LATE
    )
    assert told["db.operation.name"] == "CLOSE"
    assert told["db.system.name"] == "sqlite"
