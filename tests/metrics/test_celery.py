"""Metrics of Celery: of tasks that are sent, of their waits and of their attempts, whichever process ends these."""

from __future__ import annotations

import time
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from celery.exceptions import TimeLimitExceeded
from opentelemetry.sdk.trace.sampling import ALWAYS_OFF, ALWAYS_ON, Sampler

from tests.metrics.measuring import measured
from tests.patches import celery_app
from tests.patches.celery_worker import running_worker
from tests.services.received import ReceivedPoint, ReceivedSpans
from tests.slow_machine import assert_below

SENT, PROCESSED = "messaging.client.operation.duration", "messaging.process.duration"
WAITED, HELD, ATTEMPTS = "causal.celery.queue.wait", "causal.celery.prefetch.wait", "causal.celery.attempts"
QUEUE = "tests-metrics"
BOUNDS = (0.005, 0.01, 0.025, 0.05, 0.075, 0.1, 0.25, 0.5, 0.75, 1, 2.5, 5, 7.5, 10)


@pytest.mark.parametrize("sampler", [ALWAYS_ON, ALWAYS_OFF], ids=["sampled", "not sampled"])
def test_sending_and_running_eagerly(broker: str, sampler: Sampler) -> None:
    """Sending is measured by queue and task; so is an execution without a message, with its error."""
    with measured(["celery"], sampler) as found:
        celery_app.add.apply_async((1, 2), queue="tests-nobody")
        assert celery_app.add.apply((1, 2)).get() == 3
        with found.tracer.start_as_current_span("root"):
            assert celery_app.fail.apply(("no",)).state == "FAILURE"
        labels, sent = found.only(SENT)
        unit = found.metrics()[SENT].unit
        processed = {point.attributes["celery.task.name"]: point for point in found.points(PROCESSED)}
        attempts = {tuple(sorted(point.attributes.items())): point.value for point in found.points(ATTEMPTS)}
    assert unit == "s"
    assert (sent.count, tuple(sent.explicit_bounds)) == (1, BOUNDS)
    assert sent.sum > 0
    assert labels.pop("server.port")
    assert labels == {
        "messaging.system": "redis",
        "messaging.operation.name": "send",
        "messaging.operation.type": "send",
        "messaging.destination.name": "tests-nobody",
        "server.address": "127.0.0.1",
        "celery.task.name": "tests.add",
    }
    assert {name: point.count for name, point in processed.items()} == {"tests.add": 1, "tests.fail": 1}
    assert processed["tests.fail"].attributes["error.type"] == "ValueError"
    assert "error.type" not in processed["tests.add"].attributes
    assert tuple(processed["tests.add"].explicit_bounds) == BOUNDS
    assert attempts == {
        (("celery.task.name", "tests.add"), ("celery.task.state", "SUCCESS")): 1,
        (("celery.task.name", "tests.fail"), ("celery.task.state", "FAILURE")): 1,
    }


def _waited(receiver: ReceivedSpans, task: str, count: int, metric: str = PROCESSED) -> list[ReceivedPoint]:
    """The latest point of each process for the executions of a task, once there are ``count`` in all."""
    deadline = time.monotonic() + 60
    while True:
        points = [point for point in receiver.points(metric, QUEUE) if point["attributes"]["celery.task.name"] == task]
        latest: dict[Any, ReceivedPoint] = {}
        for point in points:
            latest[point["resource"]["service.instance.id"], tuple(point["attributes"].items())] = point
        if sum(point["count"] for point in latest.values()) >= count:
            return list(latest.values())
        assert time.monotonic() < deadline, points
        time.sleep(0.05)


@pytest.mark.parametrize("sampler", ["always_on", pytest.param("always_off", marks=pytest.mark.long)])
def test_worker(broker: str, receiver: ReceivedSpans, sampler: str) -> None:
    """Each process of a pool tells of its executions and waits; what is killed or expired is counted once."""
    variables = {
        "OTEL_METRICS_EXPORTER": "otlp",
        "OTEL_METRIC_EXPORT_INTERVAL": "200",
        "OTEL_TRACES_SAMPLER": sampler,
    }
    with measured(["celery"], ALWAYS_OFF):
        results = [celery_app.add.apply_async((n, 1), queue=QUEUE) for n in range(6)]
    time.sleep(0.3)  # what they wait at the least
    with running_worker(broker, receiver, QUEUE, variables=variables):
        assert [result.get(timeout=60) for result in results] == [1, 2, 3, 4, 5, 6]
        with pytest.raises(TimeLimitExceeded):
            celery_app.stubborn.apply_async(queue=QUEUE, time_limit=2).get(timeout=60)
        celery_app.tick.apply_async(queue=QUEUE, expires=datetime.now(UTC) - timedelta(seconds=1))
        added = _waited(receiver, "tests.add", 6)
        _waited(receiver, "tests.stubborn", 1)
        _waited(receiver, "tests.tick", 1, ATTEMPTS)  # or the worker might end before it has got it
        in_queue = _waited(receiver, "tests.add", 6, WAITED)
        held = _waited(receiver, "tests.add", 6, HELD)
    killed = _waited(receiver, "tests.stubborn", 1)
    attempts = {task: _waited(receiver, task, 1, ATTEMPTS) for task in ("tests.add", "tests.stubborn", "tests.tick")}
    assert sum(point["count"] for point in added) == 6
    assert {point["attributes"]["messaging.destination.name"] for point in added} == {QUEUE}
    assert sum(point["count"] for point in in_queue) == 6
    assert sum(point["sum"] for point in in_queue) >= 6 * 0.3
    assert [point["attributes"] for point in in_queue] == [point["attributes"] for point in added][: len(in_queue)]
    assert_below(sum(point["sum"] for point in in_queue) / 3, sum(point["sum"] for point in held))
    assert sum(point["sum"] for point in attempts["tests.add"]) == 6
    assert {point["attributes"]["celery.task.state"] for point in attempts["tests.add"]} == {"SUCCESS"}
    assert [point["sum"] for point in attempts["tests.stubborn"]] == [1]
    assert attempts["tests.stubborn"][0]["attributes"]["celery.task.state"] == "FAILURE"
    assert [point["attributes"]["celery.task.state"] for point in attempts["tests.tick"]] == ["REVOKED"]
    timed = {point["attributes"]["celery.task.name"] for point in receiver.points(PROCESSED, QUEUE)}
    assert timed == {"tests.add", "tests.stubborn"}, "what has expired has no duration"
    assert [point["count"] for point in killed] == [1]
    assert killed[0]["attributes"]["error.type"] == "billiard.exceptions.TimeLimitExceeded"
    assert killed[0]["sum"] >= 1.9
    names = {span["name"] for span in receiver.spans() if span["service"] == QUEUE}
    assert ("process tests.stubborn" in names) == (sampler == "always_on")
