"""An operation outside any span is a trace of its own; pings, waits for work and a driver's housekeeping are none."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Iterator
from typing import Any
from urllib.parse import urlsplit

import httpx
import pytest
import redis
import redis.asyncio
from opentelemetry.sdk.trace import TracerProvider as SdkTracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

import causal_otel
from causal_otel.engine.context import enter, suppress
from causal_otel.engine.unsampled import ExcludedSpan
from causal_otel.patches.redis import RedisOptions
from tests.faults.programs import run
from tests.patches.either import close, settle
from tests.patches.http_server import echo_app, serve
from tests.recording import Recording, recording
from tests.services.fixtures import GraphServer
from tests.services.received import ReceivedSpan, ReceivedSpans
from tests.services.slow import slow
from tests.span_relations import assert_children, assert_span

WAIT = 0.05
"""Seconds that each script's operation takes, at the least."""

ASYNCPG = f"""
import asyncio, causal_otel
causal_otel.install()
import asyncpg

async def main():
    connection = await asyncpg.connect(URL)
    await connection.fetchval("SELECT $1::int FROM pg_sleep({WAIT})", 7)
    await connection.close()

asyncio.run(main())
"""
REDIS = """
import causal_otel
causal_otel.install()
import redis

with redis.Redis.from_url(URL) as client:
    client.get("key")
"""
NEO4J = """
import causal_otel
causal_otel.install()
import neo4j

with neo4j.GraphDatabase.driver(URL, auth=AUTH, notifications_min_severity="OFF") as driver:
    driver.verify_connectivity()
    driver.execute_query("RETURN $number", number=7, database_=DATABASE)
"""
HTTPX = f"""
import causal_otel
causal_otel.install()
import httpx

httpx.get(URL + "/slow/{WAIT}", trust_env=False, timeout=60)
"""


@pytest.fixture
def script(receiver: ReceivedSpans) -> Any:
    """Runs a script with names defined, and gives what it has exported."""

    def play(code: str, *, ends: int = 0, require_parent: str = "", **names: Any) -> list[ReceivedSpan]:
        given = "".join(f"{name} = {value!r}\n" for name, value in names.items())
        ran = run(
            given + code,
            OTLP_ENDPOINT=receiver.endpoint,
            OTEL_SERVICE_NAME="script",
            TRACING_REQUIRE_PARENT=require_parent,
        )
        assert ran.returncode == ends, ran.stderr
        return [span for span in receiver.spans() if span["service"] == "script"]

    return play


def only_root(spans: list[ReceivedSpan], name: str, *, failed: str = "", lasts: float = 0.0) -> dict[str, Any]:
    """The attributes of the one span that there is, which is a root and has ended well, or with ``failed``.

    It took ``lasts`` seconds at least.
    """
    assert [span["name"] for span in spans] == [name]
    [span] = spans
    assert (span["kind"], span["links"]) == ("CLIENT", [])
    return assert_span(span, None, error=failed or None, lasts=lasts)


@pytest.fixture
def recorded() -> Iterator[Recording]:
    with recording(["asyncpg", "redis"]) as recorded:
        yield recorded


# -- a script with one operation is one trace -------------------------------------------------------------------------


def test_a_query_of_a_script(script: Any, postgres_url: str) -> None:
    """A query is a trace of one span, connecting and closing are none."""
    spans = script(ASYNCPG, URL=postgres_url)
    attributes = only_root(spans, "SELECT pg_sleep", lasts=WAIT)
    assert attributes["db.system.name"] == "postgresql"
    assert attributes["db.query.text"] == "SELECT $1::int FROM pg_sleep(?)"
    assert attributes["server.address"] == urlsplit(postgres_url).hostname


def test_a_command_of_a_script(script: Any, redis_url: str) -> None:
    """A command is a trace of one span."""
    url = urlsplit(redis_url)
    with slow(url.hostname or "", url.port or 6379) as proxy:
        proxy.delay = WAIT
        spans = script(REDIS, URL=f"redis://127.0.0.1:{proxy.port}/0")
        attributes = only_root(spans, "GET", lasts=WAIT)
        assert (attributes["server.address"], attributes["server.port"]) == ("127.0.0.1", proxy.port)
    assert (attributes["db.system.name"], attributes["db.query.text"]) == ("redis", "GET ?")


def test_a_query_of_a_script_to_neo4j(script: Any, neo4j_server: GraphServer) -> None:
    """``execute_query`` is a trace of one span; what the driver does to get there is none."""
    server = neo4j_server
    spans = script(NEO4J, URL=server.url, AUTH=server.auth, DATABASE=server.database)
    attributes = only_root(spans, "RETURN")
    assert (attributes["db.system.name"], attributes["db.query.text"]) == ("neo4j", "RETURN $number")
    assert attributes["db.namespace"] == server.database


def test_a_request_of_a_script(script: Any) -> None:
    """A request is a trace of one span."""
    with serve(echo_app) as base:
        spans = script(HTTPX, URL=base)
    attributes = only_root(spans, "GET", lasts=WAIT)
    assert attributes["http.response.status_code"] == 200
    assert attributes["url.full"] == f"{base}/slow/{WAIT}"


@pytest.mark.parametrize("code", [ASYNCPG, REDIS, HTTPX], ids=["asyncpg", "redis", "httpx"])
def test_a_script_that_requires_parents(script: Any, postgres_url: str, redis_url: str, code: str) -> None:
    """With TRACING_REQUIRE_PARENT=true it has no traces."""
    with serve(echo_app) as base:
        url = {ASYNCPG: postgres_url, REDIS: redis_url, HTTPX: base}[code]
        assert script(code, URL=url, require_parent="true") == []


