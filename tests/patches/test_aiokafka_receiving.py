"""The patch for aiokafka, on a true Kafka: what consumers receive, and what becomes of it."""

from __future__ import annotations

import asyncio
import os
import sys
from typing import TYPE_CHECKING, Any

import aiokafka
import pytest
from aiokafka.errors import IllegalOperation
from opentelemetry import trace
from opentelemetry.sdk.trace.sampling import ALWAYS_OFF

from causal_otel.patches.aiokafka import AiokafkaOptions, processing
from causal_otel.testing.process import process
from tests.metrics.measuring import measured
from tests.patches import aiokafka_app
from tests.patches.aiokafka_app import relayed
from tests.patches.kafka_steps import PATCHES, all_of, consuming, identities, linked, new_topic, producing, spans_of
from tests.recording import recording
from tests.slow_machine import assert_at_least
from tests.span_relations import assert_span, attributes, seconds
from tests.waiting import cancelled_after

if TYPE_CHECKING:
    from tests.services.received import ReceivedSpans

PAUSE = 0.3

pytestmark = pytest.mark.long


@pytest.fixture
def topic() -> str:
    """A topic of the test's own."""
    return new_topic()


@pytest.mark.asyncio
async def test_a_poll_of_several_messages(kafka_address: str, topic: str) -> None:
    """A poll is one span with its size and a link to each sending; an empty one is none, nor one that is given up."""
    with recording(PATCHES) as recorded:
        async with producing(kafka_address) as producer:
            for number in range(3):
                await producer.send_and_wait(topic, b"%d" % number)
        sent = spans_of(recorded, "send")
        async with consuming(kafka_address, topic, group="polling") as consumer:
            found = await all_of(consumer, 3)
            [receive] = spans_of(recorded, "receive")
            assert await consumer.getmany(timeout_ms=100) == {}
            await cancelled_after(PAUSE, consumer.getone())
            waiting = asyncio.ensure_future(consumer.getone())
            await asyncio.sleep(0)
        with pytest.raises(aiokafka.errors.ConsumerStoppedError):
            await waiting
        assert spans_of(recorded, "receive") == [receive]
        with recorded.tracer.start_as_current_span("job") as job, processing(found.popitem()[1], consumer):
            pass
        process = recorded.only(f"process {topic}")
    assert assert_span(receive, None)["messaging.batch.message_count"] == 3
    assert "messaging.kafka.offset" not in attributes(receive)
    assert linked(receive) == linked(process) == identities(sent)
    found_there = assert_span(process, job.get_span_context())
    assert found_there["messaging.batch.message_count"] == 3
    assert found_there["causal.queue.wait"] >= seconds(sent[1])


@pytest.mark.asyncio
async def test_a_consumer_that_waits_is_no_long_span(kafka_address: str, topic: str) -> None:
    """Receiving begins when the message was sent, however long it was waited for; one that lay there has waited."""
    with recording(PATCHES) as recorded:
        async with producing(kafka_address) as producer, consuming(kafka_address, topic) as consumer:
            await producer.send_and_wait(topic, b"1")
            await asyncio.sleep(PAUSE)
            await consumer.getone()
            waiting = asyncio.ensure_future(consumer.getone())
            await asyncio.sleep(2 * PAUSE)
            await producer.send_and_wait(topic, b"2")
            await waiting
        late, prompt = spans_of(recorded, "receive")
        sent = spans_of(recorded, "send")
    assert_at_least(0.8 * PAUSE, assert_span(late, None)["causal.queue.wait"])
    assert "causal.queue.wait" not in assert_span(prompt, None)
    assert prompt.start_time is not None
    assert sent[1].start_time is not None
    # What is written into a message is in microseconds.
    assert prompt.start_time + 2_000_000 >= sent[1].start_time


