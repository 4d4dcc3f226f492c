"""The patch for Celery, on a real broker with real workers: one trace from who publishes to what is executed."""

from __future__ import annotations

import os
from itertools import pairwise
from time import perf_counter
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

import pytest
from celery import Celery, chain, chord, group
from opentelemetry import baggage
from opentelemetry.sdk.trace.sampling import ALWAYS_OFF
from opentelemetry.trace import SpanKind, TraceFlags

from causal_otel.engine.context import attach, suppress
from tests.patches import celery_app
from tests.patches.celery_local import STALE
from tests.patches.celery_worker import executions, hexadecimal
from tests.recording import recording
from tests.span_relations import assert_span, traceparent

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.services.received import ReceivedSpans


def test_trace_crosses_to_the_worker(broker: str, shared_worker: None, receiver: ReceivedSpans) -> None:
    """The publisher's request, sending, and the worker's execution are one line of parents, under two services."""
    with recording(["celery"]) as recorded:
        with recorded.tracer.start_as_current_span("request"):
            result = celery_app.inside.delay()
        seen = result.get(timeout=60)
        request, send = recorded.only("request"), recorded.only("send tests.inside")
    [executed] = executions(receiver, send, 1)
    assert_span(send, request)
    assert send.kind is SpanKind.PRODUCER
    assert_span(executed, send)
    assert (executed["name"], executed["kind"]) == ("process tests.inside", "CONSUMER")
    assert executed["service"] == "celery"
    assert send.start_time
    assert executed["start"] >= send.start_time
    assert seen["headers"]["traceparent"] == traceparent(send)
    assert seen["traceparent"].startswith(f"00-{executed['trace_id']}-{executed['span_id']}-")
    assert seen["pid"] != os.getpid()


def test_attributes_follow_the_messaging_conventions(broker: str, shared_worker: None, receiver: ReceivedSpans) -> None:
    """Both spans tell system, broker, queue and message alike; the task's name and state are ours."""
    with recording(["celery"]) as recorded:
        began = perf_counter()
        result = celery_app.add.delay(1, 2)
        assert result.get(timeout=60) == 3
        send = recorded.only()
    [executed] = executions(receiver, send, 1)
    # The worker stores the result before the execution ends: only a span that has arrived is over.
    took = perf_counter() - began
    address = urlsplit(broker)
    common = {
        "messaging.system": "redis",
        "messaging.destination.name": "celery",
        "messaging.message.id": result.id,
        "messaging.message.conversation_id": result.id,
        "server.address": address.hostname,
        "server.port": address.port,
        "celery.task.name": "tests.add",
    }
    found = assert_span(send, None, within=took)
    assert found == common | {"messaging.operation.name": "send", "messaging.operation.type": "send"}
    found = assert_span(executed, send, within=took)
    waited = found.pop("causal.queue.wait")
    assert 0 <= found.pop("causal.prefetch.wait") <= waited <= took
    assert found == common | {
        "messaging.operation.name": "process",
        "messaging.operation.type": "process",
        "celery.task.state": "SUCCESS",
        "celery.worker.name": "celery@tests",
    }


def test_publish_from_a_task_continues_its_trace(broker: str, shared_worker: None, receiver: ReceivedSpans) -> None:
    """A task that a task publishes is below the span that was current there."""
    with recording(["celery"]) as recorded:
        celery_app.relay.delay().get(timeout=60)
        send = recorded.only()
    spans = {span["name"]: span for span in executions(receiver, send, 4)}
    line = ["process tests.add", "send tests.add", "work", "process tests.relay"]
    for child, parent in pairwise(line):
        assert_span(spans[child], spans[parent])
    assert_span(spans[line[-1]], send)


@pytest.mark.parametrize(
    ("canvas", "tasks", "value"),
    [
        (lambda: chain(celery_app.add.s(1, 2), celery_app.add.s(3), celery_app.add.s(4)), 3, 10),
        (lambda: group(celery_app.add.s(n, n) for n in range(3)), 3, [0, 2, 4]),
        (lambda: chord([celery_app.add.s(n, n) for n in range(3)], celery_app.total.s()), 4, 6),
        (lambda: celery_app.add.starmap([(1, 2), (3, 4)]), 1, [3, 7]),
    ],
    ids=["chain", "group", "chord", "starmap"],
)
def test_canvas_is_one_trace(
    broker: str, shared_worker: None, receiver: ReceivedSpans, canvas: Callable[[], Any], tasks: int, value: Any
) -> None:
    """Every message of a canvas has its two spans in the trace of whoever applied it, and no parent is missing."""
    with recording(["celery"]) as recorded:
        with recorded.tracer.start_as_current_span("request"):
            result = canvas().apply_async()
        assert result.get(timeout=60) == value
        ours = recorded.spans
    sent = [span for span in ours if span.name != "request"]
    received = executions(receiver, ours[0], 2 * tasks - len(sent))
    names = [span.name for span in sent] + [span["name"] for span in received]
    assert sum(name.startswith("send ") for name in names) == tasks
    assert sum(name.startswith("process ") for name in names) == tasks
    known: dict[str | None, Any] = {hexadecimal(span): span for span in ours}
    known |= {span["span_id"]: span for span in received}
    for span in received:
        assert_span(span, known[span["parent_span_id"]])
    for sending in sent:
        assert_span(sending, recorded.only("request"))


