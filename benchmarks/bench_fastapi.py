"""A request that FastAPI serves, bare, with OpenTelemetry's instrumentation and with our patch: what tracing adds.

The application is called as a server calls it, but without a server: sockets and parsing, or a client in their place
such as ``httpx.ASGITransport``, would take longer than what is measured, and not always as long. Its route has a
parameter, so that each request has another path.
"""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import Callable
from functools import partial
from typing import TYPE_CHECKING, Any

import pytest
from fastapi import FastAPI
from opentelemetry.instrumentation.fastapi import FastAPIInstrumentor

from benchmarks.traced import Operation, recorded, unsampled

if TYPE_CHECKING:
    from pytest_benchmark.fixture import BenchmarkFixture

    from benchmarks.conftest import Record, Sink

app = FastAPI()

_HEADERS = [
    (b"host", b"shop.example.com"),
    (b"x-forwarded-for", b"203.0.113.9"),
    (b"user-agent", b"Mozilla/5.0 (X11; Linux x86_64; rv:145.0) Gecko/20100101 Firefox/145.0"),
    (b"accept", b"application/json"),
    (b"accept-language", b"en-GB,en;q=0.7"),
    (b"accept-encoding", b"gzip, deflate, br"),
    (b"connection", b"keep-alive"),
]
_numbers = itertools.count(1_000_000)


@app.get("/orders/{number}")
async def order(number: int) -> dict[str, int]:
    return {"number": number}


def _scope() -> dict[str, Any]:
    path = f"/orders/{next(_numbers)}"
    return {
        "type": "http",
        "asgi": {"version": "3.0", "spec_version": "2.3"},
        "http_version": "1.1",
        "server": ("127.0.0.1", 8000),
        "client": ("127.0.0.1", 50412),
        "scheme": "http",
        "method": "GET",
        "root_path": "",
        "path": path,
        "raw_path": path.encode(),
        "query_string": b"",
        "headers": list(_HEADERS),
        "state": {},
    }


async def _receive() -> dict[str, Any]:
    return {"type": "http.request", "body": b"", "more_body": False}


async def _send(message: Any) -> None:
    assert message["type"] == "http.response.body" or message["status"] == 200


async def _serve(scopes: list[dict[str, Any]]) -> None:
    for scope in scopes:
        await app(scope, _receive, _send)


class _Instrumentor:
    """OpenTelemetry's, which instruments applications one by one, and before their first request."""

    def instrument(self, tracer_provider: Any) -> None:
        FastAPIInstrumentor.instrument_app(app, tracer_provider=tracer_provider)
        app.middleware_stack = None  # FastAPI builds it anew

    def uninstrument(self) -> None:
        FastAPIInstrumentor.uninstrument_app(app)


@pytest.fixture
def operation(loop: asyncio.AbstractEventLoop) -> Operation:
    """A request. OpenTelemetry's makes three spans of it: one more for each of the two messages of the response."""

    def prepare(_: str, times: int) -> Callable[[], object]:
        return partial(loop.run_until_complete, _serve([_scope() for _ in range(times)]))

    return Operation(prepare=prepare, patch="asgi", instrumentor=_Instrumentor(), spans=3, in_span=False)


def test_recorded(benchmark: BenchmarkFixture, record: Record, sink: Sink, operation: Operation) -> None:
    """Each request is a trace of its own."""
    record("fastapi", recorded(benchmark, sink, operation))


def test_unsampled(benchmark: BenchmarkFixture, record: Record, operation: Operation) -> None:
    """The sampler drops each request's trace."""
    record("fastapi unsampled", unsampled(benchmark, operation))
