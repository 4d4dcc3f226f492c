"""Metrics exported by us: a ``MeterProvider`` of OpenTelemetry's, made the global one, with a reader of our own.

A process can set its global provider once only. So the first one stays, and each installation adds a reader to it.
"""

from __future__ import annotations

import sys
import time
from functools import partial
from typing import TYPE_CHECKING

from opentelemetry import metrics
from opentelemetry.sdk import metrics as sdk
from opentelemetry.sdk.metrics import export

from causal_otel._internal import faults
from causal_otel.destination import destination
from causal_otel.export import shutdown_hooks
from causal_otel.export.select_transport import check
from causal_otel.metrics.otlp import OtlpMetricExporter
from causal_otel.metrics.reader import Reader
from causal_otel.names import SERVICE_INSTANCE_ID
from causal_otel.transports.transport import without_credentials

if TYPE_CHECKING:
    from collections.abc import Callable

    from opentelemetry.sdk.resources import Resource

    from causal_otel.metrics.cells import Cells
    from causal_otel.settings import Settings

__all__ = ["MetricsPipeline", "is_ours"]

_provider: sdk.MeterProvider | None = None


def is_ours(provider: object) -> bool:
    """Whether ``provider`` is one that an installation has set."""
    return provider is _provider and provider is not None


class MetricsPipeline:
    """Exports what is measured as the settings say, until it is closed.

    Args:
        settings: as they are for metrics: see :func:`causal_otel.metrics.settings.for_metrics`.
        resource: what the metrics are about.
        cells: what is measured.

    Attributes:
        destination: where metrics go, without credentials.

    Raises:
        SettingError: the settings need an extra that is not installed.
    """

    def __init__(self, settings: Settings, resource: Resource, cells: Cells) -> None:
        self._exit_timeout = settings.exit_timeout
        self._deadline = 0.0
        self._finish: Callable[[float], bool] | None = None
        if settings.metrics_exporter == "console":
            self.destination = "the console"
            make: Callable[[], export.MetricExporter] = _console
        else:
            protocol, url = destination(settings, "/v1/metrics")
            check(settings, protocol)
            self.destination = without_credentials(url)
            make = partial(OtlpMetricExporter, settings, protocol, url)

        instance = settings.resource_attributes.get(SERVICE_INSTANCE_ID)
        self._reader = Reader(
            cells,
            make,
            resource,
            instance=None if instance is None else str(instance),
            interval=settings.metrics_interval,
            timeout=settings.timeout,
            preference=settings.metrics_temporality,
        )
        self._resource = resource
        self._meters: sdk.MeterProvider | None = None
        cells.began = self._register_in_child
        shutdown_hooks.register(self._finish_shutdown)

    def start(self) -> None:
        """Begin to export.

        Shutdown hooks run in the reverse order of their registration. At the end of the process the export of metrics
        begins first and is waited for last. In between, the hooks that were registered in between export the spans.
        """
        self._meters = _global_provider(self._resource)
        self._meters.add_metric_reader(self._reader)
        self._reader.start()
        shutdown_hooks.register(self._begin_shutdown)

    def meters(self) -> sdk.MeterProvider | None:
        """The global provider, once this has been started."""
        return self._meters

    def _register_in_child(self) -> None:
        shutdown_hooks.register_in_child(self._flush_in_child)

    def begin_flush(self) -> Callable[[float], bool]:
        """Begin to export what has been measured so far.

        Returns:
            Waits for that until a deadline by ``monotonic()``, and tells whether all was delivered.
        """
        return partial(self._reader.wait, self._reader.ask())

    def flush_with(self, action: Callable[[], object]) -> None:
        """Export what is left, as at the end of the process, while ``action()`` does the same for the spans."""
        deadline = time.monotonic() + self._exit_timeout
        finish = self.begin_flush()
        try:
            action()
        finally:
            finish(deadline)

    def _begin_shutdown(self) -> None:
        self._deadline = time.monotonic() + self._exit_timeout
        self._finish = self.begin_flush()

    def _finish_shutdown(self) -> None:
        if self._finish is not None:
            self._finish(self._deadline)

    def _flush_in_child(self) -> None:
        self.flush_with(lambda: None)

    def close(self) -> None:
        """Export what is left, and end."""
        shutdown_hooks.unregister(self._begin_shutdown)
        shutdown_hooks.unregister(self._finish_shutdown)
        shutdown_hooks.unregister(self._flush_in_child)
        try:
            self._reader.shutdown(self._exit_timeout * 1000)
            if self._meters is not None:
                self._meters.remove_metric_reader(self._reader)
        except Exception:
            faults.report("metrics: close")

    def __str__(self) -> str:
        reader = self._reader
        failed = f", {reader.failed} failed" if reader.failed else ""
        return f"to {self.destination}: {reader.exported} exports{failed}"


def _global_provider(resource: Resource) -> sdk.MeterProvider:
    global _provider
    if _provider is None:
        _provider = sdk.MeterProvider(resource=resource, shutdown_on_exit=False)
        metrics.set_meter_provider(_provider)
    return _provider


def _console() -> export.MetricExporter:
    return export.ConsoleMetricExporter(out=sys.stderr)
