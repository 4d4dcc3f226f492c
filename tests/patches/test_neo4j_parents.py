"""Whose children the spans of neo4j are, and where there are none: housekeeping, suppressed, not sampled."""

from __future__ import annotations

import asyncio
from typing import Any

import neo4j
import pytest
from opentelemetry.sdk.trace import sampling

from causal_otel.engine.context import suppress
from causal_otel.patches.neo4j import Neo4jOptions
from tests.patches.either import settle
from tests.patches.graphs import Graph, async_only, everything, inside
from tests.recording import Recording, recording
from tests.span_relations import assert_span

PATCHES = {"neo4j": Neo4jOptions(require_parent=True)}


@pytest.mark.asyncio
@async_only
async def test_concurrent_tasks(recorded: Recording, graph: Graph) -> None:
    """Thirty tasks at once, one of three ways each: every query is under its own task's span."""

    async def query(transaction: Any, number: int) -> list[Any]:
        return list(await (await transaction.run("RETURN $n AS n", n=number)).value())

    async def work(number: int) -> None:
        with recorded.tracer.start_as_current_span(f"task {number}"):
            if number % 3 == 0:
                found = await graph.driver.execute_query("RETURN $n AS n", n=number, database_=graph.server.database)
                assert found.records[0]["n"] == number
                return
            async with graph.session() as session:
                if number % 3 == 1:
                    assert await session.execute_write(query, number) == [number]
                else:
                    assert await query(session, number) == [number]

    await asyncio.wait_for(asyncio.gather(*map(work, range(30))), 60)
    by_id = {span.context.span_id: span for span in recorded.spans if span.context}
    parents = []
    for span in recorded.spans:
        if span.name == "RETURN":
            assert span.parent is not None
            parent = by_id[span.parent.span_id]
            assert_span(span, parent)
            if parent.name == "neo4j.execute_write":
                assert parent.parent is not None
                managed, parent = parent, by_id[parent.parent.span_id]
                assert_span(managed, parent)
            parents.append(parent.name)
    assert sorted(parents) == sorted(f"task {number}" for number in range(30))
    assert len(recorded.spans) == 70


@pytest.mark.asyncio
async def test_nothing_without_a_parent_where_one_is_required(recorded: Recording, graph: Graph) -> None:
    """With ``require_parent=True`` nothing is recorded outside a recorded span."""
    await everything(graph)
    assert not recorded.spans


@pytest.mark.asyncio
async def test_roots(graph: Graph) -> None:
    """Outside any span each operation begins a trace, and nothing else does: no routing, no log-in, no transaction."""
    with recording(["neo4j"]) as recorded:
        await everything(graph)
    assert recorded.names() == ["RETURN", "RETURN", "RETURN", "neo4j.execute_write", "RETURN"]
    query, autocommit, inner, managed, explicit = recorded.spans
    for span in (query, autocommit, managed, explicit):
        assert_span(span, None)
    assert_span(inner, managed)


@pytest.mark.asyncio
async def test_nothing_unsampled(graph: Graph) -> None:
    """In a trace that is not sampled nothing is recorded."""
    with recording(["neo4j"], sampler=sampling.ALWAYS_OFF) as recorded:
        with inside(recorded):
            await everything(graph)
        assert not recorded.spans


@pytest.mark.asyncio
async def test_nothing_suppressed(recorded: Recording, graph: Graph) -> None:
    """Where tracing is suppressed nothing is recorded."""
    with inside(recorded), suppress():
        await everything(graph)
    assert recorded.names() == ["root"]


@pytest.mark.asyncio
async def test_housekeeping_is_silent(recorded: Recording, graph: Graph) -> None:
    """Connecting, logging in, checking and asking for bookmarks have no spans."""
    factory: Any = neo4j.AsyncGraphDatabase if graph.is_async else neo4j.GraphDatabase
    driver = factory.driver(graph.server.url.replace("bolt:", "neo4j:"), auth=graph.server.auth)
    with inside(recorded):
        await settle(driver.verify_connectivity())
        await settle(driver.get_server_info())
        session = driver.session(database=graph.server.database)
        await settle(session.last_bookmarks())
        await settle(session.close())
        await settle(driver.close())
    assert recorded.names() == ["root"]
