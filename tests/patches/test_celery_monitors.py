"""Flower and an exporter for Prometheus see the tasks of a traced worker, and no span is theirs."""

from __future__ import annotations

import json
import re
import urllib.request
from typing import TYPE_CHECKING

import pytest
from celery import signature

from causal_otel.testing.process import LOOPBACK, Process, claim_port, process
from tests.environments import environment, pip_install
from tests.patches import celery_worker
from tests.patches.celery_app import app
from tests.patches.celery_worker import hexadecimal, of_service, running_worker
from tests.recording import recording
from tests.span_relations import assert_span
from tests.waiting import wait_until

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from tests.services.received import ReceivedSpans

__all__ = ["environment"]

pytestmark = pytest.mark.long

COUNTED = re.compile(r'celery_tasks\{state="SUCCESS"\} [1-9]')
_opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))


def read(url: str) -> str:
    """What a page says."""
    with _opener.open(url, timeout=30) as answer:
        return str(answer.read().decode())


def answers(url: str) -> Callable[[Process], bool]:
    """Whether a server does."""
    return lambda _: bool(read(url))


def test_flower_and_an_exporter(broker: str, receiver: ReceivedSpans, environment: Path) -> None:
    """Both listen to the worker's events and ask it; Flower does so in a process that is traced, since the app is."""
    queue = "watched"
    flower, exporter = (f"http://{LOOPBACK}:{claim_port(None, name)}" for name in ("Flower", "the exporter"))
    # Where Flower is installed, every program of Celery's imports it: so in an environment of its own.
    pip_install(environment, "flower==2.2.0", "celery-prometheus-exporter==1.7.0")
    variables = celery_worker.environment(broker, receiver, "flower", "celery,redis", 0.1)
    exporting = [str(environment), "-m", "celery_prometheus_exporter"]
    watching = (
        process(
            [
                environment,
                *celery_worker.CELERY[1:],
                "flower",
                f"--address={LOOPBACK}",
                f"--port={flower.rpartition(':')[2]}",
            ],
            name="Flower",
            env={**variables, "FLOWER_UNAUTHENTICATED_API": "true"},
            ready=answers(f"{flower}/healthcheck"),
        ),
        process(
            [*exporting, "--broker", broker, "--addr", exporter.removeprefix("http://"), "--enable-events"],
            name="the exporter",
            env=variables,
            ready=answers(f"{exporter}/metrics"),
        ),
    )
    with (
        running_worker(broker, receiver, queue, "-E", pool="threads", patches="celery,redis") as worker,
        watching[0],
        watching[1],
        recording(["celery"]) as recorded,
    ):

        def seen(sees: Callable[[], bool]) -> bool:
            """Whether what watches sees a task: it listens some time after it answers, and to what is sent then."""
            assert signature("tests.add", (1, 2), app=app, queue=queue).apply_async().get(timeout=60) == 3
            return sees()

        def flower_sees() -> bool:
            tasks = json.loads(read(f"{flower}/api/tasks")).values()
            return any((task["name"], task["state"]) == ("tests.add", "SUCCESS") for task in tasks)

        wait_until(lambda: seen(flower_sees))
        wait_until(lambda: seen(lambda: COUNTED.search(read(f"{exporter}/metrics")) is not None))
        assert f"{queue}@tests" in json.loads(read(f"{flower}/api/workers?refresh=1"))
        worker.stop()
        sent = {hexadecimal(span): span for span in recorded.spans}
    spans = receiver.spans()
    assert of_service(spans, "flower") == []
    assert of_service(spans, queue) == spans
    for span in spans:
        assert span["name"] == "process tests.add"
        assert_span(span, sent.pop(span["parent_span_id"] or ""))
    assert sent == {}
