"""A result of neo4j that nobody reads ends its span shortly after the call, not when its session is closed."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

import pytest

from causal_otel.patches.neo4j import Neo4jOptions, unread
from tests.patches.either import settle
from tests.patches.graphs import inside
from tests.patches.stubs import query, warm
from tests.span_relations import assert_span, attributes

if TYPE_CHECKING:
    from tests.recording import Recording
    from tests.services.bolt_stub import BoltStub

PATCHES = {"neo4j": Neo4jOptions(require_parent=True)}


@pytest.fixture(autouse=True)
def _impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing is waited for longer than a moment."""
    monkeypatch.setattr(unread, "PATIENCE", 0.01)


async def until_ended(recorded: Recording, number: int) -> None:
    """Wait until so many spans have ended."""
    for _ in range(6000):
        if len(recorded.spans) >= number:
            return
        await asyncio.sleep(0.01)
    raise AssertionError(f"only {recorded.names()} have ended")


@pytest.mark.asyncio
async def test_a_timer_ends_it(recorded: Recording, stub: BoltStub) -> None:
    """The event loop ends what is left, while its session is open, and what is read later is not counted."""
    async with warm(True, stub) as driver:
        first, second = driver.session(), driver.session()
        with inside(recorded) as root:
            results = [await first.run("RETURN 1"), await second.run("RETURN 2 AS two")]
            await until_ended(recorded, 2)
            for result in results:
                assert await result.value() == [0]
        await first.close()
        await second.close()
    spans = [span for span in recorded.spans if span.name == "RETURN"]
    assert len(spans) == 2
    for span in spans:
        found = assert_span(span, root)
        assert "db.response.returned_rows" not in found
        assert "causal.neo4j.query_type" not in found


@pytest.mark.asyncio
async def test_a_result_that_is_being_read_goes_on(recorded: Recording, stub: BoltStub) -> None:
    """One that somebody has begun to read ends with its last record, however long that takes."""
    stub.records = 2
    async with warm(True, stub) as driver:
        reader, other = driver.session(), driver.session()
        with inside(recorded) as root:
            result = await reader.run("RETURN 1")
            await anext(result)
            await other.run("RETURN 2 AS two")
            await until_ended(recorded, 1)
            (unread_one,) = recorded.spans
            await result.consume()
        await reader.close()
        await other.close()
    read = next(span for span in recorded.spans if span.name == "RETURN" and span is not unread_one)
    assert "db.response.returned_rows" not in assert_span(unread_one, root)
    assert assert_span(read, root)["db.response.returned_rows"] == 2


@pytest.mark.asyncio
async def test_the_next_query_ends_it(recorded: Recording, stub: BoltStub) -> None:
    """With the synchronous driver, which has no loop, the next query of whatever session does."""
    async with warm(False, stub) as driver:
        left, other = driver.session(), driver.session()
        with inside(recorded) as root:
            left.run("RETURN 1 AS one")
            await asyncio.sleep(0.02)
            assert recorded.names() == []
            await query(other, "RETURN 2 AS two")
            spans = recorded.spans
        left.close()
        other.close()
    assert [attributes(span)["db.query.text"] for span in spans] == ["RETURN ? AS one", "RETURN ? AS two"]
    for span in spans:
        assert_span(span, root)


@pytest.mark.asyncio
async def test_a_loop_that_ends(recorded: Recording, stub: BoltStub) -> None:
    """No timer keeps a loop from ending, and the next loop has its own."""

    async def leave() -> None:
        async with warm(True, stub) as driver, driver.session() as session:
            with inside(recorded):
                await session.run("RETURN 1")

    def run() -> None:
        asyncio.run(leave())
        asyncio.run(leave())

    await asyncio.to_thread(run)
    assert recorded.names().count("RETURN") == 2


@pytest.mark.asyncio
async def test_closing_tells_how_it_went(recorded: Recording, stub: BoltStub, is_async: bool) -> None:
    """A session that is closed before that ends it at once."""
    async with warm(is_async, stub) as driver:
        session = driver.session()
        with inside(recorded) as root:
            await settle(session.run("RETURN 1"))
            await settle(session.close())
            span: Any = recorded.only("RETURN")
    assert assert_span(span, root)["causal.neo4j.query_type"] == "r"
