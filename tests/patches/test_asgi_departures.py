"""How a request ends, behind a real uvicorn and below middlewares of every kind: the outcome is the same below each."""

from __future__ import annotations

import asyncio
import gc
import threading
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from typing import Any

import pytest
from fastapi import FastAPI
from opentelemetry.sdk.trace import ReadableSpan
from opentelemetry.trace import SpanKind
from starlette.applications import Starlette
from starlette.background import BackgroundTask
from starlette.middleware import Middleware
from starlette.middleware.base import BaseHTTPMiddleware
from starlette.middleware.gzip import GZipMiddleware
from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response, StreamingResponse
from starlette.routing import Mount, Route, WebSocketRoute
from starlette.websockets import WebSocket
from websockets.sync.client import connect

from causal_otel.patches.asgi import TracingMiddleware
from tests.patches.asgi_requests import server as only_server
from tests.patches.http_server import serve
from tests.patches.raw_http import ask, connected, read
from tests.recording import Recording, recording
from tests.span_relations import assert_span, attributes
from tests.waiting import wait_until

BEFORE_LEAVING = 0.2
"""How long the clients of these tests stay, in seconds."""

BEGUN, LEFT, HEARD = threading.Event(), threading.Event(), threading.Event()
"""Set by an endpoint that is at work, by its client that has left, and by an endpoint that has learned of that."""


# -- the application --------------------------------------------------------------------------------------------------


async def stream(request: Request) -> Response:
    """Chunks for ever, or until it fails; of events, if so asked."""

    async def body() -> AsyncIterator[bytes]:
        try:
            for number in range(100_000):
                yield b"data: %d\n\n" % number
                await asyncio.sleep(0.01)
                BEGUN.set()
                if number and "fail" in request.query_params:
                    raise LookupError("no more")
        finally:
            HEARD.set()

    events = "events" in request.query_params
    return StreamingResponse(body(), media_type="text/event-stream; charset=utf-8" if events else "text/plain")


async def poll(request: Request) -> Response:
    """Asks whether the client has gone, and answers all the same.

    Below ``BaseHTTPMiddleware`` Starlette says no for ever (seen in 1.10, without us as well), so it gives up asking a
    good while after the client has gone.
    """
    BEGUN.set()
    asked_since = 0
    while asked_since < 100 and not await request.is_disconnected():
        asked_since += LEFT.is_set()
        await asyncio.sleep(0.01)
    HEARD.set()
    return PlainTextResponse("to nobody")


async def upload(request: Request) -> Response:
    """Reads the whole body, if there is one."""
    BEGUN.set()
    try:
        return PlainTextResponse(str(len(await request.body())))
    finally:
        HEARD.set()


async def short(_: Request) -> Response:
    """A stream with an end."""

    async def body() -> AsyncIterator[bytes]:
        for _ in range(3):
            yield b"x" * 600
            await asyncio.sleep(0)

    return StreamingResponse(body())


async def afterwards(_: Request) -> Response:
    """Fails when the response is over."""

    async def fail() -> None:
        await asyncio.sleep(0.05)
        raise LookupError("too late")

    return PlainTextResponse("done", background=BackgroundTask(fail))


async def handled(_: Request) -> Response:
    """Raises what the application turns into a response."""
    raise KeyError("known")


async def on_key_error(_: Request, __: Exception) -> Response:
    return PlainTextResponse("handled", 409)


async def websocket(websocket: WebSocket) -> None:
    await websocket.accept()
    async for text in websocket.iter_text():
        await websocket.send_text(text)


async def unanswered(scope: Any, receive: Any, send: Any) -> None:
    """Waits for the client to go, and answers nothing at all."""
    BEGUN.set()
    while (await receive())["type"] != "http.disconnect":
        pass
    HEARD.set()


