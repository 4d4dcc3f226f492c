"""The shared wrapper for plumbing: silent when well, one span from the call on when not, and never a second one."""

from __future__ import annotations

import asyncio
import contextlib
import inspect
import time
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any

import pytest
from opentelemetry.trace import SpanKind, StatusCode

from causal_otel._internal import faults
from causal_otel.engine import context
from causal_otel.instrument.calls import client_call, plumbing_call, traced_call
from causal_otel.instrument.operation import Operation
from causal_otel.instrument.options import ClientOptions
from causal_otel.instrument.plumbing import Plumbing
from causal_otel.instrument.recorded_failures import RecordedFailures
from causal_otel.instrument.tracing import Tracing
from tests.recording import Recording, recording
from tests.span_relations import assert_inside, assert_span

if TYPE_CHECKING:
    from opentelemetry.sdk.trace import ReadableSpan


@pytest.fixture
def recorded() -> Iterator[Recording]:
    with recording([]) as record:
        yield record


def named(name: str) -> Callable[..., Operation]:
    return lambda tracing, instance, args, kwargs: Operation(name, {"db.system.name": "tests"})


async def _async(self: Any, work: Callable[[], Any]) -> Any:
    await asyncio.sleep(0.02)
    result = work()
    return await result if inspect.isawaitable(result) else result


def _plain(self: Any, work: Callable[[], Any]) -> Any:
    return _async(self, work)


def _sync(self: Any, work: Callable[[], Any]) -> Any:
    time.sleep(0.02)
    return work()


KINDS = {"async": _async, "returns a coroutine": _plain, "sync": _sync}


def fail() -> None:
    raise LookupError("not to be recorded")


def run(result: Any) -> Any:
    """Await it where it is to be awaited, in the context that is current here."""

    async def awaited() -> Any:
        return await result

    return asyncio.run(awaited()) if inspect.isawaitable(result) else result


def wrapped(recorded: Recording, function: Any, *, nests: bool = False, name: str = "OUTER") -> Any:
    tracing = Tracing(recorded.tracer, ClientOptions(), lambda seconds: True)
    return plumbing_call(named(name), nests=nests)(tracing, function)


def seconds(span: ReadableSpan) -> float:
    return (span.end_time - span.start_time) / 1e9  # type: ignore[operator]


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("nests", [False, True])
def test_one_span_if_it_fails(recorded: Recording, kind: str, nests: bool) -> None:
    """A call that goes well leaves nothing; one that fails is a span of its whole time, under its parent."""
    call = wrapped(recorded, KINDS[kind], nests=nests)
    with recorded.tracer.start_as_current_span("root") as root:
        assert run(call(None, lambda: 7)) == 7
        assert recorded.spans == []
        with pytest.raises(LookupError):
            run(call(None, fail))
        assert not any(isinstance(value, RecordedFailures) for value in context.current().values())
    span = recorded.only("OUTER")
    assert span.parent == root.get_span_context()
    assert (span.kind, span.status.status_code, span.status.description) == (
        SpanKind.CLIENT,
        StatusCode.ERROR,
        "LookupError",
    )
    assert dict(span.attributes or {}) == {"db.system.name": "tests", "error.type": "LookupError"}
    assert span.events == ()
    assert seconds(span) >= 0.02
    assert root.start_time <= span.start_time  # type: ignore[attr-defined]


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("inner", ["plumbing", "operation"])
def test_never_two_spans_for_one_failure(recorded: Recording, kind: str, inner: str) -> None:
    """What has failed inside has told of it, through any number of calls; another failure is told of by itself."""
    tracing = Tracing(recorded.tracer, ClientOptions(), lambda seconds: True)
    wrap = plumbing_call(named("INNER")) if inner == "plumbing" else client_call(named("INNER"))
    innermost = wrap(tracing, KINDS[kind])
    middle = wrapped(recorded, KINDS[kind], nests=True, name="MIDDLE")
    outer = wrapped(recorded, KINDS[kind], nests=True)

    def handle() -> None:
        with pytest.raises(LookupError):
            innermost(None, fail)
        raise KeyError

    async def async_handle() -> None:
        with pytest.raises(LookupError):
            await innermost(None, fail)
        raise KeyError

    with recorded.tracer.start_as_current_span("root") as root:
        with pytest.raises(LookupError):
            run(outer(None, lambda: middle(None, lambda: innermost(None, fail))))
        span = recorded.only("INNER")
        assert (span.parent, span.status.status_code) == (root.get_span_context(), StatusCode.ERROR)
        assert seconds(span) >= 0.02
        recorded.clear()
        with pytest.raises(KeyError):
            run(outer(None, handle if kind == "sync" else async_handle))
        assert recorded.names() == ["INNER", "OUTER"]
    told, other, ended = recorded.spans
    assert_inside(ended, told, other)
    for span, error in ((told, "LookupError"), (other, "KeyError")):
        assert (span.status.status_code, (span.attributes or {})["error.type"]) == (StatusCode.ERROR, error)
    assert seconds(other) >= seconds(told) + 0.018


