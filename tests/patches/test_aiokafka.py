"""The patch for aiokafka, on a true Kafka: one trace from who sends a message to who processes it.

A broker takes seconds of a core to start. So one test of the default set needs it, and the others are long.
"""

from __future__ import annotations

import asyncio
import gc
from time import perf_counter

import aiokafka
import pytest
from aiokafka import admin as admin_api
from aiokafka.errors import IllegalOperation, KafkaConnectionError, MessageSizeTooLargeError
from opentelemetry.trace import SpanKind

from causal_otel.patches.aiokafka import processing
from tests.faults.scripted import refused_port
from tests.patches.kafka_steps import PATCHES, all_of, consuming, identities, linked, new_topic, producing, spans_of
from tests.recording import recording
from tests.slow_machine import assert_at_least
from tests.span_relations import assert_span, attributes, traceparent, untimed
from tests.waiting import cancelled_after

PAUSE = 0.3


@pytest.fixture
def topic() -> str:
    """A topic of the test's own."""
    return new_topic()


@pytest.mark.asyncio
async def test_a_message_is_one_trace(kafka_address: str, topic: str) -> None:
    """Sending, receiving and processing a message have the conventions' attributes, and one trace or a link to it."""
    given = [("mine", b"1"), ("traceparent", b"00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01")]
    with recording(PATCHES) as recorded:
        began = perf_counter()
        async with producing(kafka_address, client_id="sender") as producer:
            with recorded.tracer.start_as_current_span("request") as request:
                sent = await producer.send_and_wait(topic, b"secret", key=b"hidden", headers=given)
        async with consuming(kafka_address, topic, group="billing", client_id="receiver") as consumer:
            async for message in consumer:
                with processing(message, consumer) as span, recorded.tracer.start_as_current_span("work") as work:
                    span.set_attribute("mine", 1)
                    await asyncio.sleep(PAUSE)
                break
        took = perf_counter() - began
        send, receive = recorded.only(f"send {topic}"), recorded.only(f"receive {topic}")
        process = recorded.only(f"process {topic}")
    host, _, port = kafka_address.partition(":")
    common = {
        "messaging.system": "kafka",
        "messaging.destination.name": topic,
        "messaging.destination.partition.id": "0",
        "messaging.kafka.offset": 0,
        "server.address": host,
        "server.port": int(port),
    }
    consumed = common | {"messaging.consumer.group.name": "billing", "messaging.client.id": "receiver"}
    assert sent.offset == 0
    assert untimed(assert_span(send, request.get_span_context(), within=took)) == common | {
        "messaging.operation.name": "send",
        "messaging.operation.type": "send",
        "messaging.client.id": "sender",
    }
    received = untimed(assert_span(receive, None, within=took))
    assert received.pop("causal.queue.wait", 0) <= took
    assert received == consumed | {"messaging.operation.name": "receive", "messaging.operation.type": "receive"}
    assert linked(receive) == identities([send])
    processed = untimed(assert_span(process, send.get_span_context(), lasts=0.8 * PAUSE, within=took))
    assert 0 <= processed.pop("causal.queue.wait") <= took
    names = {"messaging.operation.name": "process", "messaging.operation.type": "process", "mine": 1}
    assert processed == consumed | names
    assert_span(recorded.only("work"), process)
    assert (send.kind, receive.kind, process.kind) == (SpanKind.PRODUCER, SpanKind.CLIENT, SpanKind.CONSUMER)
    assert work.get_span_context().trace_id == send.context.trace_id
    headers = dict(message.headers)
    assert headers["traceparent"].decode() == traceparent(send)
    assert headers["mine"] == b"1"
    assert [name for name, _ in message.headers].count("traceparent") == 1
    assert given[0] == ("mine", b"1")
    assert len(given) == 2
    assert not {"secret", "hidden"} & {str(value) for span in recorded.spans for value in attributes(span).values()}


@pytest.mark.asyncio
@pytest.mark.parametrize("kind", ["AIOKafkaProducer", "AIOKafkaConsumer"])
async def test_a_broker_that_is_not_there(kind: str) -> None:
    """Connecting is no span when it goes well, and an ERROR when it does not: once, of producer and consumer alike."""
    with recording(PATCHES) as recorded, refused_port() as port:
        client = getattr(aiokafka, kind)(bootstrap_servers=f"127.0.0.1:{port}")
        with recorded.tracer.start_as_current_span("request") as request:
            with pytest.raises(KafkaConnectionError):
                await client.start()
            await client.stop()
        found = assert_span(recorded.only("connect"), request, error="aiokafka.errors.KafkaConnectionError")
    assert (found["server.address"], found["server.port"]) == ("127.0.0.1", port)
    assert len(recorded.spans) == 2


def test_outside_of_the_patch_a_block_is_just_run() -> None:
    """``processing()`` does nothing where the patch is not installed, whatever it is given, nor without messages."""
    with processing(object()) as span:
        assert not span.is_recording()
    with recording(PATCHES) as recorded:
        with processing([]) as span:
            assert not span.is_recording()
        assert recorded.spans == []


@pytest.mark.long
@pytest.mark.asyncio
async def test_a_delivery_that_nobody_waits_for(kafka_address: str, topic: str) -> None:
    """The span lasts until the broker has acknowledged, in the buffer as well, though the caller has gone on."""
    with recording(PATCHES) as recorded:
        async with producing(kafka_address, linger_ms=PAUSE * 1000) as producer:
            with recorded.tracer.start_as_current_span("request") as request:
                await producer.send(topic, b"1")
                delivery = await producer.send(topic, None, key=b"k")
            assert spans_of(recorded, "send") == []
            await delivery
        first, second = spans_of(recorded, "send")
    found = assert_span(first, request.get_span_context(), lasts=0.8 * PAUSE)
    assert_at_least(0.8 * PAUSE, found["causal.server"])
    assert assert_span(second, request.get_span_context())["messaging.kafka.message.tombstone"] is True
    assert attributes(second)["messaging.kafka.offset"] == 1


