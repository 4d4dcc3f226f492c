"""The patch for Celery: real workers on a real broker, their spans seen by the receiver; publishing is traced here."""

from __future__ import annotations

import contextvars
import copy
import inspect
import os
import pickle
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from itertools import pairwise
from typing import Any
from urllib.parse import urlsplit

import pytest
from celery import Celery, chain, chord, group, signals
from celery.app.task import Context as Request
from celery.app.trace import build_tracer
from celery.beat import ScheduleEntry, Scheduler
from celery.exceptions import Ignore
from celery.schedules import schedule
from kombu.exceptions import EncodeError, OperationalError
from opentelemetry import baggage, trace
from opentelemetry.sdk.trace import ReadableSpan
from opentelemetry.sdk.trace.sampling import ALWAYS_OFF
from opentelemetry.trace import SpanKind, StatusCode, TraceFlags

from causal_otel.engine.context import attach, current, is_suppressed, suppress
from causal_otel.patches.celery import PATCH, CeleryOptions
from causal_otel.testing.process import claim_port
from tests.patches import celery_app
from tests.patches.celery_app import app
from tests.patches.celery_worker import executions, hexadecimal, of_service, running_worker
from tests.recording import recording
from tests.services.received import ReceivedSpans

SECRET = "hunter2-planted"
ERROR_MESSAGE = f"cannot connect to redis://app:{SECRET}@cache.example/0"
SIGNALS = ("before_task_publish", "task_prerun", "task_postrun", "worker_process_shutdown", "worker_shutdown")
STALE = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"


@pytest.fixture(scope="module")
def shared_worker(broker: str, receiver_process: ReceivedSpans) -> Iterator[None]:
    """A prefork worker of the default queue."""
    with running_worker(broker, receiver_process, "celery"):
        yield


@pytest.fixture
def local() -> Celery:
    """An app whose broker is never asked: for eager tasks, and for what fails before that."""
    local = Celery("local", broker="redis://127.0.0.1:1/0", set_as_current=False)
    local.conf.task_publish_retry = False
    return local


def traceparent(span: ReadableSpan) -> str:
    """The header that names ``span`` as the parent."""
    return f"00-{span.context.trace_id:032x}-{span.context.span_id:016x}-{span.context.trace_flags:02x}"


# -- one trace --------------------------------------------------------------------------------------------------------


def test_trace_crosses_to_the_worker(broker: str, shared_worker: None, receiver: ReceivedSpans) -> None:
    """The publisher's request, sending, and the worker's execution are one line of parents, under two services."""
    with recording(["celery"]) as recorded:
        with recorded.tracer.start_as_current_span("request"):
            result = celery_app.inside.delay()
        seen = result.get(timeout=60)
        request, send = recorded.only("request"), recorded.only("send tests.inside")
    [executed] = executions(receiver, send, 1)
    assert send.parent == request.context
    assert (send.kind, send.status.status_code) == (SpanKind.PRODUCER, StatusCode.UNSET)
    assert executed["parent_span_id"] == hexadecimal(send)
    assert (executed["name"], executed["kind"]) == ("process tests.inside", "CONSUMER")
    assert executed["status"] == {"code": "UNSET", "message": ""}
    assert executed["service"] == "celery"
    assert send.start_time
    assert executed["start"] >= send.start_time
    assert seen["headers"]["traceparent"] == traceparent(send)
    assert seen["traceparent"].startswith(f"00-{executed['trace_id']}-{executed['span_id']}-")
    assert seen["pid"] != os.getpid()


def test_attributes_follow_the_messaging_conventions(broker: str, shared_worker: None, receiver: ReceivedSpans) -> None:
    """Both spans tell system, broker, queue and message alike; the task's name and state are ours."""
    with recording(["celery"]) as recorded:
        begun = time.time()
        result = celery_app.add.delay(1, 2)
        assert result.get(timeout=60) == 3
        took = time.time() - begun
        send = recorded.only()
    [executed] = executions(receiver, send, 1)
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
    assert send.attributes == common | {"messaging.operation.name": "send", "messaging.operation.type": "send"}
    waited = executed["attributes"].pop("causal.queue.wait")
    assert 0 <= waited <= took
    assert executed["attributes"] == common | {
        "messaging.operation.name": "process",
        "messaging.operation.type": "process",
        "celery.task.state": "SUCCESS",
    }


