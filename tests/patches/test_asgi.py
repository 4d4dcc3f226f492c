"""The asgi patch: FastAPI, Starlette and bare applications, in process and behind a real uvicorn."""

from __future__ import annotations

import asyncio
import contextlib
import copy
import inspect
import json
import os
import pickle
import signal
import socket
import subprocess
import sys
import threading
import time
import urllib.request
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import fastapi
import httpx
import pytest
import starlette.applications
from fastapi import FastAPI
from opentelemetry import baggage, trace
from opentelemetry.sdk.trace import ReadableSpan
from opentelemetry.sdk.trace import TracerProvider as SdkTracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from opentelemetry.sdk.trace.sampling import ALWAYS_OFF
from opentelemetry.trace import SpanKind, StatusCode
from starlette.applications import Starlette
from starlette.middleware import Middleware
from starlette.middleware.base import BaseHTTPMiddleware
from starlette.requests import ClientDisconnect, Request
from starlette.responses import Response, StreamingResponse
from starlette.routing import Route
from starlette.websockets import WebSocketDisconnect

import causal_otel
from causal_otel._internal import faults
from causal_otel.engine import context
from causal_otel.install import Installation
from causal_otel.patches.asgi import PATCH, AsgiOptions, TracingMiddleware
from causal_otel.testing.process import claim_port, http_status, process
from tests.patches.asgi_app import CONSTANT, app, text
from tests.patches.checks import originals, placed
from tests.patches.http_server import serve
from tests.recording import Recording, recording
from tests.services.received import ReceivedSpans

TRACE_ID, SPAN_ID = f"{0xABC:032x}", f"{0xDEF:016x}"
TRACEPARENT = f"00-{TRACE_ID}-{SPAN_ID}-01"
SECRET = "s3cr3t-value"
ROOT = Path(__file__).parents[2]

Send = Callable[[dict[str, Any]], Awaitable[None]]


@pytest.fixture
def recorded() -> Iterator[Recording]:
    """The asgi patch is installed and its spans are kept."""
    with recording(["asgi"]) as kept:
        yield kept


async def fetch(
    path: str, method: str = "GET", *, of: Any = app, headers: Any = None, root_path: str = ""
) -> httpx.Response:
    """Ask an application in this process; an exception that leaves it is a server's matter and dropped."""
    transport = httpx.ASGITransport(app=of, raise_app_exceptions=False, root_path=root_path)
    async with httpx.AsyncClient(transport=transport, base_url="http://api.example:8123") as client:
        return await client.request(method, path, headers=headers)


def attributes(span: ReadableSpan) -> dict[str, Any]:
    return dict(span.attributes or {})


def servers(kept: Recording) -> list[ReadableSpan]:
    """The SERVER spans."""
    return [span for span in kept.spans if span.kind is SpanKind.SERVER]


def server(kept: Recording) -> ReadableSpan:
    """The only SERVER span."""
    [span] = servers(kept)
    return span


def trace_id(span: ReadableSpan) -> str:
    found = span.get_span_context()
    assert found is not None
    return f"{found.trace_id:032x}"


def seconds(span: ReadableSpan) -> float:
    assert span.start_time is not None
    assert span.end_time is not None
    return (span.end_time - span.start_time) / 1e9


def eventually(condition: Callable[[], Any], timeout: float = 60.0) -> Any:
    """Wait for what another thread is about to do."""
    deadline = time.monotonic() + timeout
    while not (value := condition()):
        assert time.monotonic() < deadline, "it has not happened"
        time.sleep(0.01)
    return value


# -- what is recorded ---------------------------------------------------------------------------------------------


@pytest.mark.asyncio
async def test_a_request_is_one_server_span_with_the_stable_attributes(recorded: Recording) -> None:
    """A request is one SERVER span, a root, with exactly the attributes of the HTTP conventions."""
    response = await fetch("/items/3?page=2", headers={"User-Agent": "tests"})
    [span] = recorded.spans
    assert span.name == "GET /items/{i}"
    assert span.kind is SpanKind.SERVER
    assert span.parent is None
    assert span.status.status_code is StatusCode.UNSET
    assert attributes(span) == {
        "client.address": "127.0.0.1",
        "http.request.method": "GET",
        "http.response.status_code": 200,
        "http.route": "/items/{i}",
        "network.protocol.version": "1.1",
        "server.address": "api.example",
        "server.port": 8123,
        "url.path": "/items/3",
        "url.query": "page=2",
        "url.scheme": "http",
        "user_agent.original": "tests",
    }
    assert response.json()["trace"] == trace_id(span)
    assert response.headers["x-trace-id"] == trace_id(span)


