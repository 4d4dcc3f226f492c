"""SQLAlchemy on asyncpg, on a real PostgreSQL: what fails is one span, of what failed, with the server's code."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

import asyncpg
import pytest
from sqlalchemy import insert, text
from sqlalchemy.exc import DBAPIError, IntegrityError, ProgrammingError
from sqlalchemy.ext.asyncio import AsyncEngine, AsyncSession, create_async_engine

from causal_otel.engine.context import suppress
from tests.faults.scripted import refused_port
from tests.patches.authors import (
    LATE,
    SECRET,
    Author,
    Check,
    connected,
    for_sqlalchemy,
    knows_that_it_is_closed,
    raw_connection,
    root,
)
from tests.recording import Recording, recording
from tests.services.slow import slow

if TYPE_CHECKING:
    from collections.abc import Iterator

    from opentelemetry.sdk.trace import ReadableSpan

# How asyncpg tells that its connection has gone, which depends on how much of its end it has read when it is asked.
GONE = {
    "08003",  # ConnectionDoesNotExistError
    "57P01",  # AdminShutdownError
    "asyncpg.exceptions._base.InterfaceError",
    "asyncpg.exceptions._base.InternalClientError",
    "ConnectionResetError",
}


@pytest.fixture
def recorded() -> Iterator[Recording]:
    with recording(["asyncpg"]) as record:
        yield record


async def end_backend(authors: asyncpg.Connection[Any], pid: int) -> None:
    """Have the server end a session, so that it is over when this returns; the client may have to read that first."""
    with suppress():
        assert await authors.fetchval("SELECT pg_terminate_backend($1, 60000)", pid)


def gone(span: ReadableSpan) -> str:
    """The ``error.type`` of what failed because its connection has gone."""
    error = str((span.attributes or {})["error.type"])
    assert error in GONE
    return error


@pytest.mark.asyncio
async def test_integrity_error(recorded: Recording, engine: AsyncEngine, check: Check) -> None:
    """What a constraint refuses is the statement's span, ERROR with its SQLSTATE; the ROLLBACK after it is none."""
    async with engine.begin() as connection:
        await connection.execute(insert(Author).values(id=1, name="a"))
    with root(recorded) as spans, pytest.raises(IntegrityError, match="authors_pkey") as caught:
        async with AsyncSession(engine) as session, session.begin():
            session.add(Author(id=1, name=SECRET))
    (span,) = spans
    check(span, "INSERT authors", "INSERT INTO authors (id, name) VALUES ($1::INTEGER, $2::VARCHAR)", error="23505")
    assert span.status.description == "UniqueViolationError"
    assert caught.value.orig is not None
    assert isinstance(caught.value.orig.__cause__, asyncpg.UniqueViolationError)


@pytest.mark.asyncio
async def test_stream_that_fails(recorded: Recording, engine: AsyncEngine, check: Check) -> None:
    """A cursor whose rows cannot all be made is one failed span, as long as all its rows took."""
    query = text("SELECT 1 / (70 - n), pg_sleep(0.002) FROM generate_series(1, 1000) AS n")
    with root(recorded) as spans:
        async with engine.connect() as connection:
            with pytest.raises((DBAPIError, asyncpg.DivisionByZeroError)):  # 2.1 hands on the driver's own
                async for _ in await connection.stream(query, execution_options={"yield_per": 50}):
                    pass
    (span,) = spans
    statement = "SELECT ? / (? - n), pg_sleep(?) FROM generate_series(?) AS n"
    check(span, "SELECT generate_series", statement, lasts=69 * 0.002, error="22012")


@pytest.mark.asyncio
@pytest.mark.parametrize(
    ("statement", "summary", "code"),
    [("SELEC '{}'", None, "42601"), ("SELECT '{}' FROM missing", "SELECT missing", "42P01")],
)
async def test_refused_before_it_runs(
    recorded: Recording, postgres_url: str, check: Check, statement: str, summary: str | None, code: str
) -> None:
    """A statement that the server does not understand fails while it is prepared: that is the one span."""
    parts = urlsplit(postgres_url)
    with slow(parts.hostname or "", parts.port or 0) as server:
        async with connected(for_sqlalchemy(postgres_url, server.port)) as engine:
            server.delay = LATE
            with root(recorded) as spans, pytest.raises(ProgrammingError):
                async with engine.connect() as connection:
                    await connection.execute(text(statement.format(SECRET)))
            server.delay = 0
        (span,) = spans
        name, text_ = "PREPARE" if summary is None else f"PREPARE {summary}", statement.replace("'{}'", "?")
        told: dict[str, Any] = {"db_operation_name": "PREPARE", "server_port": server.port}
        check(span, name, text_, error=code, summarised=summary is not None, **told)


@pytest.mark.asyncio
async def test_commit_that_fails(recorded: Recording, engine: AsyncEngine, check: Check) -> None:
    """A COMMIT that the server refuses is a span, ERROR with its SQLSTATE, as long as it took to find out."""
    with root(recorded) as spans, pytest.raises(IntegrityError, match="no name"):
        async with AsyncSession(engine) as session, session.begin():
            session.add(Author(id=1, name=None))
    inserted, commit = spans
    check(inserted, "INSERT authors", "INSERT INTO authors (id, name) VALUES ($1::INTEGER, $2::VARCHAR)")
    check(commit, "COMMIT", None, error="23514")


