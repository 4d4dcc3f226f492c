"""Where the time of sending a task went: planted waits, each in its part and in no other."""

from __future__ import annotations

import asyncio
import threading
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit
from uuid import uuid4

import kombu.pools
import pytest
from celery import Celery
from kombu.exceptions import OperationalError
from opentelemetry import trace

from causal_otel.testing.process import claim_port
from tests.recording import Recording, recording
from tests.services.slow import slow
from tests.slow_machine import assert_at_least, assert_below
from tests.span_relations import PARTS, assert_span
from tests.waiting import pause, wait_until

if TYPE_CHECKING:
    from collections.abc import Iterator

PLANTED = 0.3


@pytest.fixture
def sender(broker: str) -> Iterator[Celery]:
    """An application with one connection to the broker at most."""
    app = Celery("sender", broker=broker, set_as_current=False)
    app.conf.update(task_default_queue=uuid4().hex, broker_pool_limit=1, task_publish_retry=False)
    limit: Any = kombu.pools.get_limit()
    yield app
    app.close()
    kombu.pools.set_limit(limit or 0)  # which is that of all applications


@contextmanager
def through(broker: str, app: Celery) -> Iterator[Any]:
    """A broker whose answers can be made late."""
    url = urlsplit(broker)
    with slow(url.hostname or "", url.port or 6379) as proxy:
        app.conf.update(broker_url=url._replace(netloc=f"127.0.0.1:{proxy.port}").geturl())
        yield proxy
        app.close()


def assert_part(recorded: Recording, part: str | None) -> dict[str, Any]:
    """Assert that the one span has at least 80 % of the wait in that part, and in no other a third of it."""
    found = assert_span(recorded.only(), None, lasts=PLANTED)
    for key in PARTS:
        if key == part:
            assert_at_least(0.8 * PLANTED, found[key])
        else:
            assert_below(PLANTED / 3, found.get(key, 0.0))
    return found


def test_waiting_for_the_pool(sender: Celery) -> None:
    """A broker pool without a free producer is a wait for the pool, with its size and who waited before."""
    sender.send_task("elsewhere.build")
    pool: Any = sender.amqp.producer_pool
    producer = pool.acquire(block=True)

    def release() -> None:
        try:
            wait_until(lambda: any(each._resource.not_empty._waiters for each in (pool, pool.connections)))
            pause(PLANTED)
        finally:
            producer.release()

    releasing = threading.Thread(target=release)
    with recording(["celery"]) as recorded:
        releasing.start()
        sender.send_task("elsewhere.build")
        releasing.join()
        found = assert_part(recorded, "causal.pool.wait")
    assert (found["causal.pool.size"], found["causal.pool.waiting"]) == (1, 0)


def test_others_wait_for_the_pool_as_well(sender: Celery) -> None:
    """One that waits is told how many did before it, of the pool of producers as of that of connections."""
    pool: Any = sender.amqp.producer_pool

    def waiting() -> int:
        return sum(len(each._resource.not_empty._waiters) for each in (pool, pool.connections))

    with recording(["celery"]) as recorded, ThreadPoolExecutor(3) as threads:
        producer = pool.acquire(block=True)
        try:
            for number in range(3):
                threads.submit(sender.send_task, f"elsewhere.{number}")
                wait_until(lambda wanted=number + 1: waiting() == wanted)  # type: ignore[misc]
            pause(0.01)  # what is less than a millisecond is no part
        finally:
            producer.release()
        threads.shutdown()
        found = [assert_span(recorded.only(f"send elsewhere.{number}"), None) for number in range(3)]
    assert sorted(each["causal.pool.waiting"] for each in found) == [0, 0, 1]


def test_connecting(broker: str, sender: Celery) -> None:
    """A broker that lets the first sender wait for the connection is a part of its own."""
    with through(broker, sender) as proxy, recording(["celery"]) as recorded:
        proxy.once = PLANTED
        sender.send_task("elsewhere.build")
        assert_part(recorded, "causal.connect")
        recorded.clear()
        sender.send_task("elsewhere.build")
        assert "causal.connect" not in assert_span(recorded.only(), None)


def test_broker_that_takes_its_time(broker: str, sender: Celery) -> None:
    """What the broker needs for the message itself is neither: the connection was there."""
    with through(broker, sender) as proxy, recording(["celery"]) as recorded:
        sender.send_task("elsewhere.build")
        recorded.clear()
        proxy.once = PLANTED
        sender.send_task("elsewhere.build")
        assert_part(recorded, None)


def test_broker_that_is_down_and_back(broker: str, sender: Celery) -> None:
    """Where the broker is down sending is an ERROR, told once, and the next one is well again."""
    port = claim_port(None, "nobody")
    url = urlsplit(broker)
    sender.conf.update(
        broker_url=url._replace(netloc=f"127.0.0.1:{port}").geturl(),
        broker_transport_options={"max_retries": 0, "socket_connect_timeout": 1},
    )
    with recording(["celery"]) as recorded:
        with pytest.raises(OperationalError):
            sender.send_task("elsewhere.build", retry=False)
        down = recorded.only()
        assert_span(down, None, error="kombu.exceptions.OperationalError")
        recorded.clear()
        with sender.connection_for_write(broker) as connection:
            sender.send_task("elsewhere.build", connection=connection)
        assert_span(recorded.only(), None)


def test_tasks_of_asyncio_at_once(sender: Celery) -> None:
    """Coroutines that send at once, some in threads, each have their own parent, and nothing is left current."""

    async def request(recorded: Recording, number: int) -> None:
        with recorded.tracer.start_as_current_span(f"request {number}") as span:
            sender.send_task(f"elsewhere.{number}")
            await asyncio.sleep(0)
            await asyncio.to_thread(sender.send_task, f"elsewhere.{number} again")
            assert trace.get_current_span() is span

    async def main(recorded: Recording) -> None:
        await asyncio.gather(*(request(recorded, number) for number in range(20)))

    with recording(["celery"]) as recorded:
        asyncio.run(main(recorded))
        for number in range(20):
            for name in (f"send elsewhere.{number}", f"send elsewhere.{number} again"):
                assert_span(recorded.only(name), recorded.only(f"request {number}"))
