"""The patch for taskiq, on Valkey with real workers: one trace from who sends a task to every attempt at it."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from time import perf_counter
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

import pytest
from opentelemetry import baggage
from opentelemetry.sdk.trace import ReadableSpan
from opentelemetry.sdk.trace.sampling import ALWAYS_OFF
from opentelemetry.trace import SpanKind, TraceFlags
from taskiq.exceptions import SendTaskError

from causal_otel.engine.context import attach, suppress
from causal_otel.patches.taskiq import TaskiqOptions
from tests.patches.taskiq_app import make_broker, publisher, running_worker
from tests.recording import recording
from tests.slow_machine import assert_at_least
from tests.span_relations import assert_span, traceparent

if TYPE_CHECKING:
    from taskiq.abc.broker import AsyncBroker

    from tests.services.received import ReceivedSpan, ReceivedSpans

QUEUE = "tests-taskiq"
PAUSE = 0.3


@pytest.fixture(scope="session")
def url(redis_url: str) -> str:
    """A database for these tests alone."""
    return urlsplit(redis_url)._replace(path="/6").geturl()


@pytest.fixture(scope="module")
def worker(url: str, receiver_process: ReceivedSpans) -> Iterator[None]:
    """A worker of the queue that most tests send to. Older versions need the patch ``threads`` for those of a pool."""
    with running_worker(url, receiver_process, QUEUE, patches="taskiq,threads"):
        yield


async def _outcome(broker: AsyncBroker, name: str, *args: Any, **labels: Any) -> Any:
    """Send a task, and wait for its result."""
    task = broker.find_task(f"tests:{name}")
    assert task is not None
    sent = await task.kicker().with_labels(**labels).kiq(*args)
    return await sent.wait_result(check_interval=0.02, timeout=60)


def _attempts(receiver: ReceivedSpans, sent: ReadableSpan, count: int) -> list[ReceivedSpan]:
    """What the worker has sent in the trace of ``sent``, which has ended well, when there are so many spans."""
    assert_span(sent, sent.parent)
    spans = receiver.wait_for(lambda spans: len(spans) >= count, trace_id=f"{sent.context.trace_id:032x}")
    assert len(spans) == count
    return sorted(spans, key=lambda span: span["start"])


@pytest.mark.parametrize("name", ["inside", "inside_thread"])
def test_a_trace_crosses_to_the_worker(url: str, worker: None, receiver: ReceivedSpans, name: str) -> None:
    """Request, sending and attempt are one line of parents; the task sees its span, in a thread as well."""

    async def main() -> Any:
        async with publisher(url, QUEUE) as broker:
            with recorded.tracer.start_as_current_span("request"):
                return await _outcome(broker, name)

    with recording(["taskiq"]) as recorded:
        result = asyncio.run(main())
        request, send = recorded.only("request"), recorded.only(f"send tests:{name}")
    [attempt] = _attempts(receiver, send, 1)
    assert_span(send, request)
    assert_span(attempt, send)
    assert (send.kind, attempt["kind"], attempt["service"]) == (SpanKind.PRODUCER, "CONSUMER", QUEUE)
    assert result.return_value["labels"]["traceparent"] == traceparent(send)
    assert result.return_value["traceparent"].startswith(f"00-{attempt['trace_id']}-{attempt['span_id']}-")


def test_attributes_follow_the_messaging_conventions(url: str, worker: None, receiver: ReceivedSpans) -> None:
    """Both spans tell system, queue and message alike; the attempt lasts as long as the task, and tells its wait."""

    async def main() -> str:
        async with publisher(url, QUEUE) as broker:
            task = broker.find_task("tests:pause")
            assert task is not None
            sent = await task.kiq(PAUSE)
            await sent.wait_result(check_interval=0.02, timeout=60)
            return str(sent.task_id)

    with recording(["taskiq"]) as recorded:
        began = perf_counter()
        message = asyncio.run(main())
        took = perf_counter() - began
        send = recorded.only()
    [attempt] = _attempts(receiver, send, 1)
    common = {
        "messaging.system": "redis",
        "messaging.destination.name": QUEUE,
        "messaging.message.id": message,
        "taskiq.task.name": "tests:pause",
    }
    found = assert_span(send, None, within=took)
    assert found == common | {"messaging.operation.name": "send", "messaging.operation.type": "send"}
    found = assert_span(attempt, send, lasts=0.8 * PAUSE, within=took)
    assert 0 <= found.pop("causal.queue.wait") <= took - 0.8 * PAUSE
    assert found == common | {"messaging.operation.name": "process", "messaging.operation.type": "process"}


def test_a_busy_worker_is_a_wait_in_the_queue(url: str, receiver: ReceivedSpans) -> None:
    """What a task waits for one before it is its ``causal.queue.wait``, before its span."""
    queue = f"{QUEUE}-busy"

    async def main() -> None:
        async with publisher(url, queue) as broker:
            await asyncio.gather(_outcome(broker, "pause", PAUSE), _outcome(broker, "pause", PAUSE))

    with (
        recording(["taskiq"]) as recorded,
        running_worker(url, receiver, queue, "--max-async-tasks", "1"),
    ):
        asyncio.run(main())
        sent = recorded.spans
        waits = []
        for each in sent:
            [attempt] = _attempts(receiver, each, 1)
            waits.append(assert_span(attempt, each, lasts=0.8 * PAUSE)["causal.queue.wait"])
    assert_at_least(0.8 * PAUSE, max(waits))


def test_a_failure_tells_its_exception(url: str, worker: None, receiver: ReceivedSpans) -> None:
    """A task that raises is an ERROR with an event, from which secrets are taken out; its sending is none."""

    async def main() -> Any:
        async with publisher(url, QUEUE) as broker:
            return await _outcome(broker, "fail", "cannot connect to redis://app:hunter2@cache/0")

    with recording(["taskiq"]) as recorded:
        result = asyncio.run(main())
        send = recorded.only()
    assert result.is_err
    [attempt] = _attempts(receiver, send, 1)
    assert assert_span(attempt, send, error="ValueError")["error.type"] == "ValueError"
    [event] = attempt["events"]
    assert event["attributes"]["exception.type"] == "ValueError"
    assert "cannot connect to redis://" in event["attributes"]["exception.message"]
    assert "hunter2" not in str(attempt)


def test_a_timeout_is_a_failure(url: str, worker: None, receiver: ReceivedSpans) -> None:
    """A task that its label ``timeout`` ends is an ERROR, after as long as it had."""

    async def main() -> Any:
        async with publisher(url, QUEUE) as broker:
            return await _outcome(broker, "pause", 60, timeout=PAUSE)

    with recording(["taskiq"]) as recorded:
        assert asyncio.run(main()).is_err
        send = recorded.only()
    [attempt] = _attempts(receiver, send, 1)
    assert_span(attempt, send, error="TimeoutError", lasts=0.8 * PAUSE)


def test_each_retry_is_sent_inside_of_the_attempt_before(url: str, worker: None, receiver: ReceivedSpans) -> None:
    """Attempts are told apart and tell why there is another; a failure that is retried is no error yet."""

    async def main() -> Any:
        async with publisher(url, QUEUE) as broker:
            return await _outcome(broker, "flaky", 2, retry_on_error=True)

    with recording(["taskiq"]) as recorded:
        assert asyncio.run(main()).return_value == 2
        send = recorded.only()
    before: Any = send
    for number, span in enumerate(_attempts(receiver, send, 5)):
        found = assert_span(span, before)
        before = span
        if number % 2 == 0:
            assert span["name"] == "process tests:flaky"
            assert found.get("taskiq.task.retries", 0) == number // 2
            assert found.get("taskiq.task.retry.reason") == (None if number == 4 else "ConnectionError")
        else:
            assert span["name"] == "send tests:flaky"
        assert span["attributes"]["messaging.message.id"] == dict(send.attributes or {})["messaging.message.id"]


def test_the_last_attempt_is_an_error(url: str, worker: None, receiver: ReceivedSpans) -> None:
    """Where no attempt is left, the failure is one, and tells of no retry."""

    async def main() -> Any:
        async with publisher(url, QUEUE) as broker:
            return await _outcome(broker, "flaky", 9, retry_on_error=True, max_retries=2)

    with recording(["taskiq"]) as recorded:
        assert asyncio.run(main()).is_err
        send = recorded.only()
    first, again, last = _attempts(receiver, send, 3)
    assert_span(first, send)
    assert_span(again, first)
    assert "taskiq.task.retry.reason" not in assert_span(last, again, error="ConnectionError")


def test_a_task_that_sends_one_goes_on_with_the_trace(url: str, worker: None, receiver: ReceivedSpans) -> None:
    """What a task sends is below the span that was current there."""

    async def main() -> None:
        async with publisher(url, QUEUE) as broker:
            await _outcome(broker, "relay")

    with recording(["taskiq"]) as recorded:
        asyncio.run(main())
        send = recorded.only()
    before: Any = send
    spans = {span["name"]: span for span in _attempts(receiver, send, 4)}
    for name in ("process tests:relay", "work", "send tests:pause", "process tests:pause"):
        assert_span(spans[name], before)
        before = spans[name]


def test_baggage_and_labels_arrive(url: str, worker: None, receiver: ReceivedSpans) -> None:
    """Baggage is current in the task; the user's labels are kept, and what is stale among them is replaced."""
    stale = {"traceparent": f"00-{'1' * 32}-{'2' * 16}-01", "tracestate": "old=1", "baggage": "old=1"}

    async def main() -> Any:
        async with publisher(url, QUEUE) as broker:
            with recorded.tracer.start_as_current_span("request"):
                activation = attach(baggage.set_baggage("region", "eu"))
                try:
                    return await _outcome(broker, "inside", tenant="acme", **stale)
                finally:
                    activation.end()

    with recording(["taskiq"]) as recorded:
        seen = asyncio.run(main()).return_value
        send = recorded.only("send tests:inside")
    assert_span(send, recorded.only("request"))
    assert seen["baggage"] == {"region": "eu"}
    assert seen["labels"]["tenant"] == "acme"
    assert seen["labels"]["traceparent"] == traceparent(send)
    assert "tracestate" not in seen["labels"]


