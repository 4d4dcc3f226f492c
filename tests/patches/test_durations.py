"""Every operation of every asynchronous driver: as long as its server takes, an error with its code, or cancelled.

The servers are real, and their answers are held back on the way. What a span is called is none of this file's business.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING, Any

import asyncpg
import httpx
import neo4j
import pytest
import redis.asyncio

from causal_otel.instrument.declaration import Wrap
from causal_otel.instrument.registry import BUILT_IN
from tests.patches.late_calls import CALLS, CODES, NEO4J, Call
from tests.recording import Recording, recording
from tests.services.slow import SlowServer
from tests.span_relations import assert_span

if TYPE_CHECKING:
    from opentelemetry.sdk.trace import ReadableSpan

    from tests.services.fixtures import GraphServer

LATE = 0.1
"""How long each answer of a server takes, in seconds."""


NEVER = 1.0
"""The same where nobody is to see it."""


_EACH = [pytest.param(driver, name, id=f"{driver}-{name}") for driver, calls in CALLS.items() for name in calls]
EVERY_CALL = pytest.mark.parametrize(("driver", "name"), _EACH)


async def _measured(
    measure: Callable[[Call], Awaitable[None]],
    server: SlowServer,
    client: Any,
    driver: str,
    name: str,
    fails: bool = False,
    **outcome: Any,
) -> dict[str, Any]:
    """The attributes of the call's span, of which :func:`assert_span` asserts ``outcome``.

    It is the first to have begun of those that the call made.
    """
    with recording([driver]) as recorded:
        with recorded.tracer.start_as_current_span("root") as root:
            prepared = await {**CALLS, "neo4j": NEO4J}[driver][name](client, fails)
            recorded.clear()
            server.delay = NEVER if measure is _cancelled_later else LATE
            await measure(prepared)
            server.delay = 0
        return assert_span(_first(recorded, root), root, **outcome)


def _first(recorded: Recording, root: Any) -> ReadableSpan:
    spans = [span for span in recorded.spans if span.name != "root"]
    assert spans, "no span"
    assert all(span.context.trace_id == root.get_span_context().trace_id for span in spans if span.context)
    return min(spans, key=lambda span: span.start_time or 0)


async def _well(call: Call) -> None:
    await call()


async def _failing(call: Call) -> None:
    response = None
    try:
        response = await call()
    except (asyncpg.PostgresError, redis.RedisError, neo4j.exceptions.Neo4jError):
        return
    assert isinstance(response, httpx.Response), "it was to fail"


async def _cancelled(call: Call, turns: int = 1) -> None:
    task = asyncio.ensure_future(call())
    # In its first turn the task waits for its server, from which nothing is read before the next.
    for _ in range(turns):
        await asyncio.sleep(0)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task


async def _cancelled_later(call: Call) -> None:
    # redis-py sends with asyncio.wait_for(), in which a cancellation may be lost on Python 3.11.
    await _cancelled(call, turns=20)


async def _lasts(server: SlowServer, client: Any, driver: str, name: str) -> None:
    await _measured(_well, server, client, driver, name, lasts=LATE)


async def _fails(server: SlowServer, client: Any, driver: str, name: str) -> None:
    found = await _measured(_failing, server, client, driver, name, fails=True, error="*", lasts=LATE)
    attribute, codes = CODES[driver]
    assert found[attribute] in codes
    assert found["error.type"] == str(found[attribute])


async def _is_cancelled(server: SlowServer, client: Any, driver: str, name: str) -> None:
    cancelled = _cancelled_later if driver == "redis" else _cancelled
    await _measured(cancelled, server, client, driver, name, cancelled=True)


_OUTCOMES = {"lasts": _lasts, "fails": _fails, "cancelled": _is_cancelled}
OUTCOMES = pytest.mark.parametrize("outcome", _OUTCOMES.values(), ids=_OUTCOMES)
Outcome = Callable[[SlowServer, Any, str, str], Awaitable[None]]


@pytest.mark.asyncio
@OUTCOMES
@EVERY_CALL
async def test_every_call(server_and_client: tuple[SlowServer, Any], driver: str, name: str, outcome: Outcome) -> None:
    """A call lasts as long as its server takes; its failure is an ERROR with the code; its cancellation is marked."""
    await outcome(*server_and_client, driver, name)


@pytest.mark.asyncio
@pytest.mark.parametrize(
    ("driver", "name", "outcome"),
    [
        pytest.param("neo4j", name, outcome, id=f"{name}-{label}")
        for name in NEO4J
        for label, outcome in _OUTCOMES.items()
        # There it is the function of execute_write that is cancelled, which is a call of its own here.
        if not (name == "AsyncManagedTransaction.run" and label == "cancelled")
    ],
)
async def test_every_neo4j_call(
    neo4j_server: GraphServer, server_and_client: tuple[SlowServer, Any], driver: str, name: str, outcome: Outcome
) -> None:
    """The same of the neo4j driver, on each of its servers."""
    await outcome(*server_and_client, driver, name)


@pytest.mark.parametrize("driver", [*CALLS, "neo4j"])
def test_the_calls_are_targets(driver: str) -> None:
    """What is called here is what the patches wrap."""
    targets = {target.attribute for target in BUILT_IN[driver].load().targets if isinstance(target, Wrap)}
    assert {name.partition(" ")[0] for name in {**CALLS, "neo4j": NEO4J}[driver]} <= targets