@pytest.mark.parametrize(
    ("method", "path", "status", "name"),
    [
        ("GET", "/items/3", 200, "GET /items/{i}"),
        ("GET", "/items/three", 422, "GET /items/{i}"),
        ("DELETE", "/items/3", 405, "DELETE /items/{i}"),
        ("BREW", "/items/3", 405, "HTTP /items/{i}"),
        ("GET", "/status/418", 418, "GET /status/{status}"),
        ("GET", "/status/503", 503, "GET /status/{status}"),
        ("GET", "/stream", 200, "GET /stream"),
        ("GET", "/boom", 500, "GET /boom"),
        ("GET", "/nowhere/4711", 404, "GET"),
        ("GET", "/items/3/", 307, "GET"),
        ("GET", "/openapi.json", 200, "GET /openapi.json"),
        ("GET", "/api/v1/u/1/f/a/b", 200, "GET /api/v1/u/{uid}/f/{path}"),
        ("GET", "/sub/items/3", 200, "GET /sub/items/{i}"),
        ("GET", "/sub/nowhere/4711", 404, "GET /sub/{path}"),
        ("GET", "/mounted/1/x/2", 200, "GET /mounted/{z}/x/{a}"),
        ("GET", "/mounted/1/m/2/y/3", 200, "GET /mounted/{z}/m/{tenant}/y/{b}"),
    ],
)
@pytest.mark.asyncio
async def test_the_name_is_the_route_and_every_response_tells_its_trace(
    recorded: Recording, method: str, path: str, status: int, name: str
) -> None:
    """One SERVER span named by the route's template, never by the path, and X-Trace-Id on whatever is answered."""
    response = await fetch(path, method)
    span = server(recorded)
    assert response.status_code == status
    assert span.name == name
    assert attributes(span).get("http.route", "") == name.partition(" ")[2]
    assert attributes(span)["http.response.status_code"] == status
    assert response.headers.get_list("x-trace-id") == [trace_id(span)]
    assert span.status.status_code is (StatusCode.ERROR if status >= 500 else StatusCode.UNSET)
    assert ("error.type" in attributes(span)) is (status >= 500)


@pytest.mark.parametrize("kind", [Starlette, FastAPI])
@pytest.mark.asyncio
async def test_the_route_includes_the_application_s_root(recorded: Recording, kind: Any) -> None:
    """Behind a prefix the server knows of, http.route begins with it."""
    await fetch("/gate/x/1", of=kind(routes=[Route("/x/{a}", text)]), root_path="/gate")
    assert server(recorded).name == "GET /gate/x/{a}"


@pytest.mark.asyncio
async def test_a_middleware_that_tries_twice_does_not_confuse_the_route(recorded: Recording) -> None:
    """An application that is called twice for one request, with a copy of the scope each time, has the same route."""

    async def twice(scope: Any, receive: Any, send: Any) -> None:
        async def nowhere(_: Any) -> None:
            return None

        await app(dict(scope), receive, nowhere)
        await app(dict(scope), receive, send)

    await fetch("/mounted/1/m/2/y/3", of=TracingMiddleware(twice))
    assert server(recorded).name == "GET /mounted/{z}/m/{tenant}/y/{b}"


@pytest.mark.asyncio
async def test_headers_may_be_any_iterable(recorded: Recording) -> None:
    """Headers that can be read only once reach the client, besides ours."""

    async def once(scope: Any, receive: Any, send: Any) -> None:
        headers = iter([(b"X-Trace-Id", b"mine"), (b"a", b"b")])
        await send({"type": "http.response.start", "status": 200, "headers": headers})
        await send({"type": "http.response.body"})

    sent = await exchange(TracingMiddleware(once), [BODY])
    assert sent[0]["headers"] == [(b"X-Trace-Id", b"mine"), (b"a", b"b")]
    assert len(servers(recorded)) == 1


@pytest.mark.asyncio
async def test_an_unknown_method_is_bounded(recorded: Recording) -> None:
    """An invented method is _OTHER, with what was sent beside it."""
    await fetch("/items/3", "BREW")
    assert attributes(server(recorded))["http.request.method"] == "_OTHER"
    assert attributes(server(recorded))["http.request.method_original"] == "BREW"


@pytest.mark.parametrize(
    ("host", "address", "port"),
    [
        ("api.example", "api.example", 80),
        ("[::1]:8000", "::1", 8000),
        ("[::1]", "::1", 80),
        ("user@evil/path", "api.example", 8123),
    ],
)
@pytest.mark.asyncio
async def test_the_server_is_the_one_that_was_asked_for(
    recorded: Recording, host: str, address: str, port: int
) -> None:
    """server.address and server.port come from Host, or from the server where Host is nonsense."""
    await fetch("/items/3", headers={"Host": host})
    assert attributes(server(recorded))["server.address"] == address
    assert attributes(server(recorded))["server.port"] == port


@pytest.mark.asyncio
async def test_no_secret_is_in_any_span(recorded: Recording) -> None:
    """Secret query parameters are redacted; headers, cookies and bodies are not recorded."""
    headers = {"Authorization": SECRET, "Cookie": SECRET, "X-Api-Key": SECRET}
    await fetch(f"/items/3?access_token={SECRET}&page=2&X-Amz-Signature={SECRET}", headers=headers)
    assert SECRET not in server(recorded).to_json()
    assert attributes(server(recorded))["url.query"] == "access_token=REDACTED&page=2&X-Amz-Signature=REDACTED"


# -- the header ---------------------------------------------------------------------------------------------------


@pytest.mark.asyncio
async def test_the_header_has_the_name_one_likes() -> None:
    """The option renames the header."""
    with recording({"asgi": AsgiOptions(trace_id_header="X-Request-Trace")}) as kept:
        response = await fetch("/items/3")
        assert response.headers["x-request-trace"] == trace_id(server(kept))
        assert "x-trace-id" not in response.headers


