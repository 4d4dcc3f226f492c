"""Whose context: what listens on a connection, and what a connection keeps, is no part of the call that opened it."""

from __future__ import annotations

import asyncio
import threading
from typing import TYPE_CHECKING, Any

import pytest
import redis
import redis.asyncio
from opentelemetry.context import get_current
from opentelemetry.sdk.trace.sampling import ALWAYS_OFF
from opentelemetry.trace import SpanKind

from causal_otel.engine.context import suppress
from causal_otel.patches.redis import RedisOptions
from tests.patches.either import close
from tests.patches.valkeys import TIMEOUT, checkout
from tests.recording import recording
from tests.span_relations import assert_span, attributes
from tests.waiting import wait_until

if TYPE_CHECKING:
    from collections.abc import Callable


class Listener:
    """Handlers, of either half, that ask the server something themselves."""

    def __init__(self, client: Any) -> None:
        self.client = client
        self.heard = threading.Event()
        self.arrived = asyncio.Event()

    def handle(self, message: Any) -> None:
        self.client.get("k")
        self.heard.set()

    async def handle_later(self, message: Any) -> None:
        await self.client.get("k")
        self.arrived.set()

    def handle_and_fail(self, message: Any) -> None:
        self.client.get("k")
        self.heard.set()
        raise KeyError(message["channel"])


@pytest.mark.asyncio
async def test_a_listening_task_is_not_the_request_s(redis_url: str) -> None:
    """What a handler asks under ``run()`` is a trace of its own, though the task began in a request."""
    with recording(["redis"]) as recorded:
        async with redis.asyncio.from_url(redis_url) as client:
            pubsub: Any = client.pubsub()
            listener = Listener(client)
            with recorded.tracer.start_as_current_span("request"):
                await pubsub.subscribe(news=listener.handle_later)
                task = asyncio.create_task(pubsub.run(poll_timeout=0.05))
            await client.publish("news", 1)
            await asyncio.wait_for(listener.arrived.wait(), TIMEOUT)
            task.cancel()
            with pytest.raises(asyncio.CancelledError):
                await task
            await close(pubsub)
        assert_span(recorded.only("GET"), None)


@pytest.mark.parametrize("unwanted", [True, False])
def test_a_listening_thread_is_nobody_s(redis_url: str, unwanted: bool) -> None:
    """What a handler asks in ``run_in_thread()`` is a trace of its own, also if the request was not to be recorded."""
    with recording(["redis"]) as recorded, redis.Redis.from_url(redis_url) as client:
        pubsub, listener = client.pubsub(), Listener(client)
        with recorded.tracer.start_as_current_span("request"):
            pubsub.subscribe(news=listener.handle)
            if unwanted:
                with suppress():
                    thread = pubsub.run_in_thread(sleep_time=0.05)
            else:
                thread = pubsub.run_in_thread(sleep_time=0.05)
        client.publish("news", 1)
        assert listener.heard.wait(TIMEOUT)
        thread.stop()
        thread.join(TIMEOUT)
        assert_span(recorded.only("GET"), None)


@pytest.mark.asyncio
@pytest.mark.parametrize("sampled", [True, False])
async def test_a_connection_keeps_nothing_of_who_opened_it(redis_url: str, sampled: bool) -> None:
    """The reader of a connection runs in an empty context, whoever opened that."""
    with recording(["redis"], None if sampled else ALWAYS_OFF) as recorded:
        async with redis.asyncio.from_url(redis_url) as client:
            with recorded.tracer.start_as_current_span("request"):
                pool: Any = client.connection_pool
                connection = await checkout(pool)
            selector: Any = asyncio.get_running_loop()._selector  # type: ignore[attr-defined]
            transport = connection._writer.transport
            reader, _ = selector.get_key(transport.get_extra_info("socket").fileno()).data
            assert reader._context.run(get_current) == {}
            await pool.release(connection)


def test_what_the_server_pushes_is_nobody_s(redis_url: str) -> None:
    """A push handler is called by whoever reads, and yet what it asks is a trace of its own."""
    with recording(["redis"]) as recorded, redis.Redis.from_url(redis_url, protocol=3) as client:
        pushed = []

        def handle(response: Any) -> Any:
            client.get("k")
            pushed.append(response)
            return response

        pubsub = client.pubsub(push_handler_func=handle)
        with recorded.tracer.start_as_current_span("request"):
            pubsub.subscribe("news")
            wait_until(lambda: pubsub.get_message(timeout=0.05) or pushed)
        pubsub.close()
        assert pushed
        for span in recorded.spans:
            if span.name == "GET":
                assert_span(span, None)
        assert recorded.names().count("GET") == len(pushed)


