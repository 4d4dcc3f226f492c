"""Waits for anyio's threads, in asyncio and trio: whose they are, and that nothing changes for whoever asks for one."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from functools import partial
from typing import TYPE_CHECKING, Any

import anyio
import anyio.to_thread
import pytest
from opentelemetry.sdk.trace import TracerProvider as SdkTracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response
from starlette.routing import Route

import causal_otel
from causal_otel.patches.asgi import threadpool
from tests.causality.computing import COMPUTED, compute
from tests.patches.asgi_requests import BODY, exchange
from tests.recording import Recording
from tests.span_relations import assert_span, attributes

if TYPE_CHECKING:
    from opentelemetry.sdk.trace import ReadableSpan

PATCHES = ["asgi"]
WAIT = 0.1
KEY = "causal.threadpool.wait"

pytestmark = pytest.mark.parametrize("backend", ["asyncio", "trio"])


def _app(endpoint: Callable[[Request], Any]) -> Starlette:
    return Starlette(routes=[Route("/", endpoint)])


async def _until(true: Callable[[], Any]) -> None:
    with anyio.fail_after(60):
        while not true():  # noqa: ASYNC110  # nobody tells of a limiter that is waited for
            await anyio.sleep(0.001)


async def _while_full(*, wait: float, call: Callable[[], Any]) -> None:
    """Make ``call`` while the only thread is busy, for ``wait`` seconds from when somebody waits for it."""
    limiter = anyio.to_thread.current_default_thread_limiter()
    limiter.total_tokens = 1
    busy, free = threading.Event(), threading.Event()

    def hold() -> None:
        busy.set()
        assert free.wait(60)

    async with anyio.create_task_group() as group:
        group.start_soon(anyio.to_thread.run_sync, hold)
        await _until(busy.is_set)
        group.start_soon(call)
        await _until(lambda: limiter.statistics().tasks_waiting)
        await anyio.sleep(wait)
        free.set()


def _request(recorded: Recording) -> ReadableSpan:
    span = recorded.only("GET /")
    assert_span(span, None, lasts=WAIT)
    return span


def test_a_synchronous_endpoint(recorded: Recording, backend: str) -> None:
    """It waits until the thread is free, and its own work is no wait."""

    def endpoint(_: Request) -> Response:
        time.sleep(WAIT)
        return PlainTextResponse("done")

    anyio.run(partial(_while_full, wait=WAIT, call=partial(exchange, _app(endpoint), [BODY])), backend=backend)
    span = _request(recorded)
    assert_span(span, None, lasts=2 * WAIT)
    assert WAIT * 0.9 <= attributes(span)[KEY] <= (span.end_time - span.start_time) / 1e9 - WAIT  # type: ignore[operator]
    assert threadpool.waits == {}


def test_who_is_cancelled_has_waited(recorded: Recording, backend: str) -> None:
    """A call that is given up before there was a thread has waited in vain; the request has that as a part."""

    async def endpoint(_: Request) -> Response:
        with anyio.move_on_after(WAIT):
            await anyio.to_thread.run_sync(time.time)
        return PlainTextResponse("without")

    anyio.run(partial(_while_full, wait=2 * WAIT, call=partial(exchange, _app(endpoint), [BODY])), backend=backend)
    assert attributes(_request(recorded))[KEY] >= WAIT * 0.9


@pytest.mark.parametrize("own", [True, False], ids=["a limiter of one's own", "anyio's"])
def test_many_at_once(recorded: Recording, backend: str, own: bool) -> None:
    """Of calls that are gathered those wait that no thread is left for, though all found threads that were free."""

    async def endpoint(_: Request) -> Response:
        limiter = anyio.CapacityLimiter(5) if own else None
        anyio.to_thread.current_default_thread_limiter().total_tokens = 40 if own else 5
        async with anyio.create_task_group() as group:
            for _number in range(10):
                group.start_soon(partial(anyio.to_thread.run_sync, time.sleep, WAIT, limiter=limiter))
        return PlainTextResponse("done")

    anyio.run(exchange, _app(endpoint), [BODY], backend=backend)
    span = _request(recorded)
    assert_span(span, None, lasts=2 * WAIT)
    assert WAIT * 0.9 <= attributes(span)[KEY] < (span.end_time - span.start_time) / 1e9  # type: ignore[operator]


def test_what_threads_compute(recorded: Recording, backend: str) -> None:
    """While threads are free no wait is told. What they compute the request has computed; sleeping is no computing."""

    async def endpoint(_: Request) -> Response:
        await anyio.to_thread.run_sync(compute)
        await anyio.to_thread.run_sync(time.sleep, 0.3)
        compute()
        return PlainTextResponse("done")

    anyio.run(exchange, _app(endpoint), [BODY], backend=backend)
    span = recorded.only("GET /")
    assert_span(span, None)
    assert KEY not in attributes(span)
    assert 2 * COMPUTED <= attributes(span)["causal.cpu"] * 1e9 < 2 * COMPUTED + 200e6


def test_results_and_exceptions_are_the_function_s(recorded: Recording, backend: str) -> None:
    """A full pool changes neither what a function returns nor what it raises."""
    raised, result = LookupError("mine"), object()
    found: list[object] = []

    def fail() -> None:
        raise raised

    async def endpoint(_: Request) -> Response:
        found.append(await anyio.to_thread.run_sync(lambda: result))
        try:
            await anyio.to_thread.run_sync(fail)
        except LookupError as error:
            found.append(error)
        return PlainTextResponse("done")

    anyio.run(partial(_while_full, wait=WAIT, call=partial(exchange, _app(endpoint), [BODY])), backend=backend)
    assert found == [result, raised]
    assert attributes(_request(recorded))[KEY] >= WAIT * 0.9


def test_on_somebody_else_s_span(backend: str) -> None:
    """With the SDK's provider the wait is on the request's span too."""

    def endpoint(_: Request) -> Response:
        return PlainTextResponse("done")

    exporter = InMemorySpanExporter()
    provider = SdkTracerProvider()
    provider.add_span_processor(SimpleSpanProcessor(exporter))
    installed = causal_otel.install(patches=PATCHES, tracer_provider=provider)
    try:
        anyio.run(partial(_while_full, wait=WAIT, call=partial(exchange, _app(endpoint), [BODY])), backend=backend)
    finally:
        installed.uninstall()
        provider.shutdown()
    [span] = exporter.get_finished_spans()
    assert_span(span, None, lasts=WAIT)
    assert attributes(span)[KEY] >= WAIT * 0.9
