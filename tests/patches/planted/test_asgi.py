"""Where the time of a request went, behind a real uvicorn: a wait that is planted is in the part that it belongs to."""

from __future__ import annotations

import asyncio
import socket
import threading
import time
from collections.abc import AsyncIterator, Iterator
from typing import TYPE_CHECKING, Annotated, Any

import anyio
import anyio.to_thread
import pytest
from fastapi import Depends, FastAPI, Request
from starlette.background import BackgroundTask
from starlette.middleware import Middleware
from starlette.middleware.base import BaseHTTPMiddleware
from starlette.responses import PlainTextResponse, Response, StreamingResponse

import causal_otel
from tests.patches.asgi_requests import servers
from tests.patches.http_server import serve
from tests.patches.planted.waits import WAIT, assert_no_part, assert_part, parts
from tests.patches.raw_http import ask, connected, read
from tests.recording import Recording, recording
from tests.slow_machine import assert_below
from tests.span_relations import assert_span, attributes
from tests.waiting import wait_until

if TYPE_CHECKING:
    from opentelemetry.sdk.trace import ReadableSpan

PIECE = b"x" * 262_144
PIECES = 64
"""More than the buffers of a connection hold."""

BUSY, FREE = threading.Event(), threading.Event()
"""Set when an endpoint is at work, which may have taken the only thread, and when it may go on."""

LIMITERS: list[anyio.CapacityLimiter] = []
"""That of the threads, of the latest application."""


async def _large() -> AsyncIterator[bytes]:
    for _ in range(PIECES):
        yield PIECE


def _sync_large() -> Iterator[bytes]:
    for _ in range(PIECES):
        yield PIECE


async def _pausing() -> AsyncIterator[bytes]:
    yield b"first"
    await asyncio.sleep(WAIT)
    yield b"last"


def _hold() -> str:
    BUSY.set()
    assert FREE.wait(60)
    return "held"


def _quick() -> str:
    return "quick"


async def _only_thread() -> None:
    """From now on there is one thread."""
    LIMITERS[:] = [anyio.to_thread.current_default_thread_limiter()]
    LIMITERS[0].total_tokens = 1


def _app() -> FastAPI:
    app = FastAPI()

    @app.get("/large")
    async def large() -> Response:
        return StreamingResponse(_large())

    @app.get("/sync-large")
    async def sync_large() -> Response:
        return StreamingResponse(_sync_large())

    @app.get("/pausing")
    async def pausing() -> Response:
        await asyncio.sleep(WAIT)
        return StreamingResponse(_pausing())

    @app.post("/upload")
    async def upload(request: Request) -> str:
        BUSY.set()
        return str(len(await request.body()))

    @app.post("/ignoring")
    async def ignoring() -> Response:
        return StreamingResponse(_pausing())

    @app.get("/working")
    async def working() -> str:
        await asyncio.sleep(WAIT)
        return "done"

    @app.get("/hold", dependencies=[Depends(_only_thread)])
    def hold() -> str:
        return _hold()

    @app.get("/endpoint")
    def endpoint() -> str:
        return "quick"

    @app.get("/dependency")
    async def dependency(found: Annotated[str, Depends(_quick)]) -> str:
        return found

    @app.get("/gathered")
    async def gathered() -> list[str]:
        return list(await asyncio.gather(*(anyio.to_thread.run_sync(_quick) for _ in range(5))))

    @app.get("/own")
    async def own() -> str:
        with causal_otel.span("around"), causal_otel.span("own"):
            return await anyio.to_thread.run_sync(_quick)

    @app.get("/background")
    async def background() -> Response:
        return PlainTextResponse("done", background=BackgroundTask(_quick))

    return app


async def _pass_on(request: Any, call_next: Any) -> Response:
    response: Response = await call_next(request)
    return response


@pytest.fixture(params=["plain", "middleware"])
def served(request: pytest.FixtureRequest) -> Iterator[tuple[Recording, str]]:
    """The application behind uvicorn, below Starlette's middleware or not, and its spans."""
    BUSY.clear()
    FREE.clear()
    app = _app()
    if request.param == "middleware":
        app.user_middleware.append(Middleware(BaseHTTPMiddleware, dispatch=_pass_on))
    with recording(["asgi"]) as recorded, serve(app) as url:
        yield recorded, url


def _request(recorded: Recording, path: str) -> ReadableSpan:
    """The SERVER span of a request that went well, once there is one."""

    def found() -> list[ReadableSpan]:
        return [span for span in servers(recorded) if attributes(span)["url.path"] == path]

    wait_until(found)
    [span] = found()
    assert_span(span, None, lasts=WAIT)
    return span


