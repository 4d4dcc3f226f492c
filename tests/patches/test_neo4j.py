"""neo4j, both of its drivers, on real servers: a query's span lasts as long as its result, and ends once."""

from __future__ import annotations

import asyncio
import contextlib
import copy
import gc
import inspect
import pickle
import time
from dataclasses import dataclass
from time import perf_counter
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

import neo4j
import pytest
import pytest_asyncio
from neo4j.exceptions import ClientError, Neo4jError, ServiceUnavailable, TransactionError, TransientError
from opentelemetry.sdk.trace import sampling
from opentelemetry.trace import SpanKind, StatusCode

from causal_otel._internal import faults
from causal_otel.engine.context import suppress
from causal_otel.instrument.operation import Operation, Running
from causal_otel.instrument.stopwatch import Stopwatch
from causal_otel.patches import _neo4j_operations, _neo4j_results
from causal_otel.patches import neo4j as patch
from causal_otel.patches.neo4j import PATCH, Neo4jOptions
from tests.faults.scripted import refused_port
from tests.patches.checks import originals, placed
from tests.patches.either import settle
from tests.recording import Recording, recording
from tests.services.slow import SlowServer, slow

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable, Iterator

    from opentelemetry.sdk.trace import ReadableSpan

    from tests.services.fixtures import GraphServer

SECRET = "p4ssw0rd-planted"
ROWS = "UNWIND range(1, 50) AS n RETURN n"  # five times what a session of ours fetches at once
LONG = "UNWIND range(1, 50000) AS n RETURN n"  # which nobody can have read before it is cancelled


# -- one test body for both drivers -------------------------------------------------------------------------------


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

neo4j_only = pytest.mark.parametrize("neo4j_server", ["neo4j"], indirect=True, scope="session")
"""For what only Neo4j itself does."""


@pytest.fixture
def recorded() -> Iterator[Recording]:
    """What is done inside spans: what makes the server ready for a test is not."""
    with recording({"neo4j": Neo4jOptions(require_parent=True)}) as record:
        yield record


def inside(recorded: Recording) -> contextlib.AbstractContextManager[Any]:
    return recorded.tracer.start_as_current_span("root")


def children(recorded: Recording, parent: Any) -> list[ReadableSpan]:
    """The ended spans that are children of ``parent``."""
    return [span for span in recorded.spans if span.parent == parent.get_span_context()]


def attributes(span: ReadableSpan) -> dict[str, Any]:
    return dict(span.attributes or {})


# -- queries ------------------------------------------------------------------------------------------------------


@pytest.mark.asyncio
async def test_attributes(recorded: Recording, graph: Graph, session: Any) -> None:
    """A query's span has the database attributes, how long its records took, and nothing else."""
    with inside(recorded) as root:
        result = await settle(session.run("MATCH (p:Person {name: $name, x: 'lit'}) RETURN p LIMIT 5", name="Ann"))
        await settle(result.consume())
        (span,) = children(recorded, root)
    found = attributes(span)
    host, _, port = graph.server.url.partition("://")[2].partition(":")
    assert 0 <= found.pop("causal.fetch") <= (span.end_time - span.start_time) / 1e9  # type: ignore[operator]
    assert found == {
        "db.system.name": "neo4j",
        "db.namespace": graph.server.database,
        "db.query.text": "MATCH (p:Person {name: $name, x: ?}) RETURN p LIMIT ?",
        "db.query.summary": "MATCH Person",
        "server.address": host,
        "server.port": int(port),
    }
    assert (span.name, span.kind, span.status.status_code) == ("MATCH Person", SpanKind.CLIENT, StatusCode.UNSET)