def test_publish_from_a_task_continues_its_trace(broker: str, shared_worker: None, receiver: ReceivedSpans) -> None:
    """A task that a task publishes is below the span that was current there."""
    with recording(["celery"]) as recorded:
        celery_app.relay.delay().get(timeout=60)
        send = recorded.only()
    spans = {span["name"]: span for span in executions(receiver, send, 4)}
    line = ["process tests.add", "send tests.add", "work", "process tests.relay"]
    for child, parent in pairwise(line):
        assert spans[child]["parent_span_id"] == spans[parent]["span_id"]
    assert spans[line[-1]]["parent_span_id"] == hexadecimal(send)


def test_retries_are_a_line_of_attempts(broker: str, shared_worker: None, receiver: ReceivedSpans) -> None:
    """Each attempt is below the one before; only the state tells that it was not the last, and it is no error."""
    with recording(["celery"]) as recorded:
        assert celery_app.flaky.delay(2).get(timeout=60) == 2
        send = recorded.only()
    spans = sorted(executions(receiver, send, 5), key=lambda span: span["start"])
    assert [span["name"].split()[0] for span in spans] == ["process", "send", "process", "send", "process"]
    assert [span["parent_span_id"] for span in spans] == [hexadecimal(send), *(span["span_id"] for span in spans[:-1])]
    assert {span["status"]["code"] for span in spans} == {"UNSET"}
    attempts = [span["attributes"] for span in spans[::2]]
    assert [attempt["celery.task.state"] for attempt in attempts] == ["RETRY", "RETRY", "SUCCESS"]
    assert [attempt.get("celery.task.retries") for attempt in attempts] == [None, 1, 2]
    assert [attempt.get("celery.task.retry.reason") for attempt in attempts] == ["ConnectionError"] * 2 + [None]
    assert len({attempt["messaging.message.id"] for attempt in attempts}) == 1


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
    known = {hexadecimal(span) for span in ours} | {span["span_id"] for span in received}
    assert {span["parent_span_id"] for span in received} <= known


def test_task_without_our_headers_is_a_root(broker: str, shared_worker: None, receiver: ReceivedSpans) -> None:
    """A message from a program that is not traced starts a trace in the worker; how long it waited, nobody knows."""
    seen = celery_app.inside.delay().get(timeout=60)
    assert seen["headers"] is None
    [executed] = receiver.wait_for(bool, trace_id=seen["traceparent"].split("-")[1])
    assert executed["parent_span_id"] is None
    assert "causal.queue.wait" not in executed["attributes"]


def test_old_task_protocol(broker: str, shared_worker: None, receiver: ReceivedSpans) -> None:
    """Messages of task protocol 1, which keeps headers apart, carry the trace as well."""
    old = Celery("old", broker=broker, backend=broker, set_as_current=False)
    old.conf.task_protocol = 1
    with recording(["celery"]) as recorded, old.connection_for_write() as connection:
        result = old.send_task("tests.inside", connection=connection, ignore_result=True)
        send = recorded.only("send tests.inside")
    [executed] = executions(receiver, send, 1)
    assert executed["parent_span_id"] == hexadecimal(send)
    assert send.attributes
    assert send.attributes["messaging.message.id"] == result.id
    assert executed["attributes"]["messaging.message.id"] == result.id


# -- outcomes ---------------------------------------------------------------------------------------------------------


def test_failing_task(broker: str, shared_worker: None, receiver: ReceivedSpans) -> None:
    """A failure is an error named by its class, with why and where, without arguments, secrets and source lines."""
    with recording(["celery"]) as recorded:
        with pytest.raises(ValueError, match=SECRET):
            celery_app.fail.apply_async((ERROR_MESSAGE,), headers={"authorization": SECRET}).get(timeout=60)
        send = recorded.only()
    [executed] = executions(receiver, send, 1)
    assert executed["status"] == {"code": "ERROR", "message": "ValueError"}
    assert executed["attributes"]["error.type"] == "ValueError"
    assert executed["attributes"]["celery.task.state"] == "FAILURE"
    [event] = executed["events"]
    assert event["name"] == "exception"
    assert event["attributes"]["exception.type"] == "ValueError"
    assert event["attributes"]["exception.message"].startswith("cannot connect to redis://")
    assert event["attributes"]["exception.message"].endswith("@cache.example/0")
    assert "in fail\n" in event["attributes"]["exception.stacktrace"]
    assert "raise ValueError(text)" not in event["attributes"]["exception.stacktrace"]
    assert send.status.status_code is StatusCode.UNSET
    assert SECRET not in f"{executed} {send.to_json()}"


