"""A call is over when what it returned has been awaited; what the caller gets is as good as what the driver gave."""

from __future__ import annotations

import asyncio
import functools
import gc
import inspect
import time
import warnings
from collections.abc import AsyncGenerator, Awaitable, Callable, Generator, Iterator
from typing import Any

import pytest
from opentelemetry.sdk.trace import ReadableSpan
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from opentelemetry.trace import StatusCode

from causal_otel._internal import faults
from causal_otel.engine import context
from causal_otel.engine.provider import TracerProvider
from causal_otel.instrument.awaiting import Call
from causal_otel.instrument.calls import client_call, suppressed, traced_call
from causal_otel.instrument.operation import Operation
from causal_otel.instrument.options import ClientOptions
from causal_otel.instrument.tracing import Tracing

WORK = 0.05  # seconds, of a driver; asyncio waits no less, but for the resolution of its clock
LASTED = 45_000_000


class Once(Awaitable[Any]):
    """An awaitable that is neither coroutine nor future."""

    label = "once"

    def __init__(self, function: Callable[..., Any], *args: Any) -> None:
        self._function = functools.partial(function, *args)

    def __await__(self) -> Generator[Any, Any, Any]:
        return self._function().__await__()  # type: ignore[no-any-return]


class Managed(Once):
    """What can be awaited, or entered."""

    async def __aenter__(self) -> str:
        await self
        return "entered"

    async def __aexit__(self, *_: object) -> None:
        pass


class Driver:
    """Its methods are plain functions; what they return is work to be awaited."""

    ran = 0

    async def _work(self, error: BaseException | None = None) -> Any:
        Driver.ran += 1
        await asyncio.sleep(WORK)
        if error is not None:
            raise error
        return context.current()

    def fetch(self, error: BaseException | None = None) -> Any:
        """The work as a coroutine."""
        return self._work(error)

    def task(self, error: BaseException | None = None) -> Any:
        """The work, begun already."""
        return asyncio.ensure_future(self._work(error))

    def once(self, error: BaseException | None = None) -> Any:
        """The work in an object."""
        return Once(self._work, error)

    def managed(self) -> Any:
        """A context manager that can be awaited instead."""
        return Managed(self._work)

    async def items(self) -> AsyncGenerator[Any, Any]:
        """Work in two steps, one before each item."""
        try:
            await asyncio.sleep(WORK / 2)
            sent = yield 0
            await asyncio.sleep(WORK / 2)
            yield 1 if sent is None else sent
        finally:
            Driver.ran += 1

    def plain(self) -> str:
        """No work."""
        return "plain"


class Spans:
    """The spans of ``wrapper`` around the methods of :class:`Driver`."""

    def __init__(self) -> None:
        self.exporter, self.provider = InMemorySpanExporter(), TracerProvider()
        self.provider.add_span_processor(SimpleSpanProcessor(self.exporter))
        self.tracer = self.provider.get_tracer("tests")
        self.tracing = Tracing(self.tracer, ClientOptions(), lambda timeout: True)

    def all(self) -> list[ReadableSpan]:
        return [span for span in self.exporter.get_finished_spans() if span.name == "call"]

    def only(self) -> ReadableSpan:
        (span,) = self.all()
        return span


def attributes(span: ReadableSpan) -> dict[str, Any]:
    return dict(span.attributes or {})


def lasted(span: ReadableSpan) -> int:
    assert span.start_time is not None
    assert span.end_time is not None
    return span.end_time - span.start_time


def _under(tracing: Tracing[Any], instance: Any, args: Any, kwargs: Any) -> Call:
    """A call whose span is current meanwhile."""
    running = tracing.begin(Operation("call", {}))
    running.inside = context.with_span(running.span)
    return running


WRAPPERS = {
    "client_call": client_call(lambda tracing, instance, args, kwargs: Operation("call", {})),
    "traced_call": traced_call(_under),
}