@pytest.mark.parametrize("kind", KINDS)
def test_of_slow_ones_the_outermost_is_a_span(recorded: Recording, kind: str) -> None:
    """A call that goes well and takes longer than the option says is a span, with its parts; those inside are none."""
    tracing = Tracing(recorded.tracer, ClientOptions(slow_plumbing=0.02), lambda seconds: True)
    inner = plumbing_call(named("INNER"))(tracing, KINDS[kind])

    def begin(tracing: Tracing[Any], instance: Any, args: Any, kwargs: Any) -> Plumbing:
        call = Plumbing(tracing, lambda: Operation("OUTER", {"db.system.name": "tests"}), nests=True)
        call.part("causal.pool.wait", 0.015)
        call.part("causal.pool.wait", 0.005)
        call.part("causal.connect", 0.000_9)
        call.learn({"causal.pool.size": 3})
        return call

    outer = traced_call(begin)(tracing, KINDS[kind])
    run(outer(None, lambda: inner(None, lambda: None)))
    assert recorded.spans == []  # outside a span, what goes well is no trace
    with recorded.tracer.start_as_current_span("root") as root:
        run(outer(None, lambda: inner(None, lambda: None)))
        found = assert_span(recorded.only("OUTER"), root, lasts=0.04)
        assert found == {"db.system.name": "tests", "causal.pool.wait": pytest.approx(0.02), "causal.pool.size": 3}
        recorded.clear()
        run(inner(None, lambda: None))
        assert_span(recorded.only("INNER"), root, lasts=0.02)
        recorded.clear()
        run(wrapped(recorded, KINDS[kind])(None, lambda: None))  # nobody said what is slow
    assert recorded.names() == ["root"]


@pytest.mark.asyncio
async def test_failure_of_another_task(recorded: Recording) -> None:
    """A failure is known by whoever waits for the task that it happened in, and a cancellation there as well."""
    inner = wrapped(recorded, _async, name="INNER")
    outer = wrapped(recorded, _async, nests=True)
    waiting = asyncio.Event()

    async def wait() -> None:
        waiting.set()
        await asyncio.sleep(30)

    with recorded.tracer.start_as_current_span("root"):
        with pytest.raises(LookupError):
            await outer(None, lambda: asyncio.create_task(inner(None, fail)))
        task = asyncio.create_task(outer(None, lambda: asyncio.create_task(inner(None, wait))))
        await waiting.wait()
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
    failed, cancelled, root = recorded.spans
    assert_inside(root, failed, cancelled)
    assert min(seconds(failed), seconds(cancelled)) >= 0.02
    assert (failed.name, failed.status.status_code) == ("INNER", StatusCode.ERROR)
    assert (cancelled.name, cancelled.status.status_code) == ("INNER", StatusCode.UNSET)
    assert dict(cancelled.attributes or {})["causal.cancelled"] is True


def test_nothing_is_kept_of_a_failure_once_the_call_is_over() -> None:
    """A task that has outlived the call tells it nothing any more, and so keeps no exceptions alive through it."""
    failures = RecordedFailures()
    error = LookupError()
    failures.add(error)
    assert failures.close_with(error)
    failures.add(error)
    assert not failures.close_with(error)


def test_what_no_server_can_help(recorded: Recording) -> None:
    """An interrupted program is no failure of the call that it was in."""

    def interrupt() -> None:
        raise KeyboardInterrupt

    with recorded.tracer.start_as_current_span("root"), pytest.raises(KeyboardInterrupt):
        wrapped(recorded, _sync)(None, interrupt)
    assert recorded.names() == ["root"]


def test_description_that_fails() -> None:
    """Where a call cannot be described, the user's exception is still his own, and the fault is counted."""

    def broken(*_: Any) -> Operation:
        raise RuntimeError("ours")

    error = LookupError()

    def fail_so() -> None:
        raise error

    before = sum(faults.counts().values())
    # The recording itself asserts that nothing of ours has failed.
    with contextlib.suppress(AssertionError), recording([]) as recorded:
        tracing = Tracing(recorded.tracer, ClientOptions(), lambda seconds: True)
        with recorded.tracer.start_as_current_span("root"), pytest.raises(LookupError) as caught:
            plumbing_call(broken)(tracing, _sync)(None, fail_so)
    assert caught.value is error
    assert recorded.names() == ["root"]
    assert sum(faults.counts().values()) == before + 1
