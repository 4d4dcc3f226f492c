"""Whoever is called by a connection of asyncpg is not called in the request that has opened it."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

import asyncpg
import pytest
from opentelemetry import trace
from opentelemetry.sdk.trace import sampling

from causal_otel.engine.context import suppress
from tests.recording import Recording, recording
from tests.span_relations import assert_span

if TYPE_CHECKING:
    from collections.abc import Callable

    from causal_otel.engine.provider import TracerProvider

PATCHES = ["asyncpg"]

CALLBACKS = ["notification", "message", "termination", "query"]


async def _called(url: str, other: asyncpg.Connection[Any], callback: str, around: Callable[[], Any]) -> None:
    """Have a callback of a connection that was opened, and used, inside a span do a query of its own."""
    done = asyncio.Event()

    async def query(*_: Any) -> None:
        assert not trace.get_current_span().get_span_context().is_valid
        await other.fetchval(f"SELECT '{callback}' AS callback")
        done.set()

    with around():
        connection = await asyncpg.connect(url)
        if callback == "notification":
            await connection.add_listener("news", query)
            await connection.execute("NOTIFY news, 'x'")
        elif callback == "message":
            connection.add_log_listener(query)
            await connection.execute("DO $$ BEGIN RAISE NOTICE 'x'; END $$")
        elif callback == "termination":
            connection.add_termination_listener(query)
            await connection.close()
        else:
            connection.add_query_logger(query)
            await connection.fetchval("SELECT 2")
        await asyncio.wait_for(done.wait(), 60)
        if callback != "termination":
            await connection.close()


@pytest.mark.asyncio
@pytest.mark.parametrize("callback", CALLBACKS)
async def test_query_of_a_callback(
    recorded: Recording, connection: asyncpg.Connection[Any], postgres_url: str, callback: str
) -> None:
    """What a callback queries is a trace of its own, however long the request lasts that the connection is of."""
    await _called(postgres_url, connection, callback, lambda: recorded.tracer.start_as_current_span("request"))
    (span,) = [each for each in recorded.spans if each.name == "SELECT" and each.parent is None]
    assert_span(span, None)


@pytest.mark.asyncio
@pytest.mark.parametrize("callback", CALLBACKS)
async def test_connection_of_which_nothing_is_recorded(
    connection: asyncpg.Connection[Any], postgres_url: str, callback: str
) -> None:
    """Where opening and using the connection was not recorded, the callback's query is all the same."""
    with recording(["asyncpg"]) as recorded:
        await _called(postgres_url, connection, callback, suppress)
        assert_span(recorded.only(), None)


@pytest.mark.asyncio
async def test_listener_of_an_unsampled_request(connection: asyncpg.Connection[Any], postgres_url: str) -> None:
    """A connection that was opened in a request that is not sampled does not make its listeners' traces unsampled."""
    asked: list[str] = []

    class Roots(sampling.Sampler):
        def should_sample(self, parent_context: Any, trace_id: int, name: str, *args: Any, **kwargs: Any) -> Any:
            asked.append(name)
            decision = sampling.Decision.DROP if name == "request" else sampling.Decision.RECORD_AND_SAMPLE
            return sampling.SamplingResult(decision)

        def get_description(self) -> str:
            return "all but requests"

    with recording(["asyncpg"], sampler=sampling.ParentBased(Roots())) as recorded:
        provider: TracerProvider = recorded.provider
        tracer = provider.get_tracer("tests")
        await _called(postgres_url, connection, "notification", lambda: tracer.start_as_current_span("request"))
        assert_span(recorded.only(), None)
    assert asked == ["request", "SELECT"]


@pytest.mark.asyncio
async def test_password_that_is_asked_for(recorded: Recording, postgres_url: str) -> None:
    """A function that is asked for the password is part of the request that connects, as what it asks may be slow."""

    async def password() -> str:
        with recorded.tracer.start_as_current_span("vault"):
            return "secret"

    with recorded.tracer.start_as_current_span("request") as request:
        connection = await asyncpg.connect(postgres_url, password=password)
    await connection.close()
    assert_span(recorded.only("vault"), request)
