"""Hooks of the clients' patches that raise, that are not called, that are none."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable
from typing import TYPE_CHECKING, Any

import asyncpg
import httpx
import neo4j
import pytest
import pytest_asyncio
import redis
import redis.asyncio
from opentelemetry.sdk.trace.sampling import ALWAYS_OFF
from opentelemetry.trace import NoOpTracer

import causal_otel
from causal_otel.instrument.operation import Operation
from causal_otel.instrument.registry import BUILT_IN
from causal_otel.instrument.tracing import Tracing
from causal_otel.settings import SettingError
from tests.patches.hooking import hooked, told_well
from tests.span_relations import assert_span

if TYPE_CHECKING:
    from tests.services.fixtures import GraphServer

FAILURES: dict[str, tuple[str, str]] = {
    "asyncpg": ("SELECT", "22012"),
    "redis": ("LPUSH", "WRONGTYPE"),
    "neo4j": ("neo4j", "Neo.ClientError"),
    "httpx": ("GET", "httpx.ConnectError"),
}
"""What a failing call of each patch is named, and how its ``error.type`` begins."""


Call = Callable[[], Awaitable[Any]]


@pytest_asyncio.fixture(params=["asyncpg", "redis", "httpx"])
async def calls(
    request: pytest.FixtureRequest, postgres_url: str, redis_url: str, server: str
) -> AsyncIterator[tuple[str, Call, Call]]:
    """The name of a patch, a call that goes well, and one that fails."""
    name = request.param
    if name == "asyncpg":
        connection = await asyncpg.connect(postgres_url)
        yield name, lambda: connection.fetchval("SELECT 1"), lambda: connection.fetchval("SELECT 1 / $1::int", 0)
        await connection.close()
    elif name == "redis":
        client = redis.asyncio.Redis.from_url(redis_url)
        await client.set("hooks:text", "x")
        yield name, lambda: client.get("hooks:text"), lambda: client.lpush("hooks:text", 1)
        await client.aclose()
    else:
        async with httpx.AsyncClient() as http:

            async def get(url: str) -> Any:
                return (await http.get(url)).status_code

            yield name, lambda: get(f"{server}/echo"), lambda: get("http://127.0.0.1:1/")


@pytest_asyncio.fixture
async def graph_calls(neo4j_server: GraphServer) -> AsyncIterator[tuple[str, Call, Call]]:
    """The same of neo4j, whose server is one of two."""
    async with neo4j.AsyncGraphDatabase.driver(neo4j_server.url, auth=neo4j_server.auth) as driver:

        async def query(text: str) -> Any:
            return (await driver.execute_query(text, database_=neo4j_server.database)).records[0]["n"]

        yield "neo4j", lambda: query("RETURN 1 AS n"), lambda: query("NONSENSE")


async def outcome(call: Call) -> tuple[Any, ...]:
    """What came of a call."""
    try:
        return "returned", await call()
    except Exception as error:
        return "raised", type(error), str(error), type(error.__context__), error


async def _are_contained(calls: tuple[str, Call, Call], provider: Any) -> None:
    name, well, fails = calls
    untraced = [await outcome(well), (await outcome(fails))[:4]]
    with hooked(name, provider, raises=True) as hooks, causal_otel.span("request"):
        result, raised = await outcome(well), await outcome(fails)
    assert [result, raised[:4]] == untraced
    good, bad = hooks.told()
    assert raised[4] is bad.answered[-1]
    told_well(good)
    expected, code = FAILURES[name]
    assert bad.span.name.startswith(expected)
    assert_span(bad.span, bad.parent, error=f"{code}*")


async def _are_silent(calls: tuple[str, Call, Call], provider: Any) -> None:
    name, well, fails = calls
    with hooked(name, provider, sampler=ALWAYS_OFF) as hooks, causal_otel.span("request"):
        await outcome(well)
        await outcome(fails)
    assert (hooks.asked, hooks.answered, hooks.spans()) == ([], [], [])
    with hooked(name, provider, require_parent=True) as hooks:
        await outcome(well)
        await outcome(fails)
    assert (hooks.asked, hooks.answered, hooks.spans()) == ([], [], [])


@pytest.mark.asyncio
async def test_hooks_that_raise(calls: tuple[str, Call, Call], provider: Any) -> None:
    """The caller gets what it gets untraced: the result, or the driver's very exception; the spans are whole."""
    await _are_contained(calls, provider)


@pytest.mark.asyncio
async def test_hooks_that_raise_in_neo4j(graph_calls: tuple[str, Call, Call], provider: Any) -> None:
    """Likewise."""
    await _are_contained(graph_calls, provider)


@pytest.mark.asyncio
async def test_hooks_are_not_called_where_nothing_is_recorded(calls: tuple[str, Call, Call], provider: Any) -> None:
    """Not in a trace that is not sampled, and not outside any span where a parent is required."""
    await _are_silent(calls, provider)


@pytest.mark.asyncio
async def test_hooks_of_neo4j_are_not_called_where_nothing_is_recorded(
    graph_calls: tuple[str, Call, Call], provider: Any
) -> None:
    """Likewise."""
    await _are_silent(graph_calls, provider)


@pytest.mark.parametrize("name", BUILT_IN)
def test_without_hooks_there_is_nothing_to_pay(name: str) -> None:
    """No observer, and nothing observed of an operation."""
    tracing = Tracing(NoOpTracer(), BUILT_IN[name].load().options(), lambda seconds: True)
    operation = Operation("x", {})
    assert tracing.observers == ()
    assert not tracing.measures
    running = tracing.leaf(operation)
    assert running is not None
    assert running.observation is None
    assert tracing.begin(operation).observation is None


@pytest.mark.parametrize("name", BUILT_IN)
@pytest.mark.parametrize("hook", ["request_hook", "response_hook"])
def test_what_is_no_hook_is_refused(name: str, hook: str) -> None:
    """``install()`` says so: what cannot be called, and a coroutine function, which nobody would await."""

    async def later(*_: Any) -> None: ...

    refused: tuple[Any, ...] = ("hook", later)
    for given in refused:
        options = BUILT_IN[name].load().options(**{hook: given})
        with pytest.raises(SettingError, match=f"{name}: {hook}=.*must be callable, and not async"):
            causal_otel.install(patches={name: options})