def test_constant_attributes() -> None:
    """The default port is left out, IPv6 addresses are read as well, and what is unknown is left out."""
    assert _neo4j_operations.connection_attributes(neo4j.Address(("db", 7687)), "shop") == {
        "db.system.name": "neo4j",
        "db.namespace": "shop",
        "server.address": "db",
    }
    assert _neo4j_operations.connection_attributes(neo4j.Address(("::1", 7688, 0, 0)), None) == {
        "db.system.name": "neo4j",
        "server.address": "::1",
        "server.port": 7688,
    }
    assert _neo4j_operations.connection_attributes(None, None) == {"db.system.name": "neo4j"}


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
    assert "causal.abandoned" not in attributes(span)


@pytest.mark.asyncio
@pytest.mark.parametrize("method", ["single", "peek"])
async def test_one_record(recorded: Recording, graph: Graph, session: Any, method: str) -> None:
    """A single record ends the span; a glimpse of it does not, before the session closes."""
    with inside(recorded):
        result = await settle(session.run("RETURN 1 AS n"))
        record = await settle(getattr(result, method)())
        assert record["n"] == 1
        assert recorded.names() == (["RETURN"] if method == "single" else [])
        await settle(session.close())
        assert recorded.names() == ["RETURN"]


@pytest.mark.asyncio
async def test_ways_to_give_a_query(recorded: Recording, graph: Graph, session: Any) -> None:
    """A query is known by position or by name, and as a Query object."""
    query = neo4j.Query("RETURN $x AS x", timeout=30, metadata={"a": "b"})
    with inside(recorded):
        results = [
            await settle(session.run("RETURN $x AS x", {"x": 7})),
            await settle(session.run("RETURN $x AS x", x=7)),
            await settle(session.run(query="RETURN $x AS x", parameters={"x": 7})),
            await settle(session.run(query, x=7)),
        ]
        assert [await settle(result.value()) for result in results] == [[7]] * 4
        eager = [
            await settle(graph.driver.execute_query("RETURN $query AS x", query=7, database_=graph.server.database)),
            await settle(graph.driver.execute_query(query_=query, parameters_={"x": 7}, database_="neo4j")),
            await settle(graph.driver.execute_query("RETURN $x AS x", {"x": 7}, "r", graph.server.database)),
        ]
        assert [result.records[0]["x"] for result in eager] == [7] * 3
    texts = {attributes(span).get("db.query.text") for span in recorded.spans[:-1]}
    assert texts == {"RETURN $x AS x", "RETURN $query AS x"}
    assert len(recorded.spans) == 8


@pytest.mark.asyncio
@pytest.mark.parametrize("query", [5, "", None])
async def test_no_query_at_all(recorded: Recording, session: Any, query: Any) -> None:
    """What the driver refuses, it refuses as without us."""
    with inside(recorded), pytest.raises((TypeError, ValueError)):
        await settle(session.run(query))


@pytest.mark.asyncio
async def test_next_query_fetches_the_rest(recorded: Recording, graph: Graph, session: Any) -> None:
    """A second query before the first is read ends the first's span, and both results stay readable."""
    with inside(recorded):
        first = await settle(session.run(ROWS))
        second = await settle(session.run("RETURN 1 AS one"))
        assert recorded.names() == ["UNWIND"]
        assert len(await graph.records(first)) == 50
        assert await settle(second.value()) == [1]
        assert recorded.names() == ["UNWIND", "RETURN"]


@pytest.mark.asyncio
@pytest.mark.parametrize("way", ["session", "commit", "rollback"])
async def test_closing_fetches_the_rest(recorded: Recording, graph: Graph, session: Any, way: str) -> None:
    """A result read in part ends with its session or transaction, as any other."""
    with inside(recorded):
        runner = session if way == "session" else await settle(session.begin_transaction())
        result = await settle(runner.run(ROWS))
        assert len(await settle(result.fetch(3))) == 3
        assert not recorded.spans
        await settle(session.close() if way == "session" else getattr(runner, way)())
        span = recorded.only("UNWIND")
    assert span.status.status_code is StatusCode.UNSET
    assert not {"causal.abandoned", "causal.cancelled"} & attributes(span).keys()


