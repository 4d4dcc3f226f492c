"""What is excluded is silent, with everything inside it, and its trace goes on as one that is not sampled."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import asyncpg
import httpx
import neo4j
import pytest
import pytest_asyncio
import redis
import redis.asyncio
from celery import Celery
from opentelemetry import baggage, trace
from opentelemetry.sdk.trace import TracerProvider as SdkTracerProvider
from opentelemetry.sdk.trace import sampling
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from starlette.applications import Starlette
from starlette.responses import JSONResponse, Response
from starlette.routing import Mount, Route, WebSocketRoute

import causal_otel
from causal_otel.engine import context
from causal_otel.engine.retroactive import Buffer
from causal_otel.engine.samplers import EachSpanSampler, Rules, RuleSampler
from causal_otel.engine.unsampled import ExcludedSpan
from causal_otel.install import installation
from causal_otel.instrument.exclusion import canonical_url, match_names, match_urls
from causal_otel.patches.asgi import AsgiOptions
from causal_otel.patches.asyncpg import AsyncpgOptions
from causal_otel.patches.celery import CeleryOptions
from causal_otel.patches.httpx import HttpxOptions
from causal_otel.patches.neo4j import Neo4jOptions
from causal_otel.patches.redis import RedisOptions
from causal_otel.settings import SettingError
from tests.patches import celery_app
from tests.patches.celery_worker import running_worker
from tests.patches.either import settle
from tests.patches.http_server import echo_app, serve
from tests.recording import Recording, recording

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from starlette.requests import Request
    from starlette.websockets import WebSocket

    from tests.services.fixtures import GraphServer
    from tests.services.received import ReceivedSpans

TRACE_ID = f"{0xABC:032x}"
TRACEPARENT = f"00-{TRACE_ID}-{0xDEF:016x}-01"


def header_of(response: httpx.Response, name: str) -> str | None:
    """A header as the echo application received it."""
    return dict(response.json()["headers"]).get(name)


def assert_unsampled(traceparent: str | None, trace_id: str = TRACE_ID) -> None:
    """A header that carries on that trace, under an id of its own, as not sampled."""
    assert traceparent is not None
    _, found, span_id, flags = traceparent.split("-")
    assert found == trace_id
    assert span_id != f"{0xDEF:016x}"
    assert not int(flags, 16) & 1


@contextmanager
def inside(recorded: Recording) -> Iterator[str]:
    """A root that is recorded; yields its trace's id."""
    with recorded.tracer.start_as_current_span("root") as root:
        yield f"{root.get_span_context().trace_id:032x}"


def only_root(recorded: Recording) -> bool:
    return recorded.names() == ["root"]


@pytest.fixture(scope="module")
def server() -> Iterator[str]:
    """The base URL of a server that tells what it was sent."""
    with serve(echo_app) as base:
        yield base


def queued(broker: str, queue: str) -> dict[str, Any]:
    """The headers of the only message that waits."""
    with context.suppress(), redis.Redis.from_url(broker) as client:
        [message] = client.lrange(queue, 0, -1)
        client.delete(queue)
    found: dict[str, Any] = json.loads(message)["headers"]
    return found


# -- requests, and all that is inside them ----------------------------------------------------------------------------


@pytest.fixture
def busy(postgres_url: str, redis_url: str, broker: str, server: str) -> Starlette:
    """An application whose every path does everything that the patches trace, and tells what is current."""

    async def work(request: Request) -> Response:
        connection = await asyncpg.connect(postgres_url)
        await connection.fetchval("SELECT 1")
        await connection.close()
        async with redis.asyncio.Redis.from_url(redis_url) as client:
            await client.get("key")
        async with httpx.AsyncClient(trust_env=False) as http:
            answer = await http.get(f"{server}/echo")
        with causal_otel.span("own") as own:
            own.set_attribute("a", 1)
            celery_app.add.apply_async((1, 2), queue="excluded")
        with trace.get_tracer("other", tracer_provider=request.app.state.other).start_as_current_span("other"):
            pass
        if "fail" in request.query_params:
            raise ValueError("went wrong")
        return JSONResponse(
            {
                "traceparent": header_of(answer, "traceparent"),
                "tracestate": header_of(answer, "tracestate"),
                "baggage": header_of(answer, "baggage"),
                "current": type(trace.get_current_span()).__name__,
            }
        )

    return Starlette(routes=[Route("/{path:path}", work)])


async def ask(app: Any, path: str, **headers: str) -> httpx.Response:
    transport = httpx.ASGITransport(app=app, raise_app_exceptions=False)
    with causal_otel.detached():
        async with httpx.AsyncClient(transport=transport, base_url="http://api.example:8123") as client:
            return await client.get(path, headers=headers)