@pytest.mark.long
@pytest.mark.asyncio
async def test_what_a_sending_waits_for(kafka_address: str, topic: str) -> None:
    """Waiting for a topic's metadata is ``causal.discovery``, and for a place in the buffer ``causal.lock.wait``."""
    with recording(PATCHES) as recorded:
        async with producing(kafka_address, retry_backoff_ms=int(PAUSE * 1000)) as producer:
            await producer.send_and_wait(topic, b"1")  # the topic is made meanwhile, and asked for again
        async with producing(kafka_address, linger_ms=PAUSE * 1000) as producer:
            await producer.send(topic, b"2")
            batch = producer.create_batch()
            batch.append(key=None, value=b"3", timestamp=None)
            await (await producer.send_batch(batch, topic, partition=0))
        new, *_, behind = spans_of(recorded, "send")
    assert_at_least(0.8 * PAUSE, assert_span(new, None)["causal.discovery"])
    assert_at_least(0.6 * PAUSE, assert_span(behind, None)["causal.lock.wait"])


@pytest.mark.long
@pytest.mark.asyncio
async def test_a_delivery_that_fails(kafka_address: str, topic: str) -> None:
    """A message that the broker refuses is an ERROR of its span, and asyncio still tells of it if nobody asks."""
    limits = {"max.message.bytes": "200"}
    admin = admin_api.AIOKafkaAdminClient(bootstrap_servers=kafka_address)
    await admin.start()
    await admin.create_topics([admin_api.NewTopic(topic, 1, 1, topic_configs=limits)])
    await admin.close()
    untold: list[str] = []
    asyncio.get_running_loop().set_exception_handler(lambda loop, told: untold.append(told["message"]))
    with recording(PATCHES) as recorded:
        async with producing(kafka_address) as producer:
            with recorded.tracer.start_as_current_span("request") as request:
                with pytest.raises(MessageSizeTooLargeError):
                    await producer.send_and_wait(topic, b"x" * 1000)
                await producer.send(topic, b"x" * 1000)
                await producer.flush()
        found = spans_of(recorded, "send")
    assert len(found) == 2
    for span in found:
        assert_span(span, request.get_span_context(), error="aiokafka.errors.MessageSizeTooLargeError")
        assert "messaging.kafka.offset" not in attributes(span)
    gc.collect()
    assert untold == ["Future exception was never retrieved"]


@pytest.mark.long
@pytest.mark.asyncio
async def test_a_sending_that_is_refused_or_cancelled(kafka_address: str, topic: str) -> None:
    """What ``send()`` raises is an ERROR; one that is cancelled before the message is in the buffer is marked."""
    with recording(PATCHES) as recorded:
        async with producing(kafka_address, transactional_id="tests") as producer:
            with pytest.raises(IllegalOperation):
                await producer.send_and_wait(topic, b"1")
        refused = recorded.only(f"send {topic}")
        recorded.clear()
        async with producing(kafka_address, retry_backoff_ms=60_000) as producer:
            await cancelled_after(PAUSE, producer.send(f"{topic}-new", b"1"))
        cancelled = recorded.only(f"send {topic}-new")
    assert_span(refused, None, error="aiokafka.errors.IllegalOperation")
    assert_at_least(0.5 * PAUSE, assert_span(cancelled, None, cancelled=True)["causal.discovery"])


@pytest.mark.long
@pytest.mark.asyncio
async def test_a_batch_of_the_application_s_own(kafka_address: str, topic: str) -> None:
    """A batch is one CLIENT span with its size; each message carries what was current when it was appended."""
    with recording(PATCHES) as recorded:
        async with producing(kafka_address) as producer:
            batch = producer.create_batch()
            with recorded.tracer.start_as_current_span("first") as first:
                batch.append(key=None, value=b"1", timestamp=None, headers=[("traceparent", b"old"), ("mine", b"1")])
            with recorded.tracer.start_as_current_span("second") as second:
                batch.append(key=None, value=b"2", timestamp=None)
            batch.append(key=None, value=b"3", timestamp=None)
            with recorded.tracer.start_as_current_span("request") as request:
                await (await producer.send_batch(batch, topic, partition=0))
        send = recorded.only(f"send {topic}")
        async with consuming(kafka_address, topic) as consumer:
            [messages] = (await all_of(consumer, 3)).values()
    assert assert_span(send, request.get_span_context())["messaging.batch.message_count"] == 3
    assert send.kind is SpanKind.CLIENT
    carried = [dict(message.headers).get("traceparent", b"").decode() for message in messages]
    assert carried == [traceparent(first), traceparent(second), ""]
    assert dict(messages[0].headers)["mine"] == b"1"


@pytest.mark.long
@pytest.mark.asyncio
async def test_transactions_are_plumbing(kafka_address: str, topic: str) -> None:
    """A transaction that goes well is no span beside its messages'; one that fails is an ERROR."""
    with recording(PATCHES) as recorded:
        async with producing(kafka_address, transactional_id="tests-plumbing") as producer:
            with recorded.tracer.start_as_current_span("request") as request:
                async with producer.transaction():
                    await producer.send(topic, b"1")
                with pytest.raises(IllegalOperation):
                    await producer.send_offsets_to_transaction({}, "group")
        assert recorded.names() == [f"send {topic}", "send_offsets_to_transaction", "request"]
        sent, failed, _ = recorded.spans
    assert assert_span(sent, request.get_span_context())["messaging.kafka.offset"] == 0
    assert_span(failed, request, error="aiokafka.errors.IllegalOperation")