@pytest.mark.asyncio
async def test_the_header_can_be_left_out() -> None:
    """With None there is no header, and all else is as ever."""
    with recording({"asgi": AsgiOptions(trace_id_header=None)}) as kept:
        assert "x-trace-id" not in (await fetch("/boom")).headers
        assert server(kept).name == "GET /boom"


@pytest.mark.asyncio
async def test_a_response_object_is_not_changed(recorded: Recording) -> None:
    """A response that is sent twice tells a trace of its own each time, and is left as it was."""
    before = list(CONSTANT.raw_headers)
    told = [(await fetch("/constant")).headers.get_list("x-trace-id") for _ in range(2)]
    assert told == [[trace_id(span)] for span in servers(recorded)]
    assert CONSTANT.raw_headers == before


@pytest.mark.asyncio
async def test_a_header_of_the_application_s_own_stays(recorded: Recording) -> None:
    """Where the application sets the header itself, it means it."""
    assert (await fetch("/own-header")).headers.get_list("x-trace-id") == ["the application's own"]
    assert server(recorded).name == "GET /own-header"


# -- parents ------------------------------------------------------------------------------------------------------


@pytest.mark.asyncio
async def test_the_parent_is_the_sender_s(recorded: Recording) -> None:
    """The parent comes from traceparent, with its tracestate; baggage is current in the endpoint."""
    seen: list[Any] = []

    async def endpoint(_: Request) -> Response:
        seen.append(baggage.get_baggage("tenant"))
        return Response()

    headers = [("traceparent", TRACEPARENT), ("tracestate", "a=1"), ("tracestate", "b=2"), ("baggage", "tenant=7")]
    await fetch("/", of=Starlette(routes=[Route("/", endpoint)]), headers=headers)
    span = server(recorded)
    assert trace_id(span) == TRACE_ID
    assert span.parent is not None
    assert f"{span.parent.span_id:016x}" == SPAN_ID
    assert span.parent.is_remote
    assert dict(span.parent.trace_state) == {"a": "1", "b": "2"}
    assert seen == ["7"]


@pytest.mark.asyncio
async def test_a_span_around_the_server_is_nobody_s_parent(recorded: Recording) -> None:
    """A server started inside a span, or detached from one, serves roots without links, and SERVER spans always."""
    with recorded.tracer.start_as_current_span("start-up") as around:
        await fetch("/items/1")
        await fetch("/items/2", headers={"traceparent": TRACEPARENT})
        detached = context.attach(context.without_span())
        await fetch("/items/3")
        detached.end()
        assert trace.get_current_span() is around
    first, second, third = servers(recorded)
    assert first.parent is None
    assert third.parent is None
    assert trace_id(first) != trace_id(third)
    assert first.links == third.links == ()
    assert trace_id(second) == TRACE_ID


@pytest.mark.parametrize("sent", [{}, {"traceparent": TRACEPARENT}])
@pytest.mark.asyncio
async def test_what_outer_middlewares_make_current_stays(recorded: Recording, sent: dict[str, str]) -> None:
    """Baggage set by a middleware outside is current in the endpoint, whether or not the request has a parent."""
    seen: list[Any] = []

    async def endpoint(_: Request) -> Response:
        seen.append(baggage.get_baggage("outer"))
        return Response()

    async def outside(scope: Any, receive: Any, send: Any) -> None:
        activation = context.attach(baggage.set_baggage("outer", "kept", context.current()))
        try:
            await inside(scope, receive, send)
        finally:
            activation.end()

    inside = Starlette(routes=[Route("/", endpoint)])
    await fetch("/", of=outside, headers=sent)
    assert seen == ["kept"]
    assert server(recorded).name == "GET /"


GARBAGE = [
    "",
    "garbage",
    TRACEPARENT.upper(),
    f"00-{0:032x}-{SPAN_ID}-01",
    f"00-{TRACE_ID}-{0:016x}-01",
    f"ff-{TRACE_ID}-{SPAN_ID}-01",
    f"{TRACEPARENT}-extra",
    "0" * 20_000,
    "\xff\xfe\\",
]


@pytest.mark.parametrize("value", GARBAGE)
@pytest.mark.asyncio
async def test_a_malformed_traceparent_is_no_parent(recorded: Recording, value: str) -> None:
    """Whatever is in traceparent, the answer is 200, and the trace a new one where it is not valid."""
    response = await fetch("/items/3", headers=[(b"traceparent", value.encode("latin-1"))])
    assert response.status_code == 200
    assert server(recorded).parent is None
    assert response.headers["x-trace-id"] != TRACE_ID


@pytest.mark.asyncio
async def test_two_traceparents_are_none(recorded: Recording) -> None:
    """A sender that contradicts itself starts no trace of ours (W3C Trace Context)."""
    await fetch("/items/3", headers=[("traceparent", TRACEPARENT), ("traceparent", TRACEPARENT)])
    assert server(recorded).parent is None


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("tracestate", "=,;junk\xff"),
        ("tracestate", "k=" + "v" * 20_000),
        ("baggage", ",".join(f"k{number}=v" for number in range(500))),
        ("baggage", "k=\xff" + "v" * 20_000),
    ],
)
@pytest.mark.asyncio
async def test_a_malformed_companion_does_not_lose_the_parent(
    recorded: Recording, caplog: pytest.LogCaptureFixture, name: str, value: str
) -> None:
    """Junk in tracestate or baggage is dropped, while the parent holds, and oversized baggage is not logged."""
    response = await fetch(
        "/items/3", headers=[(b"traceparent", TRACEPARENT.encode()), (name, value.encode("latin-1"))]
    )
    assert response.headers["x-trace-id"] == TRACE_ID
    assert trace_id(server(recorded)) == TRACE_ID
    assert name != "baggage" or caplog.records == []


