"""A query's span ends with its result, once, however that is read, left, cancelled or lost."""

from __future__ import annotations

import asyncio
import gc
from typing import TYPE_CHECKING, Any

import neo4j
import pytest

from causal_otel.patches.neo4j import Neo4jOptions
from tests.patches.either import settle
from tests.patches.graphs import LONG, READERS, ROWS, Graph, async_only, children, inside
from tests.span_relations import assert_span, attributes

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.recording import Recording

PATCHES = {"neo4j": Neo4jOptions(require_parent=True)}


@pytest.mark.asyncio
@pytest.mark.parametrize("reader", READERS)
@pytest.mark.parametrize("transaction", [False, True], ids=["autocommit", "transaction"])
async def test_ends_with_its_result(
    recorded: Recording, graph: Graph, session: Any, reader: str, transaction: bool
) -> None:
    """However a result is read to its end, that is when the span of its query ends, and it ends once."""
    with inside(recorded) as root:
        runner = await settle(session.begin_transaction()) if transaction else session
        result = await settle(runner.run(ROWS))
        assert not recorded.spans
        await settle(READERS[reader](graph, result))
        (span,) = children(recorded, root)
        if transaction:
            await settle(runner.commit())
        await settle(session.close())
    assert span.name == "UNWIND"
    assert recorded.names() == ["UNWIND", "root"]
    assert_span(span, root)


@pytest.mark.asyncio
async def test_next_query_fetches_the_rest(recorded: Recording, graph: Graph, session: Any) -> None:
    """A second query before the first is read ends the first's span, and both results stay readable."""
    with inside(recorded) as root:
        first = await settle(session.run(ROWS))
        second = await settle(session.run("RETURN 1 AS one"))
        assert recorded.names() == ["UNWIND"]
        assert len(await graph.records(first)) == 50
        assert await settle(second.value()) == [1]
        assert recorded.names() == ["UNWIND", "RETURN"]
        for span in recorded.spans:
            assert_span(span, root)


@pytest.mark.asyncio
@pytest.mark.parametrize("way", ["session", "commit", "rollback"])
async def test_closing_fetches_the_rest(recorded: Recording, graph: Graph, session: Any, way: str) -> None:
    """A result read in part ends with its session or transaction, as any other."""
    with inside(recorded) as root:
        runner = session if way == "session" else await settle(session.begin_transaction())
        result = await settle(runner.run(ROWS))
        assert len(await settle(result.fetch(3))) == 3
        assert not recorded.spans
        await settle(session.close() if way == "session" else getattr(runner, way)())
    assert_span(recorded.only("UNWIND"), root)


@pytest.mark.asyncio
@pytest.mark.filterwarnings("ignore::ResourceWarning", "ignore:Relying on Session:DeprecationWarning")
async def test_result_that_dies(recorded: Recording, graph: Graph) -> None:
    """A result that dies unread ends its span, which says so."""

    async def forget() -> None:
        result = await settle(graph.session().run(ROWS))
        await settle(result.fetch(10))

    with inside(recorded) as root:
        await forget()
        await settle(graph.driver.close())  # a connection keeps what waits for its answers
        for _ in range(100):  # and the loop keeps the driver's asynchronous generator until it has closed it
            if recorded.spans:
                break
            gc.collect()
            await asyncio.sleep(0)
        span = recorded.only("UNWIND")
    # A session of some versions 5 of the synchronous driver closes itself when it dies, and may fail at that.
    closes_itself = not graph.is_async and neo4j.__version__.startswith("5.")
    told = attributes(span)
    error = told.get("error.type") if closes_itself else None
    assert_span(span, root, error=error, abandoned=not closes_itself or "causal.abandoned" in told)


async def cancelled(work: Callable[[asyncio.Event], Any]) -> None:
    """Cancel ``work`` where it waits after it has set its event, or for the first time after."""
    waiting = asyncio.Event()
    task = asyncio.create_task(work(waiting))
    await asyncio.wait_for(waiting.wait(), 30)
    while not task.done():  # more than once: older drivers use asyncio.wait_for(), which may swallow one
        task.cancel()
        await asyncio.sleep(0)
    assert task.cancelled()


@pytest.mark.asyncio
@async_only
@pytest.mark.parametrize("way", ["run", "consume", "tx.run", "execute_query", "execute_write"])
@pytest.mark.filterwarnings("ignore::ResourceWarning")
async def test_cancelled_query(recorded: Recording, graph: Graph, way: str) -> None:
    """A cancelled query's span ends, unset and marked, whoever waits for the server."""

    async def query(transaction: Any) -> None:
        await (await transaction.run(LONG)).consume()

    async def work(waiting: asyncio.Event) -> None:
        async with graph.session() as session:
            if way == "consume":
                result = await session.run(LONG)
                waiting.set()
                await result.consume()
            elif way == "run":
                waiting.set()
                await session.run(LONG)
            elif way == "tx.run":
                transaction = await session.begin_transaction()
                waiting.set()
                await transaction.run(LONG)
            elif way == "execute_write":
                waiting.set()
                await session.execute_write(query)
            else:
                waiting.set()
                await graph.driver.execute_query(LONG, database_=graph.server.database)

    with inside(recorded) as root:
        await cancelled(work)
        gc.collect()  # a session whose closing is cancelled stays open, and says so when it dies
    *inner, outer, _ = recorded.spans
    assert_span(outer, root, cancelled=True)
    for span in inner:
        assert_span(span, outer if way == "execute_write" else root, cancelled=True)


@pytest.mark.asyncio
@async_only
@pytest.mark.parametrize("way", ["session", "transaction", "execute_write"])
async def test_cancelled_between_records(recorded: Recording, graph: Graph, way: str) -> None:
    """Where your code is cancelled while a result is open, the result's span ends there and then, marked."""

    async def read(runner: Any, waiting: asyncio.Event) -> None:
        async for _ in await runner.run(ROWS):
            waiting.set()
            await asyncio.sleep(30)

    async def work(waiting: asyncio.Event) -> None:
        async with graph.session() as session:
            if way == "session":
                await read(session, waiting)
            elif way == "execute_write":
                await session.execute_write(read, waiting)
            else:
                async with await session.begin_transaction() as transaction:
                    await read(transaction, waiting)

    with inside(recorded) as root:
        await cancelled(work)
    parent = recorded.only("neo4j.execute_write") if way == "execute_write" else root
    assert_span(recorded.only("UNWIND"), parent, cancelled=True)


@pytest.mark.asyncio
@async_only
async def test_cancel_method(recorded: Recording, graph: Graph, session: Any) -> None:
    """``session.cancel()`` ends what is open."""
    with inside(recorded) as root:
        await session.run(ROWS)
        session.cancel()
        assert_span(recorded.only("UNWIND"), root, cancelled=True)