@pytest.mark.asyncio
async def test_receive_spans_may_be_off(kafka_address: str, topic: str) -> None:
    """Then a consumer has the spans of what it processes, and no other."""
    with recording({"aiokafka": AiokafkaOptions(receive_spans=False)}) as recorded:
        async with producing(kafka_address) as producer, consuming(kafka_address, topic) as consumer:
            await producer.send_and_wait(topic, b"1")
            with processing(await consumer.getone()):
                pass
        assert recorded.names() == [f"send {topic}", f"process {topic}"]
    assert "messaging.client.id" not in assert_span(recorded.spans[1], recorded.spans[0].get_span_context())


@pytest.mark.asyncio
async def test_commits_are_plumbing(kafka_address: str, topic: str) -> None:
    """A commit that fails is an ERROR, and settles."""
    with recording(PATCHES) as recorded:
        async with consuming(kafka_address, topic) as consumer:
            with recorded.tracer.start_as_current_span("request") as request, pytest.raises(IllegalOperation):
                await consumer.commit()
        found = assert_span(recorded.only("commit"), request, error="aiokafka.errors.IllegalOperation")
    assert found["messaging.operation.type"] == "settle"


@pytest.mark.asyncio
async def test_what_becomes_of_a_processing(kafka_address: str, topic: str) -> None:
    """An exception that leaves the block is its error and goes on, a cancellation is marked; nothing stays current."""

    async def work(message: Any) -> None:
        with processing(message):
            await asyncio.sleep(60)

    with recording(PATCHES) as recorded:
        async with producing(kafka_address) as producer, consuming(kafka_address, topic) as consumer:
            await producer.send_and_wait(topic, b"1")
            message = await consumer.getone()
            with pytest.raises(ValueError, match="mine"), processing(message):
                raise ValueError("mine")
            assert not trace.get_current_span().get_span_context().is_valid
            await cancelled_after(PAUSE, work(message))
        send = recorded.only(f"send {topic}")
        failed, cancelled = spans_of(recorded, "process")
    assert_span(failed, send.get_span_context(), error="ValueError")
    assert [event.name for event in failed.events] == ["exception"]
    assert_span(cancelled, send.get_span_context(), cancelled=True, lasts=0.5 * PAUSE)


@pytest.mark.asyncio
@pytest.mark.parametrize("silence", ["unsampled", "excluded"])
async def test_a_silent_trace_stays_silent(kafka_address: str, topic: str, silence: str) -> None:
    """What is not sampled, or excluded by its topic, has no span anywhere, and the consumer is told so."""
    excluded = {"aiokafka": AiokafkaOptions(excluded=("tests-*",))}
    chosen: Any = PATCHES if silence == "unsampled" else excluded
    with recording(chosen, ALWAYS_OFF if silence == "unsampled" else None) as recorded:
        async with producing(kafka_address) as producer, consuming(kafka_address, topic) as consumer:
            with recorded.tracer.start_as_current_span("request"):
                await producer.send_and_wait(topic, b"1")
            message = await consumer.getone()
            with processing(message, consumer), recorded.tracer.start_as_current_span("work"):
                pass
            with processing([message]), recorded.tracer.start_as_current_span("work"):
                pass
        assert recorded.names() in ([], ["request"])
    flags = dict(message.headers)["traceparent"].rpartition(b"-")[2]
    assert int(flags, 16) & 1 == 0


@pytest.mark.asyncio
async def test_what_runs_in_the_background_is_in_no_trace(kafka_address: str, topic: str) -> None:
    """A listener of rebalances runs in no trace, whatever was current when the consumer was started."""
    seen: list[bool] = []

    class Listener(aiokafka.ConsumerRebalanceListener):  # type: ignore[misc]
        def on_partitions_revoked(self, revoked: Any) -> None:
            seen.append(trace.get_current_span().get_span_context().is_valid)

        def on_partitions_assigned(self, assigned: Any) -> None:
            seen.append(trace.get_current_span().get_span_context().is_valid)

    with recording(PATCHES) as recorded:
        consumer = aiokafka.AIOKafkaConsumer(bootstrap_servers=kafka_address, group_id="listening")
        consumer.subscribe([topic], listener=Listener())
        with recorded.tracer.start_as_current_span("request"):
            await consumer.start()
        await consumer.stop()
    assert seen
    assert not any(seen)


