"""What the seam has for messages of a queue: sending one, what it carries, and processing it."""

from __future__ import annotations

import time
from collections.abc import Iterator
from typing import Any

import pytest
from opentelemetry import baggage, trace
from opentelemetry.sdk.trace.sampling import ALWAYS_OFF
from opentelemetry.trace import SpanKind, TraceFlags

from causal_otel._internal import faults
from causal_otel.engine.context import attach, current, suppress
from causal_otel.engine.provider import TracerProvider
from causal_otel.instrument import (
    Operation,
    Options,
    Processing,
    Tracing,
    after,
    carry,
    delivering,
    inside,
    processing,
    queue_wait,
    sending,
    traced_call,
)
from tests.recording import Recording, recording
from tests.span_relations import assert_span, traceparent

STALE = {"traceparent": f"00-{'1' * 32}-{'2' * 16}-01", "tracestate": "old=1", "baggage": "old=1"}


@pytest.fixture
def recorded() -> Iterator[Recording]:
    with recording([]) as record:
        yield record


class _Outcome(Processing):
    """The worker catches what a task raises, and returns it."""

    def failure(self, result: Any) -> BaseException | None:
        return result if isinstance(result, Exception) else None


class _Queue:
    """A queue of one message, and its worker."""

    def send(self, headers: dict[str, Any]) -> dict[str, Any]:
        return self.make(headers)

    def make(self, headers: dict[str, Any]) -> dict[str, Any]:
        return dict(headers)

    def work(self, headers: dict[str, Any], task: Any = None) -> Any:
        return None if task is None else task()


def _traced(recorded: Recording, excluded: tuple[str, ...] | None = None) -> _Queue:
    """The queue, patched by the seam."""
    tracing = Tracing(recorded.tracer, Options(excluded=excluded), lambda seconds: True)

    def begin_sending(tracing: Tracing[Any], queue: Any, args: Any, kwargs: Any) -> Any:
        operation = Operation("send job", {}, kind=SpanKind.PRODUCER)
        return sending(tracing, "job", args[0], lambda: operation)

    def begin_work(tracing: Tracing[Any], queue: Any, args: Any, kwargs: Any) -> Any:
        operation = Operation("process job", {}, kind=SpanKind.CONSUMER)
        return processing(tracing, "job", args[0], lambda: operation, call=_Outcome)

    def made(queue: Any, args: Any, kwargs: Any, message: dict[str, Any]) -> None:
        carry(message)

    class Traced(_Queue):
        send = traced_call(begin_sending, carries=True)(tracing, _Queue.send)
        make = after(made, always=True)(tracing, _Queue.make)
        work = traced_call(begin_work, carries=True)(tracing, _Queue.work)

    return Traced()


def test_what_is_stale_is_replaced_and_all_else_stays(recorded: Recording) -> None:
    """A message carries the sending's own context and baggage; the dict that the caller gave is as it was."""
    given = {**STALE, "tenant": "acme"}
    with recorded.tracer.start_as_current_span("request"):
        activation = attach(baggage.set_baggage("region", "eu"))
        headers = _traced(recorded).send(given)
        activation.end()
    sent = recorded.only("send job")
    assert_span(sent, recorded.only("request"))
    assert float(headers.pop("causal-published")) <= time.time()
    assert headers == {"traceparent": traceparent(sent), "baggage": "region=eu", "tenant": "acme"}
    assert given == {**STALE, "tenant": "acme"}


def test_a_message_that_is_only_made_carries_nothing(recorded: Recording) -> None:
    """Outside of a sending, and where that is suppressed, headers stay as they are given."""
    with recorded.tracer.start_as_current_span("request"):
        assert _traced(recorded).make(STALE) == STALE
        with suppress():
            assert _traced(recorded).send(STALE) == STALE
    assert recorded.names() == ["request"]


def test_processing_goes_on_with_what_is_carried(recorded: Recording) -> None:
    """The parent is the message's sender, whatever is current in the worker; its baggage is current."""
    queue = _traced(recorded)
    activation = attach(baggage.set_baggage("region", "eu"))
    headers = queue.send({})
    activation.end()
    with recorded.tracer.start_as_current_span("worker"):
        activation = attach(baggage.set_baggage("region", "worker's"))
        assert queue.work(headers, baggage.get_all) == {"region": "eu"}
        activation.end()
    assert_span(recorded.only("process job"), recorded.only("send job").context)
    assert current() == {}


