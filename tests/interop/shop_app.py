"""A service for the dashboards: each second a request that queries, publishes and fails now and then, until SIGTERM.

Traces and the metrics of the export go where OTEL_EXPORTER_OTLP_* say.
"""

from __future__ import annotations

import signal
import threading

from opentelemetry import metrics, trace
from opentelemetry.exporter.otlp.proto.http.metric_exporter import OTLPMetricExporter
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import PeriodicExportingMetricReader
from opentelemetry.trace import SpanKind, StatusCode

import causal_otel

__all__: list[str] = []


def _work(number: int) -> None:
    tracer = trace.get_tracer("shop")
    for failing in (False, True):
        with tracer.start_as_current_span("GET /orders", kind=SpanKind.SERVER) as request:
            with tracer.start_as_current_span(
                "SELECT orders", kind=SpanKind.CLIENT, attributes={"db.system.name": "postgresql"}
            ) as query:
                if failing:
                    query.set_status(StatusCode.ERROR)
                    request.set_status(StatusCode.ERROR)
            with tracer.start_as_current_span("send charge", kind=SpanKind.PRODUCER):
                pass
            with tracer.start_as_current_span("process charge", kind=SpanKind.CONSUMER) as task:
                task.set_attribute("shop.order", number)
                if failing:
                    task.set_status(StatusCode.ERROR)


def main() -> None:
    """Work until SIGTERM."""
    reader = PeriodicExportingMetricReader(OTLPMetricExporter(), export_interval_millis=1000)
    provider = MeterProvider([reader])
    metrics.set_meter_provider(provider)
    installed = causal_otel.install(patches=[])
    stopped = threading.Event()
    signal.signal(signal.SIGTERM, lambda *_: stopped.set())
    number = 0
    while not stopped.wait(0.5):
        number += 1
        _work(number)
    installed.uninstall()
    provider.shutdown()


if __name__ == "__main__":
    main()