def test_labels_go_on_with_their_trace_outside_of_any_span(url: str, worker: None, receiver: ReceivedSpans) -> None:
    """What is sent later for somebody, as a scheduled retry is, belongs to the trace that its labels carry."""
    trace, parent = "1" * 32, "2" * 16

    async def main() -> None:
        async with publisher(url, QUEUE) as broker:
            await _outcome(broker, "pause", 0, traceparent=f"00-{trace}-{parent}-01")

    with recording(["taskiq"]) as recorded:
        asyncio.run(main())
        send = recorded.only()
    assert send.parent is not None
    assert (f"{send.context.trace_id:032x}", f"{send.parent.span_id:016x}") == (trace, parent)
    [attempt] = _attempts(receiver, send, 1)
    assert_span(attempt, send)


def test_an_unsampled_decision_travels(url: str, worker: None, receiver: ReceivedSpans) -> None:
    """Where the sender's trace is not sampled nothing is recorded, in the worker neither."""

    async def main() -> list[Any]:
        async with publisher(url, QUEUE) as broker:
            with recorded.tracer.start_as_current_span("request") as request:
                inside = await _outcome(broker, "inside")
            identity = request.get_span_context()
            assert inside.return_value["labels"]["traceparent"][3:35] == f"{identity.trace_id:032x}"
            return [inside, await _outcome(broker, "inside")]

    with recording(["taskiq"], sampler=ALWAYS_OFF) as recorded:
        outcomes = [result.return_value for result in asyncio.run(main())]
        assert recorded.spans == []
    for seen in outcomes:
        assert seen["traceparent"][:35] == seen["labels"]["traceparent"][:35]
        assert not int(seen["traceparent"][-2:], 16) & TraceFlags.SAMPLED
        assert receiver.spans(seen["traceparent"][3:35]) == []


