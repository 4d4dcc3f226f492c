"""From settings to a working pipeline: resource, sampler, limits, provider, worker, exporter, propagators."""

from __future__ import annotations

import time
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from opentelemetry import propagate, trace
from opentelemetry.baggage.propagation import W3CBaggagePropagator
from opentelemetry.propagators.composite import CompositePropagator
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import SpanLimits
from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

from _causal_otel_start import program
from causal_otel import names
from causal_otel._internal.installed import entry_points
from causal_otel.causality import gc_pauses
from causal_otel.causality.long_spans import observer
from causal_otel.destination import destination, logs_destination
from causal_otel.engine.provider import TracerProvider
from causal_otel.export.select_transport import check, component, make_transport
from causal_otel.export.shutdown_hooks import Termination
from causal_otel.export.signal import TRACES, Signal
from causal_otel.export.telemetry import Telemetry
from causal_otel.export.worker import Worker
from causal_otel.profiling.process_context import publish
from causal_otel.sampling.configured import Sampling
from causal_otel.transports.transport import without_credentials

if TYPE_CHECKING:
    from collections.abc import Callable

    from opentelemetry.propagators.textmap import TextMapPropagator
    from opentelemetry.util.types import AttributeValue

    from causal_otel.engine.retroactive import Buffer
    from causal_otel.export.privacy import Policy
    from causal_otel.export.spool import Spool
    from causal_otel.export.status import ExportStatus
    from causal_otel.export.threads import Heartbeat
    from causal_otel.logs.pipeline import LogPipeline
    from causal_otel.profiling.sampler import Sampler
    from causal_otel.sampling.status import BufferStatus, SamplingStatus
    from causal_otel.settings import Settings
    from causal_otel.transports.transport import Outcome

__all__ = ["Pipeline", "make_resource"]

_PROPAGATORS: dict[str, Callable[[], TextMapPropagator]] = {
    "tracecontext": TraceContextTextMapPropagator,
    "baggage": W3CBaggagePropagator,
}
"""The API's own. Looking for those of other packages would take half as long as all of :func:`causal_otel.install`."""