@pytest.mark.asyncio
async def test_a_client_in_the_same_process_is_connected() -> None:
    """Client and server in one task: CLIENT span, SERVER span below it, and nothing current afterwards."""
    with recording(["asgi", "httpx"]) as kept:
        with kept.tracer.start_as_current_span("test") as parent:
            response = await fetch("/items/3")
            assert trace.get_current_span() is parent
        client = kept.only("GET")
        found = client.get_span_context()
        assert found is not None
        assert server(kept).parent is not None
        assert server(kept).parent.span_id == found.span_id  # type: ignore[union-attr]
        assert response.headers["x-trace-id"] == trace_id(client)


# -- how a response ends ------------------------------------------------------------------------------------------


@pytest.mark.asyncio
async def test_an_unhandled_exception_is_recorded_once(recorded: Recording) -> None:
    """An unhandled exception: ERROR, its class as error.type, one event, and the 500 that Starlette answers."""
    response = await fetch("/boom")
    span = server(recorded)
    assert response.status_code == 500
    assert attributes(span)["error.type"] == "ValueError"
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
    assert attributes(server(recorded))["error.type"] == "LookupError"


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
    await fetch("/status/503")
    assert attributes(server(recorded))["error.type"] == "503"
    assert server(recorded).events == ()


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
    span = server(recorded)
    assert seconds(span) >= 0.12
    assert [chunk.parent for chunk in recorded.spans if chunk.name == "chunk"] == [span.get_span_context()] * 3


@pytest.mark.asyncio
async def test_an_exception_in_a_stream_is_recorded_once(recorded: Recording) -> None:
    """An exception in the middle of a body is an ERROR with one event, whatever the status was."""
    await fetch("/stream?fail=true")
    span = server(recorded)
    assert span.status.status_code is StatusCode.ERROR
    assert attributes(span)["error.type"] == "RuntimeError"
    assert attributes(span)["http.response.status_code"] == 200
    assert [event.name for event in span.events] == ["exception"]


@pytest.mark.parametrize("status", [200, 500])
@pytest.mark.asyncio
async def test_background_tasks_are_not_in_the_duration(recorded: Recording, status: int) -> None:
    """What runs after the response does not make the request slower, whatever the status."""
    await fetch(f"/background?status={status}")
    assert attributes(server(recorded))["http.response.status_code"] == status
    assert (server(recorded).end_time or 0) <= (recorded.only("afterwards").start_time or 0)


@pytest.mark.asyncio
async def test_an_exception_after_the_response_is_visible(recorded: Recording) -> None:
    """A background task that fails leaves the SERVER span alone, and a span of its own in the same trace."""
    await fetch("/background?fail=true&seconds=0.05")
    span, late = server(recorded), recorded.only("after response")
    assert span.status.status_code is StatusCode.UNSET
    assert late.parent == span.get_span_context()
    assert late.start_time == span.end_time
    assert late.status.status_code is StatusCode.ERROR
    assert attributes(late)["error.type"] == "LookupError"
    assert [event.name for event in late.events] == ["exception"]


async def exchange(
    of: Any, messages: list[dict[str, Any]], scope: dict[str, Any] | None = None, send: Send | None = None
) -> list[dict[str, Any]]:
    """Speak ASGI to an application, message by message; returns what it sent."""
    sent: list[dict[str, Any]] = []

    async def receive() -> dict[str, Any]:
        await asyncio.sleep(0)
        return messages.pop(0) if messages else {"type": "http.disconnect"}

    async def keep(message: dict[str, Any]) -> None:
        sent.append(message)

    http = {
        "type": "http",
        "method": "GET",
        "path": "/",
        "query_string": b"",
        "headers": [],
        "asgi": {"version": "3.0"},
    }
    await of({**http, **(scope or {})}, receive, send or keep)
    return sent


BODY = {"type": "http.request", "body": b"", "more_body": False}


@pytest.mark.asyncio
async def test_a_client_that_leaves_is_an_error(recorded: Recording) -> None:
    """A client that disconnects in the middle of a stream makes an ERROR, which ends when it left."""
    sent = await exchange(app, [BODY], {"path": "/stream", "query_string": b"chunks=100&pause=0.02"})
    assert len(sent) < 100
    span = server(recorded)
    assert attributes(span)["error.type"] == "client_disconnected"
    assert span.status.status_code is StatusCode.ERROR
    assert span.events == ()


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
    assert attributes(server(recorded))["error.type"] == "client_disconnected"
    assert server(recorded).events == ()


@pytest.mark.asyncio
async def test_a_client_that_leaves_while_sending_is_an_error_of_its_own(recorded: Recording) -> None:
    """A body that never arrives is the client's departure, not an exception of the application, whatever it answers."""

    async def endpoint(request: Request) -> Response:
        return Response(await request.body())

    with pytest.raises(ClientDisconnect):
        await exchange(Starlette(routes=[Route("/", endpoint)]), [{**BODY, "more_body": True}])
    assert attributes(server(recorded))["error.type"] == "client_disconnected"
    assert server(recorded).events == ()


