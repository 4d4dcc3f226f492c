"""Publishing a task is one span, with its destination and its failure, and none for what the broker's client does."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any

import pytest
from celery import Celery, signals
from celery.beat import ScheduleEntry, Scheduler
from celery.exceptions import SoftTimeLimitExceeded
from celery.schedules import schedule
from kombu.common import Broadcast
from kombu.exceptions import EncodeError, OperationalError

import causal_otel
from causal_otel._internal import faults
from causal_otel.engine import carriers
from causal_otel.engine.context import current
from causal_otel.testing.process import claim_port
from tests.patches import celery_app
from tests.patches.celery_app import app
from tests.patches.celery_local import SECRET, execute
from tests.recording import recording
from tests.span_relations import assert_span

if TYPE_CHECKING:
    from tests.services.received import ReceivedSpans


def test_unregistered_name(broker: str, receiver: ReceivedSpans) -> None:
    """``send_task`` of a task that only the worker knows is covered from start to end, by name or by position."""
    with recording(["celery"]) as recorded:
        with recorded.tracer.start_as_current_span("request"):
            app.send_task("elsewhere.build", queue="nobody")
            app.send_task(name="elsewhere.sweep", queue="nobody")
        for name in ("elsewhere.build", "elsewhere.sweep"):
            send = recorded.only(f"send {name}")
            assert assert_span(send, recorded.only("request"))["messaging.destination.name"] == "nobody"


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
    for span in spans:
        assert_span(span, None)
    assert spans[0].context.trace_id != spans[1].context.trace_id


def test_exchange_and_routing_key_are_the_destination(broker: str) -> None:
    """A message for a topic exchange names exchange and routing key."""
    with recording(["celery"]) as recorded:
        app.send_task("elsewhere.build", exchange="reports", routing_key="build.pdf", exchange_type="topic")
        assert assert_span(recorded.only(), None)["messaging.destination.name"] == "reports:build.pdf"


def test_message_that_goes_to_every_worker(local: Celery) -> None:
    """Several workers get it, each of which makes an attempt of its own: a span with another id."""
    everybody: Any = Broadcast("everybody", queue="worker")

    @local.task(shared=False, name="elsewhere.reload")
    def reload() -> None: ...

    with (
        recording(["celery"]) as recorded,
        Celery("memory", broker="memory://", set_as_current=False) as sender,
        sender.connection_for_write() as connection,
    ):
        queue = everybody(connection.channel())
        queue.declare()
        sender.send_task("elsewhere.reload", queue=everybody)
        headers = {name: value for name, value in queue.get(no_ack=True).headers.items() if name != "task"}
        for _ in range(2):
            execute(reload, **headers)
        send, *attempts = recorded.spans
    assert assert_span(send, None)["messaging.destination.name"] == "everybody:celery"
    for attempt in attempts:
        assert_span(attempt, send)
    assert len({attempt.context.span_id for attempt in attempts}) == len(attempts) == 2


def test_soft_time_limit_while_tracing_is_at_work(broker: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """A signal may interrupt what is ours as well: the task sees it, and it is no failure of tracing."""

    def interrupted(*_: Any, **__: Any) -> None:
        raise SoftTimeLimitExceeded

    with recording(["celery"]) as recorded:
        monkeypatch.setattr(carriers, "injected", interrupted)
        before, around = faults.counts(), current()
        with pytest.raises(SoftTimeLimitExceeded):
            app.send_task("elsewhere.build", queue="nobody")
        assert (faults.counts(), current()) == (before, around)
        assert_span(recorded.only(), None, error="billiard.exceptions.SoftTimeLimitExceeded")


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
        send, request = recorded.spans
    found = assert_span(send, request, error="kombu.exceptions.OperationalError")
    assert found["server.port"] == port
    assert (send.name, send.status.description) == ("send elsewhere.build", "OperationalError")
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
        not_encoded, refused = recorded.spans
    assert_span(not_encoded, None, error="kombu.exceptions.EncodeError")
    assert_span(refused, None, error="TypeError")


def test_receivers_of_signals_are_traced(broker: str) -> None:
    """While a message is on its way, what receivers of Celery's signals do is traced, below the span of sending."""

    def work(**_: Any) -> None:
        with causal_otel.span("record the task"):
            pass

    receivers = (signals.before_task_publish, signals.after_task_publish)
    for receiver in receivers:
        receiver.connect(work, weak=False)
    try:
        with recording(["celery"]) as recorded:
            before = current()
            app.send_task("elsewhere.build", queue="nobody")
            assert current() is before
            send = recorded.only("send elsewhere.build")
            assert recorded.names() == ["record the task", "record the task", "send elsewhere.build"]
            assert_span(send, None)
            for span in recorded.spans[:2]:
                assert_span(span, send)
    finally:
        for receiver in receivers:
            receiver.disconnect(work)


def test_broker_commands_are_no_spans(broker: str) -> None:
    """Sending is one span, and none for the commands that it takes, with the broker's own client traced."""
    with recording(["celery", "redis"]) as recorded:
        with recorded.tracer.start_as_current_span("request"):
            celery_app.add.apply_async((1, 2), queue="nobody")
        assert recorded.names() == ["send tests.add", "request"]
        assert_span(recorded.only("send tests.add"), recorded.only("request"))


def test_parents_of_concurrent_publishes(broker: str) -> None:
    """Threads that publish at once each have their own parent."""
    with recording(["celery"]) as recorded:

        def publish(number: int) -> None:
            with recorded.tracer.start_as_current_span(f"request {number}"):
                app.send_task(f"elsewhere.{number}", queue="nobody")

        with ThreadPoolExecutor(8) as pool:
            list(pool.map(publish, range(40)))
        for number in range(40):
            assert_span(recorded.only(f"send elsewhere.{number}"), recorded.only(f"request {number}"))


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
        ("redis://user:12#4@cache.example/0", ("redis", None, None)),
        ("redis://user:se/cret@cache.example/0", ("redis", None, None)),
        ("redis://cache.example:port/0", ("redis", "cache.example", None)),
        ("memory://", ("celery", None, None)),
    ],
)
def test_broker_attributes(local: Celery, url: Any, expected: tuple[str, str | None, int | None]) -> None:
    """The system is the broker's; an address is told where it is certain, and never what may be a credential."""

    @local.task(shared=False, name="local.work")
    def work() -> None: ...

    local.conf.update(broker_url=url)
    with recording(["celery"]) as recorded:
        execute(work)
    found = assert_span(recorded.only("process local.work"), None)
    assert tuple(map(found.get, ("messaging.system", "server.address", "server.port"))) == expected
