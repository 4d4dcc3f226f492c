"""A Celery task sent and executed, bare, with OpenTelemetry's instrumentation and with our patch: what tracing adds.

Sending is ``delay()``, to a real broker. Executing is what a process of a pool does with a message
(``celery.app.trace.trace_task_ret``: read the body, run the task, send Celery's signals), in this process. A worker
would add polling and acknowledging, which no patch touches and which take longer than what is measured. The messages
are real ones, which the same tracer has sent to the broker; each execution has an id of its own, as in life.
"""

from __future__ import annotations

import uuid
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from typing import TYPE_CHECKING

import pytest
import redis
from celery import Celery
from celery.app.trace import trace_task_ret
from celery.worker.request import Request
from opentelemetry.instrumentation.celery import CeleryInstrumentor

from benchmarks.peers import Peer, opentelemetry, ours
from benchmarks.rounds import BARE, OPENTELEMETRY, OURS, on_core
from benchmarks.traced import Operation, recorded, unsampled

if TYPE_CHECKING:
    from pytest_benchmark.fixture import BenchmarkFixture

    from benchmarks.conftest import Record, Sink

_QUEUE = "benchmarks"


@pytest.fixture
def app(request: pytest.FixtureRequest) -> Iterator[Celery]:
    """An application with one task, whose broker is on this core and whose results nobody wants."""
    with on_core(0):
        url = str(request.getfixturevalue("redis_url"))
        app = Celery("benchmarks", broker=url, set_as_current=False)
        app.conf.task_default_queue = _QUEUE

        @app.task(name="benchmarks.add", shared=False)
        def add(x: int, y: int) -> int:
            return x + y

        with redis.Redis.from_url(url) as client:
            try:
                yield app
            finally:
                client.delete(_QUEUE)
                app.close()


def _publish(app: Celery, url: str) -> Operation:
    send = app.tasks["benchmarks.add"].delay
    client = redis.Redis.from_url(url)

    def prepare(_: str, times: int) -> Callable[[], object]:
        client.delete(_QUEUE)  # what earlier rounds have sent, and nobody receives

        def perform() -> None:
            for _ in range(times):
                send(1, 2)

        return perform

    return Operation(prepare=prepare, patch="celery", instrumentor=CeleryInstrumentor())


def _received(app: Celery, peer: Peer | None) -> Request:
    """What a worker makes of a task's message that was sent inside a span of ``peer``'s."""
    with app.connection_for_read() as connection, connection.channel() as channel:
        queue = app.amqp.queues[_QUEUE].bind(channel)
        queue.purge()
        with ExitStack() as stack:
            if peer is not None:
                stack.enter_context(peer.patched())
                stack.enter_context(peer.tracer.start_as_current_span("root"))
            app.tasks["benchmarks.add"].delay(1, 2)
        message = queue.get(no_ack=True)
        assert message is not None
        assert ("traceparent" in message.headers) is (peer is not None)
        return Request(message, app=app)


def _run(app: Celery, *, sampled: bool) -> Operation:
    requests = {BARE: _received(app, None)}
    with opentelemetry(None, CeleryInstrumentor(), sampled=sampled) as peer:
        requests[OPENTELEMETRY] = _received(app, peer)
    with ours(None, "celery", sampled=sampled) as peer:
        requests[OURS] = _received(app, peer)

    def prepare(column: str, times: int) -> Callable[[], object]:
        request = requests[column]
        ids = [str(uuid.uuid4()) for _ in range(times)]
        received = [{**request.request_dict, "id": each, "root_id": each, "correlation_id": each} for each in ids]

        def perform() -> None:
            for headers in received:
                failed, _, _ = trace_task_ret(
                    request.type,
                    headers["id"],
                    headers,
                    request.body,
                    request.content_type,
                    request.content_encoding,
                    app=app,
                )
                assert not failed

        return perform

    return Operation(prepare=prepare, patch="celery", instrumentor=CeleryInstrumentor(), in_span=False)


def test_publish_recorded(benchmark: BenchmarkFixture, record: Record, sink: Sink, app: Celery, redis_url: str) -> None:
    """In a recorded trace."""
    record("celery publish", recorded(benchmark, sink, _publish(app, redis_url)))


def test_publish_unsampled(benchmark: BenchmarkFixture, record: Record, app: Celery, redis_url: str) -> None:
    """In a trace that is not sampled."""
    record("celery publish unsampled", unsampled(benchmark, _publish(app, redis_url)))


@pytest.fixture
def in_pool(monkeypatch: pytest.MonkeyPatch) -> None:
    """What Celery sets in a pool's processes. There our patch has more to do: the main process is told of each task."""
    monkeypatch.setenv("FORKED_BY_MULTIPROCESSING", "1")


@pytest.mark.usefixtures("in_pool")
def test_run_recorded(benchmark: BenchmarkFixture, record: Record, sink: Sink, app: Celery) -> None:
    """The message's trace is recorded."""
    record("celery run", recorded(benchmark, sink, _run(app, sampled=True)))


@pytest.mark.usefixtures("in_pool")
def test_run_unsampled(benchmark: BenchmarkFixture, record: Record, app: Celery) -> None:
    """The message's trace is not sampled."""
    record("celery run unsampled", unsampled(benchmark, _run(app, sampled=False)))
