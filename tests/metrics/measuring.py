"""Install patches with a meter provider of the test's own, and look at what they have measured."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import InMemoryMetricReader
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

import causal_otel
from causal_otel._internal import faults
from causal_otel.engine.provider import TracerProvider

if TYPE_CHECKING:
    from opentelemetry.sdk.trace.sampling import Sampler

    from causal_otel.patch_choice import Patches

__all__ = ["Measurements", "measured"]


class Measurements:
    """What has been measured since the patches were installed.

    Attributes:
        tracer: of the provider that the patches use.
    """

    def __init__(self, provider: TracerProvider, reader: InMemoryMetricReader, exporter: InMemorySpanExporter) -> None:
        self.tracer = provider.get_tracer("tests")
        self._reader = reader
        self._exporter = exporter

    def spans(self) -> list[str]:
        """The names of the spans that have ended."""
        return [span.name for span in self._exporter.get_finished_spans()]

    def metrics(self) -> dict[str, Any]:
        """The metrics, by name."""
        data = self._reader.get_metrics_data()
        resources = [] if data is None else data.resource_metrics
        scopes = [scope for resource in resources for scope in resource.scope_metrics]
        return {
            metric.name: metric for scope in scopes if scope.scope.name == "causal_otel" for metric in scope.metrics
        }

    def points(self, name: str) -> list[Any]:
        """The points of a metric; none where there is no such metric."""
        metric = self.metrics().get(name)
        return [] if metric is None else list(metric.data.data_points)

    def only(self, name: str) -> tuple[dict[str, Any], Any]:
        """The one point of a metric, and its attributes."""
        points = self.points(name)
        assert len(points) == 1, [(dict(point.attributes), point) for point in points]
        return dict(points[0].attributes), points[0]


@contextmanager
def measured(patches: Patches, sampler: Sampler | None = None) -> Iterator[Measurements]:
    """Install ``patches``; on leaving, nothing of ours may have failed inside."""
    reader, exporter, provider = InMemoryMetricReader(), InMemorySpanExporter(), TracerProvider(sampler=sampler)
    provider.add_span_processor(SimpleSpanProcessor(exporter))
    meters = MeterProvider([reader], shutdown_on_exit=False)
    before = faults.counts()
    installed = causal_otel.install(patches=patches, tracer_provider=provider, meter_provider=meters)
    try:
        yield Measurements(provider, reader, exporter)
        assert faults.counts() == before, "something of ours failed and was contained"
    finally:
        installed.uninstall()
        provider.shutdown()
        meters.shutdown()
