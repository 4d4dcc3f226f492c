"""A provider whose spans go to a recorder instead of a collector, for as long as tests run."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Any

from opentelemetry.sdk.trace import SpanProcessor
from opentelemetry.sdk.trace import TracerProvider as SdkTracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor, ConsoleSpanExporter, SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from opentelemetry.sdk.trace.sampling import ALWAYS_ON

import causal_otel
from causal_otel.engine.provider import TracerProvider
from causal_otel.export.worker import Worker
from causal_otel.installation import Installation, installation, observe
from causal_otel.instrument.plumbing import tell_slow
from causal_otel.testing.recorder import ForeignRecorder, Recorder, TestIds

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = ["NotTraced", "Recording"]

_LOCAL = (ConsoleSpanExporter, InMemorySpanExporter)
"""Exporters that send nothing anywhere."""


class NotTraced(Exception):
    """Nothing can be recorded, and why."""


class Recording:
    """Has all spans recorded: of the installation in force, of each that comes, and else of one of its own.

    Args:
        export: whether spans are exported as well, as the application is configured to.

    Attributes:
        recorder: where they go.
    """

    def __init__(self, *, export: bool = False) -> None:
        self.recorder = Recorder()
        self._export = export
        self._undo: list[Callable[[], None]] = []
        self._own: Installation | None = None

    def begin(self) -> None:
        """Record from now on whatever is installed."""
        tell_slow(False)
        self._undo += [partial(tell_slow, True), observe(self._divert)]
        found = installation()
        if found is not None and not found.reason:
            self._divert(found)

    def ensure(self) -> None:
        """See to it that something is installed, where nobody has.

        Raises:
            NotTraced: tracing is switched off.
        """
        found = installation()
        if found is None:
            own = causal_otel.install(exporter="none", logs="off", metrics_exporter="none", sampler="always_on")
            own.replaceable = True
            self._own = found = own
        if found.reason:
            raise NotTraced(f"tests cannot be traced: {found.reason}. Nothing that they record is exported")

    def end(self) -> None:
        """Leave everything as it was."""
        for undo in reversed(self._undo):
            undo()
        self._undo.clear()
        if self._own is not None:
            self._own.uninstall()

    def _divert(self, made: Installation) -> None:
        if made.reason:
            return
        made.in_tests = True
        provider = made.tracer_provider
        if isinstance(provider, TracerProvider):
            self._divert_ours(provider)
        elif isinstance(provider, SdkTracerProvider):
            self._divert_foreign(provider)

    def _divert_ours(self, provider: TracerProvider) -> None:
        core, sampler, before = provider.core, provider.sampler, provider.span_processors
        if any(isinstance(each, _Replaced) for each in before):
            return
        ids, new_trace_id, new_span_id = core.id_generator, core.new_trace_id, core.new_span_id
        if not isinstance(ids, TestIds):
            ours = TestIds(ids, self.recorder)
            core.id_generator = ours  # type: ignore[assignment]
            core.new_trace_id = ours.generate_trace_id
            core.new_span_id = ours.generate_span_id
        replaced = _Replaced(() if self._export else tuple(filter(_exports, before)))
        now = (replaced, *(each for each in before if each not in replaced.processors))
        provider.record_with(ALWAYS_ON, now, self.recorder.take)

        def undo() -> None:
            if provider.span_processors[: len(now)] == now and not provider.closed:
                provider.record_with(sampler, (*before, *provider.span_processors[len(now) :]))
            if not isinstance(ids, TestIds):
                core.id_generator, core.new_trace_id, core.new_span_id = ids, new_trace_id, new_span_id

        self._undo.append(undo)

    def _divert_foreign(self, provider: SdkTracerProvider) -> None:
        """What the SDK calls its processors may change; then spans are recorded, and exported as well."""
        active: Any = provider._active_span_processor
        before: tuple[SpanProcessor, ...] = getattr(active, "_span_processors", ())
        if any(isinstance(each, ForeignRecorder) for each in before):
            return
        provider.add_span_processor(ForeignRecorder(self.recorder))
        if not isinstance(getattr(active, "_span_processors", None), tuple):
            return
        now = active._span_processors
        if not self._export:
            now = active._span_processors = tuple(each for each in now if not _exports(each))

        def undo() -> None:
            if active._span_processors[: len(now)] == now:
                active._span_processors = (*before, *active._span_processors[len(now) :])

        self._undo.append(undo)


class _Replaced(SpanProcessor):
    """Stands for the processors that would export, and are shut down all the same with their provider."""

    def __init__(self, processors: tuple[SpanProcessor, ...]) -> None:
        self.processors = processors

    def shutdown(self) -> None:
        for each in self.processors:
            each.shutdown()


def _exports(processor: SpanProcessor) -> bool:
    """Whether it sends spans away."""
    if isinstance(processor, Worker):
        return True
    if not isinstance(processor, BatchSpanProcessor | SimpleSpanProcessor):
        return False
    exporter = getattr(processor, "span_exporter", None) or getattr(
        getattr(processor, "_batch_processor", None), "_exporter", None
    )
    return not isinstance(exporter, _LOCAL)