EVERYTHING: dict[str, Any] = {
    **dict.fromkeys(("asgi", "asyncpg", "celery", "redis"), True),
    "httpx": HttpxOptions(require_parent=True),  # else the tests' own requests would be traces
}


@pytest.mark.asyncio
@pytest.mark.parametrize(
    "sampler",
    [None, sampling.ALWAYS_ON, sampling.DEFAULT_ON, EachSpanSampler(Rules()), RuleSampler(Rules())],
    ids=["default", "always", "parent", "ratio", "rules"],
)
async def test_an_excluded_request_is_a_silent_subtree(busy: Starlette, broker: str, sampler: Any) -> None:
    """Nothing inside is recorded by anybody, whatever the sampler; what goes out carries the trace on, unsampled."""
    exporter = InMemorySpanExporter()
    busy.state.other = SdkTracerProvider()
    busy.state.other.add_span_processor(SimpleSpanProcessor(exporter))
    chosen = {**EVERYTHING, "asgi": AsgiOptions(excluded=("/health", "/echo"))}
    with recording(chosen, sampler=sampler) as recorded:
        response = await ask(
            busy, "/health", traceparent=TRACEPARENT, baggage="tenant=7", tracestate="causal=keep,ot=th:8,x=1"
        )
        assert recorded.spans == []
        assert exporter.get_finished_spans() == ()
        message = queued(broker, "excluded")
    found = response.json()
    assert_unsampled(found["traceparent"])
    assert_unsampled(message["traceparent"])
    assert (found["baggage"], found["tracestate"], found["current"]) == ("tenant=7", "x=1", "ExcludedSpan")
    assert response.headers["x-trace-id"] == TRACE_ID


@pytest.mark.asyncio
async def test_other_requests_are_recorded(busy: Starlette, broker: str) -> None:
    """The same application is recorded as ever where the path is another one."""
    busy.state.other = SdkTracerProvider()
    with recording({**EVERYTHING, "asgi": AsgiOptions(excluded=("/health",))}) as recorded:
        response = await ask(busy, "/healthy", traceparent=TRACEPARENT)
        message = queued(broker, "excluded")
        assert {"SELECT", "GET", "own", "send tests.add", "GET /{path}"} <= {*recorded.names()}
    for each in (response.json()["traceparent"], message["traceparent"]):
        assert each.startswith(f"00-{TRACE_ID}-")
        assert int(each[-2:], 16) & 1


@pytest.mark.asyncio
async def test_an_excluded_request_starts_a_trace_where_there_is_none(busy: Starlette, broker: str) -> None:
    """Without a parent the silent subtree has a trace of its own, told in the header and carried on unsampled."""
    busy.state.other = SdkTracerProvider()
    with recording({**EVERYTHING, "asgi": AsgiOptions(excluded=("/*",))}) as recorded:
        response = await ask(busy, "/health")
        assert recorded.spans == []
        assert_unsampled(queued(broker, "excluded")["traceparent"], response.headers["x-trace-id"])
    assert_unsampled(response.json()["traceparent"], response.headers["x-trace-id"])


@pytest.mark.asyncio
async def test_errors_of_an_excluded_request_are_not_kept(busy: Starlette, broker: str) -> None:
    """Where traces that are not sampled are buffered for errors, those of what is excluded are not."""
    busy.state.other = SdkTracerProvider()
    chosen = {**EVERYTHING, "asgi": AsgiOptions(excluded=("/health", "/echo"))}
    with recording(chosen, sampler=sampling.ALWAYS_OFF) as recorded:
        buffer = Buffer(recorded.provider.core.deliver)
        recorded.provider.set_buffer(buffer)
        response = await ask(busy, "/health?fail=1", traceparent=TRACEPARENT)
        assert response.status_code == 500
        assert len(buffer) == 0
        assert recorded.spans == []
        queued(broker, "excluded")


@pytest.mark.asyncio
async def test_an_excluded_request_with_somebody_else_s_provider(busy: Starlette, broker: str) -> None:
    """On a provider of OpenTelemetry's SDK it is silent likewise."""
    exporter = InMemorySpanExporter()
    busy.state.other = SdkTracerProvider()
    busy.state.other.add_span_processor(SimpleSpanProcessor(exporter))
    chosen = {**EVERYTHING, "asgi": AsgiOptions(excluded=("/health", "/echo"))}
    installed = causal_otel.install(patches=chosen, tracer_provider=busy.state.other)
    try:
        response = await ask(busy, "/health", traceparent=TRACEPARENT)
        assert_unsampled(response.json()["traceparent"])
        assert_unsampled(queued(broker, "excluded")["traceparent"])
        assert exporter.get_finished_spans() == ()
        await ask(busy, "/other", traceparent=TRACEPARENT)
        queued(broker, "excluded")
        assert exporter.get_finished_spans()
    finally:
        installed.uninstall()


