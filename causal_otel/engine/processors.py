"""The provider's span processors, each kept from harming user code or one another."""

from __future__ import annotations

from time import monotonic
from typing import TYPE_CHECKING

from opentelemetry.sdk.trace import SynchronousMultiSpanProcessor

from causal_otel._internal import faults
from causal_otel.engine.span import Span

if TYPE_CHECKING:
    from opentelemetry.context import Context
    from opentelemetry.sdk.trace import ReadableSpan, SpanProcessor
    from opentelemetry.sdk.trace import Span as SdkSpan

__all__ = ["ContainedProcessors"]


class ContainedProcessors(SynchronousMultiSpanProcessor):
    """Calls the processors in the order they were added; one that raises is reported and the next is called."""

    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]

    @property
    def added(self) -> tuple[SpanProcessor, ...]:
        """The processors, in the order they were added."""
        return self._span_processors

    def replace(self, processors: tuple[SpanProcessor, ...]) -> None:
        """Call these from now on."""
        self._span_processors = processors

    def on_start(self, span: SdkSpan, parent_context: Context | None = None) -> None:
        """Tell every processor that ``span`` has begun."""
        for processor in self._span_processors:
            try:
                processor.on_start(span, parent_context=parent_context)
            except Exception:
                faults.report(f"span processor {type(processor).__name__}: on_start")

    def _on_ending(self, span: SdkSpan) -> None:
        for processor in self._span_processors:
            try:
                processor._on_ending(span)
            except Exception:
                faults.report(f"span processor {type(processor).__name__}: on_ending")

    def on_end(self, span: ReadableSpan) -> None:
        """Hand every processor the ended ``span``."""
        if isinstance(span, Span):
            span.parent_id()  # the span no longer keeps its parent alive, nor that its own
        for processor in self._span_processors:
            try:
                processor.on_end(span)
            except Exception:
                faults.report(f"span processor {type(processor).__name__}: on_end")

    def shutdown(self) -> None:
        """Have every processor finish."""
        for processor in self._span_processors:
            try:
                processor.shutdown()
            except Exception:
                faults.report(f"span processor {type(processor).__name__}: shutdown")

    def force_flush(self, timeout_millis: int = 30000) -> bool:
        """Have every processor export what it holds.

        Args:
            timeout_millis: how long all of them together may take, in milliseconds.

        Returns:
            Whether all of them did in that time.
        """
        deadline = monotonic() + timeout_millis / 1000
        flushed = True
        for processor in self._span_processors:
            left = deadline - monotonic()
            if left <= 0:
                return False
            try:
                flushed &= processor.force_flush(int(left * 1000)) is not False
            except Exception:
                faults.report(f"span processor {type(processor).__name__}: force_flush")
                flushed = False
        return flushed