@pytest.mark.asyncio
async def test_a_trace_crosses_two_processes(kafka_address: str, topic: str, receiver: ReceivedSpans) -> None:
    """A message that a process of its own processes, and sends on, is one line of parents, there and back."""
    command = [sys.executable, "-m", "tests.patches.aiokafka_app", kafka_address, topic]
    environment = {**os.environ, "OTEL_SERVICE_NAME": "relay", "OTLP_ENDPOINT": receiver.endpoint}
    with recording(PATCHES) as recorded, process(command, name="relay", env=environment) as relay:
        async with producing(kafka_address) as producer, consuming(kafka_address, relayed(topic)) as consumer:
            with recorded.tracer.start_as_current_span("request"):
                await producer.send_and_wait(topic, b"last")
            with processing(await consumer.getone()):
                pass
        assert await asyncio.to_thread(relay.wait, 60.0) == 0, relay.output()
        send, back = recorded.only(f"send {topic}"), recorded.only(f"process {relayed(topic)}")
    trace_id = f"{send.context.trace_id:032x}"
    there = receiver.wait_for(lambda spans: len(spans) >= 2, trace_id=trace_id)
    processed, sent_on = sorted(there, key=lambda span: span["start"])
    found = assert_span(processed, send.get_span_context(), lasts=0.8 * aiokafka_app.PAUSE)
    assert found["messaging.consumer.group.name"] == "relay"
    assert_span(sent_on, processed)
    assert (processed["name"], sent_on["name"]) == (f"process {topic}", f"send {relayed(topic)}")
    assert (processed["kind"], sent_on["kind"], processed["service"]) == ("CONSUMER", "PRODUCER", "relay")
    assert back.parent is not None
    assert f"{back.parent.span_id:016x}" == sent_on["span_id"]
    assert f"{back.context.trace_id:032x}" == trace_id


@pytest.mark.asyncio
async def test_hooks_see_the_driver_s_own_objects(kafka_address: str, topic: str) -> None:
    """Hooks are called once for each operation, with what was called and what has come of it."""
    seen: list[tuple[Any, ...]] = []

    def response_hook(span: Any, instance: Any, args: Any, kwargs: Any, outcome: Any) -> None:
        seen.append((span.name.partition(" ")[0], type(instance).__name__, len(args), type(outcome).__name__))

    with recording({"aiokafka": AiokafkaOptions(response_hook=response_hook)}):
        async with producing(kafka_address) as producer, consuming(kafka_address, topic) as consumer:
            await producer.send_and_wait(topic, b"1")
            with processing(await consumer.getone(), consumer):
                pass
    assert seen == [
        ("send", "AIOKafkaProducer", 6, "RecordMetadata"),
        ("receive", "AIOKafkaConsumer", 0, "ConsumerRecord"),
        ("process", "AIOKafkaConsumer", 1, "NoneType"),
    ]


@pytest.mark.asyncio
async def test_messages_are_measured(kafka_address: str, topic: str) -> None:
    """Sending, receiving and processing are measured, also where no span is recorded, and how long a message waited."""
    with measured(PATCHES, ALWAYS_OFF) as found:
        async with producing(kafka_address) as producer, consuming(kafka_address, topic, group="measured") as consumer:
            for _ in range(2):
                await producer.send_and_wait(topic, b"1")
            await asyncio.sleep(PAUSE)
            for _ in range(2):
                with processing(await consumer.getone(), consumer):
                    pass
        points = {
            point.attributes["messaging.operation.name"]: point
            for point in found.points("messaging.client.operation.duration")
        }
        assert {name: point.count for name, point in points.items()} == {"send": 2, "receive": 2}
        assert points["send"].attributes["messaging.destination.name"] == topic
        assert found.only("messaging.process.duration")[1].count == 2
        waited = found.only("causal.queue.wait")[1]
    assert waited.count == 2
    assert_at_least(0.8 * PAUSE, waited.min)