@pytest.mark.asyncio
async def test_an_excluded_request_to_a_mounted_application() -> None:
    """The inner application is not traced instead, and a mounted path is compared as a whole."""

    async def text(_: Request) -> Response:
        return Response("text")

    inner = Starlette(routes=[Route("/health", text), Route("/other", text)])
    outer = Starlette(routes=[Mount("/inner", inner)])
    with recording({"asgi": AsgiOptions(excluded=("/inner/health", "/other"))}) as recorded:
        assert (await ask(outer, "/inner/health")).status_code == 200
        assert recorded.spans == []
        assert (await ask(outer, "/inner/other")).status_code == 200
        assert recorded.names() == ["GET /inner/other"]


@pytest.mark.asyncio
@pytest.mark.parametrize(("pattern", "silent"), [("/ws/*", True), ("ws://api.example/ws/red", True), ("/ws", False)])
async def test_a_websocket(pattern: str, silent: bool) -> None:
    """A connection is excluded by its path as well, and spans inside it are silent."""

    async def talk(websocket: WebSocket) -> None:
        await websocket.accept()
        with causal_otel.span("inside"):
            await websocket.close()

    app = Starlette(routes=[WebSocketRoute("/ws/{room}", talk)])
    sent: list[Any] = []

    async def receive() -> dict[str, Any]:
        return {"type": "websocket.connect"}

    async def send(message: Any) -> None:
        sent.append(message)

    headers = [(b"traceparent", TRACEPARENT.encode()), (b"host", b"API.example")]
    scope = {"type": "websocket", "path": "/ws/red", "scheme": "ws", "headers": headers, "subprotocols": []}
    with recording({"asgi": AsgiOptions(excluded=(pattern,))}) as recorded:
        await app(scope, receive, send)
        assert recorded.names() == ([] if silent else ["inside", "GET /ws/{room}"])
    assert (b"x-trace-id", TRACE_ID.encode()) in sent[0]["headers"]


# -- HTTPX ------------------------------------------------------------------------------------------------------------


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
        assert recorded.names() == ["GET", "GET", "root"]
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
        assert recorded.names() == ["after", "root"]


# -- tasks ------------------------------------------------------------------------------------------------------------


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
        assert recorded.names() == ["send tests.total"]
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
        assert recorded.names() == ["process work", "root"]


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
        [executed, *_] = receiver.wait_for(
            lambda spans: any(span["name"] == "process tests.total" for span in spans), trace_id=trace_id
        )
    assert_unsampled(seen["traceparent"], trace_id)
    assert int(seen["headers"]["traceparent"][-2:], 16) & 1
    # Stopped, the worker has exported all it had.
    assert {span["name"].partition(" tests.")[2] for span in receiver.spans()} & {"relay", "inside", "add"} == set()
    assert executed["service"] == "silent"


# -- databases --------------------------------------------------------------------------------------------------------


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
        assert recorded.names() == ["SELECT", "root"]
    await connection.close()


@pytest_asyncio.fixture(params=["sync", "asyncio"])
async def client(request: pytest.FixtureRequest, redis_url: str) -> AsyncIterator[Any]:
    """A client of either kind."""
    if request.param == "sync":
        with redis.Redis.from_url(redis_url) as sync_client:
            yield sync_client
    else:
        async with redis.asyncio.Redis.from_url(redis_url) as async_client:
            yield async_client


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
        assert recorded.names() == ["INFO", "MULTI SET", "PIPELINE EXISTS", "root"]


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
        assert recorded.names() == ["RETURN", "RETURN", "inside", "neo4j.execute_write", "root"]
    await settle(driver.close())


# -- patterns and settings --------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("pattern", "address", "excluded"),
    [
        ("/health", "http://a/health", True),
        ("/health", "http://a/health/", False),
        ("/health", "http://a/api/health", False),
        ("/health", "http://a/HEALTH", False),
        ("/static/*", "http://a/static/a.css", True),
        ("/static/*", "http://a/static/css/a.css", False),
        ("/static/**", "http://a/static/css/a.css", True),
        ("/users/{id}/avatar", "http://a/users/7/avatar", True),
        ("/users/{id}/avatar", "http://a/users/7/8/avatar", False),
        ("/a.b", "http://a/axb", False),
        ("example.com/**", "https://EXAMPLE.com:8443/x/y", True),
        ("example.com/**", "https://www.example.com/x", False),
        ("*.example.com/**", "https://www.example.com/", True),
        ("example.com:443/**", "https://example.com/x", True),
        ("example.com:443/**", "https://example.com:8443/x", False),
        ("http://example.com/x", "https://example.com/x", False),
        ("[::1]/x", "http://[::1]:8000/x", True),
        ("[::1]:1/x", "http://[::1]:8000/x", False),
        ("/**", "http://a/" + "x" * 3000, False),
    ],
)
def test_patterns_of_urls(pattern: str, address: str, excluded: bool) -> None:
    """A pattern is of a whole path or URL; case counts in paths only, and endless URLs fit none."""
    found = httpx.URL(address)
    assert match_urls([pattern, "/never"])(canonical_url(found.scheme, found.host, found.port, found.path)) is excluded


