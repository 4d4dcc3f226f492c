"""The export's counts as OpenTelemetry metrics, each in a process of its own, since a MeterProvider is set once."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import textwrap
from pathlib import Path
from typing import Any

import pytest

from causal_otel.export.spool import Spool
from tests.faults.scripted import Action, answer, partial, reset, scripted

_PROGRAM = """
import json, sys
import causal_otel
from opentelemetry import metrics
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import InMemoryMetricReader

reader = InMemoryMetricReader()
early = sys.argv[2] == "before"
if early:
    metrics.set_meter_provider(MeterProvider(metric_readers=[reader]))
installed = causal_otel.install(patches=[], endpoint=sys.argv[1], service_name="t", export_timeout=3.0)
for name in "abc":
    with causal_otel.span(name):
        pass
installed.flush(20)
if not early:
    metrics.set_meter_provider(MeterProvider(metric_readers=[reader]))
    with causal_otel.span("d"):
        pass
    installed.flush(20)
{more}
points = {{}}
data = reader.get_metrics_data()
for resource in data.resource_metrics if data else ():
    for scope in resource.scope_metrics:
        for metric in scope.metrics:
            for point in metric.data.data_points:
                value = point.value if hasattr(point, "value") else point.count
                points.setdefault(metric.name, []).append([value, dict(point.attributes), metric.unit])
print(json.dumps(points))
"""


def _metrics(url: str, when: str, more: str = "", **variables: str) -> dict[str, list[Any]]:
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", _PROGRAM.format(more=textwrap.dedent(more)), url, when],
        env={**os.environ, **variables},
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert done.returncode == 0, done.stderr
    found: dict[str, list[Any]] = json.loads(done.stdout)
    return found


@pytest.mark.parametrize(("when", "spans"), [("before", 3), ("after", 4)])
def test_delivered(when: str, spans: int) -> None:
    """A MeterProvider set before or after install() sees what was exported, under the conventions' names."""
    with scripted() as collector:
        found = _metrics(collector.endpoint, when)
        port = int(collector.endpoint.rpartition(":")[2])
    processor = {
        "otel.component.type": "batching_span_processor",
        "otel.component.name": "batching_span_processor/0",
    }
    exporter = {
        "otel.component.type": "otlp_http_span_exporter",
        "otel.component.name": "otlp_http_span_exporter/0",
        "server.address": "127.0.0.1",
        "server.port": port,
    }
    assert found["otel.sdk.processor.span.queue.size"] == [[0, processor, "{span}"]]
    assert found["otel.sdk.processor.span.queue.capacity"] == [[8192, processor, "{span}"]]
    assert found["otel.sdk.processor.span.processed"] == [[spans, processor, "{span}"]]
    assert found["otel.sdk.exporter.span.inflight"] == [[0, exporter, "{span}"]]
    assert found["otel.sdk.exporter.span.exported"] == [[spans, exporter, "{span}"]]
    duration = [[1, {**exporter, "http.response.status_code": 200}, "s"]]
    assert found["otel.sdk.exporter.operation.duration"] == duration
    assert found["causal.exporter.last_success_timestamp"][0][0] > 1_700_000_000


@pytest.mark.parametrize(
    ("action", "reason", "status"),
    [
        (answer(400), "refused", {"http.response.status_code": 400, "error.type": "400"}),
        (partial(3), "rejected", {"http.response.status_code": 200, "error.type": "rejected"}),
        (reset(), "export_failed", {"error.type": "ConnectionResetError"}),
    ],
)
def test_lost(action: Action, reason: str, status: dict[str, Any]) -> None:
    """What is lost is counted by reason, and attempts are measured by what came of them."""
    with scripted(action) as collector:
        found = _metrics(collector.endpoint, "before")
    exported = {point[1].get("error.type"): point[0] for point in found["otel.sdk.exporter.span.exported"]}
    assert exported == {None: 0, reason: 3}
    attempts = [attributes for _, attributes, _ in found["otel.sdk.exporter.operation.duration"]]
    assert any(status.items() <= attributes.items() for attributes in attempts), attempts


def test_installing_again_moves_the_metrics() -> None:
    """After another install() the same instruments tell of the new worker, without a warning about duplicates."""
    more = """
    causal_otel.uninstall()
    installed = causal_otel.install(patches=[], endpoint=sys.argv[1], service_name="t", max_queue_size=77)
    with causal_otel.span("again"):
        pass
    installed.flush(20)
    """
    with scripted() as collector:
        found = _metrics(collector.endpoint, "before", more)
    assert [point[0] for point in found["otel.sdk.processor.span.queue.capacity"]] == [77]
    assert [point[0] for point in found["otel.sdk.exporter.span.exported"]] == [1]


def test_engine_counts() -> None:
    """How many spans were started and are live is observed under the conventions' names."""
    more = """
    with causal_otel.span("parent"), causal_otel.span("child"):
        pass
    live = installed.tracer.start_span("live")
    """
    with scripted() as collector:
        found = _metrics(collector.endpoint, "before", more)
    sampled = {"otel.span.sampling_result": "RECORD_AND_SAMPLE"}
    started = {point[1]["otel.span.parent.origin"]: point[0] for point in found["otel.sdk.span.started"]}
    assert started == {"none": 5, "local": 1}
    assert all(sampled.items() <= point[1].items() for point in found["otel.sdk.span.started"])
    assert found["otel.sdk.span.live"] == [[1, sampled, "{span}"]]


def test_damaged_batches(tmp_path: Path) -> None:
    """Batches in the spool that are unfit to be sent are counted by reason."""
    assert Spool(tmp_path, 1_000_000).append(b"x", 1)
    (batch,) = tmp_path.glob("*.spans")
    batch.write_bytes(b"JUNK")
    with scripted() as collector:
        found = _metrics(collector.endpoint, "before", TRACING_SPOOL_DIRECTORY=str(tmp_path))
    damaged = {point[1]["error.type"]: point[0] for point in found["causal.exporter.spool.damaged"]}
    assert damaged == {"corrupted": 1, "torn": 0}


_FOREIGN = """
import sys, threading
import causal_otel
from opentelemetry import metrics

told, asked = [], []

class Histogram(metrics.NoOpHistogram):
    def record(self, amount, attributes=None, context=None):
        told.append((threading.current_thread() is threading.main_thread(), amount >= 0, attributes["server.port"]))

class Meter(metrics.NoOpMeter):
    def create_histogram(self, name, *args, **kwargs):
        return Histogram(name)
    def create_observable_counter(self, name, callbacks=None, *args, **kwargs):
        asked.extend(callbacks)

class Meters(metrics.MeterProvider):
    def get_meter(self, name, *args, **kwargs):
        return Meter(name)

metrics.set_meter_provider(Meters())
installed = causal_otel.install(patches=[], endpoint=sys.argv[1], service_name="t")
with causal_otel.span("a"):
    pass
assert installed.flush(20)
print(told)
for _ in range(2):
    for callback in asked:
        list(callback(metrics.CallbackOptions()))
print(told)
"""


def test_the_sending_thread_enters_no_meter_provider() -> None:
    """How long an attempt took is told once, by whoever collects: in a forked child a lock may be held by nobody."""
    with scripted() as collector:
        done = subprocess.run(
            [sys.executable, "-W", "error", "-c", _FOREIGN, collector.endpoint],
            capture_output=True,
            text=True,
            timeout=60,
        )
        port = int(collector.endpoint.rpartition(":")[2])
    assert done.stderr == ""
    assert done.stdout.splitlines() == ["[]", f"[(True, True, {port})]"]
