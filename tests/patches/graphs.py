"""A graph on one of the two servers, by one of the two drivers: one test body for all, and ways to read a result."""

from __future__ import annotations

import contextlib
import time
from dataclasses import dataclass
from time import perf_counter
from typing import TYPE_CHECKING, Any

import neo4j
import pytest
import pytest_asyncio

from tests.patches.either import settle

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable

    from opentelemetry.sdk.trace import ReadableSpan

    from tests.recording import Recording
    from tests.services.fixtures import GraphServer

__all__ = [
    "LONG",
    "PARTS",
    "READERS",
    "ROWS",
    "Graph",
    "async_only",
    "busy",
    "children",
    "everything",
    "graph",
    "inside",
    "neo4j_only",
    "plain",
    "session",
]

ROWS = "UNWIND range(1, 50) AS n RETURN n"  # five times what a session of ours fetches at once
LONG = "UNWIND range(1, 50000) AS n RETURN n"  # which nobody can have read before it is cancelled


PARTS = (
    "causal.connect",
    "causal.connect.dns",
    "causal.discovery",
    "causal.fetch",
    "causal.pool.size",
    "causal.pool.wait",
    "causal.pool.waiting",
    "causal.server",
)
"""What any operation may have on a busy machine, where everything takes a millisecond."""


@dataclass(frozen=True)
class Graph:
    """One of the two drivers, connected to one of the servers."""

    server: GraphServer
    driver: Any
    is_async: bool

    def session(self, **config: Any) -> Any:
        return self.driver.session(**{"database": self.server.database, "fetch_size": 10, **config})

    def work(self, function: Callable[..., Awaitable[Any]]) -> Callable[..., Any]:
        """``function``, which uses :func:`settle`, as a unit of work for this driver."""
        return function if self.is_async else plain(function)

    async def records(self, result: Any) -> list[Any]:
        return [record async for record in result] if self.is_async else list(result)


def plain(function: Callable[..., Any]) -> Callable[..., Any]:
    """A coroutine function that never has to wait, as a function."""

    def call(*args: Any) -> Any:
        try:
            function(*args).send(None)
        except StopIteration as stop:
            return stop.value
        raise AssertionError("it had to wait")

    return call


@pytest_asyncio.fixture(params=["sync", "async"])
async def graph(request: pytest.FixtureRequest, neo4j_server: GraphServer) -> AsyncIterator[Graph]:
    """A driver; its server has one Person."""
    is_async = request.param == "async"
    factory: Any = neo4j.AsyncGraphDatabase if is_async else neo4j.GraphDatabase
    driver = factory.driver(neo4j_server.url, auth=neo4j_server.auth, notifications_min_severity="OFF")
    await settle(driver.execute_query("MERGE (:Person {name: 'Ann'})", database_=neo4j_server.database))
    yield Graph(neo4j_server, driver, is_async)
    await settle(driver.close())


@pytest_asyncio.fixture
async def session(graph: Graph) -> AsyncIterator[Any]:
    session = graph.session()
    yield session
    await settle(session.close())


async_only = pytest.mark.parametrize("graph", ["async"], indirect=True)
"""For what only the asynchronous driver has."""


neo4j_only = pytest.mark.parametrize(
    "neo4j_server", [pytest.param("neo4j", marks=pytest.mark.long)], indirect=True, scope="session"
)
"""For what only Neo4j itself does."""


def inside(recorded: Recording) -> contextlib.AbstractContextManager[Any]:
    return recorded.tracer.start_as_current_span("root")


def children(recorded: Recording, parent: Any) -> list[ReadableSpan]:
    """The ended spans that are children of ``parent``."""
    return [span for span in recorded.spans if span.parent == parent.get_span_context()]


async def _anext(graph: Graph, result: Any) -> None:
    with contextlib.suppress(StopIteration, StopAsyncIteration):
        while True:
            await settle(anext(result) if graph.is_async else next(result))


READERS: dict[str, Callable[[Graph, Any], Any]] = {
    "for": lambda graph, result: graph.records(result),
    "next": _anext,
    "fetch": lambda graph, result: result.fetch(99),
    "data": lambda graph, result: result.data(),
    "value": lambda graph, result: result.value(),
    "values": lambda graph, result: result.values(),
    "graph": lambda graph, result: result.graph(),
    "consume": lambda graph, result: result.consume(),
    "eager": lambda graph, result: result.to_eager_result(),
}


def busy(seconds: float) -> float:
    """The application does something else; returns for how long."""
    began = perf_counter()
    time.sleep(seconds)
    return perf_counter() - began


async def everything(graph: Graph) -> None:
    async def work(transaction: Any) -> None:
        await settle((await settle(transaction.run("RETURN 1"))).consume())

    await settle(graph.driver.execute_query("RETURN 1", database_=graph.server.database))
    session = graph.session()
    await settle((await settle(session.run("RETURN 1"))).consume())
    await settle(session.execute_write(graph.work(work)))
    transaction = await settle(session.begin_transaction())
    await work(transaction)
    await settle(transaction.commit())
    await settle(session.close())
