"""Synchronous generators, which Starlette and FastAPI run in threads piece by piece: whose children their spans are."""

from __future__ import annotations

import time
from collections.abc import AsyncIterator, Iterator
from contextvars import ContextVar
from typing import Any

import anyio
import pytest
from fastapi import Depends, FastAPI
from starlette.applications import Starlette
from starlette.middleware import Middleware
from starlette.middleware.base import BaseHTTPMiddleware
from starlette.requests import Request
from starlette.responses import Response, StreamingResponse
from starlette.routing import Route

import causal_otel
from causal_otel.patches.asgi import AsgiOptions
from tests.patches.asgi_requests import BODY, fetch, server
from tests.recording import Recording, recording
from tests.span_relations import assert_span

PATCHES = ["asgi"]
PAUSE = 0.02
VARIABLE: ContextVar[int] = ContextVar("of_the_tests", default=0)


def rows() -> Iterator[bytes]:
    """One span around all of it, and one for each row."""
    with causal_otel.span("export"):
        for number in range(3):
            with causal_otel.span("row"):
                time.sleep(PAUSE)
            VARIABLE.set(number + 1)
            yield b"%d" % VARIABLE.get()
            assert VARIABLE.get() == number + 1, "the context was lost"


async def async_rows() -> AsyncIterator[bytes]:
    with causal_otel.span("export"):
        for number in range(3):
            with causal_otel.span("row"):
                await anyio.sleep(PAUSE)
            yield b"%d" % (number + 1)


async def _pass_on(request: Any, call_next: Any) -> Response:
    response: Response = await call_next(request)
    return response


def _app(content: Any, *, sync: bool = False, middleware: bool = False) -> Starlette:
    async def endpoint(_: Request) -> Response:
        return StreamingResponse(content())

    def sync_endpoint(_: Request) -> Response:
        return StreamingResponse(content())

    base = [Middleware(BaseHTTPMiddleware, dispatch=_pass_on)] if middleware else []
    return Starlette(routes=[Route("/", sync_endpoint if sync else endpoint)], middleware=base)


def _assert_rows(recorded: Recording) -> None:
    request, export = server(recorded, lasts=3 * PAUSE), recorded.only("export")
    assert_span(export, request, lasts=3 * PAUSE)
    found = [span for span in recorded.spans if span.name == "row"]
    assert len(found) == 3
    for row in found:
        assert_span(row, export, lasts=PAUSE)


@pytest.mark.parametrize("content", [rows, async_rows])
@pytest.mark.parametrize("sync", [False, True], ids=["async endpoint", "sync endpoint"])
@pytest.mark.parametrize("middleware", [False, True], ids=["plain", "middleware"])
@pytest.mark.asyncio
async def test_a_streaming_response(recorded: Recording, content: Any, sync: bool, middleware: bool) -> None:
    """A span around a ``yield`` is the parent of what the generator does after it, in whatever thread that is."""
    response = await fetch("/", of=_app(content, sync=sync, middleware=middleware))
    assert response.content == b"123"
    _assert_rows(recorded)


async def _patient(of: Any) -> list[Any]:
    """Speak ASGI to an application, as a client does that does not leave; returns what it sent."""
    sent: list[Any] = []
    messages = [BODY]

    async def receive() -> Any:
        if not messages:
            await anyio.sleep_forever()
        return messages.pop()

    async def send(message: Any) -> None:
        sent.append(message)

    scope = {"type": "http", "method": "GET", "path": "/", "query_string": b"", "headers": []}
    await of({**scope, "asgi": {"version": "3.0"}}, receive, send)
    return sent


def test_trio(recorded: Recording) -> None:
    """In trio as well."""
    sent = anyio.run(_patient, _app(rows), backend="trio")
    assert [message.get("body") for message in sent] == [None, b"1", b"2", b"3", b""]
    _assert_rows(recorded)


@pytest.mark.asyncio
async def test_what_a_generator_raises_comes_through(recorded: Recording) -> None:
    """The very exception, recorded once, on the span around the ``yield`` as on the request."""
    raised = LookupError("no more")

    def failing() -> Iterator[bytes]:
        with causal_otel.span("export"):
            yield b"first"
            raise raised

    with pytest.raises((LookupError, ExceptionGroup)) as caught:
        await _patient(_app(failing))
    # Old versions of Starlette leave it in the group of the tasks that have streamed.
    assert raised in (caught.value, *getattr(caught.value, "exceptions", ()))
    request = server(recorded, error="LookupError")
    assert len(request.events) == 1
    assert recorded.only("export").parent == request.get_span_context()