# -- how long it takes --------------------------------------------------------------------------------------------


def seconds(span: ReadableSpan) -> float:
    return (span.end_time - span.start_time) / 1e9  # type: ignore[operator]


def busy(seconds: float) -> float:
    """The application does something else; returns for how long."""
    began = perf_counter()
    time.sleep(seconds)
    return perf_counter() - began


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

    with inside(recorded):
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
    assert worked >= 0.1
    assert 0 < attributes(span)["causal.fetch"] < seconds(span) <= elapsed - worked
    assert span.status.status_code is StatusCode.UNSET


@pytest.mark.asyncio
@pytest.mark.parametrize("reader", READERS)
async def test_waits_for_records_are_the_span_s(
    recorded: Recording, graph: Graph, late: SlowServer, reader: str
) -> None:
    """Time awaited in the driver counts, in ``run`` and for each batch of records, however they are read."""
    async with late_session(graph, late) as session:
        with inside(recorded):
            late.delay = 0.05
            began = perf_counter()
            result = await settle(session.run(ROWS))
            late.delay = 0.1
            own = busy(0.05)
            await settle(READERS[reader](graph, result))
            elapsed = perf_counter() - began
            span = recorded.only("UNWIND")
    # Of five batches the first came with the answer to run(); consume() discards the others in one.
    assert attributes(span)["causal.fetch"] >= (0.1 if reader == "consume" else 0.4)
    assert 0.05 + attributes(span)["causal.fetch"] <= seconds(span) <= elapsed - own


@pytest.mark.asyncio
@pytest.mark.parametrize("way", ["session", "commit", "rollback", "begin", "run", "bookmarks"])
@pytest.mark.parametrize("read", [0, 3], ids=["unread", "read-in-part"])
async def test_what_nobody_reads_is_none_of_the_span_s(
    recorded: Recording, graph: Graph, late: SlowServer, way: str, read: int
) -> None:
    """A result that is left unread has the span of its ``run``, however long fetching or discarding the rest takes."""
    async with late_session(graph, late) as session:
        with inside(recorded):
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
    assert seconds(span) <= returned - began
    assert attributes(span)["causal.fetch"] <= seconds(span)
    assert (attributes(span)["causal.fetch"] == 0) is (read == 0)
    assert span.status.status_code is StatusCode.UNSET


@pytest.mark.asyncio
@neo4j_only
@pytest.mark.parametrize("way", ["session", "commit"])
async def test_unread_result_that_has_failed(recorded: Recording, graph: Graph, way: str) -> None:
    """A failure that only shows when the rest of an unread result is fetched is its span's, and makes it no longer."""
    session = graph.session(fetch_size=1000)
    with inside(recorded):
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
    span = recorded.only("UNWIND")
    assert attributes(span)["error.type"] == "Neo.ClientError.Statement.ArithmeticError"
    assert span.status.status_code is StatusCode.ERROR
    assert seconds(span) <= returned - began


def test_tracer_that_does_not_tell_when_a_span_began() -> None:
    """The end of a span is worked out also where its start cannot be read."""
    span: Any = _Span()
    stopwatch = Stopwatch()
    busy(0.02)
    stopwatch.pause()
    began = time.time_ns()
    assert stopwatch.end_time(span) <= began
    assert stopwatch.total >= 20_000_000


@pytest.mark.asyncio
@pytest.mark.filterwarnings("ignore::ResourceWarning", "ignore:Relying on Session:DeprecationWarning")
async def test_result_that_dies(recorded: Recording, graph: Graph) -> None:
    """A result that dies unread ends its span, which says so."""

    async def forget() -> None:
        result = await settle(graph.session().run(ROWS))
        await settle(result.fetch(10))

    with inside(recorded):
        await forget()
        await settle(graph.driver.close())  # a connection keeps what waits for its answers
        for _ in range(100):  # and the loop keeps the driver's asynchronous generator until it has closed it
            if recorded.spans:
                break
            gc.collect()
            await asyncio.sleep(0)
        span = recorded.only("UNWIND")
    if graph.is_async or not neo4j.__version__.startswith("5."):  # there a session that dies closes itself
        assert attributes(span)["causal.abandoned"] is True
        assert span.status.status_code is StatusCode.UNSET


