"""The asgi patch: a request of FastAPI, Starlette or a bare application is one SERVER span, named by its route."""

from __future__ import annotations

from typing import Any

import pytest
from fastapi import FastAPI
from opentelemetry.sdk.trace.sampling import ALWAYS_OFF
from opentelemetry.trace import SpanKind
from starlette.applications import Starlette
from starlette.routing import Route

import causal_otel
from causal_otel.engine import context
from causal_otel.patches.asgi import AsgiOptions, TracingMiddleware
from tests.patches.asgi_app import CONSTANT, app, text
from tests.patches.asgi_requests import BODY, TRACE_ID, TRACEPARENT, exchange, fetch, server, servers
from tests.recording import Recording, recording
from tests.span_relations import assert_span, attributes, trace_id, untimed

PATCHES = ["asgi"]


SECRET = "s3cr3t-value"


@pytest.mark.asyncio
async def test_a_request_is_one_server_span_with_the_stable_attributes(recorded: Recording) -> None:
    """A request is one SERVER span, a root, with exactly the attributes of the HTTP conventions."""
    response = await fetch("/items/3?page=2", headers={"User-Agent": "tests"})
    [span] = recorded.spans
    assert span.name == "GET /items/{i}"
    assert span.kind is SpanKind.SERVER
    assert untimed(assert_span(span, None)) == {
        "client.address": "127.0.0.1",
        "http.request.method": "GET",
        "http.response.body.size": len(response.content),
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
    failed = {"/boom": "ValueError"}.get(path, str(status)) if status >= 500 else None
    span = server(recorded, error=failed)
    assert response.status_code == status
    assert span.name == name
    assert attributes(span).get("http.route", "") == name.partition(" ")[2]
    assert attributes(span)["http.response.status_code"] == status
    assert response.headers.get_list("x-trace-id") == [trace_id(span)]


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
    [*theirs, (ours, _)] = sent[0]["headers"]
    assert (theirs, ours) == ([(b"X-Trace-Id", b"mine"), (b"a", b"b")], b"traceresponse")
    server(recorded)


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
        assert server(kept, error="ValueError").name == "GET /boom"


@pytest.mark.asyncio
async def test_a_response_object_is_not_changed(recorded: Recording) -> None:
    """A response that is sent twice tells a trace of its own each time, and is left as it was."""
    before = list(CONSTANT.raw_headers)
    told = [(await fetch("/constant")).headers.get_list("x-trace-id") for _ in range(2)]
    assert told == [[trace_id(span)] for span in servers(recorded)]
    for span in servers(recorded):
        assert_span(span, None)
    assert CONSTANT.raw_headers == before


@pytest.mark.asyncio
async def test_a_header_of_the_application_s_own_stays(recorded: Recording) -> None:
    """Where the application sets the header itself, it means it."""
    assert (await fetch("/own-header")).headers.get_list("x-trace-id") == ["the application's own"]
    assert server(recorded).name == "GET /own-header"


@pytest.mark.asyncio
async def test_an_unsampled_request_still_has_a_trace() -> None:
    """Where nothing is recorded the context is there all the same, and the response tells it."""
    with recording(["asgi"], sampler=ALWAYS_OFF) as kept:
        response = await fetch("/items/3", headers={"traceparent": TRACEPARENT})
        assert response.headers["x-trace-id"] == TRACE_ID == response.json()["trace"]
        assert (await fetch("/boom")).headers["x-trace-id"]
        assert kept.spans == []


@pytest.mark.asyncio
async def test_a_suppressed_request_is_left_alone() -> None:
    """Inside a suppression nothing is recorded and nothing is told, also where FastAPI's own telemetry would begin."""
    causal_otel.install(patches=[], exporter="none").uninstall()  # there is a global provider from now on
    with recording(PATCHES) as recorded:
        with context.suppress():
            assert "x-trace-id" not in (await fetch("/items/3")).headers
        assert recorded.spans == []
