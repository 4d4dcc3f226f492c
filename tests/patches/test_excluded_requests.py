"""An excluded request is silent, with everything inside it, and its trace goes on as one that is not sampled."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import asyncpg
import httpx
import pytest
import redis
import redis.asyncio
from opentelemetry import trace
from opentelemetry.sdk.trace import TracerProvider as SdkTracerProvider
from opentelemetry.sdk.trace import sampling
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from starlette.applications import Starlette
from starlette.responses import JSONResponse, Response
from starlette.routing import Mount, Route, WebSocketRoute

import causal_otel
from causal_otel.engine.retroactive import Buffer
from causal_otel.engine.samplers import EachSpanSampler, Rules, RuleSampler
from causal_otel.patches.asgi import AsgiOptions
from causal_otel.patches.httpx import HttpxOptions
from tests.patches import celery_app
from tests.patches.excluding import TRACE_ID, TRACEPARENT, ask, assert_unsampled, header_of, queued
from tests.recording import recording
from tests.span_relations import assert_children, assert_span

if TYPE_CHECKING:
    from starlette.requests import Request
    from starlette.websockets import WebSocket


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
        request = recorded.only("GET /{path}")
        assert_span(request, trace.SpanContext(int(TRACE_ID, 16), 0xDEF, is_remote=True))
        clients = [span for span in recorded.spans if span.kind is trace.SpanKind.CLIENT]
        assert [span.name for span in clients] == ["SELECT", "GET", "GET"]
        own = recorded.only("own")
        for span in (*clients, own):
            assert_span(span, request)
        assert_span(recorded.only("send tests.add"), own)
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
        [request] = [span for span in exporter.get_finished_spans() if span.kind is trace.SpanKind.SERVER]
        assert_span(request, trace.SpanContext(int(TRACE_ID, 16), 0xDEF, is_remote=True))
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
        assert_children(recorded.spans, "GET /inner/other")


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
        if not silent:
            inside, connection = recorded.spans
            assert_span(connection, trace.SpanContext(int(TRACE_ID, 16), 0xDEF, is_remote=True))
            assert_span(inside, connection)
    assert (b"x-trace-id", TRACE_ID.encode()) in sent[0]["headers"]