@pytest.mark.asyncio
async def test_streams_are_kept_apart(recorded: Recording) -> None:
    """Each of many streams at once has its own context."""
    app = _app(rows)
    async with anyio.create_task_group() as group:
        for _ in range(20):
            group.start_soon(lambda: fetch("/", of=app))
    requests = {span.context.span_id: span for span in recorded.spans if span.name == "GET /"}
    exports = {span.context.span_id: span for span in recorded.spans if span.name == "export"}
    assert len(requests) == len(exports) == 20
    assert {span.parent.span_id for span in exports.values() if span.parent} == requests.keys()
    found = [span for span in recorded.spans if span.name == "row"]
    assert len(found) == 60
    for row in found:
        assert row.parent is not None
        assert_span(row, exports[row.parent.span_id])


@pytest.mark.asyncio
async def test_other_iterators_are_left_alone(recorded: Recording) -> None:
    """What is no generator is read as it is."""
    response = await fetch("/", of=_app(lambda: [b"a", b"b"]))
    assert response.content == b"ab"
    server(recorded)


@pytest.mark.asyncio
async def test_an_excluded_request_s_generator() -> None:
    """In a request that is excluded spans of the generator's are excluded in every piece."""
    with recording({"asgi": AsgiOptions(excluded=("/",))}) as recorded:
        assert (await fetch("/", of=_app(rows))).content == b"123"
        assert recorded.spans == []


# -- dependencies of FastAPI -------------------------------------------------------------------------------------------


def sync_session() -> Iterator[str]:
    with causal_otel.span("session"):
        with causal_otel.span("open"):
            time.sleep(PAUSE)
        yield "session"
        with causal_otel.span("close"):
            time.sleep(PAUSE)


async def async_session() -> AsyncIterator[str]:
    with causal_otel.span("session"):
        with causal_otel.span("open"):
            await anyio.sleep(PAUSE)
        yield "session"
        with causal_otel.span("close"):
            await anyio.sleep(PAUSE)


@pytest.mark.parametrize("session", [sync_session, async_session])
@pytest.mark.asyncio
async def test_a_dependency_with_yield(recorded: Recording, session: Any) -> None:
    """What it does before and after its ``yield`` is in the span around that, whenever FastAPI lets it go on."""
    app = FastAPI()

    @app.get("/")
    async def endpoint(found: str = Depends(session)) -> str:
        with causal_otel.span("inside"):
            return found

    response = await fetch("/", of=app)
    assert response.json() == "session"
    request, around = server(recorded), recorded.only("session")
    assert_span(around, request.get_span_context(), lasts=2 * PAUSE)
    assert_span(recorded.only("open"), around, lasts=PAUSE)
    assert_span(recorded.only("close"), around, lasts=PAUSE)
    assert_span(recorded.only("inside"), around if session is async_session else request)


@pytest.mark.asyncio
async def test_a_dependency_hears_of_a_failure(recorded: Recording) -> None:
    """What the endpoint raises reaches the dependency, is the span's failure there, and the request's, once each."""
    heard = []

    def listening() -> Iterator[str]:
        with causal_otel.span("session"):
            try:
                yield "session"
            except LookupError as error:
                heard.append(error)
                raise

    app = FastAPI()
    raised = LookupError("mine")

    @app.get("/")
    async def endpoint(found: str = Depends(listening)) -> str:
        raise raised

    await fetch("/", of=app)
    assert heard == [raised]
    request = server(recorded, error="LookupError")
    assert len(request.events) == 1
    around = recorded.only("session")
    assert around.parent == request.get_span_context()
    assert len(around.events) == 1


@pytest.mark.asyncio
async def test_a_dependency_sees_what_the_endpoint_has_set(recorded: Recording) -> None:
    """A context variable of somebody else's has the value at its end that it has without us."""
    seen = []

    def looking() -> Iterator[None]:
        with causal_otel.span("session"):
            yield
            seen.append(VARIABLE.get())
            with causal_otel.span("close"):
                pass

    app = FastAPI()

    @app.get("/", dependencies=[Depends(looking)])
    async def endpoint() -> None:
        VARIABLE.set(7)

    await fetch("/", of=app)
    assert seen == [7]
    assert_span(recorded.only("close"), recorded.only("session"))
