"""A worker that has done 100,000 tasks holds what it held after the first 20,000."""

from __future__ import annotations

import json
import random
import threading
import uuid
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import TYPE_CHECKING

import pytest
import redis

from causal_otel.testing.process import LOOPBACK
from tests.patches import celery_app
from tests.patches.celery_census import census
from tests.patches.celery_worker import running_worker
from tests.recording import recording
from tests.services.received import ReceivedSpans

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

QUEUE = "memory"
COUNTING = "-I", "tests.patches.celery_census"
BATCH, WARM_UP, TASKS = 10_000, 20_000, 100_000
SCHEDULE_DELAY = 60
"""In seconds. The last 1,024 exports are remembered: were they more, that would go on growing on a slow machine."""
TASKS_OF_A_BATCH = (
    *((celery_app.add, (1, 2), 9_400), (celery_app.fail, ("of many",), 100), (celery_app.expected, (), 100)),
    *((celery_app.ignore, (), 100), (celery_app.reject, (), 100), (celery_app.flaky, (1,), 200)),
)


def samples(client: redis.Redis) -> Iterator[tuple[str, list[str], int]]:
    """A message of each task as its publisher sends it, the ids in it, and how many such there are in a batch."""
    for task, args, count in TASKS_OF_A_BATCH:
        with recording(["celery"]):
            sent = task.apply_async(args, queue=QUEUE, ignore_result=True)
        raw = client.rpop(QUEUE)  # nobody else does yet
        assert isinstance(raw, bytes)
        message = json.loads(raw)
        trace_id = message["headers"]["traceparent"].split("-")[1]
        yield raw.decode(), [sent.id, message["properties"]["delivery_tag"], trace_id], count


def batch(samples: Sequence[tuple[str, list[str], int]]) -> list[str]:
    """A batch of messages, each with ids of its own."""
    messages = []
    for sample, ids, count in samples:
        for _ in range(count):
            text = sample
            for known in ids:
                fresh = uuid.uuid4()
                text = text.replace(known, str(fresh) if "-" in known else fresh.hex)
            messages.append(text)
    random.Random(5).shuffle(messages)
    return messages


@contextmanager
def receiver() -> Iterator[ReceivedSpans]:
    """A receiver that takes everything and keeps nothing: there are more spans than the others keep."""

    class Taking(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_POST(self) -> None:
            self.rfile.read(int(self.headers["content-length"]))
            self.send_response(200)
            self.send_header("content-type", "application/x-protobuf")
            self.send_header("content-length", "0")
            self.end_headers()

        def log_message(self, *_: object) -> None:
            pass

    with ThreadingHTTPServer((LOOPBACK, 0), Taking) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        try:
            yield ReceivedSpans(f"http://{LOOPBACK}:{server.server_port}")
        finally:
            server.shutdown()
            thread.join()


@pytest.mark.long
@pytest.mark.timeout(900)
def test_memory_is_flat(broker: str) -> None:
    """Whatever becomes of 100,000 tasks, their worker keeps nothing of them: neither objects nor memory."""
    held: list[dict[str, int]] = []
    with redis.Redis.from_url(broker) as client:
        sent = list(samples(client))
        with (
            receiver() as spans,
            running_worker(
                broker, spans, QUEUE, *COUNTING, pool="solo", level="CRITICAL", schedule_delay=SCHEDULE_DELAY
            ),
        ):
            for _ in range(TASKS // BATCH):
                client.lpush(QUEUE, *batch(sent))
                held.append(census.apply_async(queue=QUEUE).get(timeout=800))
    warm, *_, last = held[WARM_UP // BATCH - 1 :]
    # Of each of the rare tasks there were 800 between the two.
    assert last["blocks"] - warm["blocks"] < 4_000, held
    assert last["objects"] - warm["objects"] < 800, held
    assert last["memory"] - warm["memory"] < 4 * 2**20, held