@pytest.mark.parametrize(
    ("task", "state"),
    [(celery_app.expected, "FAILURE"), (celery_app.ignore, "IGNORED"), (celery_app.reject, "REJECTED")],
    ids=["expected", "ignore", "reject"],
)
def test_what_a_task_means_to_do_is_no_error(
    broker: str, shared_worker: None, receiver: ReceivedSpans, task: Any, state: str
) -> None:
    """Exceptions in ``throws``, Ignore and Reject leave the status unset, and the state tells them."""
    with recording(["celery"]) as recorded:
        task.delay()
        send = recorded.only()
    [executed] = executions(receiver, send, 1)
    assert executed["status"]["code"] == "UNSET"
    assert "error.type" not in executed["attributes"]
    assert executed["events"] == []
    assert executed["attributes"]["celery.task.state"] == state


def test_queue_wait_begins_at_the_eta(broker: str, shared_worker: None, receiver: ReceivedSpans) -> None:
    """A task that was told to wait has not waited in the queue, and says when it was due."""
    with recording(["celery"]) as recorded:
        celery_app.add.apply_async((1, 2), countdown=1).get(timeout=60)
        send = recorded.only()
    [executed] = executions(receiver, send, 1)
    due = datetime.fromisoformat(executed["attributes"]["celery.task.eta"]).timestamp()
    started = executed["start"] / 1e9
    assert send.start_time
    assert started - send.start_time / 1e9 > 0.9
    assert executed["attributes"]["causal.queue.wait"] == pytest.approx(max(0, started - due), abs=0.5)


def test_queue_wait_of_a_naive_eta_and_a_fast_clock(local: Celery) -> None:
    """An eta without a time zone is in the app's, one that is no time tells nothing, and no clock makes it negative."""
    from causal_otel.patches._celery_attributes import queue_wait

    request: Any = Request()
    local.conf.update(timezone="Asia/Tokyo")
    now = datetime.now(UTC)
    tokyo = (now + timedelta(hours=9) - timedelta(seconds=5)).replace(tzinfo=None).isoformat()
    for eta, published, expected in [
        (tokyo, time.time() - 60, 5.0),
        (None, time.time() + 60, 0.0),
        (now.isoformat(), time.time() + 60, 0.0),
    ]:
        request.eta = eta
        assert queue_wait(local, request, published, time.time()) == pytest.approx(expected, abs=1)
    request.eta = "soon"
    assert queue_wait(local, request, time.time(), time.time()) is None


# -- the message ------------------------------------------------------------------------------------------------------


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
    assert executed["parent_span_id"] is None


# -- publishing -------------------------------------------------------------------------------------------------------


def test_unregistered_name(broker: str, receiver: ReceivedSpans) -> None:
    """``send_task`` of a task that only the worker knows is covered from start to end, by name or by position."""
    with recording(["celery"]) as recorded:
        with recorded.tracer.start_as_current_span("request"):
            app.send_task("elsewhere.build", queue="nobody")
            app.send_task(name="elsewhere.sweep", queue="nobody")
        for name in ("elsewhere.build", "elsewhere.sweep"):
            send = recorded.only(f"send {name}")
            assert send.parent == recorded.only("request").context
            assert send.attributes
            assert send.attributes["messaging.destination.name"] == "nobody"


def test_publish_without_a_parent_is_a_root(broker: str) -> None:
    """A script's publish starts a trace, and so does each task that beat finds due."""
    with recording(["celery"]) as recorded:
        app.send_task("elsewhere.build", queue="nobody")
        beat: Any = Scheduler(app, lazy=True)
        beat.apply_async(
            ScheduleEntry("nightly", "tests.add", None, None, schedule(1.0), (1, 2), {}, {"queue": "nobody"}, app=app)
        )
        beat.close()
        spans = recorded.spans
    assert [span.name for span in spans] == ["send elsewhere.build", "send tests.add"]
    assert [span.parent for span in spans] == [None, None]
    assert spans[0].context.trace_id != spans[1].context.trace_id


def test_exchange_and_routing_key_are_the_destination(broker: str) -> None:
    """A message for a topic exchange names exchange and routing key."""
    with recording(["celery"]) as recorded:
        app.send_task("elsewhere.build", exchange="reports", routing_key="build.pdf", exchange_type="topic")
        attributes = recorded.only().attributes
    assert attributes
    assert attributes["messaging.destination.name"] == "reports:build.pdf"