def test_what_is_excluded_is_carried_on_as_unsampled(url: str, worker: None, receiver: ReceivedSpans) -> None:
    """A task that the sender excludes has no span anywhere; where that is suppressed, its message is taskiq's own."""

    async def main() -> tuple[Any, Any]:
        async with publisher(url, QUEUE) as broker:
            with recorded.tracer.start_as_current_span("request"):
                excluded = await _outcome(broker, "inside")
                with suppress():
                    return excluded.return_value, (await _outcome(broker, "inside")).return_value

    with recording({"taskiq": TaskiqOptions(excluded=("tests:in*",))}) as recorded:
        excluded, suppressed = asyncio.run(main())
        assert recorded.names() == ["request"]
        request = recorded.only()
    assert excluded["labels"]["traceparent"][3:35] == f"{request.context.trace_id:032x}"
    assert not int(excluded["traceparent"][-2:], 16) & TraceFlags.SAMPLED
    assert receiver.spans(f"{request.context.trace_id:032x}") == []
    assert suppressed["labels"] == {}


def test_a_broker_that_is_down_is_an_error(url: str) -> None:
    """The caller gets taskiq's exception; the span tells what was the matter, and is over."""

    async def main() -> None:
        broker = make_broker("redis://127.0.0.1:1/0", QUEUE)
        task = broker.find_task("tests:pause")
        assert task is not None
        with pytest.raises(SendTaskError):
            await task.kiq(0)
        await broker.shutdown()

    with recording(["taskiq"]) as recorded:
        asyncio.run(main())
        send = recorded.only()
    assert_span(send, None, error="redis.exceptions.ConnectionError")


def test_hostile_labels_do_no_harm(url: str, worker: None, receiver: ReceivedSpans) -> None:
    """Labels of any kind in our names, from programs that we do not know, cost the parent and nothing else."""

    async def main() -> Any:
        async with publisher(url, QUEUE) as broker:
            return await _outcome(broker, "inside", **{"traceparent": 7, "causal-published": "now"})

    seen = asyncio.run(main()).return_value
    assert seen["labels"] == {"traceparent": 7, "causal-published": "now"}
    [attempt] = receiver.wait_for(bool, trace_id=seen["traceparent"].split("-")[1])
    assert "causal.queue.wait" not in assert_span(attempt, None)