ROUTES = [
    *(Route(f"/{each.__name__}", each, methods=["GET", "POST"]) for each in (stream, poll, upload, short, afterwards)),
    Route("/handled", handled),
    Mount("/unanswered", unanswered),
    WebSocketRoute("/websocket", websocket),
]
HANDLERS: Any = {KeyError: on_key_error}


async def _dispatch(request: Request, call_next: Callable[[Request], Awaitable[Response]]) -> Response:
    response = await call_next(request)
    response.headers["X-Middleware"] = "yes"
    return response


class Pure:
    """A middleware of plain ASGI."""

    def __init__(self, app: Any) -> None:
        self.app = app

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        async def receive_() -> Any:
            return await receive()

        async def send_(message: Any) -> None:
            await send(message)

        await self.app(scope, receive_, send_)


_BASE, _PURE = Middleware(BaseHTTPMiddleware, dispatch=_dispatch), Middleware(Pure)
_GZIP = Middleware(GZipMiddleware, minimum_size=500)


def starlette(*middleware: Middleware) -> Starlette:
    return Starlette(routes=ROUTES, middleware=middleware, exception_handlers=HANDLERS)


def fastapi() -> FastAPI:
    """An application with a middleware of its own, as FastAPI's documentation makes one."""
    app = FastAPI(routes=ROUTES, exception_handlers=HANDLERS)
    app.middleware("http")(_dispatch)
    return app


APPLICATIONS: dict[str, Callable[[], Any]] = {
    "no middleware": starlette,
    "@app.middleware": fastapi,
    "three": lambda: starlette(_BASE, _BASE, _BASE),
    "pure": lambda: starlette(_PURE),
    "gzip": lambda: starlette(_GZIP),
    "mixed": lambda: starlette(_BASE, _GZIP, _PURE, _BASE),
    "mounted": lambda: Starlette(routes=[Mount("/", starlette(_BASE))]),
    "mounted below": lambda: Starlette(routes=[Mount("/", starlette(_BASE))], middleware=[_BASE]),
    "wrapped": lambda: TracingMiddleware(BaseHTTPMiddleware(starlette(), dispatch=_dispatch)),
}


@pytest.fixture(params=list(APPLICATIONS))
def served(request: pytest.FixtureRequest) -> Iterator[tuple[Recording, str]]:
    """One of the applications behind uvicorn, and its spans."""
    for event in (BEGUN, LEFT, HEARD):
        event.clear()
    with (
        recording(["asgi"]) as recorded,
        serve(APPLICATIONS[request.param](), ws="websockets-sansio") as url,
    ):
        yield recorded, url


# -- the clients ------------------------------------------------------------------------------------------------------


def server(recorded: Recording, **outcome: Any) -> ReadableSpan:
    """The only SERVER span, once it has ended: a root, of which :func:`assert_span` asserts ``outcome``."""
    wait_until(lambda: recorded.spans)
    return only_server(recorded, **outcome)


def wait_for(event: threading.Event) -> None:
    """Wait until an endpoint has said so; a stream that its middleware has dropped says it when it is collected."""
    deadline = time.monotonic() + 60
    while not event.wait(0.1):
        assert time.monotonic() < deadline, "the endpoint does not get there"
        gc.collect()


# -- clients that leave -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("path", ["/stream", "/poll", "/upload", "/unanswered/"])
def test_a_client_that_leaves_is_an_error_below_any_middleware(served: tuple[Recording, str], path: str) -> None:
    """Whether it leaves in mid-response, in mid-upload or while the application asks: one ERROR, until it left."""
    recorded, url = served
    with connected(url) as connection:
        ask(connection, path, method="POST", length=1000 if path == "/upload" else 0, body=b"x" * 10)
        wait_for(BEGUN)
        time.sleep(BEFORE_LEAVING)
        assert not recorded.spans
        left = time.time_ns()
    LEFT.set()
    span = server(recorded, error="client_disconnected", lasts=BEFORE_LEAVING)
    wait_for(HEARD)
    assert attributes(span).get("http.response.status_code") == (200 if path == "/stream" else None)
    assert span.events == ()
    assert span.end_time
    assert span.end_time >= left - 5_000_000  # the two clocks are one, but a trace reads it when it begins
    assert len(recorded.spans) == 1


