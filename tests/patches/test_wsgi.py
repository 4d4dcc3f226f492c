"""The wsgi patch: a request to an application in ``WsgiMiddleware`` is one SERVER span, a child of its caller's."""

from __future__ import annotations

import http.client
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from socketserver import ThreadingMixIn
from typing import Any
from wsgiref.simple_server import WSGIRequestHandler, WSGIServer, make_server

import httpx
import pytest
from opentelemetry import baggage
from opentelemetry.sdk.trace.sampling import ALWAYS_OFF
from opentelemetry.trace import NoOpTracerProvider, SpanKind

import causal_otel
from causal_otel.engine import context
from causal_otel.patches.asgi import TracingMiddleware
from causal_otel.patches.wsgi import WsgiMiddleware, WsgiOptions
from tests.patches.asgi_requests import SENDER, TRACE_ID, TRACEPARENT, fetch, server, servers
from tests.patches.wsgi_app import WAIT, app, ask
from tests.recording import Recording, recording
from tests.span_relations import assert_span, attributes, trace_id

PATCHES = ["wsgi"]
SECRET = "s3cr3t-value"
traced = WsgiMiddleware(app)


class _Server(ThreadingMixIn, WSGIServer):
    daemon_threads = True


class _Handler(WSGIRequestHandler):
    def log_message(self, *args: Any) -> None:
        pass


@contextmanager
def _served(of: Any) -> Iterator[str]:
    """Serve ``of`` by wsgiref's server; gives the URL."""
    with make_server("127.0.0.1", 0, of, _Server, _Handler) as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        try:
            yield f"http://127.0.0.1:{server.server_port}"
        finally:
            server.shutdown()
            thread.join()


def test_a_request_is_one_server_span_with_the_stable_attributes(recorded: Recording) -> None:
    """A request is one SERVER span, a root, with exactly the attributes of the HTTP conventions."""
    headers = {"User-Agent": "tests", "Host": "api.example:8123", "Authorization": SECRET, "Cookie": SECRET}
    with _served(traced) as url, httpx.Client(base_url=url, trust_env=False) as client:
        response = client.get(f"/orders/é?page=2&access_token={SECRET}", headers=headers)
    span = server(recorded, lasts=WAIT)
    assert (span.name, span.kind) == ("GET", SpanKind.SERVER)
    assert {key: value for key, value in attributes(span).items() if not key.startswith("causal.")} == {
        "client.address": "127.0.0.1",
        "http.request.method": "GET",
        "http.response.body.size": 4,
        "http.response.status_code": 200,
        "network.protocol.version": "1.1",
        "server.address": "api.example",
        "server.port": 8123,
        "url.path": "/orders/é",
        "url.query": "page=2&access_token=REDACTED",
        "url.scheme": "http",
        "user_agent.original": "tests",
    }
    assert SECRET not in span.to_json()
    assert response.headers["x-trace-id"] == trace_id(span)
    assert response.text == "text"
    assert response.headers["content-length"] == "4"  # the server has seen that there is one part


def test_what_is_inside_is_a_child(recorded: Recording) -> None:
    """Spans of the call, of each part of the response and of its closing are children of the request's."""
    ask(traced)
    request = server(recorded)
    assert recorded.names() == ["work", "part", "close", "GET"]
    for name in ("work", "part", "close"):
        assert_span(recorded.only(name), request)


def test_the_parent_comes_from_the_wire_only(recorded: Recording) -> None:
    """A caller's traceparent is the parent; a span that is current where the server works is none."""
    with recorded.tracer.start_as_current_span("the server's own"):
        ask(traced)
        assert_span(server(recorded), None)
        recorded.clear()
        answer = ask(traced, HTTP_TRACEPARENT=TRACEPARENT)
    assert_span(server(recorded, SENDER), SENDER)
    assert answer.headers["X-Trace-Id"] == TRACE_ID


def test_baggage_is_current(recorded: Recording) -> None:
    """What the caller has sent as baggage is there in the application."""
    found: dict[str, object] = {}

    def look(environ: Any, start_response: Any) -> list[bytes]:
        found.update(baggage.get_all())
        start_response("200 OK", [])
        return []

    ask(WsgiMiddleware(look), valid=False, HTTP_BAGGAGE="tenant=7")
    assert found == {"tenant": "7"}
    assert_span(server(recorded), None)


@pytest.mark.parametrize(
    ("environ", "expected"),
    [
        ({"HTTP_HOST": "[::1]:8000"}, ("::1", 8000)),
        ({"HTTP_HOST": "api.example", "wsgi.url_scheme": "https"}, ("api.example", 443)),
        ({"HTTP_HOST": "user@evil/path", "SERVER_NAME": "here", "SERVER_PORT": "81"}, ("here", 81)),
        ({"HTTP_HOST": "", "SERVER_NAME": "here", "SERVER_PORT": ""}, ("here", 80)),
    ],
)
def test_the_server_is_the_one_that_was_asked_for(
    recorded: Recording, environ: dict[str, Any], expected: tuple[str, int]
) -> None:
    """server.address and server.port come from Host, or from the server where Host is nonsense."""
    ask(traced, valid=False, **environ)
    found = attributes(server(recorded))
    assert (found["server.address"], found["server.port"]) == expected