@pytest.mark.asyncio
async def test_a_client_that_leaves_after_the_end_is_none(recorded: Recording) -> None:
    """A disconnect after the last message is how connections end."""

    async def polite(scope: Any, receive: Any, send: Any) -> None:
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await send({"type": "http.response.body"})
        assert (await receive())["type"] == "http.disconnect"

    await exchange(TracingMiddleware(polite), [])
    assert server(recorded).status.status_code is StatusCode.UNSET


@pytest.mark.asyncio
async def test_an_application_that_does_not_answer_is_an_error(recorded: Recording) -> None:
    """An application that returns without an answer has failed."""

    async def silent(scope: Any, receive: Any, send: Any) -> None:
        return None

    await exchange(TracingMiddleware(silent), [BODY])
    assert attributes(server(recorded))["error.type"] == "incomplete_response"


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
    assert {span.status.status_code for span in servers(recorded)} == {StatusCode.UNSET}


@pytest.mark.asyncio
async def test_a_cancelled_request_is_marked(recorded: Recording) -> None:
    """A request that the server cancels, as at its shutdown, is no error: unset and marked."""
    task = asyncio.create_task(exchange(app, [BODY], {"path": "/slow/30"}))
    await asyncio.sleep(0.1)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert attributes(server(recorded))["causal.cancelled"] is True
    assert server(recorded).status.status_code is StatusCode.UNSET


# -- websockets ---------------------------------------------------------------------------------------------------


def websocket(room: str, **scope: Any) -> dict[str, Any]:
    return {"type": "websocket", "path": f"/ws/{room}", "scheme": "ws", "headers": [], "subprotocols": [], **scope}


def said(*texts: str, code: int = 1006) -> list[dict[str, Any]]:
    """A client that connects, says this, and leaves."""
    return [
        {"type": "websocket.connect"},
        *({"type": "websocket.receive", "text": text} for text in texts),
        {"type": "websocket.disconnect", "code": code},
    ]


@pytest.mark.asyncio
async def test_a_websocket_is_one_span(recorded: Recording) -> None:
    """A connection with many messages is one SERVER span, child of its handshake's sender."""
    headers = [(b"traceparent", TRACEPARENT.encode()), (b"host", b"api.example")]
    sent = await exchange(app, said(*["hello"] * 20, "bye"), websocket("red", headers=headers))
    [span] = recorded.spans
    assert len(sent) == 22
    assert span.name == "GET /ws/{room}"
    assert span.kind is SpanKind.SERVER
    assert trace_id(span) == TRACE_ID
    assert span.status.status_code is StatusCode.UNSET
    found = attributes(span)
    assert (found["url.scheme"], found["network.protocol.name"]) == ("ws", "websocket")
    assert found["server.port"] == 80
    assert found["http.response.status_code"] == 101
    assert (b"x-trace-id", TRACE_ID.encode()) in sent[0]["headers"]


@pytest.mark.asyncio
async def test_a_refused_websocket_is_a_403(recorded: Recording) -> None:
    """A connection closed before it was accepted was answered 403."""
    await exchange(app, said(), websocket("closed"))
    assert attributes(server(recorded))["http.response.status_code"] == 403


@pytest.mark.asyncio
async def test_a_websocket_s_client_may_leave(recorded: Recording) -> None:
    """A client that vanishes is how most connections end: no error."""
    with contextlib.suppress(WebSocketDisconnect):
        await exchange(app, said("hello"), websocket("red"))
    assert server(recorded).status.status_code is StatusCode.UNSET
    assert server(recorded).events == ()


@pytest.mark.asyncio
async def test_a_websocket_s_client_may_leave_while_spoken_to(recorded: Recording) -> None:
    """Where the server tells of it by an OSError, that comes through and is no error of the connection's either."""

    async def gone(message: dict[str, Any]) -> None:
        if message["type"] == "websocket.send":
            raise OSError("gone")

    with contextlib.suppress(OSError, WebSocketDisconnect):
        await exchange(app, said("hello"), websocket("red"), gone)
    assert server(recorded).status.status_code is StatusCode.UNSET


@pytest.mark.asyncio
async def test_an_exception_in_a_websocket_is_an_error(recorded: Recording) -> None:
    """An exception that ends a connection is recorded on its span."""
    with pytest.raises(ValueError, match="went wrong"):
        await exchange(app, said("fail"), websocket("red"))
    assert attributes(server(recorded))["error.type"] == "ValueError"
    assert [event.name for event in server(recorded).events] == ["exception"]


# -- lifespan -----------------------------------------------------------------------------------------------------


class Flushed:
    """Stands in for the provider's flush, which is at the other end of the process."""

    def __init__(self) -> None:
        self.calls: list[tuple[float, str]] = []
        self.gate = threading.Event()
        self.gate.set()

    def __call__(self, timeout: float) -> bool:
        self.calls.append((timeout, threading.current_thread().name))
        return self.gate.wait(60)


async def live(of: Any) -> list[str]:
    """Start an application and shut it down; returns the messages it sent."""
    messages = [{"type": "lifespan.startup"}, {"type": "lifespan.shutdown"}]
    return [message["type"] for message in await exchange(of, messages, {"type": "lifespan", "state": {}})]


