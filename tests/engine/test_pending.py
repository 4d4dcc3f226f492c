"""A decorated plain function that returns something to be awaited: its span lasts until that is done."""

from __future__ import annotations

import asyncio
import functools
import gc
import inspect
import warnings
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Generator
from types import AsyncGeneratorType
from typing import TYPE_CHECKING, Any

import pytest
from opentelemetry import trace
from opentelemetry.trace import StatusCode

from causal_otel.engine.block import SpanBlock
from tests.span_relations import assert_inside, nanoseconds

if TYPE_CHECKING:
    from opentelemetry.sdk.trace import ReadableSpan
    from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

    from causal_otel.engine.provider import TracerProvider

WORK = 0.02
Decorate = Callable[[Callable[..., Any]], Callable[..., Any]]
ERROR = ValueError("no")


class Custom:
    """What can be awaited, and is no coroutine."""

    name = "mine"

    def __init__(self, work: Any) -> None:
        self.work = work

    def __await__(self) -> Generator[Any, Any, Any]:
        result = yield from self.work.__await__()
        return result


@pytest.fixture(params=["ours", "anybody's"])
def decorate(request: pytest.FixtureRequest, provider: TracerProvider) -> Decorate:
    """A decorator of either kind."""
    tracer = provider.get_tracer("t")
    if request.param == "ours":
        return lambda function: tracer.start_as_current_span("call")(function)  # one for each function
    return SpanBlock(lambda: tracer.start_span("call"))


async def work(provider: TracerProvider, error: BaseException | None = None) -> int:
    """Takes a while, with a span inside."""
    with provider.get_tracer("t").start_as_current_span("inside"):
        await asyncio.sleep(WORK)
    if error is not None:
        raise error
    return 5


KINDS: dict[str, Any] = {
    "coroutine": lambda coroutine: coroutine,
    "task": asyncio.ensure_future,
    "awaitable": Custom,
}


def spans(exporter: InMemorySpanExporter) -> dict[str, ReadableSpan]:
    ended = exporter.get_finished_spans()
    found = {span.name: span for span in ended}
    assert len(found) == len(ended)
    return found


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.asyncio
async def test_awaited(provider: TracerProvider, exporter: InMemorySpanExporter, decorate: Decorate, kind: str) -> None:
    """The span is current in what is awaited, not in between, and lasts until that is over; so does its failure."""
    made: list[Any] = []

    @decorate
    def call(error: BaseException | None = None) -> Any:
        made.append(KINDS[kind](work(provider, error)))
        return made[-1]

    with provider.get_tracer("t").start_as_current_span("caller") as caller:
        pending = call()
        assert trace.get_current_span() is caller
        assert spans(exporter) == {}
        assert inspect.iscoroutine(pending) is (kind == "coroutine")
        if kind == "task":
            assert pending is made[0]
        if kind == "awaitable":
            assert isinstance(pending, Custom)
            assert pending.name == "mine"
        assert await pending == 5
        await asyncio.sleep(0)  # a future tells a moment after it is done
        assert trace.get_current_span() is caller
        inside, outer = (spans(exporter)[name] for name in ("inside", "call"))
        assert outer.parent == caller.get_span_context()
        assert inside.parent == outer.context
        assert outer.status.status_code is StatusCode.UNSET
        assert outer.end_time - outer.start_time >= WORK * 0.9e9  # type: ignore[operator]
        exporter.clear()
        with pytest.raises(ValueError, match="no") as caught:
            await call(ERROR)
        await asyncio.sleep(0)
    assert caught.value is ERROR
    failed = spans(exporter)["call"]
    assert failed.status.status_code is StatusCode.ERROR
    assert [event.name for event in failed.events] == ["exception"]


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.asyncio
async def test_cancelled(
    provider: TracerProvider, exporter: InMemorySpanExporter, decorate: Decorate, kind: str
) -> None:
    """A cancellation is marked, and no error."""
    begun = asyncio.Event()

    async def hang() -> None:
        begun.set()
        await asyncio.sleep(60)

    @decorate
    def call() -> Any:
        return KINDS[kind](hang())

    async def wait() -> None:
        await call()

    task = asyncio.create_task(wait())
    await begun.wait()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    await asyncio.sleep(0)
    found = spans(exporter)["call"]
    assert (found.attributes or {})["causal.cancelled"] is True
    assert found.status.status_code is StatusCode.UNSET