def test_unreachable_broker(local: Celery) -> None:
    """A publish that fails is an error, the exception is the caller's, and what was current is current again."""
    port = claim_port(None, "nobody")
    local.conf.update(
        broker_url=f"redis://user:{SECRET}@127.0.0.1:{port}/0",
        broker_transport_options={"max_retries": 0, "socket_connect_timeout": 1},
    )
    with recording(["celery"]) as recorded:
        with recorded.tracer.start_as_current_span("request"):
            before = current()
            with pytest.raises(OperationalError):
                local.send_task("elsewhere.build", retry=False)
            assert current() is before
        send = recorded.only("send elsewhere.build")
    assert (send.status.status_code, send.status.description) == (StatusCode.ERROR, "OperationalError")
    assert send.attributes
    assert send.attributes["error.type"] == "kombu.exceptions.OperationalError"
    assert send.attributes["server.port"] == port
    assert SECRET not in send.to_json()


def test_message_that_cannot_be_encoded(broker: str) -> None:
    """So is one whose arguments cannot be serialised, and one that Celery does not accept at all."""
    with recording(["celery"]) as recorded:
        before = current()
        with pytest.raises(EncodeError):
            app.send_task("elsewhere.build", (object(),))
        with pytest.raises(TypeError):
            app.send_task()  # type: ignore[call-arg]
        assert current() is before
        assert [span.status.status_code for span in recorded.spans] == [StatusCode.ERROR] * 2


def test_publishing_is_suppressed_inside(broker: str) -> None:
    """While the message is on the way everything but its span is suppressed, whoever traces the broker's client."""
    inside: list[bool] = []

    def look(**_: Any) -> None:
        inside.append(is_suppressed(current()))

    signals.before_task_publish.connect(look, weak=False)
    try:
        with recording(["celery"]):
            app.send_task("elsewhere.build", queue="nobody")
            inside.append(is_suppressed(current()))
    finally:
        signals.before_task_publish.disconnect(look)
    assert inside == [True, False]


def test_broker_commands_are_no_spans(broker: str) -> None:
    """Sending is one span, and none for the commands that it takes, with the broker's own client traced."""
    with recording(["celery", "redis"]) as recorded:
        with recorded.tracer.start_as_current_span("request"):
            celery_app.add.apply_async((1, 2), queue="nobody")
        assert recorded.names() == ["send tests.add", "request"]


def test_parents_of_concurrent_publishes(broker: str) -> None:
    """Threads that publish at once each have their own parent."""
    with recording(["celery"]) as recorded:

        def publish(number: int) -> None:
            with recorded.tracer.start_as_current_span(f"request {number}"):
                app.send_task(f"elsewhere.{number}", queue="nobody")

        with ThreadPoolExecutor(8) as pool:
            list(pool.map(publish, range(40)))
        for number in range(40):
            assert recorded.only(f"send elsewhere.{number}").parent == recorded.only(f"request {number}").context


@pytest.mark.parametrize(
    ("url", "expected"),
    [
        (None, ("rabbitmq", None, None)),
        ("amqps://u:p@mq.example//", ("rabbitmq", "mq.example", None)),
        ("rediss://:p@cache.example:7000/0", ("redis", "cache.example", 7000)),
        ("redis+socket:///run/redis.sock", ("redis", None, None)),
        (["amqp://one.example:1", "amqp://two.example:2"], ("rabbitmq", None, None)),
        ("sentinel://one.example:26379;sentinel://two.example:26379", ("redis", None, None)),
        ("sqs://AKIDEXAMPLE:secret@", ("aws_sqs", None, None)),
        ("memory://", ("celery", None, None)),
    ],
)
def test_broker_attributes(local: Celery, url: Any, expected: tuple[str, str | None, int | None]) -> None:
    """The system is the broker's; an address is told where it is certain, and never what may be a credential."""
    from causal_otel.patches._celery_attributes import common

    local.conf.update(broker_url=url)
    attributes = common(local, "t", "send")
    assert tuple(map(attributes.get, ("messaging.system", "server.address", "server.port"))) == expected


