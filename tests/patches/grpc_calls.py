"""Calls by gRPC with the spans of both sides, for tests."""

from __future__ import annotations

import asyncio
from time import perf_counter
from typing import TYPE_CHECKING, Any

import grpc  # type: ignore[import-untyped]
import grpc.aio  # type: ignore[import-untyped]
from opentelemetry.trace import SpanKind

from tests.recording import Recording

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from opentelemetry.sdk.trace import ReadableSpan

__all__ = ["Passing", "PassingStream", "ended", "pair", "span_id"]


def span_id(span: ReadableSpan) -> int:
    """A span's id."""
    found = span.get_span_context()
    assert found is not None
    return found.span_id


async def ended(recorded: Recording, *names: str) -> list[ReadableSpan]:
    """The spans, once as many have ended: a server's may end after the client has its answer."""
    for _ in range(2000):
        if sorted(recorded.names()) == sorted(names):
            return recorded.spans
        await asyncio.sleep(0.005)
    raise AssertionError(f"wanted {names}, have {recorded.names()}")


async def pair(
    recorded: Recording, method: str, call: Callable[[], Awaitable[Any]]
) -> tuple[ReadableSpan, ReadableSpan, Any]:
    """The client's span, inside a root, and the server's, below it, of one call; with the root."""
    recorded.clear()
    with recorded.tracer.start_as_current_span("root") as root:
        began = perf_counter()
        await call()
        elapsed = perf_counter() - began
        spans = await ended(recorded, method, method)
    client, server = sorted(spans, key=lambda span: span.kind is SpanKind.SERVER)
    assert (client.kind, server.kind) == (SpanKind.CLIENT, SpanKind.SERVER)
    assert client.start_time is not None
    assert client.end_time is not None
    assert (client.end_time - client.start_time) / 1e9 <= elapsed
    return client, server, root


class Passing(grpc.aio.UnaryUnaryClientInterceptor):  # type: ignore[misc]
    """Remembers the metadata that it has seen."""

    def __init__(self) -> None:
        self.seen: list[Any] = []

    async def intercept_unary_unary(self, continuation: Any, details: Any, request: Any) -> Any:
        self.seen.append(tuple(details.metadata))
        return await continuation(details, request)


class PassingStream(grpc.aio.UnaryStreamClientInterceptor):  # type: ignore[misc]
    async def intercept_unary_stream(self, continuation: Any, details: Any, request: Any) -> Any:
        return await continuation(details, request)
