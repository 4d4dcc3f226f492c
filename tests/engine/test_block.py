"""Spans around functions of all four kinds: current in the body, never in the consumer, ended exactly once."""

from __future__ import annotations

import asyncio
import gc
import inspect
from typing import TYPE_CHECKING, Any

import pytest
from opentelemetry import trace
from opentelemetry.trace import StatusCode

from tests.span_relations import assert_inside, nanoseconds

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Generator

    from opentelemetry.sdk.trace import ReadableSpan
    from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

    from causal_otel.engine.provider import TracerProvider

WORK = 0.02


def _names(exporter: InMemorySpanExporter) -> list[str]:
    return [span.name for span in exporter.get_finished_spans()]


def _outcomes(*spans: ReadableSpan) -> set[StatusCode]:
    return {span.status.status_code for span in spans}


def test_function(provider: TracerProvider, exporter: InMemorySpanExporter) -> None:
    """Each call of a decorated function is one span, and its result is returned."""
    tracer = provider.get_tracer("t")

    @tracer.start_as_current_span("call")
    def add(a: int, *, b: int) -> int:
        with tracer.start_as_current_span("inside"):
            return a + b

    assert (add(1, b=2), add(3, b=4)) == (3, 7)
    spans = exporter.get_finished_spans()
    assert _names(exporter) == ["inside", "call"] * 2
    for inside, call in (spans[:2], spans[2:]):
        assert call.parent is None
        assert_inside(call, inside)
    assert spans[1].end_time <= spans[3].start_time  # type: ignore[operator]
    assert _outcomes(*spans) == {StatusCode.UNSET}
    assert add.__name__ == "add"


@pytest.mark.asyncio
async def test_coroutine_function(provider: TracerProvider, exporter: InMemorySpanExporter) -> None:
    """The span of a coroutine function lasts until it returns, and it stays a coroutine function."""
    tracer = provider.get_tracer("t")

    @tracer.start_as_current_span("call")
    async def work() -> int:
        with tracer.start_as_current_span("inside"):
            await asyncio.sleep(WORK)
        assert _names(exporter) == ["inside"]
        return 5

    assert inspect.iscoroutinefunction(work)
    assert await work() == 5
    inside, call = exporter.get_finished_spans()
    assert (call.name, call.parent) == ("call", None)
    assert_inside(call, inside)
    assert nanoseconds(call) >= nanoseconds(inside) >= WORK * 0.9e9
    assert _outcomes(inside, call) == {StatusCode.UNSET}


def _generator(provider: TracerProvider) -> Any:
    @provider.get_tracer("t").start_as_current_span("generator")
    def numbers() -> Generator[int, str, str]:
        inner = provider.get_tracer("t").start_span("inner")
        inner.end()
        for number in range(3):
            got = yield number
            if got == "again":
                yield -1
        return "done"

    return numbers


def test_generator(provider: TracerProvider, exporter: InMemorySpanExporter) -> None:
    """A generator's span covers all its steps, is its body's parent, and is never current in the consumer."""
    numbers = _generator(provider)
    assert inspect.isgeneratorfunction(numbers)
    for _ in numbers():
        assert trace.get_current_span() is trace.INVALID_SPAN
    inner, outer = exporter.get_finished_spans()
    assert (outer.name, outer.parent) == ("generator", None)
    assert_inside(outer, inner)
    assert _outcomes(inner, outer) == {StatusCode.UNSET}


def test_generator_send_throw_and_return(provider: TracerProvider, exporter: InMemorySpanExporter) -> None:
    """send(), throw() and the return value pass through."""
    steps = _generator(provider)()
    assert (next(steps), steps.send("again"), next(steps)) == (0, -1, 1)
    with pytest.raises(KeyError):
        steps.throw(KeyError("k"))
    generator = exporter.get_finished_spans()[-1]
    assert (generator.name, generator.status.status_code) == ("generator", StatusCode.ERROR)

    def delegate() -> Generator[int, str, str]:
        returned: str = yield from _generator(provider)()
        return returned

    outer = delegate()
    assert [next(outer) for _ in range(3)] == [0, 1, 2]
    with pytest.raises(StopIteration) as stop:
        next(outer)
    assert stop.value.value == "done"


def test_generator_left_early(provider: TracerProvider, exporter: InMemorySpanExporter) -> None:
    """A generator that is not exhausted ends its span when it is closed, without an error."""
    steps = _generator(provider)()
    next(steps)
    assert "generator" not in _names(exporter)
    steps.close()
    inner, generator = exporter.get_finished_spans()
    assert (generator.name, generator.status.status_code) == ("generator", StatusCode.UNSET)
    assert_inside(generator, inner)