# -- eager mode -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("call", ["apply", "always_eager"])
def test_eager_task_is_a_child_of_its_caller(local: Celery, call: str) -> None:
    """Without a message there is one span, current in the task, below whatever calls it."""
    inside: list[Any] = []

    @local.task(shared=False, name="local.look")
    def look() -> None:
        inside.append(trace.get_current_span().get_span_context())

    with recording(["celery"]) as recorded:
        with recorded.tracer.start_as_current_span("request"):
            before = current()
            if call == "apply":
                look.apply(headers={"traceparent": STALE})
            else:
                local.conf.task_always_eager = True
                look.delay()
            assert current() is before
        executed = recorded.only("process local.look")
        assert recorded.names() == ["process local.look", "request"]
    assert executed.parent == recorded.spans[-1].context
    assert inside == [executed.context]
    assert executed.kind is SpanKind.CONSUMER
    assert executed.attributes
    assert executed.attributes["messaging.system"] == "celery"
    assert executed.attributes["celery.task.state"] == "SUCCESS"
    assert "causal.queue.wait" not in executed.attributes


@pytest.mark.parametrize("throw", [True, False])
def test_failing_eager_task_is_an_error(local: Celery, throw: bool) -> None:
    """A failing eager task is an error, whether its exception reaches the caller or the result."""
    error = LookupError(ERROR_MESSAGE)

    @local.task(shared=False, name="local.fail")
    def fail() -> None:
        raise error

    with recording(["celery"]) as recorded:
        if throw:
            with pytest.raises(LookupError) as caught:
                fail.apply(throw=True)
            assert caught.value is error
        else:
            assert fail.apply().state == "FAILURE"
        executed = recorded.only()
    assert (executed.status.status_code, executed.status.description) == (StatusCode.ERROR, "LookupError")
    assert executed.attributes
    assert executed.attributes["error.type"] == "LookupError"
    assert executed.attributes["celery.task.state"] == "FAILURE"
    [event] = executed.events
    assert event.attributes
    assert event.attributes["exception.type"] == "LookupError"
    assert ".fail\n" in str(event.attributes["exception.stacktrace"])
    assert SECRET not in executed.to_json()


@pytest.mark.parametrize("raised", [SystemExit(3), KeyboardInterrupt()])
def test_eager_task_that_exits_is_an_error(local: Celery, raised: BaseException) -> None:
    """A task that ends by SystemExit or an interrupt has failed, and what it raised goes through the caller."""

    @local.task(shared=False, name="local.leave")
    def leave() -> None:
        raise raised

    with recording(["celery"]) as recorded:
        before = current()
        with pytest.raises(type(raised)) as caught:
            leave.apply()
        assert caught.value is raised
        assert current() is before
        executed = recorded.only()
    assert executed.status.status_code is StatusCode.ERROR
    assert executed.attributes
    assert executed.attributes["error.type"] == type(raised).__name__
    assert [event.name for event in executed.events] == ["exception"]


@pytest.mark.parametrize("raised", [Ignore(), celery_app.Expected()])
def test_eager_task_left_otherwise_is_no_error(local: Celery, raised: BaseException) -> None:
    """What is no failure ends the span with its status unset, on its way through the caller as well."""

    @local.task(shared=False, name="local.leave", throws=(celery_app.Expected,))
    def leave() -> None:
        raise raised

    with recording(["celery"]) as recorded:
        before = current()
        if isinstance(raised, Ignore):
            leave.apply()
        else:
            with pytest.raises(type(raised)):
                leave.apply(throw=True)
        assert current() is before
        assert recorded.only().status.status_code is StatusCode.UNSET


def test_eager_task_applied_while_an_exception_is_handled(local: Celery) -> None:
    """The exception that the caller is handling is not the task's."""

    @local.task(shared=False, name="local.work")
    def work() -> int:
        return 1

    with recording(["celery"]) as recorded:
        try:
            raise LookupError
        except LookupError:
            assert work.apply().get() == 1
        assert recorded.only().status.status_code is StatusCode.UNSET


def test_eager_tasks_nest_and_retry(local: Celery) -> None:
    """An eager task within one is its child, and its attempts are their caller's children."""

    @local.task(shared=False, name="local.inner", bind=True, max_retries=3)
    def inner(self: Any) -> int:
        if not self.request.retries:
            raise self.retry(countdown=0)
        return int(self.request.retries)

    @local.task(shared=False, name="local.outer")
    def outer() -> int:
        return int(inner.apply().get(disable_sync_subtasks=False))

    with recording(["celery"]) as recorded:
        assert outer.apply().get(disable_sync_subtasks=False) == 1
        first, second = (span for span in recorded.spans if span.name == "process local.inner")
        parent = recorded.only("process local.outer")
    assert first.parent == second.parent == parent.context
    states = [(span.attributes or {})["celery.task.state"] for span in (first, second)]
    assert states == ["RETRY", "SUCCESS"]


