"""Hooks of the clients' patches, on real servers: each called once a span, with that span and the driver's objects."""

from __future__ import annotations

import asyncio
import gc
from typing import TYPE_CHECKING, Any

import asyncpg
import httpx
import neo4j
import pytest
import pytest_asyncio
import redis
import redis.asyncio
from opentelemetry.sdk import trace as sdk
from opentelemetry.trace import SpanKind

import causal_otel
from causal_otel.patches.redis import RedisOptions
from tests.patches.either import close, settle
from tests.patches.hooking import hooked, told_well
from tests.recording import recording
from tests.span_relations import assert_span

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from tests.services.fixtures import GraphServer

# -- asyncpg ------------------------------------------------------------------------------------------------------


@pytest.mark.asyncio
async def test_asyncpg(connection: asyncpg.Connection[Any], provider: Any) -> None:
    """The connection, its method's arguments, and what that returned, the very object."""
    with hooked("asyncpg", provider) as hooks, causal_otel.span("request"):
        found = await connection.fetch("SELECT $1::int AS n, pg_sleep(0.05)", 7, timeout=30)
    told = hooks.only("SELECT")
    told_well(told, 0.05)
    assert told.asked == (connection, ("SELECT $1::int AS n, pg_sleep(0.05)", 7), {"timeout": 30})
    assert told.answered[:-1] == told.asked
    assert told.answered[-1] is found
    if provider is sdk.TracerProvider:
        assert type(hooks.asked[0][0]) is sdk._Span, "the span that the user's own provider has made"


@pytest.mark.asyncio
async def test_asyncpg_statements_cursors_and_pools(connection: asyncpg.Connection[Any], postgres_url: str) -> None:
    """A statement, a cursor and a pool stand for themselves, plumbing is told to nobody."""
    async with asyncpg.create_pool(postgres_url, min_size=1, max_size=1) as pool:
        with hooked("asyncpg") as hooks, causal_otel.span("request"):
            statement = await connection.prepare("SELECT $1::int")
            assert await statement.fetchval(3) == 3
            async with connection.transaction():
                rows = [row[0] async for row in connection.cursor("SELECT generate_series(1, 3)", prefetch=2)]
                cursor = await connection.cursor("SELECT 5")
                last = await cursor.fetchrow()
            assert (rows, list(last or ())) == ([1, 2, 3], [5])
            assert await pool.fetchval("SELECT 8") == 8
            with pytest.raises(asyncpg.PostgresSyntaxError):
                await connection.prepare("SELEKT")
    [unobserved] = [span for span in hooks.spans() if "asked" not in (span.attributes or {})]
    assert unobserved.name == "PREPARE postgres"
    *_, request = hooks.exporter.get_finished_spans()
    assert_span(unobserved, request, error="42601")
    for span in hooks.spans():
        if span is not unobserved:
            assert_span(span, request)
    assert len(hooks.asked) == len(hooks.answered) == len(hooks.spans()) - 1
    prepared, *fetches, pooled = hooks.answered
    assert prepared[1:] == (statement, (3,), {}, 3)
    assert pooled[1:] == (pool, ("SELECT 8",), {}, 8)
    # A cursor is told of once, with how many rows were read; one that is left is not there any more.
    assert [each[2:] for each in fetches] == [((), {}, 3), ((), {}, 1)]
    assert isinstance(fetches[0][1], asyncpg.cursor.CursorIterator)
    assert fetches[1][1] is None
    assert [type(each[1]).__name__ for each in hooks.asked[1:3]] == ["CursorIterator", "Cursor"]


# -- redis --------------------------------------------------------------------------------------------------------


@pytest.mark.asyncio
async def test_redis(client: Any, provider: Any) -> None:
    """The client and the command's words; a pipeline with the commands that it holds, and its replies."""
    with hooked("redis", provider) as hooks, causal_otel.span("request"):
        assert await settle(client.execute_command("BLPOP", "hooks", 0.05)) is None
        pipeline = client.pipeline(transaction=False).incr("hooks:n").lpush("hooks:n", 1)
        replies = await settle(pipeline.execute(raise_on_error=False))
    single, together = hooks.told()
    assert single.span.name == "BLPOP"
    told_well(single, 0.05)
    assert single.asked == (client, ("BLPOP", "hooks", 0.05), {})
    assert single.answered == (*single.asked, None)
    assert together.span.name == "PIPELINE"
    assert_span(together.span, together.parent, error="WRONGTYPE")
    assert together.asked == (pipeline, (), {"raise_on_error": False})
    assert together.answered[-1] is replies
    assert (replies[0], type(replies[1])) == (1, redis.ResponseError)