@pytest.mark.asyncio
@pytest.mark.parametrize("noticed", [True, False])
async def test_begin_that_fails(
    recorded: Recording, engine: AsyncEngine, authors: asyncpg.Connection[Any], check: Check, noticed: bool
) -> None:
    """A pooled connection that has gone, whether the driver has noticed or is about to, is a failed BEGIN."""
    async with engine.connect() as doomed:
        pid = await doomed.scalar(text("SELECT pg_backend_pid()"))
        raw = await raw_connection(doomed)
    await end_backend(authors, pid)
    if noticed:
        await knows_that_it_is_closed(raw)
    # SQLAlchemy does not know what asyncpg raises that has read the server's last word and not the end.
    with root(recorded) as spans, pytest.raises((DBAPIError, asyncpg.InternalClientError)):
        async with engine.begin() as begun:
            await begun.execute(text("SELECT 1"))
    (span,) = spans
    check(span, "BEGIN", None, lasts=0, error=gone(span))


@pytest.mark.asyncio
async def test_rollback_that_fails(
    recorded: Recording, engine: AsyncEngine, authors: asyncpg.Connection[Any], check: Check
) -> None:
    """A ROLLBACK whose connection has gone is a failed span, and the query before it one that went well."""
    with root(recorded) as spans:
        async with engine.connect() as doomed:
            pid = await doomed.scalar(text(f"SELECT pg_backend_pid() FROM pg_sleep({LATE})"))
            raw = await raw_connection(doomed)
            await end_backend(authors, pid)
            # One that has read its server's last word, and not yet the end, raises what SQLAlchemy does not know.
            await knows_that_it_is_closed(raw)
            with pytest.raises(DBAPIError):
                await doomed.rollback()
    query, rollback = spans
    check(query, "SELECT pg_sleep", "SELECT pg_backend_pid() FROM pg_sleep(?)")
    check(rollback, "ROLLBACK", None, lasts=0, error=gone(rollback))


@pytest.mark.asyncio
@pytest.mark.parametrize("isolation", [None, "AUTOCOMMIT"])
async def test_ping(
    recorded: Recording, postgres_url: str, authors: asyncpg.Connection[Any], check: Check, isolation: str | None
) -> None:
    """``pool_pre_ping`` is no span while the connection works; when it has gone, that is one, and the query another."""
    options = {} if isolation is None else {"isolation_level": isolation}
    query = text(f"SELECT pg_backend_pid() FROM pg_sleep({LATE})")
    recorded_as = "SELECT pg_backend_pid() FROM pg_sleep(?)"
    async with connected(for_sqlalchemy(postgres_url), pool_size=1, pool_pre_ping=True, **options) as engine:
        for _ in range(2):
            with root(recorded) as spans:
                async with engine.connect() as pinged:
                    pid = await pinged.scalar(query)
                    raw = await raw_connection(pinged)
            (span,) = spans
            check(span, "SELECT pg_sleep", recorded_as)

        await end_backend(authors, pid)
        await knows_that_it_is_closed(raw)
        with root(recorded) as spans:
            async with engine.connect() as pinged:
                assert await pinged.scalar(query) != pid
        ping, span = spans
        # A ping begins a transaction, unless the connection is to commit by itself or SQLAlchemy is an early 2.0.
        begins = isolation is None and not ping.name.startswith("PING")
        check(ping, "BEGIN" if begins else "PING", None, lasts=0, error=gone(ping))
        check(span, "SELECT pg_sleep", recorded_as)


@pytest.mark.asyncio
async def test_connection_refused(recorded: Recording, postgres_url: str, check: Check) -> None:
    """A server that is not there is a failed CONNECT, and nothing else."""
    with refused_port() as port:
        engine = create_async_engine(for_sqlalchemy(postgres_url, port))
        with root(recorded) as spans, pytest.raises(ConnectionRefusedError):
            async with AsyncSession(engine) as session:
                await session.execute(text("SELECT 1"))
        await engine.dispose()
    (span,) = spans
    check(span, "CONNECT", None, lasts=0, error="ConnectionRefusedError", server_port=port)


@pytest.mark.asyncio
async def test_cancelled(
    recorded: Recording, engine: AsyncEngine, authors: asyncpg.Connection[Any], check: Check
) -> None:
    """A query that is cancelled is marked so, no error, and lasted until then; the next one finds a good connection."""
    running = "SELECT count(*) FROM pg_stat_activity WHERE query = 'SELECT pg_sleep(600)' AND state = 'active'"

    async def sleep() -> None:
        async with AsyncSession(engine) as session:
            await session.execute(text("SELECT pg_sleep(600)"))

    with root(recorded) as spans:
        task = asyncio.create_task(sleep())
        with suppress():
            async with asyncio.timeout(60):
                while not await authors.fetchval(running):  # noqa: ASYNC110  # nothing tells
                    await asyncio.sleep(0.01)
            await authors.execute(f"SELECT pg_sleep({LATE})")
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        async with engine.connect() as another:
            await another.execute(text(f"SELECT pg_sleep({LATE}), 2"))
    # SQLAlchemy gives asyncpg two seconds to close the connection, which may fail on a busy machine.
    cancelled, following = [span for span in spans if span.name.split()[0] != "CLOSE"]
    check(cancelled, "SELECT pg_sleep", "SELECT pg_sleep(?)", causal_cancelled=True)
    check(following, "SELECT pg_sleep", "SELECT pg_sleep(?), ?")
