"""Requests to an application in this process, message by message or by httpx, and the SERVER spans that they leave."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING, Any

import httpx
from opentelemetry.trace import Span, SpanContext, SpanKind
from starlette.routing import Route

from tests.patches.asgi_app import app, text
from tests.span_relations import assert_span

if TYPE_CHECKING:
    from opentelemetry.sdk.trace import ReadableSpan

    from tests.recording import Recording

__all__ = [
    "BODY",
    "SENDER",
    "SPAN_ID",
    "TRACEPARENT",
    "TRACE_ID",
    "Send",
    "bare",
    "exchange",
    "fetch",
    "server",
    "servers",
]

TRACE_ID, SPAN_ID = f"{0xABC:032x}", f"{0xDEF:016x}"
TRACEPARENT = f"00-{TRACE_ID}-{SPAN_ID}-01"
SENDER = SpanContext(0xABC, 0xDEF, is_remote=True)
"""Who has sent ``TRACEPARENT``."""

Send = Callable[[dict[str, Any]], Awaitable[None]]


async def fetch(
    path: str, method: str = "GET", *, of: Any = app, headers: Any = None, root_path: str = ""
) -> httpx.Response:
    """Ask an application in this process; an exception that leaves it is a server's matter and dropped."""
    transport = httpx.ASGITransport(app=of, raise_app_exceptions=False, root_path=root_path)
    async with httpx.AsyncClient(transport=transport, base_url="http://api.example:8123") as client:
        return await client.request(method, path, headers=headers)


def servers(kept: Recording) -> list[ReadableSpan]:
    """The SERVER spans."""
    return [span for span in kept.spans if span.kind is SpanKind.SERVER]


def server(kept: Recording, parent: Span | SpanContext | None = None, **outcome: Any) -> ReadableSpan:
    """The only SERVER span, of which :func:`assert_span` asserts its parent, none by default, and ``outcome``."""
    [span] = servers(kept)
    assert_span(span, parent, **outcome)
    return span


async def exchange(
    of: Any, messages: list[dict[str, Any]], scope: dict[str, Any] | None = None, send: Send | None = None
) -> list[dict[str, Any]]:
    """Speak ASGI to an application, message by message; returns what it sent."""
    sent: list[dict[str, Any]] = []

    async def receive() -> dict[str, Any]:
        await asyncio.sleep(0)
        return messages.pop(0) if messages else {"type": "http.disconnect"}

    async def keep(message: dict[str, Any]) -> None:
        sent.append(message)

    http = {
        "type": "http",
        "method": "GET",
        "path": "/",
        "query_string": b"",
        "headers": [],
        "asgi": {"version": "3.0"},
    }
    await of({**http, **(scope or {})}, receive, send or keep)
    return sent


BODY = {"type": "http.request", "body": b"", "more_body": False}


async def bare(scope: Any, receive: Any, send: Any) -> None:
    """An application of no framework, which leaves a route in the scope as some do."""
    if scope["path"] == "/boom":
        raise ValueError("went wrong")
    scope["route"] = Route("/bare/{x}", text)
    await send({"type": "http.response.start", "status": 200})
    await send({"type": "http.response.body", "body": b"bare"})
