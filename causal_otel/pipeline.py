"""From settings to a working pipeline: resource, sampler, limits, provider, worker, exporter, propagators."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from opentelemetry import propagate, trace
from opentelemetry.propagators.composite import CompositePropagator
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import SpanLimits, sampling
from opentelemetry.sdk.trace.export import SimpleSpanProcessor

from causal_otel import semconv
from causal_otel.engine.provider import TracerProvider
from causal_otel.export.console import ConsoleExporter
from causal_otel.export.leaving import Termination
from causal_otel.export.ledger import ExportStatus
from causal_otel.export.otlp import check, component, make_transport
from causal_otel.export.spool import Spool
from causal_otel.export.telemetry import Telemetry
from causal_otel.export.worker import Worker

if TYPE_CHECKING:
    from opentelemetry.propagators.textmap import TextMapPropagator
    from opentelemetry.sdk.trace.sampling import Sampler

    from causal_otel.settings import Settings

__all__ = ["Pipeline"]


class Pipeline:
    """Our provider, set globally and exporting as the settings say; :meth:`close` ends that.

    Raises:
        SettingError: the settings need an extra that is not installed.
    """

    def __init__(self, settings: Settings) -> None:
        resource = _resource(settings)
        self.service_name = str(resource.attributes[semconv.SERVICE_NAME])
        self.destination = "nowhere"
        self._telemetry: Telemetry | None = None
        self._worker = self._make_worker(settings)
        self._propagator = propagate.get_global_textmap()

        sampler, limits = _sampler(settings), _limits(settings)
        before = trace.get_tracer_provider()
        if isinstance(before, TracerProvider) and before.closed:
            self.provider = before
            self.provider.open(sampler, resource, limits)
        else:
            self.provider = TracerProvider(sampler, resource, limits)
            trace.set_tracer_provider(self.provider)
        if settings.console or settings.exporter == "console":
            self.provider.add_span_processor(SimpleSpanProcessor(ConsoleExporter()))
        if self._worker is not None:
            self.provider.add_span_processor(self._worker)
            self._termination = Termination(self._worker.shutdown)
        propagate.set_global_textmap(_propagator(settings.propagators))

    def _make_worker(self, settings: Settings) -> Worker | None:
        if settings.exporter in ("console", "none"):
            if settings.exporter == "console":
                self.destination = "the console"
            return None
        protocol, url = settings.destination()
        check(settings, protocol)  # what cannot work stops install(), not the first export
        parts = urlsplit(url)
        self.destination = parts._replace(netloc=parts.netloc.rpartition("@")[2]).geturl()
        self._telemetry = telemetry = Telemetry(component(protocol), url)
        directory = settings.spool_directory
        worker = Worker(
            lambda: make_transport(settings, protocol, url),
            destination=self.destination,
            max_queue_size=settings.max_queue_size,
            max_export_batch_size=settings.max_export_batch_size,
            schedule_delay=settings.schedule_delay,
            timeout=settings.timeout,
            export_timeout=settings.export_timeout,
            exit_timeout=settings.exit_timeout,
            spool=Spool(Path(directory), settings.spool_max_bytes) if directory else None,
            observe=telemetry.attempt,
        )
        telemetry.watch(worker)
        return worker

    def status(self) -> ExportStatus | None:
        """The worker's counts, if there is one."""
        return None if self._worker is None else self._worker.status()

    def close(self) -> None:
        """Export what is left; record nothing from now on."""
        self.provider.shutdown()
        if self._telemetry is not None:
            self._termination.remove()
            self._telemetry.unwatch()
        propagate.set_global_textmap(self._propagator)


def _resource(settings: Settings) -> Resource:
    given: dict[str, str] = dict(settings.resource_attributes)
    named = {
        semconv.SERVICE_NAME: settings.service_name or given.get(semconv.SERVICE_NAME) or _program(),
        semconv.SERVICE_VERSION: settings.service_version,
        semconv.DEPLOYMENT_ENVIRONMENT_NAME: settings.environment,
    }
    given.update((key, value) for key, value in named.items() if value)
    return Resource.create(given)


def _program() -> str:
    """The program's name: better than ``unknown_service``, which makes all services one."""
    name = os.path.basename(sys.argv[0]) if sys.argv and sys.argv[0] not in ("", "-c", "-m") else ""
    if name == "__main__.py":  # python -m package
        name = os.path.basename(os.path.dirname(sys.argv[0]))
    return name.removesuffix(".py") or "python"


def _sampler(settings: Settings) -> Sampler:
    ratio = sampling.TraceIdRatioBased(settings.sampler_arg)
    return {
        "always_on": sampling.ALWAYS_ON,
        "always_off": sampling.ALWAYS_OFF,
        "traceidratio": ratio,
        "parentbased_always_on": sampling.DEFAULT_ON,
        "parentbased_always_off": sampling.DEFAULT_OFF,
        "parentbased_traceidratio": sampling.ParentBased(ratio),
    }[settings.sampler]


def _limits(settings: Settings) -> SpanLimits:
    def limit(*values: int | None) -> int:
        """The first that is given; the SDK's way to say "none at all" would else be to ask the environment."""
        return next((value for value in values if value is not None), SpanLimits.UNSET)

    count, length = settings.attribute_count_limit, settings.attribute_value_length_limit
    return SpanLimits(
        max_attributes=count,
        max_span_attributes=limit(settings.span_attribute_count_limit, count),
        max_event_attributes=limit(settings.event_attribute_count_limit, count),
        max_link_attributes=limit(settings.link_attribute_count_limit, count),
        max_events=settings.span_event_count_limit,
        max_links=settings.span_link_count_limit,
        max_attribute_length=limit(length),
        max_span_attribute_length=limit(settings.span_attribute_value_length_limit, length),
    )


def _propagator(names: tuple[str, ...]) -> TextMapPropagator:
    if "none" in names:
        return CompositePropagator([])
    from importlib.metadata import entry_points

    points = entry_points(group="opentelemetry_propagator")
    return CompositePropagator([points[name].load()() for name in names])
