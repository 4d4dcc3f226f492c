"""What a message carries, as a program that is not traced would find it in the queue."""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager
from copy import deepcopy
from typing import TYPE_CHECKING, Any
from uuid import uuid4

import pytest
from celery import Celery
from celery.beat import ScheduleEntry, Scheduler
from celery.schedules import schedule
from opentelemetry import baggage

from causal_otel.engine.context import attach
from causal_otel.patches.celery import CeleryOptions
from tests.patches import celery_app
from tests.patches.celery_local import STALE, execute, received_headers
from tests.patches.celery_worker import executions
from tests.recording import recording
from tests.span_relations import assert_span, traceparent

if TYPE_CHECKING:
    from tests.services.received import ReceivedSpans

OLD = {"traceparent": STALE, "tracestate": "old=1", "baggage": "old=1", "causal-links": f"retry={STALE}"}


@pytest.fixture(params=[1, 2], ids=["protocol 1", "protocol 2"])
def sender(request: pytest.FixtureRequest, broker: str) -> Iterator[Celery]:
    """An application with a queue of its own, in either task protocol."""
    app = Celery("sender", broker=broker, set_as_current=False)
    app.conf.update(task_default_queue=uuid4().hex, task_protocol=request.param)
    yield app
    app.close()


def received(app: Celery) -> dict[str, Any]:
    """The headers of the next message in the application's queue."""
    return received_headers(app, app.conf.task_default_queue)


@contextmanager
def carrying(**entries: str) -> Iterator[None]:
    """A block with baggage."""
    context = None
    for name, value in entries.items():
        context = baggage.set_baggage(name, value, context)
    assert context is not None
    activation = attach(context)
    try:
        yield
    finally:
        activation.end()


def test_message_carries_trace_and_baggage(sender: Celery) -> None:
    """The span that sends it, the caller's baggage, and when it was sent."""
    with recording(["celery"]) as recorded:
        with carrying(region="eu"):
            sender.send_task("elsewhere.build")
        send = recorded.only()
    assert_span(send, None)
    headers = received(sender)
    assert headers["traceparent"] == traceparent(send)
    assert headers["baggage"] == "region=eu"
    assert isinstance(headers["causal-published"], float)
    assert "causal-links" not in headers
    assert "headers" not in headers


def test_what_beat_sends_says_so(sender: Celery) -> None:
    """Which Celery itself does only since 5.7; in the message of an ordinary sending there is nothing of the kind."""
    beat: Any = Scheduler(sender, lazy=True)
    with recording(["celery"]):
        beat.apply_async(ScheduleEntry(name="due", task="elsewhere.build", schedule=schedule(1.0), app=sender))
        assert received(sender)["causal-beat"] is True
        sender.send_task("elsewhere.build")
        assert "causal-beat" not in received(sender)
    beat.close()


def test_stale_headers_are_replaced(sender: Celery) -> None:
    """What an earlier message carried goes, at both levels; foreign headers stay; and the caller's are not touched."""
    given = {"tenant": "acme", **OLD, "headers": {"x-datadog-trace-id": "7", **OLD}}
    kept = deepcopy(given)
    with recording(["celery"]) as recorded:
        sender.send_task("elsewhere.build", headers=given)
        send = recorded.only()
    assert_span(send, None)
    assert given == kept
    headers = received(sender)
    nested = headers["headers"]
    for found in (headers, nested):
        assert found["traceparent"] == traceparent(send)
        assert not {"tracestate", "baggage", "causal-links"} & found.keys()
        assert found["causal-published"] == headers["causal-published"]
    assert (headers["tenant"], nested["x-datadog-trace-id"]) == ("acme", "7")


def test_nested_headers_of_others_are_left_alone(sender: Celery) -> None:
    """Nested headers that carry no trace are the caller's own object, and arrive as they are."""
    with recording(["celery"]) as recorded:
        sender.send_task("elsewhere.build", headers={"headers": {"tenant": "acme"}})
        assert_span(recorded.only(), None)
    assert received(sender)["headers"] == {"tenant": "acme"}


def test_parent_in_nested_headers(local: Celery) -> None:
    """A parent that stands only there is found, with its trace state; one at the top comes first."""

    @local.task(shared=False, name="local.work")
    def work() -> None: ...

    other = STALE.replace("0af7", "1af7")
    with recording(["celery"]) as recorded:
        execute(work, headers={"traceparent": STALE, "tracestate": "vendor=1"})
        execute(work, traceparent=other, headers={"traceparent": STALE, "tracestate": "vendor=1"})
        execute(work, traceparent=STALE, headers="nonsense", **{"causal-links": 7, "causal-chord-size": "x"})
        nested, top, hostile = recorded.spans
    for span, parent, state in ((nested, STALE, "vendor=1"), (top, other, ""), (hostile, STALE, "")):
        assert span.parent is not None
        assert_span(span, span.parent)
        assert f"{span.parent.trace_id:032x}-{span.parent.span_id:016x}" == parent[3:52]
        assert span.context.trace_state.to_header() == state


def test_application_that_has_sent_before_install(sender: Celery) -> None:
    """It keeps its own way to send, which is replaced, and put back by an uninstall, as often as one likes."""
    sender.send_task("elsewhere.build")
    before = vars(sender.amqp)["send_task_message"]
    assert received(sender).keys().isdisjoint({"traceparent"})
    for _ in range(2):
        with recording(["celery"]) as recorded:
            sender.send_task("elsewhere.build")
            send = recorded.only()
        assert_span(send, None)
        assert received(sender)["traceparent"] == traceparent(send)
        assert vars(sender.amqp)["send_task_message"] is before


def test_application_that_sends_first_after_install(sender: Celery) -> None:
    """What it keeps from then on is Celery's own again after an uninstall."""
    with recording(["celery"]) as recorded:
        sender.send_task("elsewhere.build")
        assert_span(recorded.only(), None)
    assert "traceparent" in received(sender)
    assert vars(sender.amqp)["send_task_message"].__module__ == "celery.app.amqp"
    assert not hasattr(vars(sender.amqp)["send_task_message"], "__wrapped__")
    sender.send_task("elsewhere.build")
    assert "traceparent" not in received(sender)


def test_excluded_message_carries_the_trace_as_unsampled(sender: Celery) -> None:
    """A task that is excluded has no span, and its message says that the trace is not sampled."""
    with recording({"celery": CeleryOptions(excluded=("elsewhere.*",))}) as recorded:
        with recorded.tracer.start_as_current_span("request") as request:
            sender.send_task("elsewhere.build")
        assert recorded.names() == ["request"]
    found = re.fullmatch(r"00-([0-9a-f]{32})-[0-9a-f]{16}-([0-9a-f]{2})", received(sender)["traceparent"])
    assert found is not None
    assert found[1] == f"{request.get_span_context().trace_id:032x}"
    assert not int(found[2], 16) & 1


@pytest.mark.long
def test_baggage_goes_along_a_chain(broker: str, shared_worker: None, receiver: ReceivedSpans) -> None:
    """What the first task's message carries the next one's does, too."""
    with recording(["celery"]) as recorded:
        with carrying(region="eu"):
            seen = (celery_app.add.si(1, 2) | celery_app.inside.si()).apply_async().get(timeout=60)
        send = recorded.only()
        assert_span(send, None)
    executed = {span["name"]: span for span in executions(receiver, send, 3)}
    assert_span(executed["process tests.add"], send)
    assert seen["headers"]["baggage"] == "region=eu"
    sent = executed["send tests.inside"]
    assert seen["headers"]["traceparent"] == f"00-{sent['trace_id']}-{sent['span_id']}-03"