def test_patterns_of_names() -> None:
    """A pattern is of all of a name, whatever its case; what looks like a regular expression is none."""
    excluded = match_names(["tests.*", "SELECT pg_sleep(?)"])
    assert [excluded(name) for name in ("tests.add", "TESTS.", "testsXadd", "select pg_sleep(?)", "a tests.add")] == [
        *(True, True, False, True, False)
    ]


@pytest.mark.parametrize(
    ("patches", "message"),
    [
        (
            {"asgi": AsgiOptions(excluded=("health",))},
            "patches: asgi: excluded=.*health.* is not allowed; .*paths that",
        ),
        ({"httpx": HttpxOptions(excluded=("http://a/x?y=1",))}, "patches: httpx: .*no query"),
        ({"asgi": AsgiOptions(excluded=("/users/{id",))}, "patches: asgi: .*is not allowed"),
        ({"asgi": AsgiOptions(excluded="/health")}, "patches: asgi: .*a tuple of them"),  # type: ignore[arg-type]
        ({"celery": CeleryOptions(excluded=("",))}, "patches: celery: .*names, in which"),
        ({"redis": RedisOptions(excluded=(7,))}, "patches: redis: .*is not allowed"),  # type: ignore[arg-type]
    ],
)
def test_a_bad_pattern_is_explained(patches: Any, message: str) -> None:
    """It stops install(), which has changed nothing by then."""
    with pytest.raises(SettingError, match=message):
        causal_otel.install(patches=patches)
    assert installation() is None


@pytest.mark.asyncio
async def test_the_settings_are_the_defaults_of_the_options(monkeypatch: pytest.MonkeyPatch, server: str) -> None:
    """TRACING_EXCLUDED_URLS holds for requests received and sent; a patch's own option replaces it, empty or not."""

    async def relay(_: Request) -> Response:
        async with httpx.AsyncClient(trust_env=False) as client:
            return Response((await client.get(f"{server}/echo")).text)

    app = Starlette(routes=[Route("/{path:path}", relay)])
    monkeypatch.setenv("TRACING_EXCLUDED_URLS", "/health,127.0.0.1/echo")
    monkeypatch.setenv("TRACING_REQUIRE_PARENT", "true")  # else the tests' own requests would be traces
    with recording(["asgi", "httpx"]) as recorded:
        await ask(app, "/health")
        assert recorded.names() == []
        await ask(app, "/other")  # the echo server is told not to record either
        assert recorded.names() == ["GET /{path}"]
    with recording({"asgi": AsgiOptions(trace_id_header=None), "httpx": HttpxOptions(excluded=())}) as recorded:
        await ask(app, "/health")
        assert recorded.names() == []
        assert json.loads((await ask(app, "/other")).text)["headers"]
        assert "GET" in recorded.names()
    with recording({"asgi": AsgiOptions(excluded=("/mine", "/echo"))}) as recorded:
        await ask(app, "/mine")
        assert recorded.names() == []
        await ask(app, "/health")
        assert "GET /{path}" in recorded.names()


@pytest.mark.parametrize("excluded", [None, ("/x",)])
def test_one_wrapper_whatever_is_excluded(excluded: tuple[str, ...] | None) -> None:
    """What is in place wraps the driver's own function and nothing else, so that excluding costs no call."""
    original = vars(httpx.Client)["_send_single_request"]
    with recording({"httpx": HttpxOptions(excluded=excluded)}):
        assert vars(httpx.Client)["_send_single_request"].__wrapped__ is original


def test_a_silent_span_of_a_sampled_parent() -> None:
    """It keeps the trace and what is said about its randomness, under an id and with flags of its own."""
    parent = trace.SpanContext(7, 8, True, trace.TraceFlags(3), trace.TraceState([("ot", "th:8;rv:0123456789abcd")]))
    found = ExcludedSpan(parent).get_span_context()
    assert (found.trace_id, found.trace_flags, found.is_remote) == (7, 2, False)
    assert found.span_id != 8
    assert found.trace_state == {"ot": "rv:0123456789abcd"}
