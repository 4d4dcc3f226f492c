"""Exceptions that an application answers itself: those answered with 5xx are on the request's span, once."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING, Any

import anyio
import pytest
from fastapi import FastAPI, HTTPException
from starlette.applications import Starlette
from starlette.exceptions import HTTPException as StarletteException
from starlette.middleware import Middleware
from starlette.middleware.base import BaseHTTPMiddleware
from starlette.middleware.gzip import GZipMiddleware
from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response
from starlette.routing import Mount, Route, Router

from causal_otel.patches.asgi import TracingMiddleware
from tests.patches.asgi_requests import BODY, exchange, fetch, server
from tests.span_relations import attributes

if TYPE_CHECKING:
    from opentelemetry.sdk.trace import ReadableSpan

    from tests.recording import Recording

PATCHES = ["asgi"]
SECRET = "s3cr3t-value"


class Unavailable(Exception):
    """What applications raise for a service that is down."""


class Conflict(Exception):
    """What applications raise for a caller's mistake."""


async def down(_: Any) -> Response:
    raise Unavailable("the warehouse is down")


def sync_down(_: Any) -> Response:
    raise Unavailable("the warehouse is down")


async def conflict(_: Any) -> Response:
    raise Conflict("taken")


async def on_error(_: Request, error: Exception) -> Response:
    return PlainTextResponse(f"sorry: {error}", 503)


def sync_on_error(_: Request, error: Exception) -> Response:
    return PlainTextResponse(f"sorry: {error}", 503)


async def on_conflict(_: Request, __: Exception) -> Response:
    return PlainTextResponse("conflict", 409)


async def pass_on(request: Request, call_next: Callable[[Request], Awaitable[Response]]) -> Response:
    return await call_next(request)


BASE = Middleware(BaseHTTPMiddleware, dispatch=pass_on)
MIDDLEWARES = [
    pytest.param([], id="no middleware"),
    pytest.param([BASE], id="base"),
    pytest.param([BASE, BASE], id="two"),
    pytest.param([Middleware(GZipMiddleware, minimum_size=1), BASE], id="gzip"),
]


def assert_recorded(span: ReadableSpan, kind: str, message: str) -> dict[str, Any]:
    """Assert that ``span`` has one exception, with its stack, and return the event's attributes."""
    [event] = span.events
    found = dict(event.attributes or {})
    assert (event.name, found["exception.type"], found["exception.message"]) == ("exception", kind, message)
    assert "Traceback" in str(found["exception.stacktrace"])
    return found


UNAVAILABLE = f"{__name__}.Unavailable"


@pytest.mark.parametrize("handler", [on_error, sync_on_error])
@pytest.mark.parametrize("endpoint", [down, sync_down])
@pytest.mark.parametrize("middleware", MIDDLEWARES)
@pytest.mark.asyncio
async def test_a_handler_of_a_class(
    recorded: Recording, middleware: list[Middleware], endpoint: Any, handler: Any
) -> None:
    """What a handler answers with 503 is recorded, whatever is between it and the server."""
    app = Starlette(routes=[Route("/", endpoint)], middleware=middleware, exception_handlers={Unavailable: handler})
    response = await fetch("/", of=app)
    assert response.status_code == 503
    span = server(recorded, error=UNAVAILABLE)
    assert attributes(span)["http.response.status_code"] == 503
    assert endpoint.__name__ in assert_recorded(span, UNAVAILABLE, "the warehouse is down")["exception.stacktrace"]
    assert span.status.description == "Unavailable"


@pytest.mark.parametrize("of", [Exception, 500, 503])
@pytest.mark.parametrize("middleware", MIDDLEWARES)
@pytest.mark.asyncio
async def test_handlers_of_fastapi(recorded: Recording, middleware: list[Middleware], of: Any) -> None:
    """Handlers of all exceptions, and of a status, are handlers too."""
    app = FastAPI(middleware=middleware)
    app.exception_handler(of)(on_error)

    @app.get("/")
    async def endpoint() -> None:
        try:
            raise Unavailable("the warehouse is down")
        except Unavailable as error:
            if of == 503:
                raise HTTPException(503) from error
            raise

    await fetch("/", of=app)
    assert_recorded(server(recorded, error=UNAVAILABLE), UNAVAILABLE, "the warehouse is down")


@pytest.mark.parametrize("kind", [HTTPException, StarletteException])
@pytest.mark.parametrize("how", ["from", "while handling", "from None"])
@pytest.mark.asyncio
async def test_an_http_exception_and_its_cause(recorded: Recording, kind: Any, how: str) -> None:
    """An ``HTTPException`` only says the status: what it was raised for is recorded, if there is anything."""
    app = FastAPI()

    @app.get("/")
    async def endpoint() -> None:
        try:
            raise Unavailable("the warehouse is down")
        except Unavailable as error:
            if how == "from":
                raise kind(502, "bad gateway") from error
            if how == "while handling":
                raise kind(502, "bad gateway")  # noqa: B904
            raise kind(502, "bad gateway") from None

    assert (await fetch("/", of=app)).status_code == 502
    if how == "from None":
        span = server(recorded, error="502")
        assert_recorded(span, f"{kind.__module__}.HTTPException", "502: bad gateway")
    else:
        assert_recorded(server(recorded, error=UNAVAILABLE), UNAVAILABLE, "the warehouse is down")


@pytest.mark.parametrize("middleware", MIDDLEWARES)
@pytest.mark.asyncio
async def test_what_is_answered_with_4xx_is_no_error(recorded: Recording, middleware: list[Middleware]) -> None:
    """Nothing is recorded of an exception that is the caller's mistake, and the status stays unset."""
    app = Starlette(routes=[Route("/", conflict)], middleware=middleware, exception_handlers={Conflict: on_conflict})
    await fetch("/", of=app)
    span = server(recorded)
    assert attributes(span)["http.response.status_code"] == 409
    assert span.events == ()


