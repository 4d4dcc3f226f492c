"""Celery on RabbitMQ: the same spans as on Redis, and none of what the two do to wait for work."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

import pytest
from celery import Celery, signature
from opentelemetry.trace import SpanKind

from tests.patches.celery_worker import executions, hexadecimal, of_service, running_worker
from tests.recording import recording
from tests.span_relations import assert_span

if TYPE_CHECKING:
    from tests.services.received import ReceivedSpans

pytestmark = [
    pytest.mark.long,  # of the server's start
    # Celery's backend rpc:// leaves sockets to the garbage collector.
    pytest.mark.filterwarnings("ignore:unclosed <socket:ResourceWarning"),
    pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning"),
]

PATCHES = ["celery", "redis"]


def let_it_idle(app: Celery, worker: str) -> None:
    """Wait for two of the events that the worker sends every two seconds, whatever else it does."""
    seen = []
    with app.connection_for_read() as connection:

        def heartbeat(event: dict[str, Any]) -> None:
            seen.append(event["hostname"] == worker)
            receiver.should_stop = sum(seen) == 2

        receiver = app.events.Receiver(connection, handlers={"worker-heartbeat": heartbeat})
        receiver.capture(timeout=60, wakeup=False)


@pytest.mark.parametrize("pool", ["prefork", "threads"])
@pytest.mark.parametrize("results", ["rpc", "redis"])
def test_a_worker_on_rabbitmq(rabbitmq_url: str, broker: str, receiver: ReceivedSpans, pool: str, results: str) -> None:
    """It traces nothing while it idles, then every attempt below its message, and loses nothing when it stops."""
    queue = f"rabbit-{pool}-{results}"
    backend = "rpc://" if results == "rpc" else broker
    app = Celery("rabbit", broker=rabbitmq_url, backend=backend, set_as_current=False)
    variables = {"CELERY_BROKER_URL": rabbitmq_url, "CELERY_RESULT_BACKEND": backend}
    worker = running_worker(
        broker, receiver, queue, "-E", pool=pool, patches=",".join(PATCHES), variables=variables, schedule_delay=60
    )
    with recording(PATCHES) as recorded:
        with worker as under_way:
            let_it_idle(app, f"{queue}@tests")
            assert app.control.ping([f"{queue}@tests"], timeout=60, limit=1) == [{f"{queue}@tests": {"ok": "pong"}}]
            assert recorded.spans == []
            added = [signature("tests.add", (n, n), app=app, queue=queue).apply_async() for n in range(5)]
            assert [each.get(timeout=60) for each in added] == [0, 2, 4, 6, 8]
            flaky = signature("tests.flaky", (2,), app=app, queue=queue).apply_async()
            assert flaky.get(timeout=60) == 2
            under_way.stop()
        sent = {hexadecimal(span): span for span in recorded.spans}
        assert {span.name for span in sent.values()} == {"send tests.add", "send tests.flaky"}
    if results == "rpc":
        backend_client: Any = app.backend
        backend_client.result_consumer.stop()  # it has a connection of its own
    app.close()
    spans = of_service(receiver.spans(), queue)
    assert {span["name"] for span in spans} == {"process tests.add", "process tests.flaky", "send tests.flaky"}
    server = urlsplit(rabbitmq_url)
    by_sender = dict(sent)
    for span in spans:
        if span["name"] == "process tests.add":
            attributes = assert_span(span, by_sender.pop(span["parent_span_id"] or ""))
            assert span["kind"] == SpanKind.CONSUMER.name
            assert attributes["messaging.system"] == "rabbitmq"
            assert attributes["messaging.destination.name"] == queue
            assert (attributes["server.address"], attributes["server.port"]) == (server.hostname, server.port)
    [flaky_sent] = by_sender.values()
    attempts = executions(receiver, flaky_sent, 3)
    states = [span["attributes"]["celery.task.state"] for span in attempts if span["name"] == "process tests.flaky"]
    assert sorted(states) == ["RETRY", "RETRY", "SUCCESS"]