def test_a_mounted_application_has_the_whole_path(recorded: Recording) -> None:
    """Below a prefix url.path is what the client has asked for; an invented method is _OTHER."""
    ask(traced, "/orders", valid=False, SCRIPT_NAME="/shop", REQUEST_METHOD="BREW", SERVER_PROTOCOL="HTTP/2.0")
    span = server(recorded)
    assert span.name == "HTTP"
    found = attributes(span)
    assert (found["url.path"], found["network.protocol.version"]) == ("/shop/orders", "2")
    assert (found["http.request.method"], found["http.request.method_original"]) == ("_OTHER", "BREW")


def test_a_header_of_the_application_s_own_stays(recorded: Recording) -> None:
    """Where the application sets the header itself, it means it; its list of headers is left as it was."""
    headers = [("x-trace-id", "mine"), ("TraceResponse", "too")]

    def own(environ: Any, start_response: Any) -> list[bytes]:
        start_response("200 OK", headers)
        return []

    assert ask(WsgiMiddleware(own), valid=False).headers == dict(headers)
    assert headers == [("x-trace-id", "mine"), ("TraceResponse", "too")]
    assert_span(server(recorded), None)


def test_the_options() -> None:
    """The header's name, excluded URLs and both hooks are options of the patch."""
    told: list[Any] = []
    options = WsgiOptions(
        trace_id_header="X-Request-Trace",
        excluded=("/health",),
        request_hook=lambda span, environ: told.append(environ["PATH_INFO"]),
        response_hook=lambda span, environ, status: told.append(status),
    )
    with recording({"wsgi": options}) as kept:
        assert "X-Request-Trace" in ask(traced, "/orders").headers
        server(kept)
        kept.clear()
        excluded = ask(traced, "/health", HTTP_TRACEPARENT=TRACEPARENT)
        assert excluded.headers["X-Request-Trace"] == TRACE_ID
        assert excluded.body == b"text"
        assert kept.names() == []
    assert told == ["/orders", 200]


def test_without_a_header() -> None:
    """Without either header all else is as ever."""
    with recording({"wsgi": WsgiOptions(trace_id_header=None, traceresponse=False)}) as kept:
        assert ask(traced).headers == {"Content-Type": "text/plain"}
        assert_span(server(kept), None)


def test_an_unsampled_request_still_has_a_trace() -> None:
    """Where nothing is recorded the context is there all the same, in each part too, and the response tells it."""

    def tell(environ: Any, start_response: Any) -> Iterator[bytes]:
        start_response("200 OK", [])
        yield (causal_otel.current_trace_id() or "").encode()

    with recording(["wsgi"], sampler=ALWAYS_OFF) as kept:
        answer = ask(WsgiMiddleware(tell), valid=False, HTTP_TRACEPARENT=TRACEPARENT)
        assert answer.body.decode() == answer.headers["X-Trace-Id"] == TRACE_ID
        assert kept.spans == []


def test_a_suppressed_request_is_left_alone(recorded: Recording) -> None:
    """Inside a suppression the request is not recorded and nothing is told."""
    with context.suppress():
        assert "X-Trace-Id" not in ask(traced).headers
    assert servers(recorded) == []


def test_a_provider_that_records_nothing() -> None:
    """With a provider whose spans are not valid, there is no header, and the application works."""
    installed = causal_otel.install(patches=["wsgi"], tracer_provider=NoOpTracerProvider())
    try:
        answer = ask(traced, "/stream")
    finally:
        installed.uninstall()
    assert answer.headers == {"Content-Type": "text/plain"}
    assert len(answer.body) == 300


def test_one_in_the_other_is_one_span(recorded: Recording) -> None:
    """A middleware around another makes one span, which begins at the outer one."""
    ask(WsgiMiddleware(WsgiMiddleware(app)))
    assert_span(server(recorded), None)


@pytest.mark.asyncio
async def test_below_a_traced_asgi_application_it_is_one_span() -> None:
    """Where ASGI's middleware is around an adapter, the span is that one's."""
    from a2wsgi import WSGIMiddleware

    inner: Any = WsgiMiddleware(app)
    adapted: Any = WSGIMiddleware(inner)
    with recording(["asgi", "wsgi"]) as kept:
        response = await fetch("/list", of=TracingMiddleware(adapted))
        adapted.executor.shutdown()
        assert (response.text, response.headers["x-trace-id"]) == ("text", trace_id(server(kept)))
        assert_span(kept.only("work"), server(kept))


def test_before_install_and_after_uninstall_it_only_calls() -> None:
    """A middleware that was made before ``install()`` traces from then on until ``uninstall()``."""
    assert "X-Trace-Id" not in ask(traced).headers
    with recording(["wsgi"]) as kept:
        assert "X-Trace-Id" in ask(traced).headers
        server(kept)
    assert "X-Trace-Id" not in ask(traced).headers


def test_concurrent_requests(recorded: Recording) -> None:
    """Requests of many threads at once do not take each other's spans."""
    with _served(traced) as url:

        def many() -> None:
            connection = http.client.HTTPConnection(url.removeprefix("http://"), timeout=60)
            for _ in range(10):
                connection.request("GET", "/stream")
                connection.getresponse().read()
            connection.close()

        threads = [threading.Thread(target=many) for _ in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    requests = {span.context.span_id: span for span in servers(recorded) if span.context is not None}
    assert len(requests) == 40
    inside = [span for span in recorded.spans if span.kind is not SpanKind.SERVER]
    assert len(inside) == 40 * 4
    for span in inside:
        assert span.parent is not None
        assert_span(span, requests[span.parent.span_id])
