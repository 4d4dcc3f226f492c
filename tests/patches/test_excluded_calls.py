"""Excluded calls of clients, tasks and statements are silent, with what is inside; others are recorded as ever."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

import asyncpg
import httpx
import neo4j
import pytest
from celery import Celery
from opentelemetry import baggage, trace

import causal_otel
from causal_otel.engine import context
from causal_otel.patches.asyncpg import AsyncpgOptions
from causal_otel.patches.celery import CeleryOptions
from causal_otel.patches.httpx import HttpxOptions
from causal_otel.patches.neo4j import Neo4jOptions
from causal_otel.patches.redis import RedisOptions
from tests.patches import celery_app
from tests.patches.celery_worker import running_worker
from tests.patches.either import settle
from tests.patches.excluding import assert_unsampled, header_of, inside, only_root, queued
from tests.recording import recording
from tests.span_relations import assert_children, assert_span

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.services.fixtures import GraphServer
    from tests.services.received import ReceivedSpans


@pytest.fixture(params=["sync", "async"])
def get(request: pytest.FixtureRequest) -> Callable[..., httpx.Response]:
    """Send a request with a client of either kind, made with ``client`` arguments."""

    def send(address: str, **client: Any) -> httpx.Response:
        if request.param == "sync":
            with httpx.Client(trust_env=False, follow_redirects=True, **client) as opened:
                return opened.get(address)

        async def run() -> httpx.Response:
            async with httpx.AsyncClient(trust_env=False, follow_redirects=True, **client) as opened:
                return await opened.get(address)

        return asyncio.run(run())

    send.is_async = request.param == "async"  # type: ignore[attr-defined]
    return send


@pytest.mark.parametrize("pattern", ["127.0.0.1/echo", "http://127.0.0.1:*/**", "/echo", "/{any}"])
def test_an_excluded_request_that_is_sent(server: str, get: Callable[..., httpx.Response], pattern: str) -> None:
    """It has no span, and its server is told that the trace is not sampled; its baggage goes along."""
    with recording({"httpx": HttpxOptions(excluded=(pattern,))}) as recorded:
        with inside(recorded) as trace_id:
            activation = context.attach(baggage.set_baggage("tenant", "7"))
            response = get(f"{server}/echo?page=3")
            activation.end()
            current = trace.get_current_span()
            assert f"{current.get_span_context().trace_id:032x}" == trace_id
            assert current.is_recording()
        assert only_root(recorded)
    assert_unsampled(header_of(response, "traceparent"), trace_id)
    assert header_of(response, "baggage") == "tenant=7"


def test_other_requests_that_are_sent_are_recorded(server: str, get: Callable[..., httpx.Response]) -> None:
    """A request to another URL has its span; one that is redirected to what is excluded has one for itself only."""
    with recording({"httpx": HttpxOptions(excluded=("/echo", "example.com/**"))}) as recorded:
        with inside(recorded) as trace_id:
            assert get(f"{server}/status/204").status_code == 204
            response = get(f"{server}/redirect/0")
        assert_children(recorded.spans, "GET", "GET", "root")
    assert_unsampled(header_of(response, "traceparent"), trace_id)


def test_what_runs_inside_an_excluded_request_is_silent(server: str, get: Callable[..., httpx.Response]) -> None:
    """Event hooks, transports and redirects of an excluded request are part of it."""

    def work(_: Any) -> None:
        with causal_otel.span("hook"):
            pass

    async def async_work(_: Any) -> None:
        work(_)

    hook = async_work if get.is_async else work  # type: ignore[attr-defined]
    with recording({"httpx": HttpxOptions(excluded=("/redirect/*",))}) as recorded:
        with inside(recorded) as trace_id:
            response = get(f"{server}/redirect/1", event_hooks={"request": [hook], "response": [hook]})
        assert only_root(recorded)
    assert_unsampled(header_of(response, "traceparent"), trace_id)


def test_an_excluded_request_that_fails(get: Callable[..., httpx.Response]) -> None:
    """The error is the caller's as ever, and the trace goes on after it."""

    def refuse(request: httpx.Request) -> httpx.Response:
        raise httpx.ConnectError("refused", request=request)

    with recording({"httpx": HttpxOptions(excluded=("/**",))}) as recorded:
        with inside(recorded):
            with pytest.raises(httpx.ConnectError):
                get("http://127.0.0.1/x", transport=httpx.MockTransport(refuse))
            with causal_otel.span("after"):
                pass
        assert_children(recorded.spans, "after", "root")