# -- failures -----------------------------------------------------------------------------------------------------


@pytest.mark.asyncio
async def test_refused_query(recorded: Recording, graph: Graph, session: Any) -> None:
    """A query that the server refuses is an error with the Neo4j code, and without its message."""
    with inside(recorded), pytest.raises(ClientError) as caught:
        await settle(session.run(f"RETURN '{SECRET}' +"))
    span = recorded.spans[0]
    assert attributes(span)["error.type"] == "Neo.ClientError.Statement.SyntaxError" == caught.value.code
    assert attributes(span)["db.response.status_code"] == caught.value.code
    assert span.status.status_code is StatusCode.ERROR
    assert SECRET not in span.to_json()


@pytest.mark.asyncio
@neo4j_only
@pytest.mark.parametrize("transaction", [False, True], ids=["autocommit", "transaction"])
async def test_failure_in_mid_stream(recorded: Recording, graph: Graph, session: Any, transaction: bool) -> None:
    """A result that fails half-way ends its span then, as an error with the Neo4j code."""
    with inside(recorded):
        runner = await settle(session.begin_transaction()) if transaction else session
        result = await settle(runner.run("UNWIND range(1, 100) AS n RETURN 1 / (50 - n) AS x"))
        assert len(await settle(result.fetch(20))) == 20
        assert not recorded.spans
        with pytest.raises(ClientError) as caught:
            await settle(result.value())
        span = recorded.only("UNWIND")
    assert attributes(span)["error.type"] == caught.value.code == "Neo.ClientError.Statement.ArithmeticError"
    assert span.status.status_code is StatusCode.ERROR


@pytest.mark.asyncio
async def test_failure_ends_the_other_results(recorded: Recording, graph: Graph, session: Any) -> None:
    """A failure in a transaction ends its other unfinished results, as the same error, and those only."""
    with inside(recorded):
        transaction = await settle(session.begin_transaction())
        whole = await settle(transaction.run("RETURN 1 AS n"))
        await settle(whole.consume())
        rest = await settle(transaction.run(ROWS))
        with pytest.raises(Neo4jError) as caught:
            await settle(transaction.run("MATCH"))
        await settle(transaction.close())
        with pytest.raises(neo4j.exceptions.ResultFailedError):
            await settle(rest.value())
    assert [attributes(span).get("error.type") for span in recorded.spans] == [
        None,
        caught.value.code,
        caught.value.code,
        None,
    ]


@pytest.mark.asyncio
async def test_no_server(recorded: Recording, graph: Graph) -> None:
    """Without a code from a server the error is named by its class."""
    factory: Any = neo4j.AsyncGraphDatabase if graph.is_async else neo4j.GraphDatabase
    driver = factory.driver("bolt://127.0.0.1:1", auth=("a", "b"))
    session = driver.session()
    with inside(recorded), pytest.raises(ServiceUnavailable):
        await settle(session.run("RETURN 1"))
    await settle(session.close())
    await settle(driver.close())
    assert attributes(recorded.spans[0])["error.type"] == "neo4j.exceptions.ServiceUnavailable"
    assert "db.response.status_code" not in attributes(recorded.spans[0])


