"""psycopg, sync and async, used in one way by the tests: what they call is awaited where that is to be done."""

from __future__ import annotations

import inspect
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from time import perf_counter
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

import psycopg
import psycopg_pool
import pytest
import pytest_asyncio
from opentelemetry.trace import SpanKind

from causal_otel.engine.context import suppress
from tests.patches.either import settle
from tests.span_relations import assert_span

if TYPE_CHECKING:
    from opentelemetry.sdk.trace import ReadableSpan

    from tests.recording import Recording

__all__ = ["SECRET", "Driver", "connection", "driver", "each", "entered", "one", "place"]

SECRET = "p4ssw0rd-planted"


class Driver:
    """Either half of psycopg.

    Args:
        kind: ``sync`` or ``async``.
    """

    def __init__(self, kind: str) -> None:
        self.is_async = kind == "async"
        self.connection: Any = psycopg.AsyncConnection if self.is_async else psycopg.Connection
        self.client_cursor: Any = psycopg.AsyncClientCursor if self.is_async else psycopg.ClientCursor
        self.pool: Any = psycopg_pool.AsyncConnectionPool if self.is_async else psycopg_pool.ConnectionPool
        self.null_pool: Any = psycopg_pool.AsyncNullConnectionPool if self.is_async else psycopg_pool.NullConnectionPool

    async def connect(self, url: str, **options: Any) -> Any:
        """A connection."""
        return await settle(self.connection.connect(url, **options))


@asynccontextmanager
async def entered(manager: Any) -> AsyncIterator[Any]:
    """A block of either's context manager."""
    if hasattr(manager, "__aenter__"):
        async with manager as found:
            yield found
    else:
        with manager as found:
            yield found


async def each(items: Any) -> list[Any]:
    """All that either's iterator gives."""
    return [item async for item in items] if hasattr(items, "__aiter__") else list(items)


@pytest.fixture(params=["sync", "async"])
def driver(request: pytest.FixtureRequest) -> Driver:
    """Either half of psycopg."""
    return Driver(request.param)


@pytest_asyncio.fixture
async def connection(driver: Driver, postgres_url: str) -> AsyncIterator[Any]:
    """A connection, with an empty table ``items``, outside of what is recorded."""
    with suppress():
        made = await driver.connect(postgres_url, autocommit=True)
        await settle(made.execute("CREATE TEMP TABLE items (id int PRIMARY KEY, name text)"))
    yield made
    with suppress():
        await settle(made.close())


def place(postgres_url: str) -> dict[str, Any]:
    """The attributes that say where a statement went."""
    parts = urlsplit(postgres_url)
    return {
        "db.system.name": "postgresql",
        "db.namespace": parts.path.strip("/"),
        "server.address": parts.hostname,
        "server.port": parts.port,
    }


async def one(recorded: Recording, call: Callable[[], Awaitable[Any]], **outcome: Any) -> ReadableSpan:
    """Run ``call`` inside a root span and return the one CLIENT span that it made, which took no longer."""
    recorded.clear()
    with recorded.tracer.start_as_current_span("root") as root:
        began = perf_counter()
        result = call()
        if inspect.isawaitable(result):
            await result
        elapsed = perf_counter() - began
    span, _ = recorded.spans
    assert_span(span, root, within=elapsed, **outcome)
    assert span.kind is SpanKind.CLIENT
    return span