class Pipeline:
    """Our provider, set globally and exporting as the settings say; :meth:`close` ends that.

    Args:
        settings: say how.
        policy: takes secrets out of what leaves.
        flush_with: calls what exports the last spans when SIGTERM ends the process, and exports the last metrics.

    Attributes:
        warnings: what was asked for and cannot be had.

    Raises:
        SettingError: the settings need an extra that is not installed.
    """

    _telemetry: Telemetry | None = None
    _logs: LogPipeline | None = None

    def __init__(
        self,
        settings: Settings,
        policy: Policy,
        flush_with: Callable[[Callable[[], object]], None] | None = None,
    ) -> None:
        self._policy = policy
        self.warnings: list[str] = []
        resource = make_resource(settings, policy)
        self.service_name = str(resource.attributes[names.SERVICE_NAME])
        self.destination = "nowhere"
        self._exit_timeout = settings.exit_timeout
        self._worker = self._make_span_worker(settings)
        self._propagator = propagate.get_global_textmap()
        self._sampler = self._make_sampler(settings)
        self._process_context = publish(resource) if settings.process_context else None

        self._sampling = Sampling(settings, self.service_name)
        sampler, limits = self._sampling.sampler, _limits(settings)
        before = trace.get_tracer_provider()
        if isinstance(before, TracerProvider) and before.closed:
            self.provider = before
            self.provider.open(sampler, resource, limits, policy)
        else:
            self.provider = TracerProvider(sampler, resource, limits)
            self.provider.core.redaction = policy
            trace.set_tracer_provider(self.provider)
        observe = observer(task_edges=settings.task_edges, collections=settings.cpu_time)
        self.provider.core.long_span = observe if self._sampler is None else self._sampler.observe(observe)
        self._watch_no_more_gc = gc_pauses.watch() if settings.cpu_time else None
        self.provider.set_buffer(self._buffer(settings))
        if self._telemetry is not None:
            self._telemetry.engine = lambda: self.provider.core.counts
        if settings.console or settings.exporter == "console":
            from causal_otel.export.console import ConsoleExporter, ConsoleProcessor

            self.provider.add_span_processor(ConsoleProcessor(ConsoleExporter()))
        if self._worker is not None:
            self.provider.add_span_processor(self._worker)
            self._termination = Termination(self._end if flush_with is None else partial(flush_with, self._end))
            self._worker.recover()
            if settings.logs == "export":
                self._logs = self._export_logs(settings, resource)
        propagate.set_global_textmap(_propagator(settings.propagators))

    def _make_span_worker(self, settings: Settings) -> Worker | None:
        if settings.exporter in ("console", "none"):
            if settings.exporter == "console":
                self.destination = "the console"
            return None
        protocol, url = self._sends_to = destination(settings)
        check(settings, protocol)  # what cannot work stops install(), not the first export
        self.destination = without_credentials(url)
        self._telemetry = telemetry = Telemetry(component(protocol), url)
        worker = self._make_worker(settings, protocol, url, observe=telemetry.attempt)
        telemetry.watch(worker)
        return worker

    def _make_worker(
        self,
        settings: Settings,
        protocol: str,
        url: str,
        *,
        signal: Signal = TRACES,
        observe: Callable[[float, Outcome], None] | None = None,
    ) -> Worker:
        return Worker(
            lambda: make_transport(settings, protocol, url, signal.name),
            destination=without_credentials(url),
            max_queue_size=settings.max_queue_size,
            max_export_batch_size=settings.max_export_batch_size,
            schedule_delay=settings.schedule_delay,
            timeout=settings.timeout,
            export_timeout=settings.export_timeout,
            exit_timeout=settings.exit_timeout,
            spool=_spool(settings, signal),
            observe=observe,
            redaction=self._policy,
            signal=signal,
        )

    def _export_logs(self, settings: Settings, resource: Resource) -> LogPipeline:
        from causal_otel.logs.pipeline import LogPipeline

        protocol, url = self._sends_to
        url = logs_destination(settings, protocol, url)
        return LogPipeline(settings, resource, lambda signal: self._make_worker(settings, protocol, url, signal=signal))

    def _make_sampler(self, settings: Settings) -> Sampler | None:
        if not settings.profiling:
            return None
        from causal_otel.profiling.sampler import Sampler, unavailable

        why = unavailable()
        if why is not None:
            self.warnings.append(f"nothing is profiled, although profiling=True, because {why}")
            return None
        return Sampler(settings.profiling_rate)

    def _buffer(self, settings: Settings) -> Buffer | None:
        if settings.keep_errors != "process":
            return None
        from causal_otel.engine.retroactive import Buffer, BufferLimits

        limits = BufferLimits(
            traces=settings.keep_max_traces,
            spans=settings.keep_max_spans,
            size=settings.keep_max_bytes,
            age=settings.keep_max_age,
            grace=settings.keep_linger,
        )
        return Buffer(lambda span: self.provider.core.deliver(span), settings.keep_slow, limits)

    def set_heartbeat(self, heartbeat: Heartbeat) -> None:
        """Have the encoding thread do something besides, if there is one."""
        if self._worker is not None:
            self._worker.heartbeat = heartbeat

    def status(self) -> ExportStatus | None:
        """The worker's counts, if there is one."""
        return None if self._worker is None else self._worker.status()

    def logs(self) -> ExportStatus | None:
        """The same of log records, if they are exported."""
        return None if self._logs is None else self._logs.status()

    def sampling(self) -> SamplingStatus:
        """Which traces are recorded."""
        return self._sampling.status()

    def buffer(self) -> BufferStatus | None:
        """The traces that are not sampled and wait for a failure, if any of them do."""
        buffer = self.provider.core.buffer
        if buffer is None:
            return None
        from causal_otel.sampling.status import BufferStatus

        return BufferStatus(len(buffer), buffer.size, buffer.promoted, dict(buffer.evicted))

    def profiling(self) -> str:
        """What is profiled, in words; empty: nothing is."""
        sampler = self._sampler
        return "" if sampler is None else f"{1 / sampler.period:g} looks a second, {sampler.samples} samples so far"

    def flush(self, timeout: float) -> bool:
        """Export every span that has ended and every record that was logged, in so many seconds; whether it could."""
        deadline = time.monotonic() + timeout
        flushed = bool(self.provider.force_flush(int(timeout * 1000)))
        return (self._logs is None or self._logs.flush(max(0.0, deadline - time.monotonic()))) and flushed

    def _end(self) -> None:
        """Export what is left, before a signal ends the process."""
        deadline = time.monotonic() + self._exit_timeout
        if self._worker is not None:
            self._worker.shutdown()
        if self._logs is not None:
            self._logs.leave(max(0.0, deadline - time.monotonic()))

    def leave(self) -> None:
        """Export what is left, as at the end of the process, which may go on all the same."""
        deadline = time.monotonic() + self._exit_timeout
        if self._worker is not None:
            self._worker.leave()
        if self._logs is not None:
            self._logs.leave(max(0.0, deadline - time.monotonic()))
        self.provider.force_flush(int(self._exit_timeout * 1000))  # other processors, those of the user's

    def close(self, then: Callable[[], object] | None = None) -> None:
        """Export what is left; record nothing from now on.

        Args:
            then: is called before the export's own counts are observed no more.
        """
        self._sampling.close()
        if self._logs is not None:
            self._logs.close()
        self.provider.shutdown()
        self.provider.set_buffer(None)
        self.provider.core.long_span = None
        if self._sampler is not None:
            self._sampler.close()
        if self._process_context is not None:
            self._process_context.withdraw()
        if self._watch_no_more_gc is not None:
            self._watch_no_more_gc()
        if then is not None:
            then()
        if self._telemetry is not None:
            self._termination.remove()
            self._telemetry.unwatch()
        propagate.set_global_textmap(self._propagator)


def _spool(settings: Settings, signal: Signal) -> Spool | None:
    if not settings.spool_directory:
        return None
    from causal_otel.export.spool import Spool

    directory = Path(settings.spool_directory)
    return Spool(directory if signal is TRACES else directory / signal.name, settings.spool_max_bytes)


def make_resource(settings: Settings, policy: Policy) -> Resource:
    """What spans and metrics are about."""
    given: dict[str, AttributeValue] = dict(settings.resource_attributes)
    named = {
        names.SERVICE_NAME: settings.service_name or given.get(names.SERVICE_NAME) or program(),  # no "unknown_service"
        names.SERVICE_VERSION: settings.service_version,
        names.DEPLOYMENT_ENVIRONMENT_NAME: settings.environment,
    }
    given.update((key, value) for key, value in named.items() if value)
    found = Resource.create(given)
    return Resource({key: policy.value(key, value) for key, value in found.attributes.items()}, found.schema_url)


def _limits(settings: Settings) -> SpanLimits:
    def limit(*values: int | None) -> int:
        """The first value that is given. If there is none, ``UNSET``: the SDK would read the environment for a None."""
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


def _propagator(chosen: tuple[str, ...]) -> TextMapPropagator:
    if "none" in chosen:
        return CompositePropagator([])
    return CompositePropagator([_make_propagator(name) for name in chosen])


def _make_propagator(name: str) -> TextMapPropagator:
    make = _PROPAGATORS.get(name)
    if make is None:
        make = entry_points("opentelemetry_propagator")[name].load()
    return make()