@pytest.mark.asyncio
async def test_a_lifespan_is_no_span_and_ends_with_a_flush(monkeypatch: pytest.MonkeyPatch) -> None:
    """The lifespan makes no span; all spans are exported, off the loop's thread, before the server hears of its end."""
    flushed, order = Flushed(), []

    @contextlib.asynccontextmanager
    async def lifespan(_: Any) -> AsyncIterator[None]:
        yield
        order.append(f"shut down after {len(flushed.calls)} flushes")

    monkeypatch.setattr(Installation, "flush", flushed)
    with recording(["asgi"]) as kept:
        for kind in (FastAPI, Starlette):
            sent = await live(kind(lifespan=lifespan))
            assert sent == ["lifespan.startup.complete", "lifespan.shutdown.complete"]
        assert kept.spans == []
    assert order == ["shut down after 0 flushes", "shut down after 1 flushes"]
    assert {name for _, name in flushed.calls} == {"causal-otel-flush"}


@pytest.mark.asyncio
async def test_a_flush_that_hangs_does_not_keep_the_server(monkeypatch: pytest.MonkeyPatch) -> None:
    """However long the provider's flush takes, the shutdown goes on after a while."""
    monkeypatch.setattr("causal_otel.patches.asgi._FLUSH_SECONDS", 0.2)
    flushed = Flushed()
    flushed.gate.clear()
    monkeypatch.setattr(Installation, "flush", flushed)
    with recording(["asgi"]):
        began = time.monotonic()
        assert await live(Starlette()) == ["lifespan.startup.complete", "lifespan.shutdown.complete"]
        assert time.monotonic() - began >= 0.2
        assert len(flushed.calls) == 1  # and it hangs still
        flushed.gate.set()


# -- context ------------------------------------------------------------------------------------------------------


@pytest.mark.asyncio
async def test_the_span_is_current_in_the_endpoint_only(recorded: Recording) -> None:
    """Spans of an endpoint are children of the SERVER span; afterwards what was current before is current again."""
    before = context.current()

    async def endpoint(_: Request) -> Response:
        with recorded.tracer.start_as_current_span("inside"):
            return Response()

    await fetch("/", of=Starlette(routes=[Route("/", endpoint)]))
    assert recorded.only("inside").parent == server(recorded).get_span_context()
    assert context.current() is before


@pytest.mark.asyncio
async def test_middlewares_see_the_span(recorded: Recording) -> None:
    """Inside BaseHTTPMiddleware, which runs the endpoint in another task, the span is the same one."""

    async def dispatch(request: Request, call_next: Any) -> Response:
        trace.get_current_span().set_attribute("before", True)
        response: Response = await call_next(request)
        trace.get_current_span().set_attribute("after", True)
        return response

    of = Starlette(routes=[Route("/x/{a}", text)], middleware=[Middleware(BaseHTTPMiddleware, dispatch=dispatch)])
    await fetch("/x/1", of=of)
    span = server(recorded)
    assert span.name == "GET /x/{a}"
    assert attributes(span)["before"] is attributes(span)["after"] is True


@pytest.mark.asyncio
async def test_concurrent_requests_are_kept_apart(recorded: Recording) -> None:
    """Of 200 requests at once, each has its own sender's trace, its own span current, and its own header."""

    async def one(number: int) -> tuple[str, str, str]:
        wanted = f"{number + 1:032x}"
        response = await fetch(f"/items/{number}", headers={"traceparent": f"00-{wanted}-{SPAN_ID}-01"})
        return wanted, response.headers["x-trace-id"], response.json()["trace"]

    assert all(len(set(told)) == 1 for told in await asyncio.gather(*(one(number) for number in range(200))))
    for span in servers(recorded):
        assert attributes(span)["url.path"] == f"/items/{int(trace_id(span), 16) - 1}"
    assert len(servers(recorded)) == 200


# -- when nothing is recorded -------------------------------------------------------------------------------------


@pytest.mark.asyncio
async def test_an_unsampled_request_still_has_a_trace() -> None:
    """Where nothing is recorded the context is there all the same, and the response tells it."""
    with recording(["asgi"], sampler=ALWAYS_OFF) as kept:
        response = await fetch("/items/3", headers={"traceparent": TRACEPARENT})
        assert response.headers["x-trace-id"] == TRACE_ID == response.json()["trace"]
        assert (await fetch("/boom")).headers["x-trace-id"]
        assert kept.spans == []


@pytest.mark.asyncio
async def test_a_suppressed_request_is_left_alone(recorded: Recording) -> None:
    """Inside a suppression nothing is recorded and nothing is told."""
    with context.suppress():
        assert "x-trace-id" not in (await fetch("/items/3")).headers
    assert recorded.spans == []


# -- bare applications, and others who trace ----------------------------------------------------------------------


async def bare(scope: Any, receive: Any, send: Any) -> None:
    """An application of no framework, which leaves a route in the scope as some do."""
    if scope["path"] == "/boom":
        raise ValueError("went wrong")
    scope["route"] = Route("/bare/{x}", text)
    await send({"type": "http.response.start", "status": 200})
    await send({"type": "http.response.body", "body": b"bare"})