@pytest.fixture(params=WRAPPERS)
def spans(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Iterator[Spans]:
    """Both wrappers do the same for the caller, and nothing of ours fails."""
    spans, before = Spans(), faults.counts()
    for name in ("fetch", "task", "once", "managed", "items", "plain"):
        monkeypatch.setattr(Driver, name, WRAPPERS[request.param](spans.tracing, vars(Driver)[name]))
    monkeypatch.setattr(Driver, "ran", 0)
    yield spans
    spans.provider.shutdown()
    assert faults.counts() == before


ALIKE = pytest.mark.parametrize("method", ["fetch", "task", "once"])


@pytest.mark.asyncio
@ALIKE
async def test_lasts_until_awaited(spans: Spans, method: str) -> None:
    """The span begins with the call, below what is current then, and ends when the work has been awaited."""
    with spans.tracer.start_as_current_span("request") as request:
        work = getattr(Driver(), method)()
        assert context.current_span() is request
        assert spans.all() == []
    await asyncio.sleep(WORK)
    await work
    span = spans.only()
    assert span.parent == request.get_span_context()
    assert lasted(span) >= LASTED
    assert (span.status.status_code, attributes(span)) == (StatusCode.UNSET, {})
    assert Driver.ran == 1


@pytest.mark.asyncio
@ALIKE
async def test_fails_with_the_error_itself(spans: Spans, method: str) -> None:
    """The caller gets the driver's exception, and the span is an error with it."""
    error = KeyError("secret")
    with spans.tracer.start_as_current_span("request"):
        work = getattr(Driver(), method)(error)
        with pytest.raises(KeyError) as caught:
            await work
    assert caught.value is error
    span = spans.only()
    assert lasted(span) >= LASTED
    assert (span.status.status_code, attributes(span)) == (StatusCode.ERROR, {"error.type": "KeyError"})


@pytest.mark.asyncio
@ALIKE
async def test_cancelled_is_marked(spans: Spans, method: str) -> None:
    """Cancellation reaches the work, comes back, and is no error."""

    async def request() -> None:
        with spans.tracer.start_as_current_span("request"):
            await getattr(Driver(), method)()

    task = asyncio.create_task(request())
    async with asyncio.timeout(60):
        while not Driver.ran:  # noqa: ASYNC110  # the driver has no event
            await asyncio.sleep(0)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    await asyncio.sleep(0)  # what is done when a future is comes a step later
    assert (spans.only().status.status_code, attributes(spans.only())) == (StatusCode.UNSET, {"causal.cancelled": True})


@pytest.mark.asyncio
@pytest.mark.parametrize("use", ["task", "wait_for", "gather", "shield", "timeout"])
async def test_is_a_coroutine_to_everybody(spans: Spans, use: str) -> None:
    """A coroutine can be made a task, waited for, gathered, shielded and timed, under its own name."""
    with spans.tracer.start_as_current_span("request"):
        work = Driver().fetch()
        assert inspect.iscoroutine(work)
        assert (work.__name__, work.__qualname__) == ("_work", "Driver._work")
        match use:
            case "task":
                await asyncio.create_task(work)
            case "wait_for":
                await asyncio.wait_for(work, 60)
            case "gather":
                await asyncio.gather(work)
            case "shield":
                await asyncio.shield(work)
            case _:
                async with asyncio.timeout(60):
                    await work
    assert lasted(spans.only()) >= LASTED
    with pytest.raises(RuntimeError, match="cannot reuse already awaited coroutine"):
        await work
    assert len(spans.all()) == 1


@pytest.mark.asyncio
async def test_closed_before_it_began(spans: Spans) -> None:
    """A coroutine closed unawaited closes the driver's, without a warning, and its span ends as abandoned."""
    with spans.tracer.start_as_current_span("request"):
        work = Driver().fetch()
        work.close()
        del work
        gc.collect()
    assert (spans.only().status.status_code, attributes(spans.only())) == (StatusCode.UNSET, {"causal.abandoned": True})
    assert Driver.ran == 0


@pytest.mark.asyncio
async def test_never_awaited(spans: Spans) -> None:
    """Python warns once, of the driver's coroutine by its name; the span ends as abandoned when that goes."""
    with warnings.catch_warnings(record=True) as warned, spans.tracer.start_as_current_span("request"):
        warnings.simplefilter("always")
        Driver().fetch()
        messages = [str(each.message) for each in warned]
        warned.clear()  # it holds the coroutine
        gc.collect()
    assert messages == ["coroutine 'Driver._work' was never awaited"]
    assert warned == []
    assert attributes(spans.only()) == {"causal.abandoned": True}
    assert Driver.ran == 0


@pytest.mark.asyncio
async def test_closed_in_the_middle(spans: Spans) -> None:
    """A coroutine that is closed while it waits ends its span as abandoned."""
    with spans.tracer.start_as_current_span("request"):
        work = Driver().fetch()
        work.send(None)
        work.close()
    assert attributes(spans.only()) == {"causal.abandoned": True}


@pytest.mark.asyncio
async def test_a_future_is_the_driver_s_own(spans: Spans) -> None:
    """It is not replaced, can be asked as ever, and asyncio still tells of an exception that nobody has asked for."""
    told: list[str] = []
    asyncio.get_running_loop().set_exception_handler(lambda loop, about: told.append(about["message"]))
    with spans.tracer.start_as_current_span("request"):
        task = Driver().task(KeyError("unseen"))
        assert isinstance(task, asyncio.Task)
        await asyncio.wait([task])
        await asyncio.sleep(0)
    assert spans.only().status.status_code is StatusCode.ERROR
    del task
    gc.collect()
    assert told == ["Task exception was never retrieved"]


@pytest.mark.asyncio
async def test_another_awaitable_shows_through(spans: Spans) -> None:
    """An object that can be awaited is still of its class, with its attributes, and as often awaited as it allows."""
    with spans.tracer.start_as_current_span("request"):
        work = Driver().once()
        assert isinstance(work, Once)
        assert work.label == "once"
        await work
        await work
    assert lasted(spans.only()) >= LASTED
    assert Driver.ran == 2


@pytest.mark.asyncio
async def test_a_context_manager_is_over_when_it_is_entered(spans: Spans) -> None:
    """What can be entered is still of its class; its call is over when it has been entered, whatever follows inside."""
    with spans.tracer.start_as_current_span("request"):
        managed = Driver().managed()
        assert isinstance(managed, Managed)
        assert spans.all() == []
        async with managed as entered:
            assert entered == "entered"
            assert lasted(spans.only()) >= LASTED
            assert attributes(spans.only()) == {}
    assert len(spans.all()) == 1


@pytest.mark.asyncio
async def test_a_context_manager_may_be_awaited_instead(spans: Spans) -> None:
    """That ends its call as well."""
    with spans.tracer.start_as_current_span("request"):
        await Driver().managed()
    assert lasted(spans.only()) >= LASTED


@pytest.mark.asyncio
async def test_an_async_generator_is_over_with_its_last_item(spans: Spans) -> None:
    """Only waiting for its items counts, not what the caller does with them, and nothing is current for the caller."""
    paused = 0.0
    with spans.tracer.start_as_current_span("request") as request:
        begun = time.perf_counter()
        items = Driver().items()
        assert inspect.isasyncgen(items)
        seen = []
        async for item in items:
            seen.append(item)
            assert context.current_span() is request
            assert spans.all() == []
            left = time.perf_counter()
            await asyncio.sleep(5 * WORK)
            paused += time.perf_counter() - left
        took = time.perf_counter() - begun
    assert seen == [0, 1]
    assert LASTED <= lasted(spans.only()) <= (took - paused) * 1e9
    assert attributes(spans.only()) == {}


@pytest.mark.asyncio
async def test_an_async_generator_that_fails(spans: Spans) -> None:
    """The caller gets its exception, and what is sent and thrown in reaches it."""
    with spans.tracer.start_as_current_span("request"):
        items = Driver().items()
        assert await anext(items) == 0
        assert await items.asend("sent") == "sent"
        with pytest.raises(KeyError):
            await items.athrow(KeyError("thrown"))
    assert (spans.only().status.status_code, attributes(spans.only())) == (
        StatusCode.ERROR,
        {"error.type": "KeyError"},
    )


@pytest.mark.asyncio
async def test_an_async_generator_left_early(spans: Spans) -> None:
    """It is closed, and its call is over without a failure."""
    with spans.tracer.start_as_current_span("request"):
        items = Driver().items()
        assert await anext(items) == 0
        await items.aclose()
    assert Driver.ran == 1  # its clean-up
    assert (spans.only().status.status_code, attributes(spans.only())) == (StatusCode.UNSET, {})


def test_plain_results_are_at_once(spans: Spans) -> None:
    """What is nothing to await ends the call."""
    with spans.tracer.start_as_current_span("request"):
        assert Driver().plain() == "plain"
        assert attributes(spans.only()) == {}


@pytest.mark.asyncio
async def test_current_inside_only(monkeypatch: pytest.MonkeyPatch) -> None:
    """What is current for a call is so while the driver works, and not for the caller between call and await."""
    spans = Spans()
    for wrapper, expected in ((WRAPPERS["traced_call"], "call"), (suppressed, "request")):
        monkeypatch.setattr(Driver, "fetch", wrapper(spans.tracing, vars(Driver)["fetch"]))
        with spans.tracer.start_as_current_span("request") as request:
            work = Driver().fetch()
            assert context.current_span() is request
            inside = await work
            assert context.current_span() is request
            assert not context.is_suppressed(context.current())
        current: Any = context.current_span(inside)
        assert (current.name, context.is_suppressed(inside)) == (expected, wrapper is suppressed)
        monkeypatch.undo()