@pytest.mark.asyncio
async def test_redis_pipeline_before_it_is_executed(client: Any) -> None:
    """The request hook finds the commands in it."""

    def request(span: Any, pipeline: Any, args: Any, kwargs: Any) -> None:
        span.set_attribute("commands", len(pipeline))

    with recording({"redis": RedisOptions(request_hook=request)}) as recorded, causal_otel.span("request") as parent:
        await settle(client.pipeline().incr("hooks:n").incr("hooks:n").execute())
    assert assert_span(recorded.only("MULTI INCRBY"), parent)["commands"] == 2


@pytest.mark.parametrize("kind", ["sync", "asyncio"])
@pytest.mark.asyncio
async def test_redis_cluster(cluster_port: int, kind: str) -> None:
    """Its parts have no spans, so nobody is told of them: the hooks are called once for a command or a pipeline."""
    module: Any = redis if kind == "sync" else redis.asyncio
    cluster: Any = module.RedisCluster(host="127.0.0.1", port=cluster_port)
    if kind == "asyncio":
        await cluster.initialize()
    with hooked("redis") as hooks, causal_otel.span("request"):
        await settle(cluster.set("{a}1", 1))
        pipeline = cluster.pipeline()
        pipeline.get("{a}1")
        pipeline.get("{a}1")
        assert await settle(pipeline.execute()) == [b"1", b"1"]
    single, together = hooks.told()
    told_well(single)
    told_well(together)
    assert (single.span.name, together.span.name) == ("SET", "PIPELINE GET")
    assert (single.asked[:2], single.answered[-1]) == ((cluster, ("SET", "{a}1", 1)), True)
    assert (together.asked[0], together.answered[-1]) == (pipeline, [b"1", b"1"])
    await settle(cluster.aclose() if hasattr(cluster, "aclose") else cluster.close())


# -- neo4j --------------------------------------------------------------------------------------------------------


@pytest_asyncio.fixture(params=["sync", "async"])
async def driver(request: pytest.FixtureRequest, neo4j_server: GraphServer) -> AsyncIterator[Any]:
    factory: Any = neo4j.AsyncGraphDatabase if request.param == "async" else neo4j.GraphDatabase
    driver = factory.driver(neo4j_server.url, auth=neo4j_server.auth, notifications_min_severity="OFF")
    yield driver
    await settle(driver.close())


ROWS = "UNWIND range(1, 50) AS n RETURN n"


@pytest.mark.asyncio
async def test_neo4j_run(driver: Any, neo4j_server: GraphServer, provider: Any) -> None:
    """The response hook is called when the records have been read, with the result, whose keys are known."""
    session = driver.session(database=neo4j_server.database, fetch_size=10)
    with hooked("neo4j", provider) as hooks, causal_otel.span("request"):
        result = await settle(session.run(ROWS, n=1))
        assert (len(hooks.asked), hooks.answered) == (1, [])
        records = [record async for record in result] if hasattr(result, "__aiter__") else list(result)
        assert len(records) == 50
        assert len(hooks.answered) == 1
    await settle(session.close())
    told = hooks.only("UNWIND")
    told_well(told)
    assert told.asked == (session, (ROWS,), {"n": 1})
    assert told.answered == (*told.asked, result)
    assert told.answered[-1] is result


@pytest.mark.asyncio
async def test_neo4j_result_that_is_left(driver: Any, neo4j_server: GraphServer) -> None:
    """A result that nobody reads is told when its session closes."""
    with hooked("neo4j") as hooks, causal_otel.span("request"):
        session = driver.session(database=neo4j_server.database, fetch_size=10)
        left = await settle(session.run(ROWS))
        assert hooks.answered == []
        await settle(session.close())
        assert hooks.answered[0][-1] is left
    told_well(hooks.only("UNWIND"))


@pytest.mark.asyncio
@pytest.mark.filterwarnings("ignore::ResourceWarning", "ignore:Relying on Session:DeprecationWarning")
async def test_neo4j_result_that_dies(driver: Any, neo4j_server: GraphServer) -> None:
    """Of a result that goes unread the hook is told that nobody waited for it."""

    async def forget() -> None:
        session = driver.session(database=neo4j_server.database, fetch_size=10)
        await settle((await settle(session.run(ROWS))).fetch(10))

    with hooked("neo4j") as hooks, causal_otel.span("request"):
        await forget()
        hooks.asked[0] = (hooks.asked[0][0],)  # which refers to the session
        await settle(driver.close())  # a connection keeps what waits for its answers
        for _ in range(100):  # and the loop keeps the driver's asynchronous generator until it has closed it
            if hooks.answered:
                break
            gc.collect()
            await asyncio.sleep(0)
    told = hooks.only("UNWIND")
    assert type(told.answered[-1]) is GeneratorExit
    assert_span(told.span, told.parent, abandoned=True)


