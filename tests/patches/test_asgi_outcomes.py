"""How a response ends, and its SERVER span with it: whole, as an exception, cancelled, or without its client."""

from __future__ import annotations

import asyncio
import time
from typing import TYPE_CHECKING, Any

import httpx
import pytest
from opentelemetry.sdk.trace import SpanProcessor
from opentelemetry.sdk.trace import TracerProvider as SdkTracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from starlette.applications import Starlette
from starlette.requests import ClientDisconnect, Request
from starlette.responses import Response, StreamingResponse
from starlette.routing import Route

import causal_otel
from causal_otel.patches.asgi import TracingMiddleware
from tests.patches.asgi_app import app
from tests.patches.asgi_requests import BODY, bare, exchange, fetch, server, servers
from tests.span_relations import assert_span, attributes

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from opentelemetry.context import Context
    from opentelemetry.sdk.trace import Span

    from tests.recording import Recording

PATCHES = ["asgi"]
SECRET = "s3cr3t-value"


@pytest.mark.asyncio
async def test_an_unhandled_exception_is_recorded_once(recorded: Recording) -> None:
    """An unhandled exception: ERROR, its class as error.type, one event, and the 500 that Starlette answers."""
    response = await fetch("/boom")
    span = server(recorded, error="ValueError")
    assert response.status_code == 500
    assert [event.name for event in span.events] == ["exception"]
    assert dict(span.events[0].attributes or {})["exception.message"] == "went wrong"


@pytest.mark.asyncio
async def test_the_exception_itself_comes_through(recorded: Recording) -> None:
    """The server gets the very exception that the endpoint raised."""
    raised = LookupError("mine")

    async def endpoint(_: Request) -> Response:
        raise raised

    transport = httpx.ASGITransport(app=Starlette(routes=[Route("/", endpoint)]))
    async with httpx.AsyncClient(transport=transport, base_url="http://h") as client:
        with pytest.raises(LookupError) as caught:
            await client.get("/")
    assert caught.value is raised
    server(recorded, error="LookupError")


@pytest.mark.asyncio
async def test_an_exception_is_redacted_on_somebody_else_s_span_too() -> None:
    """A span of the SDK's is told no secret of an exception's message, and no source line."""

    async def endpoint(_: Request) -> Response:
        raise LookupError(f"cannot connect to redis://app:{SECRET}@cache.example/0")

    exporter = InMemorySpanExporter()
    provider = SdkTracerProvider()
    provider.add_span_processor(SimpleSpanProcessor(exporter))
    installed = causal_otel.install(patches=["asgi"], tracer_provider=provider)
    try:
        await fetch("/", of=Starlette(routes=[Route("/", endpoint)]))
    finally:
        installed.uninstall()
        provider.shutdown()
    [span] = exporter.get_finished_spans()
    assert_span(span, None, error="LookupError")
    [event] = span.events
    found = dict(event.attributes or {})
    assert (event.name, found["exception.type"]) == ("exception", "LookupError")
    assert str(found["exception.message"]).startswith("cannot connect to redis://")
    assert "endpoint\n" in str(found["exception.stacktrace"])
    assert "raise LookupError" not in str(found)
    assert SECRET not in span.to_json()


@pytest.mark.asyncio
async def test_a_status_of_500_that_was_meant_is_its_own_error_type(recorded: Recording) -> None:
    """A response of 5xx without an exception is an ERROR whose type is the status."""

    async def endpoint(_: Request) -> Response:
        return Response("later", 503)

    await fetch("/", of=Starlette(routes=[Route("/", endpoint)]))
    assert server(recorded, error="503").events == ()


@pytest.mark.asyncio
async def test_a_stream_lasts_until_its_last_chunk(recorded: Recording) -> None:
    """A streaming response is over with its body, whose spans are children of the SERVER span."""

    async def body() -> AsyncIterator[bytes]:
        for _ in range(3):
            with recorded.tracer.start_as_current_span("chunk"):
                await asyncio.sleep(0.04)
            yield b"x" * 100

    async def endpoint(_: Request) -> Response:
        return StreamingResponse(body())

    response = await fetch("/", of=Starlette(routes=[Route("/", endpoint)]))
    assert len(response.content) == 300
    span = server(recorded, lasts=0.12)
    chunks = [each for each in recorded.spans if each.name == "chunk"]
    assert len(chunks) == 3
    for chunk in chunks:
        assert_span(chunk, span, lasts=0.04)


@pytest.mark.asyncio
async def test_a_span_is_as_long_as_what_is_inside_it(recorded: Recording) -> None:
    """What passes between the beginning of the span and the application's is in it, so it ends after its children."""

    class Slow(SpanProcessor):
        def on_start(self, span: Span, parent_context: Context | None = None) -> None:
            time.sleep(0.02)

    async def endpoint(_: Request) -> Response:
        with recorded.tracer.start_as_current_span("inside"):
            return Response()

    recorded.provider.add_span_processor(Slow())
    await fetch("/", of=Starlette(routes=[Route("/", endpoint)]))
    assert_span(recorded.only("inside"), server(recorded, lasts=0.04), lasts=0.02)


