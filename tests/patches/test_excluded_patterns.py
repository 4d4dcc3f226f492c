"""The patterns of what is excluded: what fits them, where they are set, and how a bad one is explained."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import httpx
import pytest
from opentelemetry import trace
from starlette.applications import Starlette
from starlette.responses import Response
from starlette.routing import Route

import causal_otel
from causal_otel.engine.unsampled import ExcludedSpan
from causal_otel.installation import installation
from causal_otel.instrument.exclusion import canonical_url, match_names, match_urls
from causal_otel.patches.asgi import AsgiOptions
from causal_otel.patches.celery import CeleryOptions
from causal_otel.patches.httpx import HttpxOptions
from causal_otel.patches.redis import RedisOptions
from causal_otel.settings import SettingError
from tests.patches.excluding import ask
from tests.recording import recording
from tests.span_relations import assert_children, assert_span

if TYPE_CHECKING:
    from starlette.requests import Request


@pytest.mark.parametrize(
    ("pattern", "address", "excluded"),
    [
        ("/health", "http://a/health", True),
        ("/health", "http://a/health/", False),
        ("/health", "http://a/api/health", False),
        ("/health", "http://a/HEALTH", False),
        ("/static/*", "http://a/static/a.css", True),
        ("/static/*", "http://a/static/css/a.css", False),
        ("/static/**", "http://a/static/css/a.css", True),
        ("/users/{id}/avatar", "http://a/users/7/avatar", True),
        ("/users/{id}/avatar", "http://a/users/7/8/avatar", False),
        ("/a.b", "http://a/axb", False),
        ("example.com/**", "https://EXAMPLE.com:8443/x/y", True),
        ("example.com/**", "https://www.example.com/x", False),
        ("*.example.com/**", "https://www.example.com/", True),
        ("example.com:443/**", "https://example.com/x", True),
        ("example.com:443/**", "https://example.com:8443/x", False),
        ("http://example.com/x", "https://example.com/x", False),
        ("[::1]/x", "http://[::1]:8000/x", True),
        ("[::1]:1/x", "http://[::1]:8000/x", False),
        ("/**", "http://a/" + "x" * 3000, False),
    ],
)
def test_patterns_of_urls(pattern: str, address: str, excluded: bool) -> None:
    """A pattern is of a whole path or URL; case counts in paths only, and endless URLs fit none."""
    found = httpx.URL(address)
    assert match_urls([pattern, "/never"])(canonical_url(found.scheme, found.host, found.port, found.path)) is excluded


def test_patterns_of_names() -> None:
    """A pattern is of all of a name, whatever its case; what looks like a regular expression is none."""
    excluded = match_names(["tests.*", "SELECT pg_sleep(?)"])
    assert [excluded(name) for name in ("tests.add", "TESTS.", "testsXadd", "select pg_sleep(?)", "a tests.add")] == [
        *(True, True, False, True, False)
    ]


@pytest.mark.parametrize(
    ("patches", "message"),
    [
        (
            {"asgi": AsgiOptions(excluded=("health",))},
            "patches: asgi: excluded=.*health.* is not allowed; .*paths that",
        ),
        ({"httpx": HttpxOptions(excluded=("http://a/x?y=1",))}, "patches: httpx: .*no query"),
        ({"asgi": AsgiOptions(excluded=("/users/{id",))}, "patches: asgi: .*is not allowed"),
        ({"asgi": AsgiOptions(excluded="/health")}, "patches: asgi: .*a tuple of them"),  # type: ignore[arg-type]
        ({"celery": CeleryOptions(excluded=("",))}, "patches: celery: .*names, in which"),
        ({"redis": RedisOptions(excluded=(7,))}, "patches: redis: .*is not allowed"),  # type: ignore[arg-type]
    ],
)
def test_a_bad_pattern_is_explained(patches: Any, message: str) -> None:
    """It stops install(), which has changed nothing by then."""
    with pytest.raises(SettingError, match=message):
        causal_otel.install(patches=patches)
    assert installation() is None


@pytest.mark.asyncio
async def test_the_settings_are_the_defaults_of_the_options(monkeypatch: pytest.MonkeyPatch, server: str) -> None:
    """TRACING_EXCLUDED_URLS holds for requests received and sent; a patch's own option replaces it, empty or not."""

    async def relay(_: Request) -> Response:
        async with httpx.AsyncClient(trust_env=False) as client:
            return Response((await client.get(f"{server}/echo")).text)

    app = Starlette(routes=[Route("/{path:path}", relay)])
    monkeypatch.setenv("TRACING_EXCLUDED_URLS", "/health,127.0.0.1/echo")
    monkeypatch.setenv("TRACING_REQUIRE_PARENT", "true")  # else the tests' own requests would be traces
    with recording(["asgi", "httpx"]) as recorded:
        await ask(app, "/health")
        assert recorded.names() == []
        await ask(app, "/other")  # the echo server is told not to record either
        assert_children(recorded.spans, "GET /{path}")
    with recording({"asgi": AsgiOptions(trace_id_header=None), "httpx": HttpxOptions(excluded=())}) as recorded:
        await ask(app, "/health")
        assert recorded.names() == []
        assert json.loads((await ask(app, "/other")).text)["headers"]
        sent, received = recorded.spans
        assert (sent.name, received.name) == ("GET", "GET /{path}")
        assert_span(sent, received)
        assert_span(received, None)
    with recording({"asgi": AsgiOptions(excluded=("/mine", "/echo"))}) as recorded:
        await ask(app, "/mine")
        assert recorded.names() == []
        await ask(app, "/health")
        assert_children(recorded.spans, "GET /{path}")


@pytest.mark.parametrize("excluded", [None, ("/x",)])
def test_one_wrapper_whatever_is_excluded(excluded: tuple[str, ...] | None) -> None:
    """What is in place wraps the driver's own function and nothing else, so that excluding costs no call."""
    original = vars(httpx.Client)["_send_handling_auth"]
    with recording({"httpx": HttpxOptions(excluded=excluded)}):
        assert vars(httpx.Client)["_send_handling_auth"].__wrapped__ is original


def test_a_silent_span_of_a_sampled_parent() -> None:
    """It keeps the trace and what is said about its randomness, under an id and with flags of its own."""
    parent = trace.SpanContext(7, 8, True, trace.TraceFlags(3), trace.TraceState([("ot", "th:8;rv:0123456789abcd")]))
    found = ExcludedSpan(parent).get_span_context()
    assert (found.trace_id, found.trace_flags, found.is_remote) == (7, 2, False)
    assert found.span_id != 8
    assert found.trace_state == {"ot": "rv:0123456789abcd"}