@pytest.mark.asyncio
async def test_neo4j_execute_query_and_managed(driver: Any, neo4j_server: GraphServer) -> None:
    """``execute_query`` is told once, with its ``EagerResult``; a managed transaction and each query inside as well."""
    is_async = isinstance(driver, neo4j.AsyncDriver)

    def work(transaction: Any) -> Any:
        return transaction.run("RETURN 1 AS n").single()["n"]

    async def awork(transaction: Any) -> Any:
        return (await (await transaction.run("RETURN 1 AS n")).single())["n"]

    with hooked("neo4j") as hooks, causal_otel.span("request"):
        eager = await settle(driver.execute_query("RETURN 2 AS n", database_=neo4j_server.database))
        session = driver.session(database=neo4j_server.database)
        assert await settle(session.execute_read(awork if is_async else work)) == 1
        await settle(session.close())
    one, inner, outer = hooks.told()
    assert one.asked == (driver, ("RETURN 2 AS n",), {"database_": neo4j_server.database})
    assert one.answered[-1] is eager
    assert outer.span.name == "neo4j.execute_read"
    assert outer.span.kind is SpanKind.INTERNAL
    assert outer.asked == (session, (awork if is_async else work,), {})
    assert outer.answered[-1] == 1
    told_well(one)
    assert_span(outer.span, outer.parent)
    assert inner.parent is outer.span
    told_well(inner)
    assert (inner.asked[1], type(inner.answered[-1]).__name__) == (
        ("RETURN 1 AS n",),
        "AsyncResult" if is_async else "Result",
    )


@pytest.mark.asyncio
async def test_neo4j_cancelled(neo4j_server: GraphServer) -> None:
    """A result whose reader is cancelled is told with that, not as if it had arrived."""
    async with neo4j.AsyncGraphDatabase.driver(neo4j_server.url, auth=neo4j_server.auth) as driver:
        with hooked("neo4j") as hooks, causal_otel.span("request"):
            async with driver.session(database=neo4j_server.database, fetch_size=10) as session:
                result = await session.run("UNWIND range(1, 50000) AS n RETURN n")

                reading = asyncio.Event()

                async def read() -> None:
                    async for _ in result:
                        reading.set()

                task = asyncio.create_task(read())
                await reading.wait()
                task.cancel()
                with pytest.raises(asyncio.CancelledError):
                    await task
    told = hooks.only("UNWIND")
    assert type(told.answered[-1]) is asyncio.CancelledError
    assert_span(told.span, told.parent, cancelled=True)


# -- httpx --------------------------------------------------------------------------------------------------------


@pytest.fixture(params=["sync", "async"])
def http(request: pytest.FixtureRequest) -> Any:
    """A client."""
    return httpx.Client() if request.param == "sync" else httpx.AsyncClient()


@pytest.mark.asyncio
async def test_httpx(http: Any, server: str, provider: Any) -> None:
    """The request that the client has made, and the very response that it returns; one call for each redirect."""
    with hooked("httpx", provider) as hooks, causal_otel.span("request"):
        response = await settle(http.get(f"{server}/redirect/0", follow_redirects=True))
    await close(http)
    redirect, last = hooks.told()
    assert [told.span.name for told in (redirect, last)] == ["GET", "GET"]
    told_well(redirect)
    assert told_well(last)["http.response.status_code"] == 200
    assert redirect.asked == (response.history[0].request,)
    assert redirect.answered[-1] is response.history[0]
    assert last.asked == (response.request,)
    assert last.answered == (response.request, response)
    assert last.answered[-1] is response


@pytest.mark.parametrize("left", [False, True], ids=["read", "left"])
@pytest.mark.asyncio
async def test_httpx_streamed(http: Any, server: str, left: bool) -> None:
    """Of a streamed response the hook is told when all of it has been read, or when it is closed before."""
    request = http.build_request("GET", f"{server}/stream")
    with hooked("httpx") as hooks, causal_otel.span("request"):
        response = await settle(http.send(request, stream=True))
        assert (len(hooks.asked), hooks.answered) == (1, [])
        if left:
            await settle(response.aclose() if hasattr(http, "aclose") else response.close())
        else:
            await settle(response.aread() if hasattr(http, "aclose") else response.read())
        assert hooks.answered[0][1:] == (request, response)
    await close(http)
    told = hooks.only("GET")
    told_well(told, 0.0 if left else 0.02)
    assert told.answered[-1] is response


@pytest.mark.asyncio
@pytest.mark.filterwarnings("ignore::ResourceWarning", "ignore::pytest.PytestUnraisableExceptionWarning")
async def test_httpx_that_nobody_closes(server: str) -> None:
    """A response that goes is told as one that nobody waited for."""
    async with httpx.AsyncClient() as http:
        with hooked("httpx") as hooks, causal_otel.span("request"):
            response: Any = await http.send(http.build_request("GET", f"{server}/stream"), stream=True)
            assert response.status_code == 200
            del response
            gc.collect()
            assert type(hooks.answered[0][-1]) is GeneratorExit
    told = hooks.only("GET")
    assert_span(told.span, told.parent, abandoned=True)