def test_request_can_be_copied_inside_a_task(local: Celery) -> None:
    """A task may copy, deep-copy and pickle its request as before; the span is not part of the copy."""
    copies: list[Any] = []

    @local.task(shared=False, name="local.copies", bind=True)
    def make(self: Any) -> None:
        copies.append(copy.deepcopy(self.request))
        copies.append(pickle.loads(pickle.dumps(vars(self.request))))

    with recording(["celery"]) as recorded:
        assert make.apply().state == "SUCCESS"
        recorded.only("process local.copies")
    assert copies[0].id == copies[1]["id"]


# -- executing, in this process ---------------------------------------------------------------------------------------


def execute(task: Any, **headers: Any) -> None:
    """Execute ``task`` as a worker does that has received it with ``headers``."""
    request = {"id": "1", "delivery_info": {"exchange": "", "routing_key": "celery"}, "is_eager": False, **headers}
    build_tracer(task.name, task, app=task.app)("1", [], {}, request)


def test_parent_comes_from_the_wire_only(local: Celery) -> None:
    """What is current in the worker is nobody's parent: not around the message's own parent, and not without one."""
    inside: list[Any] = []

    @local.task(shared=False, name="local.look")
    def look() -> None:
        inside.append((trace.get_current_span().get_span_context(), baggage.get_all()))

    with recording(["celery"]) as recorded:
        with recorded.tracer.start_as_current_span("ambient"):
            activation = attach(baggage.set_baggage("ambient", "yes"))
            execute(look, traceparent=STALE)
            execute(look)
            activation.end()
        remote, root = (span for span in recorded.spans if span.name == "process local.look")
    assert remote.parent
    assert f"{remote.parent.trace_id:032x}" == STALE.split("-")[1]
    assert root.parent is None
    assert inside == [(remote.context, {}), (root.context, {})]


def test_context_left_behind_by_a_task(local: Celery) -> None:
    """A task that leaves something current spoils neither its own span nor the next task's parent."""

    @local.task(shared=False, name="local.careless")
    def careless() -> None:
        attach(trace.set_span_in_context(trace.NonRecordingSpan(trace.get_current_span().get_span_context())))

    def run() -> None:
        execute(careless)
        execute(careless)

    with recording(["celery"]) as recorded:
        contextvars.copy_context().run(run)
        assert [span.parent for span in recorded.spans] == [None, None]


def test_exit_of_the_worker_inside_a_task(local: Celery) -> None:
    """SystemExit, as a worker's end raises it too, is an error of the attempt, and the context is restored."""

    @local.task(shared=False, name="local.leave")
    def leave() -> None:
        raise SystemExit(3)

    with recording(["celery"]) as recorded:
        before = current()
        with pytest.raises(SystemExit):
            execute(leave)
        assert current() is before
        executed = recorded.only()
    assert executed.status.status_code is StatusCode.ERROR
    assert executed.attributes
    assert executed.attributes["error.type"] == "SystemExit"


# -- workers ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("pool", ["solo", "threads"])
def test_other_pools(broker: str, receiver: ReceivedSpans, pool: str) -> None:
    """Without child processes parents are right as well, and a warm shutdown loses nothing."""
    with recording(["celery"]) as recorded:
        with running_worker(broker, receiver, pool, pool=pool, schedule_delay=60) as worker:
            results = [celery_app.relay.apply_async(queue=pool) for _ in range(5)]
            for result in results:
                app.AsyncResult(result.get(timeout=60)).get(timeout=60)
            worker.stop()
        sent = recorded.spans
    spans = of_service(receiver.spans(), pool)
    assert len(spans) == 4 * len(results)
    by_id = {span["span_id"]: span for span in spans}
    for span in spans:
        parent = by_id.get(span["parent_span_id"] or "")
        if span["name"] == "process tests.relay":
            assert span["parent_span_id"] in {hexadecimal(each) for each in sent}
        else:
            assert parent is not None
            assert parent["trace_id"] == span["trace_id"]


