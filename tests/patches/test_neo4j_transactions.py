"""Transactions of neo4j: their queries are spans, and a managed one is a span around its attempts."""

from __future__ import annotations

import asyncio
import logging
from itertools import pairwise
from typing import TYPE_CHECKING, Any

import neo4j
import pytest
from neo4j.exceptions import Neo4jError, TransientError
from opentelemetry.sdk.trace import SpanProcessor
from opentelemetry.trace import SpanKind

from causal_otel.patches.neo4j import Neo4jOptions
from tests.patches.either import settle
from tests.patches.graphs import Graph, async_only, children, inside, neo4j_only, plain
from tests.span_relations import assert_span, seconds
from tests.waiting import pause

if TYPE_CHECKING:
    from opentelemetry.context import Context
    from opentelemetry.sdk.trace import Span

    from tests.recording import Recording

PATCHES = {"neo4j": Neo4jOptions(require_parent=True)}
SECRET = "p4ssw0rd-planted"


@pytest.mark.asyncio
async def test_transaction(recorded: Recording, graph: Graph, session: Any) -> None:
    """The queries of a transaction have spans; its begin, commit and rollback have none."""
    with inside(recorded) as root:
        for end in ("commit", "rollback", "close"):
            transaction = await settle(session.begin_transaction(metadata={"a": "b"}, timeout=30))
            result = await settle(transaction.run("CREATE (t:Thing) RETURN t"))
            await settle(result.consume())
            await settle(getattr(transaction, end)())
        found = children(recorded, root)
    assert [span.name for span in found] == ["CREATE Thing"] * 3
    for span in found:
        told = assert_span(span, root)
        assert (told["db.namespace"], told["server.address"]) == (graph.server.database, "127.0.0.1")


@pytest.mark.asyncio
@pytest.mark.parametrize("method", ["execute_read", "execute_write"])
async def test_managed_transaction(recorded: Recording, graph: Graph, session: Any, method: str) -> None:
    """A managed transaction is a span that is current inside, around the spans of its queries and of your own."""

    @neo4j.unit_of_work(metadata={"a": "b"}, timeout=30)
    async def work(transaction: Any, name: str) -> Any:
        with recorded.tracer.start_as_current_span("mine"):
            result = await settle(transaction.run("MATCH (p:Person {name: $name}) RETURN p.name", name=name))
            return await settle(result.value())

    unit: Any = work if graph.is_async else neo4j.unit_of_work(timeout=30)(plain(work))
    with inside(recorded) as root:
        assert set(await settle(getattr(session, method)(unit, "Ann"))) == {"Ann"}
        (managed,) = children(recorded, root)
    mine, query = recorded.only("mine"), recorded.only("MATCH Person")
    assert (managed.name, managed.kind) == (f"neo4j.{method}", SpanKind.INTERNAL)
    assert_span(mine, managed)
    assert_span(query, mine)
    host, _, port = graph.server.url.partition("://")[2].partition(":")
    assert assert_span(managed, root) == {
        "db.system.name": "neo4j",
        "db.namespace": graph.server.database,
        "server.address": host,
        "server.port": int(port),
        "causal.attempts": 1,
    }
    assert recorded.names() == ["MATCH Person", "mine", f"neo4j.{method}", "root"]


class _Slow(SpanProcessor):
    """Takes its time before a managed transaction goes on whose span has begun, as a busy machine does."""

    def on_start(self, span: Span, parent_context: Context | None = None) -> None:
        if span.name == "neo4j.execute_write":
            pause(0.02)


@pytest.mark.asyncio
@pytest.mark.parametrize("slow", [False, True])
async def test_retry(recorded: Recording, graph: Graph, slow: bool) -> None:
    """A retry that succeeds is no error: each attempt is a span with its outcome, and the pauses are the whole's."""
    if slow:
        recorded.provider.add_span_processor(_Slow())
    session = graph.session(initial_retry_delay=0.01)
    attempts = 0

    async def work(transaction: Any) -> int:
        nonlocal attempts
        attempts += 1
        result = await settle(transaction.run("RETURN 1 AS n"))
        if attempts < 3:
            raise TransientError("not yet")
        return int((await settle(result.single()))["n"])

    with inside(recorded) as root:
        assert await settle(session.execute_write(graph.work(work))) == 1
        (managed,) = children(recorded, root)
    await settle(session.close())
    found = assert_span(managed, root, lasts=0.01)
    assert found["causal.attempts"] == attempts == 3
    assert 0.01 <= found["causal.retry.wait"] <= seconds(managed)
    tried = [span for span in recorded.spans if span.name == "neo4j.attempt"]
    queries = [span for span in recorded.spans if span.name == "RETURN"]
    for span, failed in zip(tried, ("*", "*", None), strict=True):  # drivers do not agree on the code
        told = assert_span(span, managed, error=failed)
        assert told["db.namespace"] == graph.server.database
        assert span.kind is SpanKind.INTERNAL
    # Nobody knew that the first attempt would not be the only one, so it has begun without a span.
    for query, parent in zip(queries, (managed, *tried[1:]), strict=True):
        assert_span(query, parent)
    ends = [(span.start_time or 0, span.end_time or 0) for span in tried]
    assert all(before[1] <= after[0] for before, after in pairwise(ends)), "they follow each other"