def test_an_excluded_task_that_is_sent(broker: str) -> None:
    """It has no span, nor have the broker's commands, and its message carries the trace on, unsampled."""
    chosen = {"celery": CeleryOptions(excluded=("tests.a*",)), "redis": True}
    with recording(chosen) as recorded:
        with inside(recorded) as trace_id:
            celery_app.add.apply_async((1, 2), queue="excluded")
        assert only_root(recorded)
        assert_unsampled(queued(broker, "excluded")["traceparent"], trace_id)
        recorded.clear()
        celery_app.add.apply_async((1, 2), queue="excluded")  # no trace to carry on: the worker is told not to record
        assert recorded.spans == []
        assert queued(broker, "excluded")["traceparent"].endswith(("-00", "-02"))
        celery_app.total.apply_async(([1],), queue="excluded")
        assert_children(recorded.spans, "send tests.total")
        assert queued(broker, "excluded")["traceparent"].endswith(("-01", "-03"))


def test_an_excluded_eager_task() -> None:
    """It runs silently, with the tasks that it applies itself; its caller's trace goes on."""
    local = Celery("local", set_as_current=False)

    @local.task(shared=False, name="noise.part")
    def part() -> str:
        with causal_otel.span("inside"):
            return str(causal_otel.current_trace_id())

    @local.task(shared=False, name="work")
    def work() -> str:
        return str(part.apply().get())

    @local.task(shared=False, name="noise")
    def noise() -> str:
        return str(work.apply().get())

    with recording({"celery": CeleryOptions(excluded=("NOISE*",))}) as recorded:
        with inside(recorded) as trace_id:
            assert noise.apply().get() == trace_id
            assert recorded.spans == []
            assert work.apply().get() == trace_id
        assert_children(recorded.spans, "process work", "root")