@pytest.mark.parametrize(
    ("code", "url", "name", "error"),
    [
        (ASYNCPG, "postgresql://app@127.0.0.1:1/shop", "CONNECT shop", "ConnectionRefusedError"),
        (REDIS, "redis://127.0.0.1:1/0", "GET", "redis.exceptions.ConnectionError"),
        (HTTPX, "http://127.0.0.1:1", "GET", "httpx.ConnectError"),
    ],
    ids=["asyncpg", "redis", "httpx"],
)
def test_a_script_that_cannot_connect(script: Any, code: str, url: str, name: str, error: str) -> None:
    """A refused connection is a trace of one failed span."""
    only_root(script(code, ends=1, URL=url), name, failed=error)


# -- where a trace begins ---------------------------------------------------------------------------------------------


@pytest.mark.asyncio
async def test_each_operation_is_a_trace(recorded: Recording, library: Any, redis_url: str) -> None:
    """Two commands outside any span are two traces; in a block that is detached they are linked to what it has left."""
    client = library.Redis.from_url(redis_url)
    await settle(client.get("a"))
    await settle(client.get("b"))
    with recorded.tracer.start_as_current_span("root") as root, causal_otel.detached():
        await settle(client.get("c"))
        await settle(client.ping())
    first, second, third, _ = recorded.spans
    for span in (first, second, third):
        assert_span(span, None)
    assert len({span.context.trace_id for span in recorded.spans}) == 4
    assert [len(span.links) for span in (first, second, third)] == [0, 0, 1]
    assert third.links[0].context == root.get_span_context()
    assert recorded.names() == ["GET", "GET", "GET", "root"]
    await close(client)


@pytest.mark.asyncio
async def test_suppressed_and_excluded(recorded: Recording, library: Any, redis_url: str) -> None:
    """Nothing begins where tracing is suppressed, as in exporters, nor inside what is excluded."""
    client = library.Redis.from_url(redis_url)
    with suppress():
        await settle(client.get("a"))
    with suppress(), causal_otel.detached():
        await settle(client.get("a"))
    activation = enter(ExcludedSpan(None))
    await settle(client.get("a"))
    activation.end()
    assert recorded.names() == []
    await close(client)


@pytest.mark.asyncio
async def test_an_application_s_lifespan(redis_url: str) -> None:
    """What it does there, and in tasks that it starts there, are traces; what a request does is in the request's."""
    client = redis.asyncio.Redis.from_url(redis_url)
    started = asyncio.Event()

    async def poll() -> None:
        await client.dbsize()
        started.set()

    @contextlib.asynccontextmanager
    async def lifespan(_: Any) -> AsyncIterator[None]:
        await client.ping()
        await client.get("warm")
        task = asyncio.create_task(poll())
        yield
        await task
        await client.delete("warm")

    async def endpoint(_: Request) -> Response:
        await client.exists("key")
        return Response("well")

    app = Starlette(routes=[Route("/", endpoint)], lifespan=lifespan)
    with recording(["asgi", "redis"]) as recorded:
        async with app.router.lifespan_context(app):
            async with asyncio.timeout(60):
                await started.wait()
            async with httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://api") as http:
                assert (await http.get("/")).text == "well"
        await client.aclose()
    assert recorded.names() == ["GET", "DBSIZE", "EXISTS", "GET /", "DEL"]
    by_name = {span.name: span for span in recorded.spans}
    assert_span(by_name["EXISTS"], by_name["GET /"])
    for name in ("GET", "DBSIZE", "GET /", "DEL"):
        assert_span(by_name[name], None)


@pytest.mark.asyncio
async def test_somebody_else_s_provider(library: Any, redis_url: str) -> None:
    """On a provider of OpenTelemetry's SDK it is the same."""
    exporter, provider = InMemorySpanExporter(), SdkTracerProvider()
    provider.add_span_processor(SimpleSpanProcessor(exporter))
    installed = causal_otel.install(patches=["redis"], tracer_provider=provider)
    try:
        client = library.Redis.from_url(redis_url)
        await settle(client.ping())
        await settle(client.get("a"))
        await close(client)
    finally:
        installed.uninstall()
    [span] = exporter.get_finished_spans()
    assert span.name == "GET"
    assert_span(span, None)


@pytest.mark.parametrize("setting", ["", "true"])
@pytest.mark.parametrize("option", [None, False, True])
def test_an_option_beats_the_setting(
    monkeypatch: pytest.MonkeyPatch, redis_url: str, setting: str, option: bool | None
) -> None:
    """``require_parent`` of a patch holds; where it is not given, TRACING_REQUIRE_PARENT does."""
    monkeypatch.setenv("TRACING_REQUIRE_PARENT", setting)
    chosen = {"redis": RedisOptions(require_parent=option)}
    with recording(chosen) as recorded, redis.Redis.from_url(redis_url) as client:
        client.get("a")
    required = bool(setting) if option is None else option
    if required:
        assert recorded.spans == []
    else:
        assert_children(recorded.spans, "GET")


def test_an_option_that_is_neither(redis_url: str) -> None:
    """``require_parent`` is a bool, or not given."""
    with pytest.raises(causal_otel.SettingError, match="require_parent='no'"):
        causal_otel.install(patches={"redis": RedisOptions(require_parent="no")})  # type: ignore[arg-type]