@pytest.mark.asyncio
async def test_an_execute_query_that_is_tried_again(recorded: Recording, graph: Graph) -> None:
    """It is one span all the same, with its attempts and pauses."""
    attempts = 0

    async def transform(result: Any) -> Any:
        nonlocal attempts
        attempts += 1
        if attempts < 2:
            raise TransientError("not yet")
        return await settle(result.value())

    with inside(recorded) as root:
        values = await settle(
            graph.driver.execute_query(
                "RETURN 1 AS n", database_=graph.server.database, result_transformer_=graph.work(transform)
            )
        )
        (span,) = children(recorded, root)
    assert values == [1]
    found = assert_span(span, root)
    assert found["causal.attempts"] == 2
    assert 0.5 <= found["causal.retry.wait"] <= seconds(span), "the driver pauses for a second, more or less"
    assert recorded.names() == ["RETURN", "root"]
    assert [event.name for event in span.events] == ["causal.transaction.rolled_back"]


@pytest.mark.asyncio
@async_only
async def test_cancelled_while_it_pauses(recorded: Recording, graph: Graph) -> None:
    """A managed transaction that is cancelled between two attempts shows the one that has failed, and the pause."""
    session = graph.session(initial_retry_delay=30)
    pauses = asyncio.Event()

    class Told(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            if "will be retried" in record.getMessage():
                pauses.set()

    async def work(transaction: Any) -> None:
        raise TransientError("not yet")

    told, logger = Told(logging.WARNING), logging.getLogger("neo4j")
    logger.addHandler(told)
    with inside(recorded) as root:
        task = asyncio.create_task(session.execute_write(work))
        await asyncio.wait_for(pauses.wait(), 60)
        logger.removeHandler(told)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
    await session.close()
    attempt, managed = recorded.only("neo4j.attempt"), recorded.only("neo4j.execute_write")
    assert assert_span(managed, root, cancelled=True)["causal.attempts"] == 1
    assert_span(attempt, managed, error="*")


@pytest.mark.asyncio
async def test_failing_attempt(recorded: Recording, graph: Graph, session: Any) -> None:
    """The query that makes an attempt fail is an error, and so is the whole, by the same code or your own exception."""

    async def work(transaction: Any) -> None:
        await settle(transaction.run("MATCH"))

    error = ValueError(SECRET)

    async def own(transaction: Any) -> None:
        raise error

    with inside(recorded) as root:
        with pytest.raises(Neo4jError) as caught:
            await settle(session.execute_write(graph.work(work)))
        with pytest.raises(ValueError, match=SECRET) as mine:
            await settle(session.execute_write(graph.work(own)))
    assert mine.value is error
    query, first, second, _ = recorded.spans
    assert_span(query, first, error=caught.value.code)
    assert_span(first, root, error=caught.value.code)
    assert_span(second, root, error="ValueError")
    assert SECRET not in second.to_json()


@pytest.mark.asyncio
@neo4j_only
async def test_unit_of_work_is_untouched(recorded: Recording, graph: Graph, session: Any) -> None:
    """The metadata and timeout of a unit of work reach the server, since the function is passed on as it is."""

    async def work(transaction: Any) -> Any:
        result = await settle(transaction.run("SHOW TRANSACTIONS YIELD metaData AS m WHERE m.mark = 'uow' RETURN m"))
        return await settle(result.value())

    with inside(recorded) as root:
        unit = neo4j.unit_of_work(metadata={"mark": "uow"})(graph.work(work))
        assert await settle(session.execute_read(unit)) == [{"mark": "uow"}]
    assert_span(recorded.only("neo4j.execute_read"), root)
