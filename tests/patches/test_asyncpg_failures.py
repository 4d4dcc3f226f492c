"""asyncpg's plumbing on a real PostgreSQL: silent when it goes well, and one failed span where a pool fails."""

from __future__ import annotations

import asyncio
import logging
import os
import signal
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

import asyncpg
import pytest
from asyncpg.connect_utils import SessionAttribute
from opentelemetry.sdk.trace import sampling

from causal_otel.patches.asyncpg import AsyncpgOptions
from tests.faults.scripted import refused_port
from tests.patches.asyncpg_failing import SECRET, fails, via
from tests.recording import Recording, recording
from tests.span_relations import assert_children, assert_span

if TYPE_CHECKING:
    from tests.services.slow import SlowServer

PATCHES = ["asyncpg"]

since_0_32 = pytest.mark.skipif(not hasattr(asyncpg.Pool, "_maintain_min_size"), reason="since asyncpg 0.32")


@pytest.mark.asyncio
async def test_pool_without_a_free_connection(recorded: Recording, postgres_url: str) -> None:
    """A connection that cannot be had in time is a span of that, with the wait and the server of the others."""
    async with asyncpg.create_pool(postgres_url, min_size=1, max_size=1) as pool, pool.acquire():
        failure = await fails(recorded, lambda: pool.acquire(timeout=0.1))
    assert failure.span.name == "ACQUIRE postgres"
    assert failure.seconds >= 0.09
    assert failure.attributes["error.type"] == "TimeoutError"
    assert failure.attributes["server.port"] == urlsplit(postgres_url).port
    failure = await fails(recorded, lambda: pool.fetchval("SELECT 1"))
    assert failure.span.name == "SELECT"
    assert str(failure.error) == "pool is closed"
    failure = await fails(recorded, pool.acquire)
    assert failure.span.name.startswith("ACQUIRE")


@pytest.mark.asyncio
@pytest.mark.parametrize("callback", ["init", "setup"])
async def test_callback_of_a_pool(recorded: Recording, postgres_url: str, callback: str) -> None:
    """A query that fails in a pool's callback is the one span of that; any other exception there is the pool's.

    A pool's method has its span all the same, which has failed as well.
    """

    async def query(connection: Any) -> None:
        await connection.execute("SELECT * FROM missing")

    async def other(connection: Any) -> None:
        raise LookupError(SECRET)

    async def acquire(function: Any) -> None:
        arguments: dict[str, Any] = {callback: function}
        async with asyncpg.create_pool(postgres_url, min_size=0, **arguments) as pool, pool.acquire():
            pass

    async def fetch(function: Any) -> None:
        arguments: dict[str, Any] = {callback: function}
        async with asyncpg.create_pool(postgres_url, min_size=0, **arguments) as pool:
            await pool.fetchval("SELECT 1")

    failure = await fails(recorded, lambda: acquire(query))
    assert (failure.span.name, failure.attributes["error.type"]) == ("SELECT missing", "42P01")
    recorded.clear()
    with recorded.tracer.start_as_current_span("root") as root, pytest.raises(asyncpg.UndefinedTableError):
        await fetch(query)
    *both, _ = recorded.spans
    assert [span.name for span in both] == ["SELECT missing", "SELECT"]
    for span in both:
        assert_span(span, root, error="42P01")
    failure = await fails(recorded, lambda: fetch(other))
    assert (failure.span.name, failure.attributes["error.type"]) == ("SELECT", "LookupError")
    failure = await fails(recorded, lambda: acquire(other))
    assert failure.span.name.startswith("ACQUIRE")
    assert failure.attributes["error.type"] == "LookupError"


@pytest.mark.asyncio
async def test_connection_that_is_released_broken(
    recorded: Recording, connection: asyncpg.Connection[Any], postgres_url: str
) -> None:
    """A reset that fails when a connection goes back to its pool is one span."""
    async with asyncpg.create_pool(postgres_url, min_size=0) as pool:
        borrowed = await pool.acquire()
        server = borrowed.get_server_pid()
        os.kill(server, signal.SIGSTOP)  # so that it does not answer in time, however slow we are
        try:
            failure = await fails(recorded, lambda: pool.release(borrowed, timeout=0.1))
        finally:
            os.kill(server, signal.SIGCONT)
    assert failure.span.name == "RESET postgres"
    assert failure.attributes["error.type"] == "TimeoutError"
    failure = await fails(recorded, lambda: pool.release(connection))  # type: ignore[arg-type]
    assert failure.span.name.startswith("RELEASE")


@pytest.mark.asyncio
@since_0_32
async def test_what_a_pool_does_in_the_background(
    recorded: Recording, postgres_url: str, late_postgres: SlowServer, caplog: pytest.LogCaptureFixture
) -> None:
    """Connections that a pool tries to restore by itself are no business of the request that noticed."""
    pool = await asyncpg.create_pool(via(postgres_url, late_postgres.port), min_size=1, max_size=2)
    late_postgres.close()
    with caplog.at_level(logging.WARNING, "asyncpg"):
        await fails(recorded, lambda: pool.fetchval("SELECT 1"))
        for _ in range(600):
            if any("restore the pool" in message for message in caplog.messages):
                break
            await asyncio.sleep(0.05)
    pool.terminate()
    assert len(recorded.spans) == 2