@pytest.mark.parametrize("excluded", [True, False])
def test_the_rest_of_a_delivery_is_in_the_message_s_trace(recorded: Recording, excluded: bool) -> None:
    """What the worker does after the processing is below it, not recorded where that is not, and over with it."""
    queue = _traced(recorded, ("job",) if excluded else None)

    def deliver(self: Any) -> None:
        queue.work({})
        with recorded.tracer.start_as_current_span("acknowledge"):
            pass

    tracing = Tracing(recorded.tracer, Options(), lambda seconds: True)
    inside(delivering, always=True)(tracing, deliver)(None)
    assert current() == {}
    if excluded:
        assert recorded.spans == []
        return
    processed = recorded.only("process job")
    assert_span(processed, None)
    assert_span(recorded.only("acknowledge"), processed.context)


@pytest.mark.parametrize("raises", [True, False])
def test_a_failure_is_told_with_its_exception(recorded: Recording, raises: bool) -> None:
    """What the application raises is recorded with its message, whether it leaves the worker or is its result."""

    def fail() -> Any:
        if raises:
            raise ValueError("no")
        return ValueError("no")

    queue = _traced(recorded)
    if raises:
        with pytest.raises(ValueError, match="no"):
            queue.work({}, fail)
    else:
        assert str(queue.work({}, fail)) == "no"
    span = recorded.only("process job")
    assert_span(span, None, error="ValueError")
    [event] = span.events
    assert dict(event.attributes or {})["exception.message"] == "no"


@pytest.mark.parametrize("excluded", [True, False])
def test_what_is_not_recorded_is_carried_on(excluded: bool) -> None:
    """Neither what is excluded nor what is not sampled leaves a span, and the next process is told so."""
    with recording([], sampler=None if excluded else ALWAYS_OFF) as recorded:
        queue = _traced(recorded, ("job",) if excluded else None)
        headers = queue.send({})
        assert not int(headers["traceparent"][-2:], 16) & TraceFlags.SAMPLED
        span = queue.work(headers, trace.get_current_span)
        assert recorded.spans == []
    assert not span.get_span_context().trace_flags & TraceFlags.SAMPLED
    assert f"{span.get_span_context().trace_id:032x}" == headers["traceparent"][3:35]


def test_labels_go_on_with_their_trace_outside_of_any_span(recorded: Recording) -> None:
    """A message that is sent for somebody later stays in the trace that its headers carry."""
    _traced(recorded).send(STALE)
    [sent] = recorded.spans
    assert (f"{sent.context.trace_id:032x}", sent.parent and f"{sent.parent.span_id:016x}") == ("1" * 32, "2" * 16)


@pytest.mark.parametrize("published", ["soon", None, [], {}])
def test_a_wait_that_is_not_told_is_none(published: Any) -> None:
    """What is no time says nothing of the wait; a clock that is ahead makes it no less than nothing."""
    assert queue_wait({"causal-published": published}) is None
    assert queue_wait({}) is None
    assert queue_wait({"causal-published": str(time.time() + 60)}) == 0.0
    waited = queue_wait({"causal-published": str(time.time() - 60)})
    assert waited is not None
    assert waited >= 60


def test_looking_at_a_call_cannot_break_it() -> None:
    """What ``after`` is given to look at the call with may raise; it is not asked where the call has raised."""
    seen = []

    def look(instance: Any, args: Any, kwargs: Any, result: Any) -> None:
        seen.append((args, kwargs, result))
        raise LookupError("of ours")

    def call(self: Any, number: int, *, more: int) -> int:
        return number // more

    before = faults.counts()
    looked: Any = after(look)(Tracing(TracerProvider().get_tracer("tests"), Options(), lambda seconds: True), call)
    assert looked(None, 4, more=2) == 2
    with pytest.raises(ZeroDivisionError):
        looked(None, 4, more=0)
    assert seen == [((4,), {"more": 2}, 2)]
    assert sum(faults.counts().values()) == sum(before.values()) + 1