def _async_generator(provider: TracerProvider, closed: list[bool]) -> Any:
    @provider.get_tracer("t").start_as_current_span("stream")
    async def stream() -> AsyncGenerator[int, None]:
        try:
            for number in range(3):
                await asyncio.sleep(0)
                with provider.get_tracer("t").start_as_current_span(f"item {number}"):
                    pass
                yield number
        finally:
            closed.append(True)

    return stream


@pytest.mark.asyncio
async def test_async_generator(provider: TracerProvider, exporter: InMemorySpanExporter) -> None:
    """An async generator's span covers all its steps, and the consumer's current span is untouched."""
    stream = _async_generator(provider, [])
    assert inspect.isasyncgenfunction(stream)
    tracer = provider.get_tracer("t")
    with tracer.start_as_current_span("consumer") as consumer:
        async for _ in stream():
            assert trace.get_current_span() is consumer
    spans = {span.name: span for span in exporter.get_finished_spans()}
    assert_inside(spans["stream"], *(spans[f"item {number}"] for number in range(3)))
    assert_inside(spans["consumer"], spans["stream"])
    assert _outcomes(*spans.values()) == {StatusCode.UNSET}


@pytest.mark.asyncio
async def test_async_generator_left_by_break(
    provider: TracerProvider, exporter: InMemorySpanExporter, caplog: pytest.LogCaptureFixture
) -> None:
    """After ``break`` the consumer's span is current at once, nothing is logged, and the span ends exactly once."""
    closed: list[bool] = []
    with provider.get_tracer("t").start_as_current_span("consumer") as consumer:
        async for _ in _async_generator(provider, closed)():
            break
        assert trace.get_current_span() is consumer
    gc.collect()
    async with asyncio.timeout(10):
        while "stream" not in _names(exporter):  # noqa: ASYNC110  # the loop closes it in a task of its own
            await asyncio.sleep(0)
    assert closed == [True]
    assert _names(exporter) == ["item 0", "consumer", "stream"]
    item, consumer_span, stream = exporter.get_finished_spans()
    assert_inside(stream, item)
    assert stream.parent == consumer_span.context
    assert _outcomes(item, stream) == {StatusCode.UNSET}
    assert caplog.records == []


@pytest.mark.asyncio
async def test_async_generator_closed_by_another_task(
    provider: TracerProvider, exporter: InMemorySpanExporter, caplog: pytest.LogCaptureFixture
) -> None:
    """``aclose()`` from another task ends the span once and leaves both tasks' current spans alone."""
    steps = _async_generator(provider, [])()
    with provider.get_tracer("t").start_as_current_span("consumer") as consumer:
        await anext(steps)
        await asyncio.create_task(steps.aclose())
        assert trace.get_current_span() is consumer
    assert _names(exporter) == ["item 0", "stream", "consumer"]
    item, stream, consumer_span = exporter.get_finished_spans()
    assert_inside(consumer_span, stream)
    assert_inside(stream, item)
    assert _outcomes(item, stream) == {StatusCode.UNSET}
    assert caplog.records == []


@pytest.mark.asyncio
async def test_async_generator_asend_and_athrow(provider: TracerProvider, exporter: InMemorySpanExporter) -> None:
    """asend() and athrow() pass through to the body."""

    @provider.get_tracer("t").start_as_current_span("echo")
    async def echo() -> AsyncGenerator[str, str]:
        got = "start"
        while True:
            try:
                got = yield got
            except KeyError:
                got = "caught"

    steps = echo()
    assert await anext(steps) == "start"
    assert await steps.asend("hello") == "hello"
    assert await steps.athrow(KeyError("k")) == "caught"
    await steps.aclose()
    [echoed] = exporter.get_finished_spans()
    assert (echoed.name, echoed.parent, echoed.status.status_code) == ("echo", None, StatusCode.UNSET)


@pytest.mark.asyncio
async def test_interleaved_async_generators(provider: TracerProvider, exporter: InMemorySpanExporter) -> None:
    """Two streams consumed in turns keep their own children."""
    first, second = _async_generator(provider, [])(), _async_generator(provider, [])()
    for _ in range(3):
        await anext(first)
        await anext(second)
    await first.aclose()
    await second.aclose()
    spans = exporter.get_finished_spans()
    streams = [span.context.span_id for span in spans if span.name == "stream" and span.context]
    parents = [span.parent.span_id for span in spans if span.name.startswith("item") and span.parent]
    assert sorted(parents.count(stream) for stream in streams) == [3, 3]
