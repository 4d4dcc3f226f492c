"""Options of the wsgi patch that ASGI's has as well: captured headers, trusted proxies, how a response tells."""

from __future__ import annotations

from typing import Any

import pytest
from opentelemetry.sdk.trace.sampling import ALWAYS_OFF

import causal_otel
from causal_otel.patches.wsgi import WsgiMiddleware, WsgiOptions
from causal_otel.settings import SettingError
from tests.patches.asgi_requests import SENDER, TRACE_ID, TRACEPARENT, server
from tests.patches.wsgi_app import WAIT, app, ask
from tests.recording import Recording, recording
from tests.span_relations import assert_span, attributes, traceparent

PATCHES = ["wsgi"]
traced = WsgiMiddleware(app)


def test_a_response_tells_its_span(recorded: Recording) -> None:
    """``traceresponse`` is the caller's trace and the SERVER span of this request."""
    answer = ask(traced, HTTP_TRACEPARENT=TRACEPARENT)
    assert answer.headers["traceresponse"] == traceparent(server(recorded, SENDER, lasts=WAIT))
    assert answer.headers["X-Trace-Id"] == TRACE_ID


def test_what_is_not_sampled_says_so() -> None:
    """The flags tell a caller that there is nothing to be found."""
    with recording(["wsgi"], sampler=ALWAYS_OFF) as kept:
        told = ask(traced, HTTP_TRACEPARENT=TRACEPARENT).headers["traceresponse"]
        assert kept.spans == []
    assert told.startswith(f"00-{TRACE_ID}-")
    assert int(told[-2:], 16) & 1 == 0


def test_captured_headers() -> None:
    """Headers that are allowed by name are lists of values, in requests and responses; others are not recorded."""
    options = WsgiOptions(request_headers=("X-Tenant", "content-type"), response_headers=("Content-Type", "x-none"))
    with recording({"wsgi": options}) as kept:
        ask(traced, HTTP_X_TENANT="acme", HTTP_X_OTHER="no", CONTENT_TYPE="text/csv")
        found = assert_span(server(kept), None, lasts=WAIT)
    captured = {key: value for key, value in found.items() if ".header." in key}
    assert captured == {
        "http.request.header.x-tenant": ("acme",),
        "http.request.header.content-type": ("text/csv",),
        "http.response.header.content-type": ("text/plain",),
    }


def test_a_secret_header_is_refused() -> None:
    """A header that is a credential cannot be captured."""
    options = WsgiOptions(request_headers=("cookie",))
    with pytest.raises(SettingError, match="request_headers"), recording({"wsgi": options}):
        pass


@pytest.mark.parametrize(
    ("peer", "expected"),
    [
        ("10.0.0.7", ("198.51.100.4", "https", "shop.example", 443)),
        ("192.0.2.9", ("192.0.2.9", "http", "here", 80)),
    ],
)
def test_proxies_that_are_believed(peer: str, expected: tuple[Any, ...]) -> None:
    """Client, scheme and host are what a trusted proxy says; of anybody else they are the connection's."""
    told: dict[str, Any] = {
        "HTTP_X_FORWARDED_FOR": "203.0.113.1, 198.51.100.4",
        "HTTP_X_FORWARDED_PROTO": "https",
        "HTTP_X_FORWARDED_HOST": "shop.example",
    }
    with recording({"wsgi": WsgiOptions(trusted_proxies=("10.0.0.0/8",))}) as kept:
        ask(traced, "/", REMOTE_ADDR=peer, REMOTE_PORT="4711", HTTP_HOST="here", **told)
        found = attributes(server(kept, lasts=WAIT))
    keys = ("client.address", "url.scheme", "server.address", "server.port")
    assert tuple(found[key] for key in keys) == expected
    assert (found["network.peer.address"], found["network.peer.port"]) == (peer, 4711)


def test_the_settings_are_its_defaults() -> None:
    """What ``install()`` says of headers holds for this patch, too."""
    installed = causal_otel.install(patches=["wsgi"], exporter="none", request_headers=("x-tenant",))
    try:
        tracing = WsgiMiddleware._tracing
        assert tracing is not None
        assert tracing.options.request_headers == ("x-tenant",)
    finally:
        installed.uninstall()
