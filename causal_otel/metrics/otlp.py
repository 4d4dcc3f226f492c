"""OTLP for metrics: the official encoder's bytes, over the transports that spans have.

A request that was not delivered is not repeated: the next one, after another interval, tells of the same and of more.
"""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any

from opentelemetry.sdk.metrics import export

from causal_otel._internal.throttled_log import ThrottledLog
from causal_otel.export.select_transport import make_transport
from causal_otel.transports.transport import Verdict, importing, without_credentials

if TYPE_CHECKING:
    from causal_otel.settings import Settings

__all__ = ["OtlpMetricExporter"]


class OtlpMetricExporter(export.MetricExporter):
    """Encodes and sends.

    Args:
        settings: as they are for metrics.
        protocol: ``http/protobuf`` or ``grpc``.
        url: where to.
    """

    def __init__(self, settings: Settings, protocol: str, url: str) -> None:
        super().__init__()
        self._timeout = settings.timeout
        self._destination = without_credentials(url)
        self._log = ThrottledLog()
        with importing.held():
            from opentelemetry.exporter.otlp.proto.common.metrics_encoder import encode_metrics

            self._encode = encode_metrics
            self._transport = make_transport(settings, protocol, url, "metrics")

    def export(
        self, metrics_data: export.MetricsData, timeout_millis: float = 10_000, **kwargs: Any
    ) -> export.MetricExportResult:
        """Send once."""
        payload = self._encode(metrics_data).SerializeToString()
        timeout = min(self._timeout, timeout_millis / 1000)
        outcome = self._transport.send(payload, time.monotonic() + timeout)
        if outcome.verdict is Verdict.DELIVERED and not outcome.rejected:
            return export.MetricExportResult.SUCCESS
        self._log.say(outcome.kind, "metrics were not delivered to %s: %s", self._destination, outcome)
        return export.MetricExportResult.FAILURE

    def force_flush(self, timeout_millis: float = 10_000) -> bool:
        """Nothing waits here."""
        return True

    def shutdown(self, timeout_millis: float = 30_000, **kwargs: Any) -> None:
        """Close idle connections."""
        self._transport.close()

    def abandon(self) -> None:
        """In a forked child: let go of what was inherited."""
        self._transport.abandon()