def test_warm_shutdown_loses_nothing(broker: str, receiver: ReceivedSpans) -> None:
    """Ten tasks and then SIGTERM: ten spans, though the next export was a minute away."""
    with recording(["celery"]), running_worker(broker, receiver, "stopping", schedule_delay=60) as worker:
        for result in [celery_app.add.apply_async((n, n), queue="stopping") for n in range(10)]:
            result.get(timeout=60)
        worker.stop()
    assert [span["name"] for span in of_service(receiver.spans(), "stopping")] == ["process tests.add"] * 10


def test_recycled_children_lose_nothing(broker: str, receiver: ReceivedSpans) -> None:
    """A child that leaves after its number of tasks has exported their spans, though the worker runs on."""
    recycling = running_worker(broker, receiver, "recycling", "--max-tasks-per-child", "1", schedule_delay=60)
    with recording(["celery"]), recycling:
        results = [celery_app.inside.apply_async(queue="recycling") for _ in range(4)]
        assert len({result.get(timeout=60)["pid"] for result in results}) == 4
        receiver.wait_for(lambda spans: len(of_service(spans, "recycling")) == 4)


def test_worker_makes_no_spans_of_its_own(broker: str, receiver: ReceivedSpans) -> None:
    """Starting, waiting, fetching, acknowledging and stopping are no spans, with the broker's own client traced."""
    with recording(["celery"]) as recorded:
        with running_worker(broker, receiver, "quiet", patches="celery,redis", pool="solo") as worker:
            celery_app.add.apply_async((1, 2), queue="quiet").get(timeout=60)
            assert app.control.ping(["quiet@tests"], timeout=10, limit=1) == [{"quiet@tests": {"ok": "pong"}}]
            worker.stop()
        send = recorded.only()
    spans = of_service(receiver.spans(), "quiet")
    [executed] = [span for span in spans if span["name"] == "process tests.add"]
    assert executed["parent_span_id"] == hexadecimal(send)
    # What is left is the result backend's: of this execution, and inside it.
    assert {span["parent_span_id"] for span in spans} <= {hexadecimal(send), executed["span_id"]}


# -- installing -------------------------------------------------------------------------------------------------------


def test_uninstall_restores_everything() -> None:
    """The patched method is the very object again that it was, and the signals have the receivers that they had."""

    def state() -> list[Any]:
        return [vars(Celery)["send_task"], *(list(getattr(signals, name).receivers) for name in SIGNALS)]

    before = state()
    for _ in range(2):
        with recording({"celery": CeleryOptions(flush_timeout=1)}):
            assert all(now != then for now, then in zip(state(), before, strict=True))
        assert state() == before
        assert vars(Celery)["send_task"] is before[0]


def test_patched_method_looks_as_before() -> None:
    """Signature, kind, pickling and deep-copying of the patched method are the original's."""
    original = Celery.send_task
    signature = inspect.signature(original)
    with recording(["celery"]):
        patched = Celery.send_task
        assert patched is not original
        assert inspect.signature(patched) == signature
        assert not inspect.iscoroutinefunction(patched)
        assert pickle.loads(pickle.dumps(patched)) is patched
        assert copy.deepcopy(patched) is patched


def test_installing_imports_no_celery() -> None:
    """The patch waits for Celery to be imported, then takes hold; uninstalling before that is fine."""
    program = """
import sys
import causal_otel
causal_otel.install(patches=["celery"])
causal_otel.uninstall()
installed = causal_otel.install(patches=["celery"])
assert not {"celery", "kombu"} & set(sys.modules)
assert [str(row) for row in causal_otel.status().patches if row.name == "celery"] == ["celery: waiting"]
import celery
celery.Celery("x").send_task
row = next(row for row in causal_otel.status().patches if row.name == "celery")
assert (row.state, row.problems) == ("on", []), row
from celery import signals
assert len(signals.task_prerun.receivers) == 1
"""
    environment = {**os.environ, "OTEL_TRACES_EXPORTER": "none"}
    done = subprocess.run([sys.executable, "-c", program], env=environment, capture_output=True, text=True, timeout=60)
    assert (done.returncode, done.stderr) == (0, "")


def test_targets_are_all_found() -> None:
    """Nothing of what the patch wants is missing in the installed version."""
    import causal_otel

    with recording(["celery"]):
        row = next(row for row in causal_otel.status().patches if row.name == PATCH.name)
        assert (row.state, row.problems) == ("on", [])
