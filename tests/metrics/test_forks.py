"""Programs that fork while a thread collects metrics: no child waits for a lock of the SDK's that nobody releases."""

from __future__ import annotations

import pytest

from tests.faults.programs import run
from tests.services.received import ReceivedSpans

_PROGRAM = """
import os, sys, threading, time
from opentelemetry import metrics
import causal_otel, httpx

collecting = threading.Event()

def slowly(options):
    collecting.set()
    time.sleep(0.5)
    return []

{provider}
causal_otel.install(patches=["httpx"], service_name="program")
metrics.get_meter("mine").create_observable_gauge("slow", [slowly])
with causal_otel.span("parent"):
    httpx.get(ECHO + "/get", trust_env=False)
causal_otel.install().flush(30)
collecting.clear()
assert collecting.wait(30)
pid = os.fork()
if pid == 0:
    with causal_otel.span("child"):
        httpx.get(ECHO + "/get", trust_env=False)
    os._exit(0 if {flush} else 7)
for _ in range(1200):
    done, status = os.waitpid(pid, os.WNOHANG)
    if done:
        sys.exit(os.waitstatus_to_exitcode(status))
    time.sleep(0.05)
os.kill(pid, 9)
os.waitpid(pid, 0)
sys.exit("the child hangs")
"""
_OWN = """
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import ConsoleMetricExporter, PeriodicExportingMetricReader
output = open(os.devnull, "w")
reader = PeriodicExportingMetricReader(ConsoleMetricExporter(out=output), export_interval_millis=100)
metrics.set_meter_provider(MeterProvider([reader]))
"""


def _program(receiver: ReceivedSpans, provider: str, flush: str, **variables: str) -> None:
    code = _PROGRAM.format(provider=provider, flush=flush)
    variables["OTEL_EXPORTER_OTLP_ENDPOINT"] = receiver.endpoint
    done = run(f"ECHO = {receiver.endpoint!r}\n{code}", seconds=120.0, **variables)
    assert done.returncode == 0, done.stderr
    assert {"parent", "child"} <= {span["name"] for span in receiver.spans()}


def test_our_reader_collects(receiver: ReceivedSpans) -> None:
    """The child exports its spans and what it has measured, although its parent's reader was collecting."""
    _program(
        receiver,
        "",
        "causal_otel.install().flush(30)",
        OTEL_METRICS_EXPORTER="otlp",
        OTEL_METRIC_EXPORT_INTERVAL="100",
    )
    points = receiver.points("http.client.request.duration")
    assert {point["count"] for point in points} == {1}
    assert len({point["resource"]["service.instance.id"] for point in points}) == 2


@pytest.mark.long
@pytest.mark.parametrize("exporter", ["", "none"], ids=["metrics of operations", "our own counts"])
def test_a_reader_of_the_user_s_collects(receiver: ReceivedSpans, exporter: str) -> None:
    """The SDK's own reader does not survive such a fork; the child's spans are exported all the same."""
    _program(receiver, _OWN, "causal_otel.install()._flush_spans(30)", OTEL_METRICS_EXPORTER=exporter)
