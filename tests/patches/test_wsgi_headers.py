"""Headers under WSGI: those that are recorded because they are named, those of proxies, and what tells the trace."""

from __future__ import annotations

from typing import Any

import pytest

import causal_otel
from causal_otel.patches.wsgi import WsgiMiddleware, WsgiOptions
from tests.patches.asgi_requests import SENDER, TRACE_ID, TRACEPARENT, server
from tests.patches.wsgi_app import app, ask
from tests.recording import Recording, recording
from tests.span_relations import attributes, traceparent

PATCHES = ["wsgi"]
traced = WsgiMiddleware(app)


def test_a_response_tells_its_span(recorded: Recording) -> None:
    """Both headers are there, of the caller's trace, and traceresponse names the SERVER span."""
    answered = ask(traced, "/orders", HTTP_TRACEPARENT=TRACEPARENT)
    assert answered.headers["X-Trace-Id"] == TRACE_ID
    assert answered.headers["traceresponse"] == traceparent(server(recorded, SENDER))


def test_headers_that_can_be_read_once_arrive(recorded: Recording) -> None:
    """PEP 3333 wants a list, and yet servers take an iterator: the application's headers are all there."""

    def own(environ: Any, start_response: Any) -> list[bytes]:
        start_response("200 OK", iter([("X-Served-By", "blue")]))
        return []

    found = ask(WsgiMiddleware(own), valid=False).headers
    assert found["X-Served-By"] == "blue"
    assert found["X-Trace-Id"]
    server(recorded)


def test_named_headers_are_recorded() -> None:
    """Those of the request as WSGI has joined them, and all values of the response's; nothing else."""

    def own(environ: Any, start_response: Any) -> list[bytes]:
        start_response("200 OK", [("X-Served-By", "blue"), ("x-served-by", "green"), ("Set-Cookie", "s3cr3t-value")])
        return []

    options = WsgiOptions(request_headers=("X-Tenant", "content-type", "x-none"), response_headers=("x-served-by",))
    with recording({"wsgi": options}) as kept:
        ask(WsgiMiddleware(own), HTTP_X_TENANT="a, b", CONTENT_TYPE="text/x", HTTP_COOKIE="s3cr3t-value", valid=False)
        found = {key: value for key, value in attributes(server(kept)).items() if ".header." in key}
    assert found == {
        "http.request.header.x-tenant": ("a, b",),
        "http.request.header.content-type": ("text/x",),
        "http.response.header.x-served-by": ("blue", "green"),
    }


@pytest.mark.parametrize(
    ("peer", "client", "scheme"),
    [("10.0.0.9", "203.0.113.7", "https"), ("", "203.0.113.7", "https"), ("198.51.100.1", "198.51.100.1", "http")],
)
def test_trusted_proxies_tell_the_client(peer: str, client: str, scheme: str) -> None:
    """Client, scheme and host are what trusted proxies say, and nobody else; the peer is told beside."""
    with recording({"wsgi": WsgiOptions(trusted_proxies=("10.0.0.0/8", "unix"))}) as kept:
        told: dict[str, Any] = {
            "HTTP_X_FORWARDED_FOR": "1.2.3.4, 203.0.113.7, 10.1.1.1",
            "HTTP_X_FORWARDED_PROTO": "https",
        }
        told |= {"HTTP_X_FORWARDED_HOST": "shop.example", "REMOTE_PORT": "4711", "HTTP_HOST": "internal"}
        ask(traced, "/orders", REMOTE_ADDR=peer, **told)
        found = attributes(server(kept))
    assert (found["client.address"], found["url.scheme"]) == (client, scheme)
    assert found["server.address"] == ("internal" if scheme == "http" else "shop.example")
    assert found.get("network.peer.address") == (peer or None)
    assert found.get("network.peer.port") == (4711 if peer else None)


def test_what_cannot_be_meant_is_refused() -> None:
    """The options are looked at as those of asgi are."""
    with pytest.raises(causal_otel.SettingError, match=r"patches: wsgi: request_headers=.* is not allowed"):
        causal_otel.install(patches={"wsgi": WsgiOptions(request_headers=("cookie",))})