@pytest.mark.asyncio
@pytest.mark.parametrize("method", ["verify_connectivity", "get_server_info"])
async def test_driver_that_finds_no_server(recorded: Recording, graph: Graph, method: str) -> None:
    """A driver that is asked whether its server is there, and cannot reach it, has one span from the call on."""
    factory: Any = neo4j.AsyncGraphDatabase if graph.is_async else neo4j.GraphDatabase
    with refused_port() as port, inside(recorded) as root:
        driver = factory.driver(f"bolt://127.0.0.1:{port}", auth=("a", SECRET))
        began = perf_counter()
        with pytest.raises(ServiceUnavailable):
            await settle(getattr(driver, method)())
        elapsed = perf_counter() - began
        await settle(driver.close())
        (span,) = children(recorded, root)
    assert (span.name, span.kind, span.status.status_code) == ("CONNECT", SpanKind.CLIENT, StatusCode.ERROR)
    assert attributes(span) == {
        "db.system.name": "neo4j",
        "db.operation.name": "CONNECT",
        "server.address": "127.0.0.1",
        "server.port": port,
        "error.type": "neo4j.exceptions.ServiceUnavailable",
    }
    assert 0 < seconds(span) <= elapsed


# -- transactions -------------------------------------------------------------------------------------------------


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
    assert {attributes(span)["db.namespace"] for span in found} == {graph.server.database}
    assert {attributes(span)["server.address"] for span in found} == {"127.0.0.1"}


@pytest.mark.asyncio
async def test_commit_that_fails(recorded: Recording, graph: Graph, session: Any) -> None:
    """A commit or rollback that fails has a span."""
    with inside(recorded):
        transaction = await settle(session.begin_transaction())
        with pytest.raises(Neo4jError):
            await settle(transaction.run("MATCH"))
        recorded.clear()
        with pytest.raises(TransactionError):
            await settle(transaction.commit())
        await settle(transaction.close())
        with pytest.raises(TransactionError):
            await settle(transaction.rollback())
        commit, rollback = recorded.spans
    assert (commit.name, rollback.name) == (f"COMMIT {graph.server.database}", f"ROLLBACK {graph.server.database}")
    assert attributes(commit)["db.operation.name"] == "COMMIT"
    assert attributes(commit)["error.type"] == "neo4j.exceptions.TransactionError"
    assert (commit.kind, commit.status.status_code) == (SpanKind.CLIENT, StatusCode.ERROR)


@pytest.mark.asyncio
@neo4j_only
async def test_commit_that_the_server_refuses(recorded: Recording, graph: Graph, session: Any) -> None:
    """A transaction that the server has ended shows at its commit, with the server's code."""
    with inside(recorded):
        transaction = await settle(session.begin_transaction(metadata={"mark": "doomed"}))
        await settle((await settle(transaction.run("CREATE (:Doomed)"))).consume())
        other = graph.session()
        ended = await settle(
            other.run(
                "SHOW TRANSACTIONS YIELD transactionId AS id, metaData AS m WHERE m.mark = 'doomed' "
                "TERMINATE TRANSACTIONS id YIELD message RETURN message"
            )
        )
        await settle(ended.consume())
        await settle(other.close())
        recorded.clear()
        with pytest.raises(Neo4jError) as caught:
            await settle(transaction.commit())
        span = recorded.only()
    assert attributes(span)["error.type"] == caught.value.code
    assert span.name == "COMMIT neo4j"