@pytest.mark.asyncio
async def test_a_bare_application_is_traced_by_the_middleware(recorded: Recording) -> None:
    """TracingMiddleware gives any ASGI application the same span, header and errors."""
    response = await fetch("/bare/1", of=TracingMiddleware(bare), headers={"traceparent": TRACEPARENT})
    assert response.text == "bare"
    assert response.headers["x-trace-id"] == TRACE_ID
    assert server(recorded).name == "GET /bare/{x}"
    recorded.clear()
    await fetch("/boom", of=TracingMiddleware(bare))
    assert server(recorded).name == "GET"
    assert attributes(server(recorded))["error.type"] == "ValueError"
    assert "http.response.status_code" not in attributes(server(recorded))


@pytest.mark.asyncio
async def test_the_middleware_waits_for_install(recorded: Recording) -> None:
    """Made before install() and used after an uninstall, the middleware only passes on."""
    of = TracingMiddleware(bare)
    await fetch("/", of=of)
    assert len(servers(recorded)) == 1
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(TracingMiddleware, "_tracing", None)
        assert "x-trace-id" not in (await fetch("/", of=of)).headers
    assert len(servers(recorded)) == 1


@pytest.mark.asyncio
async def test_the_middleware_around_a_traced_application_adds_nothing(recorded: Recording) -> None:
    """Around FastAPI the middleware makes the one span, which still has the route."""
    response = await fetch("/sub/items/3", of=TracingMiddleware(app))
    assert server(recorded).name == "GET /sub/items/{i}"
    assert response.headers.get_list("x-trace-id") == [trace_id(server(recorded))]


@pytest.mark.parametrize("where", ["inside", "outside"])
@pytest.mark.asyncio
async def test_starlette_s_own_middleware_does_not_double_the_span(recorded: Recording, where: str) -> None:
    """With Starlette's OpenTelemetry middleware there is one SERVER span: ours, or its own where it is outside."""
    telemetry = pytest.importorskip("starlette.middleware.opentelemetry").OpenTelemetryMiddleware
    provider = recorded.provider
    routes = [Route("/x/{a}", text)]
    if where == "inside":
        of: Any = Starlette(routes=routes, middleware=[Middleware(telemetry, tracer_provider=provider)])
    else:
        of = telemetry(Starlette(routes=routes), tracer_provider=provider)
    await fetch("/x/1", of=of)
    span = server(recorded)
    assert span.name == "GET /x/{a}"
    assert span.instrumentation_scope is not None
    assert span.instrumentation_scope.name == ("causal_otel.asgi" if where == "inside" else "starlette")


@pytest.mark.parametrize("whose", ["ours", "the SDK's"])
def test_fastapi_s_own_telemetry_does_not_double_the_span(whose: str) -> None:
    """With a global provider, for which FastAPI would trace itself, there is one SERVER span, and it is ours."""
    program = f"""
import asyncio, httpx, json
from opentelemetry import trace
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
import causal_otel
from tests.patches.asgi_app import app
exporter = InMemorySpanExporter()
if {whose != "ours"}:
    trace.set_tracer_provider(TracerProvider())
causal_otel.install(patches=["asgi"], exporter="none")
trace.get_tracer_provider().add_span_processor(SimpleSpanProcessor(exporter))
async def main():
    async with httpx.AsyncClient(transport=httpx.ASGITransport(app=app), base_url="http://h") as client:
        for path in ("/items/3", "/sub/items/3"):
            await client.get(path)
asyncio.run(main())
print(json.dumps([[s.name, s.kind.name, s.instrumentation_scope.name] for s in exporter.get_finished_spans()]))
"""
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=60, cwd=ROOT)
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout) == [
        ["GET /items/{i}", "SERVER", "causal_otel.asgi"],
        ["GET /sub/items/{i}", "SERVER", "causal_otel.asgi"],
    ]


# -- install and uninstall ----------------------------------------------------------------------------------------


def test_uninstall_restores_the_very_same_objects() -> None:
    """Afterwards every patched attribute is the object it was before, and inherited ones are inherited again."""
    before = originals(PATCH)
    with recording(["asgi"]):
        assert placed(PATCH, before)
    assert originals(PATCH) == before


def test_the_patched_methods_look_like_the_originals() -> None:
    """Signature, kind, pickle and deepcopy are as without us, and classes keep their identity."""
    classes = (fastapi.FastAPI, starlette.applications.Starlette)
    before = [(inspect.signature(kind.__call__), inspect.iscoroutinefunction(kind.__call__)) for kind in classes]
    with recording(["asgi"]):
        assert (fastapi.FastAPI, starlette.applications.Starlette) == classes
        assert isinstance(app, FastAPI)
        for kind, (signature, is_coroutine) in zip(classes, before, strict=True):
            assert inspect.signature(kind.__call__) == signature
            assert inspect.iscoroutinefunction(kind.__call__) is is_coroutine
            assert copy.deepcopy(kind.__call__) is kind.__call__
            assert pickle.loads(pickle.dumps(kind.__call__)) is kind.__call__


@pytest.mark.asyncio
async def test_the_scope_is_left_clean(recorded: Recording) -> None:
    """After the request nothing of ours is in the scope, and nothing that would stop others from tracing."""
    scope: dict[str, Any] = {}

    async def outside(given: Any, receive: Any, send: Any) -> None:
        await app(given, receive, send)
        scope.update(given)

    await fetch("/items/3", of=outside)
    assert scope["path"] == "/items/3"
    assert not [key for key in scope if "telemetry" in key or "causal" in key]
    assert server(recorded).name == "GET /items/{i}"


