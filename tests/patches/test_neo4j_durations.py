"""How long a query's span lasts: what is awaited in the driver counts, what the application does between does not."""

from __future__ import annotations

import contextlib
from time import perf_counter
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

import neo4j
import pytest
from neo4j.exceptions import ClientError

from causal_otel.patches.neo4j import Neo4jOptions
from tests.patches.either import settle
from tests.patches.graphs import READERS, ROWS, Graph, busy, inside, neo4j_only
from tests.services.slow import SlowServer, slow
from tests.span_relations import assert_span, seconds

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterator

    from tests.recording import Recording
    from tests.services.fixtures import GraphServer

PATCHES = {"neo4j": Neo4jOptions(require_parent=True)}


@pytest.fixture
def late(neo4j_server: GraphServer) -> Iterator[SlowServer]:
    """A server whose answers can be made to come late."""
    parts = urlsplit(neo4j_server.url)
    with slow(str(parts.hostname), parts.port or 7687) as server:
        yield server


@contextlib.asynccontextmanager
async def late_session(graph: Graph, late: SlowServer, **config: Any) -> AsyncIterator[Any]:
    """A session that is connected by way of ``late``."""
    factory: Any = neo4j.AsyncGraphDatabase if graph.is_async else neo4j.GraphDatabase
    driver = factory.driver(f"bolt://127.0.0.1:{late.port}", auth=graph.server.auth, notifications_min_severity="OFF")
    session = driver.session(database=graph.server.database, fetch_size=10, **config)
    await settle((await settle(session.run("RETURN 1"))).consume())
    yield session
    late.delay = 0
    await settle(session.close())
    await settle(driver.close())


@pytest.mark.asyncio
@pytest.mark.parametrize("way", ["session", "transaction", "execute_read"])
async def test_the_application_s_own_time_is_none_of_the_span_s(
    recorded: Recording, graph: Graph, session: Any, way: str
) -> None:
    """An application that works between records makes the span of its query no longer."""
    worked = 0.0

    async def read(runner: Any) -> None:
        nonlocal worked
        result = await settle(runner.run(ROWS))
        for _ in range(50):
            await settle(anext(result) if graph.is_async else next(result))
            worked += busy(0.002)
        assert await settle(result.peek()) is None

    with inside(recorded) as root:
        began = perf_counter()
        if way == "execute_read":
            await settle(session.execute_read(graph.work(read)))
        else:
            transaction = await settle(session.begin_transaction()) if way == "transaction" else None
            await read(transaction or session)
            if transaction is not None:
                await settle(transaction.commit())
        elapsed = perf_counter() - began
    span = recorded.only("UNWIND")
    parent = recorded.only("neo4j.execute_read") if way == "execute_read" else root
    assert worked >= 0.1
    assert assert_span(span, parent, within=elapsed - worked).get("causal.fetch", 0) < seconds(span)


@pytest.mark.asyncio
@pytest.mark.parametrize("reader", READERS)
async def test_waits_for_records_are_the_span_s(
    recorded: Recording, graph: Graph, late: SlowServer, reader: str
) -> None:
    """Time awaited in the driver counts, in ``run`` and for each batch of records, however they are read."""
    async with late_session(graph, late) as session:
        with inside(recorded) as root:
            late.delay = 0.05
            began = perf_counter()
            result = await settle(session.run(ROWS))
            late.delay = 0.1
            own = busy(0.05)
            await settle(READERS[reader](graph, result))
            elapsed = perf_counter() - began
            span = recorded.only("UNWIND")
    # Of five batches the first came with the answer to run(); consume() discards the others in one. What the server
    # says that it took for them is the server's: with ArcadeDB that is all, since it counts until it is asked for more.
    found = assert_span(span, root, within=elapsed - own)
    fetch = found.get("causal.fetch", 0) + found.get("causal.server", 0)
    assert fetch >= (0.1 if reader == "consume" else 0.4)
    assert fetch <= seconds(span)


@pytest.mark.long
@pytest.mark.asyncio
@pytest.mark.parametrize("way", ["session", "commit", "rollback", "begin", "run", "bookmarks"])
@pytest.mark.parametrize("read", [0, 3], ids=["unread", "read-in-part"])
async def test_what_nobody_reads_is_none_of_the_span_s(
    recorded: Recording, graph: Graph, late: SlowServer, way: str, read: int
) -> None:
    """A result that is left unread has the span of its ``run``, however long fetching or discarding the rest takes."""
    async with late_session(graph, late) as session:
        with inside(recorded) as root:
            runner = await settle(session.begin_transaction()) if way in ("commit", "rollback") else session
            began = perf_counter()
            result = await settle(runner.run(ROWS))
            assert len(await settle(result.fetch(read))) == read if read else True
            returned = perf_counter()
            late.delay = 0.1
            busy(0.02)
            assert not recorded.spans
            if way == "begin":
                await settle((await settle(session.begin_transaction())).rollback())
            elif way == "run":
                await settle((await settle(session.run("RETURN 1"))).consume())
            elif way == "bookmarks":
                await settle(session.last_bookmarks())
            else:
                await settle(session.close() if way == "session" else getattr(runner, way)())
        assert perf_counter() - returned >= 0.12
    span = recorded.only("UNWIND")
    found = assert_span(span, root, within=returned - began)
    assert found.get("causal.fetch", 0) <= seconds(span)
    assert not (read == 0 and "causal.fetch" in found)


@pytest.mark.asyncio
@neo4j_only
@pytest.mark.parametrize("way", ["session", "commit"])
async def test_unread_result_that_has_failed(recorded: Recording, graph: Graph, way: str) -> None:
    """A failure that only shows when the rest of an unread result is fetched is its span's, and makes it no longer."""
    session = graph.session(fetch_size=1000)
    with inside(recorded) as root:
        runner = session if way == "session" else await settle(session.begin_transaction())
        began = perf_counter()
        await settle(runner.run("UNWIND range(1, 100) AS n RETURN 1 / (50 - n) AS x"))
        returned = perf_counter()
        busy(0.02)
        if way == "session":
            await settle(session.close())  # which swallows the error
        else:
            with pytest.raises(ClientError):
                await settle(runner.commit())
            await settle(session.close())
    error = "Neo.ClientError.Statement.ArithmeticError"
    assert_span(recorded.only("UNWIND"), root, error=error, within=returned - began)