def test_a_closed_stream_of_events_is_no_error_below_any_middleware(served: tuple[Recording, str]) -> None:
    """A client ends a stream of server-sent events by closing it: a success, as long as it lasted."""
    recorded, url = served
    with connected(url) as connection:
        ask(connection, "/stream?events=1")
        assert b"text/event-stream" in read(connection, b"\r\n\r\n")
        wait_for(BEGUN)
        time.sleep(BEFORE_LEAVING)
    span = server(recorded, lasts=BEFORE_LEAVING)
    assert attributes(span)["http.response.status_code"] == 200
    assert len(recorded.spans) == 1


def test_a_connection_that_is_kept_alive_and_closed_is_no_error(served: tuple[Recording, str]) -> None:
    """Two requests on one connection, which is closed after their ends: two successes."""
    recorded, url = served
    with connected(url) as connection:
        for _ in range(2):
            ask(connection, "/short")
            assert read(connection, b"\r\n0\r\n\r\n").startswith(b"HTTP/1.1 200")
    wait_until(lambda: len(recorded.spans) == 2)
    for span in recorded.spans:
        assert (span.name, span.kind) == ("GET /short", SpanKind.SERVER)
        assert assert_span(span, None)["http.response.status_code"] == 200


def test_a_client_that_closes_a_websocket_is_no_error(served: tuple[Recording, str]) -> None:
    """A websocket's client may leave at any time: one span, no error, as long as the connection lasted."""
    recorded, url = served
    with connect(url.replace("http", "ws") + "/websocket", proxy=None) as connection:
        connection.send("hello")
        assert connection.recv(10) == "hello"
        time.sleep(BEFORE_LEAVING)
    span = server(recorded, lasts=BEFORE_LEAVING)
    assert attributes(span)["http.response.status_code"] == 101
    assert len(recorded.spans) == 1


# -- applications that fail -------------------------------------------------------------------------------------------


@pytest.mark.parametrize("query", ["?fail=1", "?fail=1&events=1"])
def test_an_exception_in_mid_stream_is_an_error_below_any_middleware(served: tuple[Recording, str], query: str) -> None:
    """An exception in the middle of a body is on the request's own span, once, though a middleware ends the body."""
    recorded, url = served
    with connected(url) as connection:
        ask(connection, f"/stream{query}")
        span = server(recorded, error="LookupError", lasts=0.015)
    assert attributes(span)["http.response.status_code"] == 200
    [event] = span.events
    assert event.attributes
    assert event.attributes["exception.message"] == "no more"
    assert len(recorded.spans) == 1


def test_a_failure_in_the_background_is_not_the_request_s(served: tuple[Recording, str]) -> None:
    """A background task that fails leaves the request a success, and its own span alone tells of it."""
    recorded, url = served
    with connected(url) as connection:
        ask(connection, "/afterwards")
        assert read(connection, b"\r\n\r\n").startswith(b"HTTP/1.1 200")
        wait_until(lambda: len(recorded.spans) == 2)
    span, task = server(recorded), recorded.only("afterwards.<locals>.fail")
    assert_span(task, span.get_span_context(), error="LookupError", lasts=0.045)
    assert [event.name for event in task.events] == ["exception"]


def test_an_exception_that_is_handled_is_no_error(served: tuple[Recording, str]) -> None:
    """What the application turns into a response is recorded as that response."""
    recorded, url = served
    with connected(url) as connection:
        ask(connection, "/handled")
        assert read(connection, b"\r\n\r\n").startswith(b"HTTP/1.1 409")
        span = server(recorded)
    assert attributes(span)["http.response.status_code"] == 409
    assert span.events == ()
