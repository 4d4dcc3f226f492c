"""Flask and Django in ``WsgiMiddleware``: the route, and the exceptions that they answer themselves."""

from __future__ import annotations

import io
import logging
from collections.abc import Iterator
from typing import Any

import flask
import pytest
from werkzeug.exceptions import HTTPException
from werkzeug.middleware.dispatcher import DispatcherMiddleware

from causal_otel.patches.asgi import TracingMiddleware
from causal_otel.patches.wsgi import WsgiMiddleware
from tests.patches.asgi_requests import SENDER, TRACE_ID, TRACEPARENT, fetch, server, servers
from tests.patches.django_site import WAIT, Site, make_site, work
from tests.patches.wsgi_app import ask
from tests.recording import Recording, recording
from tests.span_relations import assert_span, attributes

PATCHES = ["wsgi"]


@pytest.fixture(scope="module")
def django() -> Site:
    return make_site()


def _flask() -> flask.Flask:
    app = flask.Flask("shop")
    app.logger.setLevel(logging.CRITICAL)
    shop = flask.Blueprint("shop", "shop", url_prefix="/shop")

    @app.get("/orders/<int:number>")
    def order(number: int) -> str:
        return work()

    @shop.get("/items/<name>")
    def item(name: str) -> str:
        return work()

    @app.get("/broken")
    def broken() -> str:
        raise KeyError("no such order")

    @app.get("/handled/<int:status>")
    def handled(status: int) -> str:
        raise LookupError(status)

    @app.get("/aborted/<int:status>")
    def aborted(status: int) -> str:
        try:
            raise ValueError("went wrong")
        except ValueError as error:
            raise HTTPException("sorry", flask.Response("sorry", status)) from error

    @app.get("/unavailable")
    def unavailable() -> str:
        flask.abort(503)

    @app.get("/stream")
    def stream() -> flask.Response:
        return flask.Response(flask.stream_with_context(work() + flask.request.path for _ in range(2)))

    @app.get("/file")
    def file() -> flask.Response:
        return flask.send_file(io.BytesIO(b"x" * 1000), mimetype="text/plain")

    @app.errorhandler(LookupError)
    def answer(error: LookupError) -> tuple[str, int]:
        if error.args == ("no such order",):
            raise error
        return "handled", int(error.args[0])

    app.register_blueprint(shop)
    app.wsgi_app = WsgiMiddleware(app.wsgi_app)  # type: ignore[method-assign]
    return app


@pytest.mark.parametrize(
    ("path", "route"), [("/orders/7", "/orders/<int:number>"), ("/shop/items/x", "/shop/items/<name>")]
)
def test_a_view_of_flask(recorded: Recording, path: str, route: str) -> None:
    """The request is named by its rule, also a blueprint's, in its caller's trace, and what the view does is inside."""
    answer = ask(_flask(), path, HTTP_TRACEPARENT=TRACEPARENT)
    request = server(recorded, SENDER, lasts=WAIT)
    assert request.name == f"GET {route}"
    assert attributes(request)["http.route"] == route
    assert_span(recorded.only("work"), request, lasts=WAIT)
    assert answer.body.decode() == answer.headers["X-Trace-Id"] == TRACE_ID


def test_a_mounted_flask(recorded: Recording) -> None:
    """Below a prefix the route begins with it, and a middleware that copies the environ hides nothing."""
    inner = _flask()
    of = WsgiMiddleware(DispatcherMiddleware(lambda e, s: [], {"/m": lambda e, s: inner.wsgi_app(dict(e), s)}))
    ask(of, "/m/orders/7", valid=False)
    assert server(recorded).name == "GET /m/orders/<int:number>"


@pytest.mark.parametrize(
    ("path", "status", "error", "recorded_exception"),
    [
        ("/nowhere", 404, None, None),
        ("/broken", 500, "KeyError", "KeyError"),
        ("/handled/503", 503, "LookupError", "LookupError"),
        ("/handled/404", 404, None, None),
        ("/aborted/502", 502, "ValueError", "ValueError"),
        ("/unavailable", 503, "503", "werkzeug.exceptions.ServiceUnavailable"),
    ],
)
def test_exceptions_that_flask_answers(
    recorded: Recording, path: str, status: int, error: str | None, recorded_exception: str | None
) -> None:
    """An exception of which Flask makes an answer of 500 or more is recorded; one that it answers otherwise is not."""
    ask(_flask(), path)
    request = server(recorded, error=error)
    assert attributes(request)["http.response.status_code"] == status
    types = [(event.attributes or {})["exception.type"] for event in request.events]
    assert types == ([] if recorded_exception is None else [recorded_exception])


def test_an_exception_that_flask_lets_out(recorded: Recording) -> None:
    """With PROPAGATE_EXCEPTIONS the exception is the server's to see, and is recorded once."""
    app = _flask()
    app.config["PROPAGATE_EXCEPTIONS"] = True
    with pytest.raises(KeyError):
        ask(app, "/broken")
    request = server(recorded, error="KeyError")
    assert len(request.events) == 1