@pytest.mark.asyncio
async def test_an_exception_in_a_stream_is_recorded_once(recorded: Recording) -> None:
    """An exception in the middle of a body is an ERROR with one event, whatever the status was."""
    await fetch("/stream?fail=true")
    span = server(recorded, error="RuntimeError", lasts=0.09)  # three pauses of the body
    assert attributes(span)["http.response.status_code"] == 200
    assert [event.name for event in span.events] == ["exception"]


@pytest.mark.asyncio
async def test_an_exception_after_the_response_is_visible(recorded: Recording) -> None:
    """What an application raises after its response leaves the SERVER span alone, and has one in the same trace."""

    async def late(scope: Any, receive: Any, send: Any) -> None:
        await bare(scope, receive, send)
        await asyncio.sleep(0.05)
        raise LookupError("too late")

    with pytest.raises(LookupError):
        await exchange(TracingMiddleware(late), [BODY])
    span, after = server(recorded), recorded.only("after response")
    assert_span(after, span.get_span_context(), error="LookupError", lasts=0.05)
    assert after.start_time == span.end_time
    assert [event.name for event in after.events] == ["exception"]


@pytest.mark.asyncio
async def test_a_client_that_leaves_is_an_error(recorded: Recording) -> None:
    """A client that disconnects in the middle of a stream makes an ERROR, which ends when it left."""
    sent = await exchange(app, [BODY], {"path": "/stream", "query_string": b"chunks=100&pause=0.02"})
    assert len(sent) < 100
    assert server(recorded, error="client_disconnected").events == ()


@pytest.mark.asyncio
async def test_a_send_that_fails_is_a_client_that_left(recorded: Recording) -> None:
    """Servers of ASGI 2.4 tell of a disconnect by an OSError, which comes through as it is."""
    raised = OSError("gone")

    async def gone(message: dict[str, Any]) -> None:
        if message["type"] == "http.response.body":
            raise raised

    with pytest.raises(OSError, match="gone") as caught:
        await exchange(TracingMiddleware(bare), [BODY], None, gone)
    assert caught.value is raised
    assert server(recorded, error="client_disconnected").events == ()


@pytest.mark.asyncio
async def test_a_client_that_leaves_while_sending_is_an_error_of_its_own(recorded: Recording) -> None:
    """A body that never arrives is the client's departure, not an exception of the application, whatever it answers."""

    async def endpoint(request: Request) -> Response:
        return Response(await request.body())

    with pytest.raises(ClientDisconnect):
        await exchange(Starlette(routes=[Route("/", endpoint)]), [{**BODY, "more_body": True}])
    assert server(recorded, error="client_disconnected").events == ()


@pytest.mark.asyncio
async def test_a_client_that_leaves_after_the_end_is_none(recorded: Recording) -> None:
    """A disconnect after the last message is how connections end."""

    async def polite(scope: Any, receive: Any, send: Any) -> None:
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await send({"type": "http.response.body"})
        assert (await receive())["type"] == "http.disconnect"

    await exchange(TracingMiddleware(polite), [])
    assert attributes(server(recorded))["http.response.status_code"] == 200


@pytest.mark.asyncio
async def test_a_server_that_says_goodbye_while_it_sends_the_last_message(recorded: Recording) -> None:
    """Hypercorn tells of a disconnect before its last ``send`` is back, and Starlette cancels that: no error."""

    async def stream(scope: Any, receive: Any, send: Any) -> None:
        await send({"type": "http.response.start", "status": 200, "headers": []})
        last = asyncio.create_task(send({"type": "http.response.body"}))
        await asyncio.sleep(0)
        assert (await receive())["type"] == "http.disconnect"
        last.cancel()

    async def closing(message: dict[str, Any]) -> None:
        if message["type"] == "http.response.body":
            await asyncio.Event().wait()

    await exchange(TracingMiddleware(stream), [], None, closing)
    assert attributes(server(recorded))["http.response.status_code"] == 200


@pytest.mark.asyncio
async def test_an_application_that_does_not_answer_is_an_error(recorded: Recording) -> None:
    """An application that returns without an answer has failed."""

    async def silent(scope: Any, receive: Any, send: Any) -> None:
        return None

    await exchange(TracingMiddleware(silent), [BODY])
    server(recorded, error="incomplete_response")


@pytest.mark.asyncio
async def test_responses_of_every_kind_end_the_span(recorded: Recording) -> None:
    """Trailers and files that the server sends itself end a response as its last body does."""

    async def trailers(scope: Any, receive: Any, send: Any) -> None:
        await send({"type": "http.response.start", "status": 200, "headers": [], "trailers": True})
        await send({"type": "http.response.body", "body": b""})
        assert servers(recorded) == []
        await send({"type": "http.response.trailers", "headers": []})
        assert len(servers(recorded)) == 1

    async def file(scope: Any, receive: Any, send: Any) -> None:
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await send({"type": "http.response.pathsend", "path": "/dev/null"})
        assert len(servers(recorded)) == 2

    await exchange(TracingMiddleware(trailers), [BODY])
    await exchange(TracingMiddleware(file), [BODY])
    for span in servers(recorded):
        assert_span(span, None)


@pytest.mark.asyncio
async def test_a_cancelled_request_is_marked(recorded: Recording) -> None:
    """A request that the server cancels, as at its shutdown, is no error: unset and marked."""
    task = asyncio.create_task(exchange(app, [BODY], {"path": "/slow/30"}))
    await asyncio.sleep(0.1)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    server(recorded, cancelled=True)
