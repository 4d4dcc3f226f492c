"""Transactions of neo4j: their queries are spans, and a managed one is a span around its attempts."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import neo4j
import pytest
from neo4j.exceptions import Neo4jError, TransientError
from opentelemetry.trace import SpanKind

from causal_otel.patches.neo4j import Neo4jOptions
from tests.patches.either import settle
from tests.patches.graphs import Graph, children, inside, neo4j_only, plain
from tests.span_relations import assert_span

if TYPE_CHECKING:
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
        "causal.neo4j.attempts": 1,
    }
    assert recorded.names() == ["MATCH Person", "mine", f"neo4j.{method}", "root"]


@pytest.mark.asyncio
async def test_retry(recorded: Recording, graph: Graph) -> None:
    """A retry that succeeds is no error, and says how many attempts it took; each attempt's queries are inside."""
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
    queries = [span for span in recorded.spans if span.name == "RETURN"]
    found = assert_span(managed, root, lasts=0.01)  # the back-off is in it
    assert found["causal.neo4j.attempts"] == attempts == 3 == len(queries)
    for query in queries:
        assert_span(query, managed)


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