def test_a_stream_of_flask(recorded: Recording) -> None:
    """Each part of a stream is made inside the request, in Flask's own context as ever."""
    answer = ask(_flask(), "/stream", HTTP_TRACEPARENT=TRACEPARENT)
    assert answer.body.decode() == f"{TRACE_ID}/stream" * 2
    request = server(recorded, SENDER, lasts=2 * WAIT)
    for name in recorded.spans[:-1]:
        assert_span(name, request, lasts=WAIT)


def test_a_file_of_flask(recorded: Recording) -> None:
    """A file is sent whole."""
    assert len(ask(_flask(), "/file").body) == 1000
    assert server(recorded).name == "GET /file"


def test_flask_without_the_middleware(recorded: Recording) -> None:
    """A Flask that nobody has wrapped works, and is not traced."""
    app = _flask()
    app.wsgi_app = app.wsgi_app.app  # type: ignore[method-assign,attr-defined]
    assert ask(app, "/broken").status.startswith("500")
    assert ask(app, "/orders/7").body == b""
    assert servers(recorded) == []


@pytest.mark.parametrize(
    ("path", "route"),
    [
        ("/orders/7", "/orders/<int:number>"),
        ("/later/7", "/later/<int:number>"),
        ("/shop/items/7", "/shop/items/(?P<number>[0-9]+)"),
    ],
)
def test_a_view_of_django(recorded: Recording, django: Site, path: str, route: str) -> None:
    """The request is named by its pattern, in its caller's trace, and what the view does, sync or async, is inside."""
    answer = ask(WsgiMiddleware(django.wsgi), path, HTTP_TRACEPARENT=TRACEPARENT)
    request = server(recorded, SENDER, lasts=WAIT)
    assert request.name == f"GET {route}"
    assert_span(recorded.only("work"), request, lasts=WAIT)
    assert answer.body.decode() == answer.headers["X-Trace-Id"] == TRACE_ID


@pytest.mark.parametrize(
    ("path", "status", "error"), [("/nowhere", 404, None), ("/denied", 403, None), ("/broken", 500, "KeyError")]
)
def test_exceptions_that_django_answers(
    recorded: Recording, django: Site, path: str, status: int, error: str | None
) -> None:
    """An exception of which Django makes a 500 is recorded; one that it answers otherwise is not."""
    ask(WsgiMiddleware(django.wsgi), path)
    request = server(recorded, error=error)
    assert attributes(request)["http.response.status_code"] == status
    assert len(request.events) == (error is not None)


def test_a_stream_of_django(recorded: Recording, django: Site) -> None:
    """Each part of a stream is made inside the request; below a prefix the route begins with it."""
    answer = ask(WsgiMiddleware(django.wsgi), "/stream", HTTP_TRACEPARENT=TRACEPARENT, SCRIPT_NAME="/site")
    assert answer.body.decode() == TRACE_ID * 2
    assert server(recorded, SENDER, lasts=2 * WAIT).name == "GET /site/stream"


@pytest.fixture
def both() -> Iterator[Recording]:
    with recording(["asgi", "wsgi"]) as found:
        yield found


@pytest.mark.parametrize("path", ["/orders/7", "/later/7"])
@pytest.mark.asyncio
async def test_django_under_asgi_has_its_route(both: Recording, django: Site, path: str) -> None:
    """Behind ``TracingMiddleware`` Django's route is known as well."""
    await fetch(path, of=TracingMiddleware(django.asgi))
    route = f"/{path.split('/')[1]}/<int:number>"
    assert attributes(server(both, lasts=WAIT))["http.route"] == route
    assert server(both).name == f"GET {route}"


@pytest.mark.asyncio
async def test_exceptions_of_django_under_asgi(both: Recording, django: Site) -> None:
    """An exception of which Django makes a 500 is recorded under ASGI as well; a 404 is none."""
    await fetch("/broken", of=TracingMiddleware(django.asgi))
    request = server(both, error="KeyError")
    assert [(event.attributes or {})["exception.type"] for event in request.events] == ["KeyError"]
    both.clear()
    await fetch("/nowhere", of=TracingMiddleware(django.asgi))
    assert server(both).events == ()


@pytest.mark.asyncio
async def test_flask_below_an_adapter_has_its_route(both: Recording) -> None:
    """Flask below ``a2wsgi`` and ``TracingMiddleware`` tells the ASGI request its route."""
    from a2wsgi import WSGIMiddleware

    inner: Any = _flask()
    adapted: Any = WSGIMiddleware(inner)
    await fetch("/orders/7", of=TracingMiddleware(adapted))
    adapted.executor.shutdown()
    assert server(both).name == "GET /orders/<int:number>"