@pytest.mark.asyncio
async def test_a_middleware_that_answers_an_exception(recorded: Recording) -> None:
    """An exception that leaves the route and is answered by a middleware is recorded if that answers 5xx."""

    async def answer(request: Request, call_next: Callable[[Request], Awaitable[Response]]) -> Response:
        try:
            return await call_next(request)
        except Unavailable:
            return PlainTextResponse("sorry", 503)

    await fetch(
        "/", of=Starlette(routes=[Route("/", down)], middleware=[Middleware(BaseHTTPMiddleware, dispatch=answer)])
    )
    assert_recorded(server(recorded, error=UNAVAILABLE), UNAVAILABLE, "the warehouse is down")


@pytest.mark.asyncio
async def test_a_bare_application_that_answers_an_exception(recorded: Recording) -> None:
    """So is what an application of no framework answers while it handles it, and nobody else's exception."""

    async def app(scope: Any, receive: Any, send: Any) -> None:
        try:
            raise Unavailable("the warehouse is down")
        except Unavailable:
            await send({"type": "http.response.start", "status": 503, "headers": []})
            await send({"type": "http.response.body"})

    await exchange(TracingMiddleware(app), [BODY])
    assert_recorded(server(recorded, error=UNAVAILABLE), UNAVAILABLE, "the warehouse is down")


@pytest.mark.asyncio
async def test_an_exception_around_the_application_is_nobody_s(recorded: Recording) -> None:
    """Who asks an application in the same process while it handles an exception has that to itself."""

    async def app(scope: Any, receive: Any, send: Any) -> None:
        await send({"type": "http.response.start", "status": 503, "headers": []})
        await send({"type": "http.response.body"})

    try:
        raise Conflict("outside")
    except Conflict:
        await exchange(TracingMiddleware(app), [BODY])
    assert server(recorded, error="503").events == ()


@pytest.mark.parametrize("depth", ["mount", "router", "sub-application"])
@pytest.mark.asyncio
async def test_an_application_inside_another(recorded: Recording, depth: str) -> None:
    """It is recorded on the one span wherever in the application it is answered."""
    routes = [Route("/down", down)]
    inner: dict[str, Any] = {
        "mount": Mount("/in", routes=routes),
        "router": Mount("/in", Router(routes)),
        "sub-application": Mount("/in", Starlette(routes=routes, exception_handlers={Unavailable: on_error})),
    }
    app = Starlette(routes=[inner[depth]], middleware=[BASE], exception_handlers={Unavailable: on_error})
    await fetch("/in/down", of=app)
    span = server(recorded, error=UNAVAILABLE)
    assert span.name == "GET /in/down"
    assert_recorded(span, UNAVAILABLE, "the warehouse is down")


@pytest.mark.parametrize("answered", [True, False])
@pytest.mark.asyncio
async def test_a_group_is_taken_apart(recorded: Recording, answered: bool) -> None:
    """Each exception of a group is an event of its own, the first eight; the error is the group's."""

    async def endpoint(_: Request) -> Response:
        raise ExceptionGroup(
            "many", [ExceptionGroup("some", [ValueError("a"), KeyError("b")]), *map(OSError, "cdefghij")]
        )

    handlers: Any = {ExceptionGroup: on_error} if answered else {}
    await fetch("/", of=Starlette(routes=[Route("/", endpoint)], exception_handlers=handlers))
    span = server(recorded, error="ExceptionGroup")
    assert [(event.attributes or {})["exception.message"] for event in span.events] == ["a", "'b'", *"cdefgh"]


@pytest.mark.parametrize("middleware", MIDDLEWARES)
@pytest.mark.asyncio
async def test_a_group_of_one_is_that_one(recorded: Recording, middleware: list[Middleware]) -> None:
    """What a task group makes of a single exception is that exception, told by the request's span alone."""

    async def endpoint(_: Request) -> Response:
        async with anyio.create_task_group() as group:
            group.start_soon(down, None)
        raise AssertionError("never reached")

    await fetch("/", of=Starlette(routes=[Route("/", endpoint)], middleware=middleware))
    assert_recorded(server(recorded, error=UNAVAILABLE), UNAVAILABLE, "the warehouse is down")
    assert recorded.names() == ["GET /"]


@pytest.mark.asyncio
async def test_the_message_is_redacted(recorded: Recording) -> None:
    """No secret of an exception's message is recorded."""

    async def endpoint(_: Request) -> Response:
        raise Unavailable(f"cannot connect to redis://app:{SECRET}@cache.example/0")

    await fetch("/", of=Starlette(routes=[Route("/", endpoint)], exception_handlers={Unavailable: on_error}))
    span = server(recorded, error=UNAVAILABLE)
    assert len(span.events) == 1
    assert SECRET not in span.to_json()


@pytest.mark.asyncio
async def test_the_response_is_the_handler_s(recorded: Recording) -> None:
    """The handler gets the very exception, once, and its response is what the client gets."""
    raised, handled = Unavailable("mine"), []

    async def endpoint(_: Request) -> Response:
        raise raised

    async def handler(_: Request, error: Exception) -> Response:
        handled.append(error)
        return PlainTextResponse("sorry", 503)

    response = await fetch("/", of=Starlette(routes=[Route("/", endpoint)], exception_handlers={Unavailable: handler}))
    assert (response.status_code, response.text) == (503, "sorry")
    assert handled == [raised]
    assert len(server(recorded, error=UNAVAILABLE).events) == 1