def test_task_without_our_headers_is_a_root(broker: str, shared_worker: None, receiver: ReceivedSpans) -> None:
    """A message from a program that is not traced starts a trace in the worker; how long it waited, nobody knows."""
    seen = celery_app.inside.delay().get(timeout=60)
    assert seen["headers"] is None
    [executed] = receiver.wait_for(bool, trace_id=seen["traceparent"].split("-")[1])
    assert "causal.queue.wait" not in assert_span(executed, None)


def test_old_task_protocol(broker: str, shared_worker: None, receiver: ReceivedSpans) -> None:
    """Messages of task protocol 1, which keeps headers apart, carry the trace as well."""
    old = Celery("old", broker=broker, backend=broker, set_as_current=False)
    old.conf.task_protocol = 1
    with recording(["celery"]) as recorded, old.connection_for_write() as connection:
        result = old.send_task("tests.inside", connection=connection, ignore_result=True)
        send = recorded.only("send tests.inside")
    [executed] = executions(receiver, send, 1)
    assert assert_span(send, None)["messaging.message.id"] == result.id
    assert assert_span(executed, send)["messaging.message.id"] == result.id


def test_headers_of_the_user_are_kept(broker: str, shared_worker: None, receiver: ReceivedSpans) -> None:
    """The user's headers and baggage arrive, a stale trace context is replaced, and the caller's dict is untouched."""
    given = {"tenant": "acme", "traceparent": STALE, "tracestate": "old=1"}
    with recording(["celery"]) as recorded:
        activation = attach(baggage.set_baggage("region", "eu"))
        try:
            seen = celery_app.inside.apply_async(headers=given).get(timeout=60)
        finally:
            activation.end()
        send = recorded.only()
    assert_span(send, None)
    assert given == {"tenant": "acme", "traceparent": STALE, "tracestate": "old=1"}
    assert seen["headers"]["tenant"] == "acme"
    assert seen["headers"]["traceparent"] == traceparent(send)
    assert seen["headers"]["baggage"] == "region=eu"
    assert "tracestate" not in seen["headers"]


def test_unsampled_decision_travels(broker: str, shared_worker: None) -> None:
    """Where the publisher's trace is not sampled, nothing is recorded, and the worker follows without a span."""
    with recording(["celery"], sampler=ALWAYS_OFF) as recorded:
        with recorded.tracer.start_as_current_span("request") as request:
            seen = celery_app.inside.delay().get(timeout=60)
        alone = celery_app.inside.delay().get(timeout=60)
        assert recorded.spans == []
    identity = request.get_span_context()
    assert seen["headers"]["traceparent"].startswith(f"00-{identity.trace_id:032x}-{identity.span_id:016x}-")
    for each in (seen, alone):
        assert each["traceparent"] == each["headers"]["traceparent"]
        assert not int(each["traceparent"][-2:], 16) & TraceFlags.SAMPLED


def test_suppressed_publish_is_left_alone(broker: str, shared_worker: None) -> None:
    """Where tracing is suppressed there is no span, and the message is as Celery makes it."""
    with recording(["celery"]) as recorded:
        with recorded.tracer.start_as_current_span("request"), suppress():
            seen = celery_app.inside.delay().get(timeout=60)
        assert recorded.names() == ["request"]
    assert seen["headers"] is None


def test_hostile_headers_do_no_harm(broker: str, shared_worker: None, receiver: ReceivedSpans) -> None:
    """Headers of any type in our names, from programs that we do not know, cost the parent and nothing else."""
    hostile: dict[str, Any] = {"traceparent": 7, "causal-published": "now"}
    seen = celery_app.inside.apply_async(headers=hostile).get(timeout=60)
    assert seen["headers"] == hostile
    [executed] = receiver.wait_for(bool, trace_id=seen["traceparent"].split("-")[1])
    assert_span(executed, None)