@pytest.mark.asyncio
async def test_a_fault_of_ours_does_not_reach_the_request(monkeypatch: pytest.MonkeyPatch) -> None:
    """Where tracing itself fails, the request is served as if it were not there."""
    sites = ("request_attributes", "parent_context", "Exchange.sent", "Exchange.routed", "Exchange.returned")
    answers: list[httpx.Response] = []

    async def break_each() -> None:
        with recording(["asgi"]):
            for site in sites:
                with monkeypatch.context() as broken:
                    broken.setattr(f"causal_otel.patches.asgi.{site}", lambda *_: 1 / 0)
                    answers.append(await fetch("/status/503"))

    with pytest.raises(AssertionError, match="failed and was contained"):
        await break_each()
    assert [answer.status_code for answer in answers] == [503] * len(sites)
    assert set(faults.counts()) >= {"asgi: request", "asgi: response", "asgi: route", "asgi: outcome"}


# -- behind uvicorn -----------------------------------------------------------------------------------------------


def raw(url: str, head: bytes) -> bytes:
    """Send these bytes and read until the server closes."""
    parts = urlsplit(url)
    with socket.create_connection((parts.hostname, parts.port), 60) as connection:
        connection.sendall(head)
        received = b""
        while data := connection.recv(65536):
            received += data
    return received


@pytest.mark.parametrize(
    "header",
    [
        rb"traceparent: " + b"\xff\xfe\\",
        rb"baggage: k=" + b"\xff\\",
        rb"user-agent: " + b"\xff\\x",
        rb"tracestate: " + b"\xff\xfe",
        rb"x-forwarded-for: " + b"\xff",
    ],
)
def test_header_bytes_that_are_not_utf8_change_nothing(recorded: Recording, header: bytes) -> None:
    """Hostile bytes in a header never make a 500."""
    with serve(app) as url:
        answer = raw(url, b"GET /items/3 HTTP/1.1\r\nHost: h\r\nConnection: close\r\n" + header + b"\r\n\r\n")
        assert answer.startswith(b"HTTP/1.1 200")
        assert b"x-trace-id: " in answer
        assert eventually(lambda: servers(recorded))[0].name == "GET /items/{i}"


@contextlib.contextmanager
def uvicorn_process(receiver: ReceivedSpans, *options: str) -> Iterator[tuple[str, Any]]:
    """The application behind a uvicorn of its own, which exports only when it must."""
    port = claim_port(None, "uvicorn")
    url = f"http://127.0.0.1:{port}"
    command = [sys.executable, "-m", "uvicorn", "tests.patches.asgi_app:app", "--port", str(port), *options]
    environment = {
        **os.environ,
        "TESTS_INSTALL": "1",
        "OTEL_EXPORTER_OTLP_ENDPOINT": receiver.endpoint,
        "OTEL_BSP_SCHEDULE_DELAY": "60000",
        # FastAPI would export as well, to the same place.
        "FASTAPI_OTEL_AUTO_CONFIGURE": "true",
        "OTEL_METRICS_EXPORTER": "none",
        "OTEL_LOGS_EXPORTER": "none",
    }

    def ready(_: Any) -> bool:
        return http_status(f"{url}/openapi.json") == 200

    with process(command, name="uvicorn", env=environment, cwd=ROOT, ready=ready) as child:
        yield url, child


@pytest.mark.parametrize("lifespan", ["on", "off"])
def test_sigterm_loses_nothing(receiver: ReceivedSpans, lifespan: str) -> None:
    """Uvicorn ends by SIGTERM right after 20 requests: all 20 spans arrive, with a lifespan or without."""
    with uvicorn_process(receiver, "--lifespan", lifespan) as (url, child):
        for number in range(20):
            with urllib.request.urlopen(f"{url}/items/{number}", timeout=60) as response:
                assert response.headers["X-Trace-Id"]
        os.kill(child.pid, signal.SIGTERM)
        assert child.wait(60) in (0, -signal.SIGTERM)
    paths = [span["attributes"]["url.path"] for span in receiver.spans() if span["kind"] == "SERVER"]
    assert [path for path in paths if path.startswith("/items/")] == [f"/items/{number}" for number in range(20)]


def test_a_disconnect_behind_uvicorn_is_an_error(receiver: ReceivedSpans) -> None:
    """A client that closes its connection in the middle of a stream is found out by a real server too."""
    with uvicorn_process(receiver) as (url, child):
        parts = urlsplit(url)
        with socket.create_connection((parts.hostname, parts.port), 60) as connection:
            connection.sendall(b"GET /stream?chunks=1000&pause=0.05 HTTP/1.1\r\nHost: h\r\n\r\n")
            assert b"x-trace-id" in connection.recv(65536)
        os.kill(child.pid, signal.SIGTERM)
        child.wait(60)
    [span] = [span for span in receiver.spans() if span["name"] == "GET /stream"]
    assert span["attributes"]["error.type"] == "client_disconnected"
    assert span["status"]["code"] == "ERROR"
    assert (span["end"] - span["start"]) / 1e9 < 5