@pytest.mark.asyncio
async def test_health_checks_are_nobody_s(redis_url: str) -> None:
    """What redis-py does again and again in the background, such as health checks, is no span of whoever began it."""
    scheduler = pytest.importorskip("redis.background").BackgroundScheduler()
    checked = asyncio.Event()
    with recording(["redis"]) as recorded:
        async with redis.asyncio.from_url(redis_url) as client:

            async def check() -> None:
                await client.dbsize()
                checked.set()

            with recorded.tracer.start_as_current_span("request"):
                await scheduler.run_recurring_async(0.01, check)
            await asyncio.wait_for(checked.wait(), TIMEOUT)
            scheduler.stop()
        assert recorded.names() == ["request"]


# -- spans of messages --------------------------------------------------------------------------------------------


def _received(redis_url: str, subscribe: Callable[[Any, Listener], None], **options: Any) -> tuple[Any, Any]:
    """The spans of one message that was received, and the listener."""
    with (
        recording({"redis": RedisOptions(consumer_spans=True, **options)}) as recorded,
        redis.Redis.from_url(redis_url) as client,
    ):
        pubsub, listener = client.pubsub(ignore_subscribe_messages=True), Listener(client)
        subscribe(pubsub, listener)
        wait_until(lambda: client.publish("news", "s3cr3t") == 1)
        recorded.clear()
        try:
            wait_until(lambda: pubsub.get_message(timeout=0.05) or listener.heard.is_set())
        except KeyError:
            pass
        finally:
            pubsub.close()
        return recorded.spans, listener


def test_a_message_with_a_handler(redis_url: str) -> None:
    """A message is a CONSUMER span if asked for, named after its channel, and the handler's work is inside."""
    spans, _ = _received(redis_url, lambda pubsub, listener: pubsub.subscribe(news=listener.handle))
    get, process = spans
    assert process.kind is SpanKind.CONSUMER
    assert process.name == "process news"
    found = assert_span(process, None)
    assert {key: value for key, value in found.items() if key.startswith("messaging.")} == {
        "messaging.system": "redis",
        "messaging.operation.name": "process",
        "messaging.operation.type": "process",
        "messaging.destination.name": "news",
    }
    assert "server.address" in found
    assert_span(get, process)


def test_a_message_whose_handler_fails(redis_url: str) -> None:
    """What a handler raises is the failure of its message, and of nothing else."""
    spans, listener = _received(
        redis_url, lambda pubsub, listener: pubsub.psubscribe(**{"ne*": listener.handle_and_fail})
    )
    get, process = spans
    assert process.name == "process ne*"
    assert_span(process, None, error="KeyError")
    assert_span(get, process)
    assert listener.heard.is_set()


def test_a_message_that_is_returned(redis_url: str) -> None:
    """A message without a handler is a span of no duration to speak of, and shows nothing of what it says."""
    spans, _ = _received(redis_url, lambda pubsub, listener: pubsub.subscribe("news"))
    (receive,) = spans
    assert (receive.name, receive.kind) == ("receive news", SpanKind.CONSUMER)
    assert "s3cr3t" not in str(assert_span(receive, None))


def test_messages_are_no_spans_unless_asked_for(redis_url: str) -> None:
    """Without the option a message is no span, nor is one that is excluded."""
    with recording(["redis"]) as recorded, redis.Redis.from_url(redis_url) as client:
        pubsub = client.pubsub()
        pubsub.subscribe("news")
        wait_until(lambda: client.publish("news", 1) == 1)
        recorded.clear()
        wait_until(lambda: (pubsub.get_message(timeout=0.05) or {}).get("type") == "message")
        pubsub.close()
        assert recorded.spans == []
    spans, _ = _received(redis_url, lambda pubsub, listener: pubsub.subscribe("news"), excluded=("receive *",))
    assert spans == []


@pytest.mark.asyncio
async def test_a_message_of_asyncio_s_half(redis_url: str) -> None:
    """Of asyncio's half the handler's work is inside too."""
    with recording({"redis": RedisOptions(consumer_spans=True)}) as recorded:
        async with redis.asyncio.from_url(redis_url) as client:
            pubsub: Any = client.pubsub(ignore_subscribe_messages=True)
            listener = Listener(client)
            await pubsub.subscribe(news=listener.handle_later)
            await client.publish("news", 1)
            recorded.clear()
            while not listener.arrived.is_set():
                await pubsub.get_message(timeout=0.05)
            await close(pubsub)
        get, process = recorded.spans
        assert_span(get, process)
        assert_span(process, None)
        assert attributes(process)["messaging.destination.name"] == "news"
