"""Workers and brokers that are lost and come back: each attempt is told once, and what is repeated says so."""

from __future__ import annotations

import json
import os
import signal
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from typing import Any
from urllib.parse import urlsplit

import pytest
import redis
from celery import Celery
from opentelemetry.sdk.trace import ReadableSpan

from causal_otel.testing import servers
from causal_otel.testing.process import Process
from tests.patches import celery_endings
from tests.patches.celery_worker import attempts, running_worker
from tests.recording import recording
from tests.services.received import ReceivedSpan, ReceivedSpans
from tests.span_relations import assert_span, trace_id
from tests.waiting import wait_until

pytestmark = pytest.mark.long

VISIBILITY = {"visibility_timeout": 5, "unacked_restore_interval": 1, "unacked_restore_throttle": 1}
"""The broker delivers again what nobody has acknowledged for five seconds."""


@pytest.fixture
def sender(redis_url: str) -> Iterator[Celery]:
    """An app with a broker of these tests alone."""
    with sending(urlsplit(redis_url)._replace(path="/9").geturl()) as app:
        yield app


@contextmanager
def sending(url: str) -> Iterator[Celery]:
    """An app that sends to that broker."""
    with Celery("sender", broker=url, backend=url, set_as_current=False) as app:
        app.conf.broker_transport_options = VISIBILITY
        yield app
        app.backend.result_consumer.stop()  # type: ignore[attr-defined]
        # These alone: kombu.pools.reset() would close those of the tests' app as well, which keeps its own for ever.
        # Closed is not enough: the next app with this URL has the same pools, and would wait for ever in empty ones.
        pools: tuple[Any, ...] = (app.amqp.producer_pool, app.pool)
        for pool in pools:
            pool.resize(pool.limit, reset=True)


@contextmanager
def worker(url: str, receiver: ReceivedSpans, name: str, **settings: Any) -> Iterator[Process]:
    """A prefork worker with these settings."""
    variables = {"TESTS_SETTINGS": json.dumps(settings)}
    with running_worker(url, receiver, name, *celery_endings.INCLUDE, variables=variables) as running:
        yield running


def publish(app: Celery, queue: str, name: str, *args: Any) -> ReadableSpan:
    """Send a task by its name; the span of sending it."""
    with recording(["celery"]) as recorded:
        app.send_task(name, args, queue=queue)
        return recorded.only()


def work_of(receiver: ReceivedSpans, sent: ReadableSpan) -> ReceivedSpan:
    """The span that the task has made of itself, when it is there: the task is at work."""

    def at_work(spans: list[ReceivedSpan]) -> bool:
        return any(span["name"] == "work" for span in spans)

    spans = receiver.wait_for(at_work, 60, trace_id=trace_id(sent))
    [work] = [span for span in spans if span["name"] == "work"]
    return work


def links(span: ReceivedSpan) -> list[tuple[str, str]]:
    """What a span is linked to, and as what."""
    return [(link["span_id"], link["attributes"]["causal.link"]) for link in span["links"]]


def test_worker_that_is_killed(sender: Celery, receiver: ReceivedSpans) -> None:
    """Nobody is left to tell of its attempt, and yet the next one is linked to it: what it had traced says which."""
    url = sender.conf.broker_url
    with worker(url, receiver, "killed", broker_transport_options=VISIBILITY) as killed:
        sent = publish(sender, "killed", "tests.late_once")
        work = work_of(receiver, sent)
        os.killpg(killed.pid, signal.SIGKILL)
        killed.wait(10)
    with worker(url, receiver, "killed", broker_transport_options=VISIBILITY):
        [done] = attempts(receiver, sent, 1)
    found = assert_span(done, sent)
    assert (found["celery.task.state"], found["celery.task.redelivered"]) == ("SUCCESS", True)
    assert links(done) == [(work["parent_span_id"], "redelivery")]
    assert done["span_id"] != work["parent_span_id"]


def test_connection_that_is_lost(sender: Celery, receiver: ReceivedSpans) -> None:
    """A late task that Celery cancels then is one ERROR to be retried, and every later attempt is linked to it."""
    url = sender.conf.broker_url
    settings = {
        "broker_transport_options": VISIBILITY,
        "worker_cancel_long_running_tasks_on_connection_loss": True,
    }
    with worker(url, receiver, "cut", **settings) as running:
        sent = publish(sender, "cut", "tests.late_once")
        work_of(receiver, sent)
        with redis.Redis.from_url(url) as client:
            client.client_kill_filter(_type="normal", skipme=True)
            client.client_kill_filter(_type="pubsub", skipme=True)
        wait_until(lambda: "succeeded in" in running.output(), running.output)
        running.stop()
        # How often the message is delivered again is the broker's business: it may have been under way twice.
        cancelled, *done = attempts(receiver, sent, running.output().count("] received"))
    assert assert_span(cancelled, sent, error="billiard.exceptions.Terminated")["celery.task.state"] == "RETRY"
    assert done
    for each in done:
        assert assert_span(each, sent)["celery.task.state"] == "SUCCESS"
        assert links(each) == [(cancelled["span_id"], "redelivery")]


def test_broker_that_goes_and_comes_back(receiver: ReceivedSpans) -> None:
    """What is at work meanwhile is one attempt, and what is sent before and afterwards is executed and told once."""
    with ExitStack() as stack:
        first = stack.enter_context(ExitStack())
        url = first.enter_context(servers.valkey())
        app = stack.enter_context(sending(url))
        running = stack.enter_context(worker(url, receiver, "patient"))
        sent = [publish(app, "patient", "tests.add", number, 1) for number in range(3)]
        [long] = [publish(app, "patient", "tests.early", 4)]
        wait_until(lambda: "Task tests.early" in running.output() and running.output().count("succeeded") == 3)
        with redis.Redis.from_url(url) as client:  # kombu's worker dies of a broker that goes before it is told
            wait_until(lambda: not client.hlen("unacked"))
        first.close()
        wait_until(lambda: "Connection to broker lost" in running.output(), running.output)
        stack.enter_context(servers.valkey(urlsplit(url).port))
        wait_until(lambda: running.output().count("Connected to redis") == 2, running.output)
        sent += [publish(app, "patient", "tests.add", number, 1) for number in range(3)]
        wait_until(lambda: running.output().count("succeeded") == 7, running.output)
        found = [*(attempts(receiver, each, 1)[0] for each in sent), attempts(receiver, long, 1)[0]]
        running.stop()
    for each, span in zip([*sent, long], found, strict=True):
        assert assert_span(span, each)["celery.task.state"] == "SUCCESS"
        assert links(span) == []
    spans = [span for span in receiver.spans() if span["service"] == "patient"]
    assert sorted(span["span_id"] for span in spans) == sorted(span["span_id"] for span in found)