@pytest.mark.parametrize("path", ["/large", "/sync-large"])
def test_a_slow_reader(served: tuple[Recording, str], path: str) -> None:
    """A client that does not read what is sent is waited for in sending, and the response began long before."""
    recorded, url = served
    host, port = url.removeprefix("http://").split(":")
    with socket.socket() as connection:
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 65_536)
        connection.settimeout(60)
        connection.connect((host, int(port)))
        ask(connection, path)
        assert connection.recv(1) == b"H"
        time.sleep(2 * WAIT)  # the server waits from when the buffers are full, which may take a while
        left = PIECES * len(PIECE)
        while left > 0 and (chunk := connection.recv(1_000_000)):
            left -= len(chunk)
        wait_until(lambda: recorded.spans)
    span = _request(recorded, path)
    assert_part(span, "causal.send")
    found = attributes(span)
    assert found["causal.first_byte"] > 0
    assert_below(WAIT / 3, found["causal.first_byte"])
    assert found["http.response.body.size"] == PIECES * len(PIECE)


def test_a_slow_sender(served: tuple[Recording, str]) -> None:
    """A body that comes slowly is waited for in receiving."""
    recorded, url = served
    with connected(url) as connection:
        ask(connection, "/upload", method="POST", length=8, body=b"half")
        assert BUSY.wait(60)
        time.sleep(WAIT)
        connection.sendall(b"half")
        assert read(connection, b'"8"')
    span = _request(recorded, "/upload")
    assert_part(span, "causal.receive")
    found = attributes(span)
    assert (found["http.request.body.size"], found["http.response.body.size"]) == (8, 3)
    assert found.get("causal.first_byte", WAIT) >= WAIT


def test_a_body_that_nobody_reads(served: tuple[Recording, str]) -> None:
    """While a response is streamed nobody waits for the body, though Starlette listens for the client's departure."""
    recorded, url = served
    with connected(url) as connection:
        ask(connection, "/ignoring", method="POST", length=8, body=b"half")
        read(connection, b"\r\n0\r\n\r\n")
    span = _request(recorded, "/ignoring")
    assert_no_part(span)
    assert "http.request.body.size" not in attributes(span)


@pytest.mark.parametrize("path", ["/working", "/pausing"])
def test_the_application_s_own_work(served: tuple[Recording, str], path: str) -> None:
    """What the application does, before its response or in the middle of it, is in no part."""
    recorded, url = served
    with connected(url) as connection:
        ask(connection, path)
        read(connection, b"done" if path == "/working" else b"\r\n0\r\n\r\n")
    span = _request(recorded, path)
    assert_no_part(span)
    if path == "/pausing":
        assert attributes(span)["causal.first_byte"] >= WAIT
        assert_below(2 * WAIT, attributes(span)["causal.first_byte"])
        assert_span(span, None, lasts=2 * WAIT)


def _let_wait() -> None:
    """Let whoever asks for a thread wait for it."""
    wait_until(lambda: LIMITERS[0].statistics().tasks_waiting)
    time.sleep(WAIT)
    FREE.set()


@pytest.mark.parametrize("path", ["/endpoint", "/dependency", "/gathered"])
def test_a_full_thread_pool(served: tuple[Recording, str], path: str) -> None:
    """Who waits until a thread is free has that as a part, once, and who has the thread has not."""
    recorded, url = served
    with connected(url) as first, connected(url) as second:
        ask(first, "/hold")
        assert BUSY.wait(60)
        ask(second, path)
        _let_wait()
        assert read(second, b"quick")
        assert read(first, b"held")
    assert_part(_request(recorded, path), "causal.threadpool.wait")
    assert_no_part(_request(recorded, "/hold"))


def test_a_full_thread_pool_inside_a_span(served: tuple[Recording, str]) -> None:
    """Inside spans of the user's the wait is the request's all the same."""
    recorded, url = served
    with connected(url) as first, connected(url) as second:
        ask(first, "/hold")
        assert BUSY.wait(60)
        ask(second, "/own")
        _let_wait()
        assert read(second, b"quick")
    request, own = _request(recorded, "/own"), recorded.only("own")
    assert_span(own, recorded.only("around"), lasts=WAIT)
    assert_part(request, "causal.threadpool.wait")
    assert_no_part(own)


def test_a_full_thread_pool_in_the_background(served: tuple[Recording, str]) -> None:
    """A background task that waits for a thread has that as a part, and the request has not."""
    recorded, url = served
    with connected(url) as first, connected(url) as second:
        ask(first, "/hold")
        assert BUSY.wait(60)
        ask(second, "/background")
        assert read(second, b"done")
        _let_wait()
        wait_until(lambda: "_quick" in recorded.names())
    task = recorded.only("_quick")
    request = recorded.only("GET /background")
    assert_span(task, request.get_span_context(), lasts=WAIT)
    assert_part(task, "causal.threadpool.wait")
    assert parts(request).keys() <= {"causal.send"}
