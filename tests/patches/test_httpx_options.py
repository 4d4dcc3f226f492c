"""Options of the httpx patch: where the context goes, and templates of URLs."""

from __future__ import annotations

from typing import Any

import httpx
import pytest
from opentelemetry import baggage
from opentelemetry.sdk.trace.sampling import ALWAYS_OFF, ALWAYS_ON, Sampler

from causal_otel.engine import context
from causal_otel.patches.httpx import HttpxOptions
from tests.patches.http_client import Call, clients, received
from tests.recording import recording
from tests.span_relations import assert_span, traceparent

SAMPLED = pytest.mark.parametrize("sampler", [ALWAYS_ON, ALWAYS_OFF], ids=["sampled", "not sampled"])


@SAMPLED
@pytest.mark.parametrize(
    ("options", "carries"),
    [
        ({}, True),
        ({"propagate_to": ("127.0.0.1",)}, True),
        ({"propagate_to": ("internal",)}, True),
        ({"propagate_to": ("*.example.com",)}, False),
        ({"do_not_propagate_to": ("127.0.0.1",)}, False),
        ({"propagate_to": ("127.0.0.1",), "do_not_propagate_to": ("internal",)}, False),
        ({"do_not_propagate_to": ("*.example.com",)}, True),
    ],
)
def test_hosts_that_the_context_is_carried_to(
    server: str, call: Call, options: dict[str, Any], carries: bool, sampler: Sampler
) -> None:
    """A host that is not allowed, or denied, is told nothing; the request is recorded all the same."""
    with recording({"httpx": HttpxOptions(**options)}, sampler=sampler) as kept:
        token = context.attach(baggage.set_baggage("tenant", "7", context.current()))
        with kept.tracer.start_as_current_span("parent") as parent:
            response = call("GET", f"{server}/echo", headers={"X-Mine": "1"})
        token.end()
        spans = clients(kept)
    assert len(received(response, "traceparent")) == len(received(response, "baggage")) == carries
    assert received(response, "x-mine") == ["1"]
    if sampler is ALWAYS_ON:
        assert_span(spans[0], parent)
        assert received(response, "traceparent") == ([traceparent(spans[0])] if carries else [])


def test_transports_of_the_user_s_own_obey(call: Call) -> None:
    """So it is whatever the transport."""
    seen = []

    def answer(request: httpx.Request) -> httpx.Response:
        seen.append("traceparent" in request.headers)
        return httpx.Response(204)

    with recording({"httpx": HttpxOptions(do_not_propagate_to=("*.example.org",))}) as kept:
        with kept.tracer.start_as_current_span("parent") as parent:
            for host in ("api.example.org", "example.com"):
                call("GET", f"http://{host}/", {"transport": httpx.MockTransport(answer)})
        for span in clients(kept):
            assert_span(span, parent)
    assert seen == [False, True]


TEMPLATES = HttpxOptions(url_templates=("/users/{id}", "http://127.0.0.1/status/*", "api.example.com/**"))


@pytest.mark.parametrize(
    ("path", "extensions", "template"),
    [
        ("/users/7?page=2", {}, "/users/{id}"),
        ("/users/7/posts", {}, None),
        ("/status/204", {}, "/status/*"),
        ("/echo", {"url_template": "/{anything}"}, "/{anything}"),
        ("/users/7", {"url_template": "/users/{mine}"}, "/users/{mine}"),
    ],
)
def test_templates_of_urls(
    server: str, call: Call, path: str, extensions: dict[str, Any], template: str | None
) -> None:
    """A pattern that fits, or what the request brings, is ``url.template`` and names the span."""
    with recording({"httpx": TEMPLATES}) as kept:
        with kept.tracer.start_as_current_span("parent") as parent:
            response = call("GET", f"{server}{path}", extensions=extensions)
        (span,) = clients(kept)
        error = None if response.status_code < 400 else str(response.status_code)
        assert assert_span(span, parent, error=error).get("url.template") == template
    assert span.name == ("GET" if template is None else f"GET {template}")


def test_templates_are_opt_in(server: str, call: Call) -> None:
    """Without the option a request still brings its own."""
    with recording(["httpx"]) as kept:
        with kept.tracer.start_as_current_span("parent") as parent:
            call("GET", f"{server}/echo", extensions={"url_template": "/echo"})
        assert assert_span(kept.only("GET /echo"), parent)["url.template"] == "/echo"