@pytest.mark.asyncio
async def test_async_generator(provider: TracerProvider, exporter: InMemorySpanExporter, decorate: Decorate) -> None:
    """The span lasts until the last item, is current in the steps, and never in the code that consumes them."""
    tracer = provider.get_tracer("t")

    async def items() -> AsyncGenerator[Any, str]:
        with tracer.start_as_current_span("inside"):
            await asyncio.sleep(WORK)
        sent = yield "first"
        yield sent

    @decorate
    def call() -> Any:
        return items()

    with tracer.start_as_current_span("caller") as caller:
        steps = call()
        assert type(steps) is AsyncGeneratorType
        assert await anext(steps) == "first"
        assert trace.get_current_span() is caller
        assert await steps.asend("again") == "again"
        assert "call" not in spans(exporter)
        with pytest.raises(StopAsyncIteration):
            await anext(steps)
    found = spans(exporter)
    assert found["inside"].parent == found["call"].context
    assert found["call"].parent == caller.get_span_context()
    assert found["call"].end_time - found["call"].start_time >= WORK * 0.9e9  # type: ignore[operator]


@pytest.mark.asyncio
async def test_nobody_waits(provider: TracerProvider, exporter: InMemorySpanExporter, decorate: Decorate) -> None:
    """A result that goes ends its span, once; Python warns of the coroutine, by its own name, as it does untraced."""

    async def items() -> AsyncIterator[int]:
        yield 1

    results: list[tuple[Any, list[str]]] = [
        (lambda: work(provider), ["coroutine 'work' was never awaited"]),
        (items, []),
        (lambda: Custom(None), []),
    ]
    for result, expected in results:
        pending = decorate(lambda: result())()  # noqa: B023  # called at once
        assert spans(exporter) == {}
        with warnings.catch_warnings(record=True) as warned:
            warnings.simplefilter("always")
            del pending
            gc.collect()
            assert [str(each.message) for each in warned] == expected
        del warned  # which refer to the coroutine
        gc.collect()
        assert spans(exporter)["call"].status.status_code is StatusCode.UNSET
        exporter.clear()


@pytest.mark.asyncio
async def test_behind_a_decorator(provider: TracerProvider, exporter: InMemorySpanExporter, decorate: Decorate) -> None:
    """A coroutine function behind somebody's ``functools.wraps`` is timed as one, however often it is called."""

    def retried(function: Any) -> Any:
        @functools.wraps(function)
        def wrapper(*args: Any) -> Any:
            return function(*args)

        return wrapper

    call = decorate(retried(work))
    for _ in range(3):
        assert await call(provider) == 5
    ended = [span for span in exporter.get_finished_spans() if span.name == "call"]
    assert [span.end_time - span.start_time >= WORK * 0.9e9 for span in ended] == [True] * 3  # type: ignore[operator]


@pytest.mark.asyncio
async def test_awaiting_twice(provider: TracerProvider, exporter: InMemorySpanExporter, decorate: Decorate) -> None:
    """The second time it says what it says untraced, and there is one span."""
    pending = decorate(lambda: work(provider))()
    assert await pending == 5
    with pytest.raises(RuntimeError, match="cannot reuse already awaited coroutine"):
        await pending
    custom = decorate(lambda: Custom(asyncio.sleep(0, 7)))
    again = custom()
    assert await again == 7
    with pytest.raises(RuntimeError, match="cannot reuse already awaited coroutine"):
        await again
    inside, call, second = exporter.get_finished_spans()
    assert [span.name for span in (inside, call, second)] == ["inside", "call", "call"]
    assert_inside(call, inside)
    assert nanoseconds(call) >= WORK * 0.9e9
    assert (call.parent, second.parent) == (None, None)
    assert {span.status.status_code for span in (inside, call, second)} == {StatusCode.UNSET}
