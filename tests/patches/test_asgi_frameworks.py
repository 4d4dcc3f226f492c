"""Django and Flask in ``TracingMiddleware``, as docs/how-to/frameworks.md has them: the request and what is inside."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import pytest
from a2wsgi import WSGIMiddleware
from asgiref.sync import SyncToAsync
from asgiref.wsgi import WsgiToAsgi
from flask import Flask

from causal_otel.patches.asgi import TracingMiddleware
from tests.patches.asgi_requests import SENDER, TRACE_ID, TRACEPARENT, fetch
from tests.patches.django_site import WAIT, make_site, work
from tests.recording import Recording, recording
from tests.span_relations import assert_span

if TYPE_CHECKING:
    import httpx


@pytest.fixture
def recorded() -> Iterator[Recording]:
    with recording(["asgi"]) as found:
        yield found


@pytest.fixture(autouse=True)
def _threads_end() -> Iterator[None]:
    """Asgiref keeps a thread for as long as the process lives."""
    yield
    SyncToAsync.single_thread_executor.shutdown()
    SyncToAsync.single_thread_executor = ThreadPoolExecutor(max_workers=1)


@contextmanager
def _adapted(adapter: Any) -> Iterator[Any]:
    app = adapter(_flask())
    try:
        yield app
    finally:
        if adapter is WSGIMiddleware:
            app.executor.shutdown()


def _flask() -> Flask:
    app = Flask("shop")
    app.add_url_rule("/orders/<int:number>", "order", lambda number: work())

    def broken() -> str:
        raise KeyError("no such order")

    app.add_url_rule("/broken", "broken", broken)
    return app


@pytest.fixture(scope="module")
def django() -> Any:
    return make_site().asgi


async def _get(app: Any, path: str) -> httpx.Response:
    return await fetch(path, of=TracingMiddleware(app), headers={"traceparent": TRACEPARENT})


def _assert_request(recorded: Recording, response: httpx.Response, path: str) -> None:
    """The request is in its caller's trace, under the method's name; the work inside is its child."""
    request, work = recorded.only("GET"), recorded.only("work")
    found = assert_span(request, SENDER, lasts=WAIT)
    assert (found["url.path"], found["http.response.status_code"]) == (path, 200)
    assert "http.route" not in found
    assert_span(work, request, lasts=WAIT)
    assert response.text == response.headers["x-trace-id"] == TRACE_ID


async def _assert_failed(recorded: Recording, app: Any) -> None:
    """What the framework answers with 500 is the error 500; what it answers with 404 is none."""
    assert (await _get(app, "/broken")).status_code == 500
    found = assert_span(recorded.only("GET"), SENDER, error="500")
    assert found["http.response.status_code"] == 500
    recorded.clear()
    assert (await _get(app, "/nowhere")).status_code == 404
    assert assert_span(recorded.only("GET"), SENDER)["http.response.status_code"] == 404


@pytest.mark.parametrize("path", ["/orders/7", "/later/7"])
@pytest.mark.asyncio
async def test_django(django: Any, recorded: Recording, path: str) -> None:
    """A request to a view, a function or a coroutine, is a span, and what the view does is inside it."""
    _assert_request(recorded, await _get(django, path), path)


@pytest.mark.asyncio
async def test_failures_of_django(django: Any, recorded: Recording) -> None:
    """A view that raises is an error, an unknown path is none."""
    await _assert_failed(recorded, django)


@pytest.mark.parametrize("adapter", [WSGIMiddleware, WsgiToAsgi])
@pytest.mark.asyncio
async def test_flask(adapter: Any, recorded: Recording) -> None:
    """A request to Flask by way of either adapter is a span, and what runs in the adapter's thread is inside it."""
    with _adapted(adapter) as app:
        _assert_request(recorded, await _get(app, "/orders/7"), "/orders/7")


@pytest.mark.parametrize("adapter", [WSGIMiddleware, WsgiToAsgi])
@pytest.mark.asyncio
async def test_failures_of_flask(adapter: Any, recorded: Recording) -> None:
    """A view that raises is an error, an unknown path is none."""
    with _adapted(adapter) as app:
        await _assert_failed(recorded, app)
