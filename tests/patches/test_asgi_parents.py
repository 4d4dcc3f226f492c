"""Whose child a request's SERVER span is, and whose parent: of headers in every state, and of the context around."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

import pytest
from opentelemetry import baggage, trace
from opentelemetry.trace import SpanContext
from starlette.applications import Starlette
from starlette.middleware import Middleware
from starlette.middleware.base import BaseHTTPMiddleware
from starlette.responses import Response
from starlette.routing import Route

from causal_otel.engine import context
from tests.patches.asgi_app import text
from tests.patches.asgi_requests import SENDER, SPAN_ID, TRACE_ID, TRACEPARENT, fetch, server, servers
from tests.recording import Recording, recording
from tests.span_relations import assert_span, attributes, trace_id

if TYPE_CHECKING:
    from starlette.requests import Request

PATCHES = ["asgi"]


@pytest.mark.asyncio
async def test_the_parent_is_the_sender_s(recorded: Recording) -> None:
    """The parent comes from traceparent, with its tracestate; baggage is current in the endpoint."""
    seen: list[Any] = []

    async def endpoint(_: Request) -> Response:
        seen.append(baggage.get_baggage("tenant"))
        return Response()

    headers = [("traceparent", TRACEPARENT), ("tracestate", "a=1"), ("tracestate", "b=2"), ("baggage", "tenant=7")]
    await fetch("/", of=Starlette(routes=[Route("/", endpoint)]), headers=headers)
    span = server(recorded, SENDER)
    assert span.parent is not None
    assert span.parent.is_remote
    assert dict(span.parent.trace_state) == {"a": "1", "b": "2"}
    assert seen == ["7"]


@pytest.mark.asyncio
async def test_a_span_around_the_server_is_nobody_s_parent(recorded: Recording) -> None:
    """A server started inside a span, or detached from one, serves roots without links, and SERVER spans always."""
    with recorded.tracer.start_as_current_span("start-up") as around:
        await fetch("/items/1")
        await fetch("/items/2", headers={"traceparent": TRACEPARENT})
        detached = context.attach(context.without_span())
        await fetch("/items/3")
        detached.end()
        assert trace.get_current_span() is around
    first, second, third = servers(recorded)
    for span, parent in ((first, None), (second, SENDER), (third, None)):
        assert_span(span, parent)
    assert trace_id(first) != trace_id(third)
    assert first.links == third.links == ()


@pytest.mark.parametrize("sent", [{}, {"traceparent": TRACEPARENT}])
@pytest.mark.asyncio
async def test_what_outer_middlewares_make_current_stays(recorded: Recording, sent: dict[str, str]) -> None:
    """Baggage set by a middleware outside is current in the endpoint, whether or not the request has a parent."""
    seen: list[Any] = []

    async def endpoint(_: Request) -> Response:
        seen.append(baggage.get_baggage("outer"))
        return Response()

    async def outside(scope: Any, receive: Any, send: Any) -> None:
        activation = context.attach(baggage.set_baggage("outer", "kept", context.current()))
        try:
            await inside(scope, receive, send)
        finally:
            activation.end()

    inside = Starlette(routes=[Route("/", endpoint)])
    await fetch("/", of=outside, headers=sent)
    assert seen == ["kept"]
    assert server(recorded, SENDER if sent else None).name == "GET /"


GARBAGE = [
    "",
    "garbage",
    TRACEPARENT.upper(),
    f"00-{0:032x}-{SPAN_ID}-01",
    f"00-{TRACE_ID}-{0:016x}-01",
    f"ff-{TRACE_ID}-{SPAN_ID}-01",
    f"{TRACEPARENT}-extra",
    "0" * 20_000,
    "\xff\xfe\\",
]


@pytest.mark.parametrize("value", GARBAGE)
@pytest.mark.asyncio
async def test_a_malformed_traceparent_is_no_parent(recorded: Recording, value: str) -> None:
    """Whatever is in traceparent, the answer is 200, and the trace a new one where it is not valid."""
    response = await fetch("/items/3", headers=[(b"traceparent", value.encode("latin-1"))])
    assert response.status_code == 200
    server(recorded)
    assert response.headers["x-trace-id"] != TRACE_ID


@pytest.mark.asyncio
async def test_two_traceparents_are_none(recorded: Recording) -> None:
    """A sender that contradicts itself starts no trace of ours (W3C Trace Context)."""
    await fetch("/items/3", headers=[("traceparent", TRACEPARENT), ("traceparent", TRACEPARENT)])
    server(recorded)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("tracestate", "=,;junk\xff"),
        ("tracestate", "k=" + "v" * 20_000),
        ("baggage", ",".join(f"k{number}=v" for number in range(500))),
        ("baggage", "k=\xff" + "v" * 20_000),
    ],
)
@pytest.mark.asyncio
async def test_a_malformed_companion_does_not_lose_the_parent(
    recorded: Recording, caplog: pytest.LogCaptureFixture, name: str, value: str
) -> None:
    """Junk in tracestate or baggage is dropped, while the parent holds, and oversized baggage is not logged."""
    response = await fetch(
        "/items/3", headers=[(b"traceparent", TRACEPARENT.encode()), (name, value.encode("latin-1"))]
    )
    assert response.headers["x-trace-id"] == TRACE_ID
    server(recorded, SENDER)
    assert name != "baggage" or caplog.records == []


@pytest.mark.asyncio
async def test_a_client_in_the_same_process_is_connected() -> None:
    """Client and server in one task: CLIENT span, SERVER span below it, and nothing current afterwards."""
    with recording(["asgi", "httpx"]) as kept:
        with kept.tracer.start_as_current_span("test") as parent:
            response = await fetch("/items/3")
            assert trace.get_current_span() is parent
        client = kept.only("GET")
        assert_span(client, parent)
        assert server(kept, client.get_span_context()).name == "GET /items/{i}"
        assert response.headers["x-trace-id"] == trace_id(client)


@pytest.mark.asyncio
async def test_the_span_is_current_in_the_endpoint_only(recorded: Recording) -> None:
    """Spans of an endpoint are children of the SERVER span; afterwards what was current before is current again."""
    before = context.current()

    async def endpoint(_: Request) -> Response:
        with recorded.tracer.start_as_current_span("inside"):
            return Response()

    await fetch("/", of=Starlette(routes=[Route("/", endpoint)]))
    assert_span(recorded.only("inside"), server(recorded))
    assert context.current() is before


@pytest.mark.asyncio
async def test_middlewares_see_the_span(recorded: Recording) -> None:
    """Inside BaseHTTPMiddleware, which runs the endpoint in another task, the span is the same one."""

    async def dispatch(request: Request, call_next: Any) -> Response:
        trace.get_current_span().set_attribute("before", True)
        response: Response = await call_next(request)
        trace.get_current_span().set_attribute("after", True)
        return response

    of = Starlette(routes=[Route("/x/{a}", text)], middleware=[Middleware(BaseHTTPMiddleware, dispatch=dispatch)])
    await fetch("/x/1", of=of)
    span = server(recorded)
    assert span.name == "GET /x/{a}"
    assert attributes(span)["before"] is attributes(span)["after"] is True


@pytest.mark.asyncio
async def test_concurrent_requests_are_kept_apart(recorded: Recording) -> None:
    """Of 200 requests at once, each has its own sender's trace, its own span current, and its own header."""

    async def one(number: int) -> tuple[str, str, str]:
        wanted = f"{number + 1:032x}"
        response = await fetch(f"/items/{number}", headers={"traceparent": f"00-{wanted}-{SPAN_ID}-01"})
        return wanted, response.headers["x-trace-id"], response.json()["trace"]

    assert all(len(set(told)) == 1 for told in await asyncio.gather(*(one(number) for number in range(200))))
    for span in servers(recorded):
        number = int(trace_id(span), 16) - 1
        found = assert_span(span, SpanContext(number + 1, SENDER.span_id, is_remote=True))
        assert found["url.path"] == f"/items/{number}"
    assert len(servers(recorded)) == 200