def test_an_excluded_task_that_a_worker_runs(
    broker: str, receiver: ReceivedSpans, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A worker that is told so by its environment does not record it, nor what it publishes, though its sender does."""
    monkeypatch.setenv("TRACING_EXCLUDED_TASKS", "tests.relay, tests.inside")
    with (
        running_worker(broker, receiver, "silent", patches="celery,redis"),
        recording({"celery": CeleryOptions(excluded=())}) as recorded,
        inside(recorded) as trace_id,
    ):
        seen = celery_app.inside.apply_async(queue="silent").get(timeout=60)
        celery_app.relay.apply_async(queue="silent").get(timeout=60)
        assert celery_app.total.apply_async(([1, 2],), queue="silent").get(timeout=60) == 3
        spans = receiver.wait_for(
            lambda spans: any(span["name"] == "process tests.total" for span in spans), trace_id=trace_id
        )
        sent = recorded.only("send tests.total")
    assert_unsampled(seen["traceparent"], trace_id)
    assert int(seen["headers"]["traceparent"][-2:], 16) & 1
    # Stopped, the worker has exported all it had.
    assert {span["name"].partition(" tests.")[2] for span in receiver.spans()} & {"relay", "inside", "add"} == set()
    [executed] = [span for span in spans if span["name"] == "process tests.total"]
    assert_span(executed, sent)
    assert executed["service"] == "silent"


@pytest.mark.asyncio
async def test_excluded_statements_of_asyncpg(postgres_url: str) -> None:
    """A statement is excluded by its name or its text, as a trace shows them; cursors and COPY as well."""
    connection = await asyncpg.connect(postgres_url)
    await connection.execute("DROP TABLE IF EXISTS beats; CREATE TABLE beats (id int)")
    with recording({"asyncpg": AsyncpgOptions(excluded=("select pg_sleep*", "* beats"))}) as recorded:
        with inside(recorded):
            await connection.fetchval("SELECT  pg_sleep($1)", 0.0)
            await connection.fetchval("SELECT pg_sleep(0.0)")
            await connection.executemany("INSERT INTO beats VALUES ($1)", [(1,), (2,)])
            await connection.copy_records_to_table("beats", records=[(3,)])
            assert len(await connection.fetch("SELECT id FROM beats")) == 3
            async with connection.transaction():
                assert [row async for row in connection.cursor("SELECT id FROM beats")]
            with pytest.raises(asyncpg.UndefinedColumnError):
                await connection.fetch("SELECT nothing FROM beats")
            await connection.fetchval("SELECT 1")
        assert_children(recorded.spans, "SELECT", "root")
    await connection.close()


@pytest.mark.asyncio
async def test_excluded_commands_of_redis(client: Any) -> None:
    """A command is excluded by its name or its text, and a pipeline, which is one operation, by its own."""
    with recording(
        {"redis": RedisOptions(excluded=("PING", "client *", "pipeline set", "INFO ?", "get ?; GET ?"))}
    ) as recorded:
        with inside(recorded):
            await settle(client.ping())
            await settle(client.client_id())
            await settle(client.info("server"))
            await settle(client.info())
            for transaction in (False, True):
                pipeline = client.pipeline(transaction=transaction)
                pipeline.set("key", "value")
                await settle(pipeline.execute())
            for command in ("get", "exists"):
                pipeline = client.pipeline(transaction=False)
                getattr(pipeline, command)("key")
                getattr(pipeline, command)("other")
                await settle(pipeline.execute())
        assert_children(recorded.spans, "INFO", "MULTI SET", "PIPELINE EXISTS", "root")


@pytest.mark.asyncio
@pytest.mark.parametrize("is_async", [False, True], ids=["sync", "async"])
async def test_excluded_statements_of_neo4j(neo4j_server: GraphServer, is_async: bool) -> None:
    """A statement is excluded however it is run, and a managed transaction by its name, with all that is inside."""
    factory: Any = neo4j.AsyncGraphDatabase if is_async else neo4j.GraphDatabase
    driver = factory.driver(neo4j_server.url, auth=neo4j_server.auth, notifications_min_severity="OFF")

    def work(transaction: Any) -> None:
        with causal_otel.span("inside"):
            transaction.run("RETURN 2").consume()

    async def async_work(transaction: Any) -> None:
        with causal_otel.span("inside"):
            await (await transaction.run("RETURN 2")).consume()

    excluded = ("match Beat", "RETURN ? AS beat", "neo4j.execute_read")
    with recording({"neo4j": Neo4jOptions(excluded=excluded)}) as recorded:
        with inside(recorded):
            await settle(driver.execute_query("MATCH (b:Beat) RETURN b", database_=neo4j_server.database))
            session = driver.session(database=neo4j_server.database)
            await settle((await settle(session.run("RETURN 1 AS beat"))).consume())
            await settle((await settle(session.run("RETURN 1 AS one"))).consume())
            function = async_work if is_async else work
            await settle(session.execute_read(function))
            assert recorded.names() == ["RETURN"]
            await settle(session.execute_write(function))
            await settle(session.close())
        query, inner, block, managed, root = recorded.spans
        assert recorded.names() == ["RETURN", "RETURN", "inside", "neo4j.execute_write", "root"]
        for span, parent in ((query, root), (inner, block), (block, managed), (managed, root)):
            assert_span(span, parent)
    await settle(driver.close())