@pytest.mark.asyncio
async def test_begin_that_fails(recorded: Recording, graph: Graph) -> None:
    """A transaction that cannot begin has a span, from the call on."""
    session = graph.session(database="missing")

    async def begin() -> None:
        transaction = await settle(session.begin_transaction())
        await settle(transaction.run("RETURN 1"))  # where the server says it only now

    with inside(recorded), pytest.raises(Neo4jError) as caught:
        await begin()
    await settle(session.close())
    span = recorded.spans[0]
    assert attributes(span)["error.type"] == caught.value.code
    assert attributes(span)["db.namespace"] == "missing"
    if graph.server.is_neo4j:
        assert (span.name, attributes(span)["db.operation.name"]) == ("BEGIN missing", "BEGIN")


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
    assert mine.parent == managed.context
    assert query.parent == mine.context
    host, _, port = graph.server.url.partition("://")[2].partition(":")
    assert attributes(managed) == {
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
    assert attributes(managed)["causal.neo4j.attempts"] == attempts == 3 == len(queries)
    assert all(span.parent == managed.context for span in queries)
    assert {span.status.status_code for span in recorded.spans} == {StatusCode.UNSET}
    assert managed.end_time - managed.start_time >= 10_000_000  # type: ignore[operator]  # the back-off is in it


@pytest.mark.asyncio
async def test_failing_attempt(recorded: Recording, graph: Graph, session: Any) -> None:
    """The query that makes an attempt fail is an error, and so is the whole, by the same code or your own exception."""

    async def work(transaction: Any) -> None:
        await settle(transaction.run("MATCH"))

    error = ValueError(SECRET)

    async def own(transaction: Any) -> None:
        raise error

    with inside(recorded):
        with pytest.raises(Neo4jError) as caught:
            await settle(session.execute_write(graph.work(work)))
        with pytest.raises(ValueError, match=SECRET) as mine:
            await settle(session.execute_write(graph.work(own)))
    assert mine.value is error
    query, first, second, _ = recorded.spans
    assert attributes(query)["error.type"] == attributes(first)["error.type"] == caught.value.code
    assert attributes(second)["error.type"] == "ValueError"
    assert {first.status.status_code, second.status.status_code} == {StatusCode.ERROR}
    assert SECRET not in second.to_json()


@pytest.mark.asyncio
@neo4j_only
async def test_unit_of_work_is_untouched(recorded: Recording, graph: Graph, session: Any) -> None:
    """The metadata and timeout of a unit of work reach the server, since the function is passed on as it is."""

    async def work(transaction: Any) -> Any:
        result = await settle(transaction.run("SHOW TRANSACTIONS YIELD metaData AS m WHERE m.mark = 'uow' RETURN m"))
        return await settle(result.value())

    with inside(recorded):
        unit = neo4j.unit_of_work(metadata={"mark": "uow"})(graph.work(work))
        assert await settle(session.execute_read(unit)) == [{"mark": "uow"}]


# -- execute_query ------------------------------------------------------------------------------------------------


@pytest.mark.asyncio
async def test_execute_query(recorded: Recording, graph: Graph) -> None:
    """``execute_query`` is one span, from the session it opens to the last record."""
    with inside(recorded) as root:
        eager = await settle(graph.driver.execute_query("MATCH (p:Person) RETURN p", database_=graph.server.database))
        (span,) = children(recorded, root)
    assert eager.records
    assert recorded.names() == ["MATCH Person", "root"]
    assert span.kind is SpanKind.CLIENT
    assert attributes(span)["db.namespace"] == graph.server.database
    assert attributes(span)["db.query.text"] == "MATCH (p:Person) RETURN p"
    assert attributes(span)["causal.neo4j.attempts"] == 1


@pytest.mark.asyncio
@neo4j_only
async def test_home_database(recorded: Recording, graph: Graph) -> None:
    """The database that the server chooses is in the span all the same."""
    session = graph.session(database=None)
    with inside(recorded):
        await settle(graph.driver.execute_query("RETURN 1"))
        await settle((await settle(session.run("RETURN 2"))).consume())
    await settle(session.close())
    assert [attributes(span).get("db.namespace") for span in recorded.spans] == ["neo4j", "neo4j", None]


@pytest.mark.asyncio
@pytest.mark.parametrize(("query", "database"), [("MATCH", None), ("RETURN 1", "missing")])
async def test_execute_query_that_fails(recorded: Recording, graph: Graph, query: str, database: str | None) -> None:
    """Whatever fails inside ``execute_query``, its span is the one that says so."""
    with inside(recorded), pytest.raises(Neo4jError) as caught:
        await settle(graph.driver.execute_query(query, database_=database or graph.server.database))
    assert len(recorded.spans) == 2
    assert attributes(recorded.spans[0])["error.type"] == caught.value.code
    assert recorded.spans[0].status.status_code is StatusCode.ERROR


@pytest.mark.asyncio
async def test_queries_of_a_transformer(recorded: Recording, graph: Graph) -> None:
    """What a result transformer asks on its own, in whatever way, has spans of its own."""

    async def transform(result: Any) -> Any:
        session = graph.session()
        await settle((await settle(session.run("RETURN 1 AS autocommit"))).consume())
        transaction = await settle(session.begin_transaction())
        await settle((await settle(transaction.run("RETURN 1 AS transaction"))).consume())
        await settle(transaction.commit())
        await settle(session.execute_read(graph.work(query)))
        await settle(graph.driver.execute_query("RETURN 1 AS nested", database_=graph.server.database))
        await settle(session.close())
        return await settle(result.value())

    async def query(transaction: Any) -> None:
        await settle((await settle(transaction.run("RETURN 1 AS managed"))).consume())

    with inside(recorded):
        values = await settle(
            graph.driver.execute_query(
                "RETURN 1 AS outer", database_=graph.server.database, result_transformer_=graph.work(transform)
            )
        )
    assert values == [1]
    texts = [attributes(span).get("db.query.text", span.name).removeprefix("RETURN ? AS ") for span in recorded.spans]
    assert texts == ["autocommit", "transaction", "managed", "neo4j.execute_read", "nested", "outer", "root"]


# -- cancellation -------------------------------------------------------------------------------------------------


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

    with inside(recorded):
        await cancelled(work)
        gc.collect()  # a session whose closing is cancelled stays open, and says so when it dies
    assert len(recorded.spans) >= 2
    for span in recorded.spans[:-1]:
        assert attributes(span)["causal.cancelled"] is True
        assert span.status.status_code is StatusCode.UNSET


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

    with inside(recorded):
        await cancelled(work)
        span = recorded.only("UNWIND")
    assert attributes(span)["causal.cancelled"] is True
    assert span.status.status_code is StatusCode.UNSET


@pytest.mark.asyncio
@async_only
async def test_cancel_method(recorded: Recording, graph: Graph, session: Any) -> None:
    """``session.cancel()`` ends what is open."""
    with inside(recorded):
        await session.run(ROWS)
        session.cancel()
        assert attributes(recorded.only("UNWIND"))["causal.cancelled"] is True


# -- context ------------------------------------------------------------------------------------------------------


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
            if parent.name == "neo4j.execute_write":
                assert parent.parent is not None
                parent = by_id[parent.parent.span_id]
            parents.append(parent.name)
    assert sorted(parents) == sorted(f"task {number}" for number in range(30))
    assert len(recorded.spans) == 70


async def _everything(graph: Graph) -> None:
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


@pytest.mark.asyncio
async def test_nothing_without_a_parent_where_one_is_required(recorded: Recording, graph: Graph) -> None:
    """With ``require_parent=True`` nothing is recorded outside a recorded span."""
    await _everything(graph)
    assert not recorded.spans


@pytest.mark.asyncio
async def test_roots(graph: Graph) -> None:
    """Outside any span each operation begins a trace, and nothing else does: no routing, no log-in, no transaction."""
    with recording(["neo4j"]) as recorded:
        await _everything(graph)
    assert recorded.names() == ["RETURN", "RETURN", "RETURN", "neo4j.execute_write", "RETURN"]
    assert [span.parent is None for span in recorded.spans] == [True, True, False, True, True]


@pytest.mark.asyncio
async def test_nothing_unsampled(graph: Graph) -> None:
    """In a trace that is not sampled nothing is recorded."""
    with recording(["neo4j"], sampler=sampling.ALWAYS_OFF) as recorded:
        with inside(recorded):
            await _everything(graph)
        assert not recorded.spans


@pytest.mark.asyncio
async def test_nothing_suppressed(recorded: Recording, graph: Graph) -> None:
    """Where tracing is suppressed nothing is recorded."""
    with inside(recorded), suppress():
        await _everything(graph)
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


@pytest.mark.asyncio
async def test_no_secrets(recorded: Recording, graph: Graph, session: Any) -> None:
    """Neither literals nor parameters, metadata, passwords or messages of errors are in any span."""
    queries = [
        f"RETURN '{SECRET}' AS x // {SECRET}",
        f'MATCH (n {{x: "{SECRET}"}}) RETURN n',
        f"MATCH (n:Person) WHERE n.x = '{SECRET}' SET n.y = $y",
        f"RETURN '{SECRET}' / 2",
        f"RETURN toInteger('{SECRET}') + AS",
    ]
    with inside(recorded):
        for query in queries:
            with contextlib.suppress(Neo4jError):
                await settle((await settle(session.run(query, y=SECRET))).consume())
            with contextlib.suppress(Neo4jError):
                await settle(
                    graph.driver.execute_query(
                        neo4j.Query(query, metadata={"x": SECRET}), y=SECRET, database_=graph.server.database
                    )
                )
    assert len(recorded.spans) == 11
    for span in recorded.spans:
        assert SECRET not in span.to_json()
        assert graph.server.auth[1] not in span.to_json()


# -- robustness ---------------------------------------------------------------------------------------------------


class _Span:
    ended = False

    def end(self, end_time: int | None = None) -> None:
        self.ended = True


def test_unknown_internals() -> None:
    """Where a version hides elsewhere what we look at, a span ends when ``run`` returns."""
    span: Any = _Span()
    _neo4j_results.Stream.follow(object(), Running(Operation("RETURN", {}), span), Stopwatch())
    assert span.ended
    assert _neo4j_results.private(object(), "_pool", "address") is None


@pytest.mark.asyncio
async def test_our_failures_are_contained(graph: Graph, monkeypatch: pytest.MonkeyPatch) -> None:
    """If describing a query fails, it runs all the same, once."""

    def broken(*args: Any) -> Any:
        raise RuntimeError("ours")

    monkeypatch.setattr(patch, "query_operation", broken)
    monkeypatch.setattr(patch, "connection_attributes", broken)
    before = sum(faults.counts().values())
    # The recording itself asserts that nothing of ours has failed.
    with contextlib.suppress(AssertionError), recording(["neo4j"]) as recorded, inside(recorded):
        await _everything(graph)
    assert recorded.names() == ["root"]
    assert sum(faults.counts().values()) == before + 6


@pytest.mark.asyncio
async def test_uninstall_with_a_result_open(graph: Graph, session: Any) -> None:
    """A result that outlives the installation is read as ever."""
    with recording(["neo4j"]) as recorded, inside(recorded):
        result = await settle(session.run(ROWS))
    assert len(await graph.records(result)) == 50


def test_uninstall_restores_the_very_objects() -> None:
    """After uninstall() each attribute is what it was, and in between each is ours."""
    before = originals(PATCH)
    assert len(before) == len(PATCH.targets)
    with recording(["neo4j"]):
        assert placed(PATCH, before)
    assert originals(PATCH) == before


def test_introspection_stays_true() -> None:
    """Signatures, kinds, pickling and copying of patched methods are as without us."""
    names = [target.attribute.split(".") for target in PATCH.targets]  # type: ignore[union-attr]
    methods = {(kind, name): getattr(getattr(neo4j, kind), name) for kind, name in names}
    signatures = {key: inspect.signature(method) for key, method in methods.items()}
    with recording(["neo4j"]):
        for (kind, name), original in methods.items():
            method = getattr(getattr(neo4j, kind), name)
            assert method is not original
            assert inspect.signature(method) == signatures[kind, name]
            assert inspect.iscoroutinefunction(method) == inspect.iscoroutinefunction(original)
            assert copy.deepcopy(method) is method
            if kind in ("Driver", "AsyncDriver", "Session", "AsyncSession"):
                assert pickle.loads(pickle.dumps(method)) is method