@pytest.mark.asyncio
@since_0_32
async def test_connection_that_does_not_close(
    recorded: Recording, postgres_url: str, late_postgres: SlowServer
) -> None:
    """Closing a connection whose server takes too long is an error of that."""
    connection = await asyncpg.connect(via(postgres_url, late_postgres.port))
    late_postgres.delay = 0.5
    task = asyncio.create_task(connection.execute("SELECT 1"))
    await asyncio.sleep(0)
    failure = await fails(recorded, lambda: connection.close(timeout=0.05))
    assert failure.span.name == "CLOSE postgres"
    await asyncio.gather(task, return_exceptions=True)


async def _everything(url: str) -> None:
    """All the plumbing, and it goes well."""

    async def callback(connection: Any) -> None:
        pass

    pool = await asyncpg.create_pool(url, min_size=1, max_size=2, init=callback, setup=callback)
    async with pool, pool.acquire(timeout=30) as connection:
        async with connection.transaction(isolation="serializable"), connection.transaction():
            statement = await connection.prepare("SELECT generate_series(1, 5)")
            cursor = await statement.cursor()
            assert await cursor.forward(2) == 2
            assert [row[0] async for row in statement.cursor()] == [1, 2, 3, 4, 5]
        transaction = connection.transaction()
        await transaction.start()
        await transaction.rollback()
        await connection.add_listener("news", print)
        await connection.remove_listener("news", print)
        await connection.set_type_codec("json", encoder=str, decoder=str, schema="pg_catalog")
        await connection.reset_type_codec("json", schema="pg_catalog")
        await connection.reset()
    primary = await asyncpg.connect(url, target_session_attrs=SessionAttribute.primary, timeout=30)
    await primary.close()


@pytest.mark.asyncio
async def test_silent_when_well(recorded: Recording, postgres_url: str) -> None:
    """What goes well has no span: the queries have."""
    with recorded.tracer.start_as_current_span("root"):
        await _everything(postgres_url)
    assert_children(recorded.spans, *["SELECT generate_series"] * 2, "LISTEN", "UNLISTEN", "root")


@pytest.mark.asyncio
async def test_failures_without_a_recorded_parent(postgres_url: str) -> None:
    """Outside any span a failure is a trace of its own; where a query would not be recorded, it is not either."""
    with refused_port() as port:
        url = via(postgres_url, port)
        with recording({"asyncpg": AsyncpgOptions(require_parent=True)}) as recorded:
            with pytest.raises(ConnectionRefusedError):
                await asyncpg.connect(url)
            assert recorded.names() == []
        with recording(["asyncpg"], sampler=sampling.ALWAYS_OFF) as recorded:
            with pytest.raises(ConnectionRefusedError), recorded.tracer.start_as_current_span("root"):
                await asyncpg.connect(url)
            assert recorded.names() == []
        with recording(["asyncpg"]) as recorded:
            for connect in (lambda: asyncpg.connect(url), lambda: asyncpg.create_pool(url)):
                with pytest.raises(ConnectionRefusedError):
                    await connect()
                span = recorded.only()
                assert span.name == "CONNECT postgres"
                assert_span(span, None, error="ConnectionRefusedError")
                recorded.clear()
        with recording({"asyncpg": AsyncpgOptions(excluded=("CONNECT *",))}) as recorded:
            with pytest.raises(ConnectionRefusedError), recorded.tracer.start_as_current_span("root"):
                await asyncpg.connect(url)
            assert recorded.names() == ["root"]


@pytest.mark.asyncio
async def test_the_error_is_the_driver_s_own(postgres_url: str) -> None:
    """What is raised is what is raised without us: type, arguments, causes, and nothing that we left on it."""

    async def failing() -> list[tuple[Any, ...]]:
        found = []
        with refused_port() as port:
            pool = await asyncpg.create_pool(via(postgres_url, port), min_size=0)
            calls = (
                lambda: asyncpg.connect(via(postgres_url, port)),
                lambda: pool.fetchval("SELECT 1"),
                lambda: asyncpg.connect(via(postgres_url, urlsplit(postgres_url).port or 0, database="missing")),
            )
            for call in calls:
                with pytest.raises(Exception) as caught:
                    await call()
                error = caught.value
                chain = type(error.__cause__), type(error.__context__), sorted(vars(error))
                found.append((type(error), str(error).replace(str(port), "PORT"), *chain))
            await pool.close()
        return found

    bare = await failing()
    with recording(["asyncpg"]) as recorded, recorded.tracer.start_as_current_span("root") as root:
        assert await failing() == bare
    *failed, _ = recorded.spans
    assert len(failed) == 3
    for span in failed:
        assert_span(span, root, error="*")
