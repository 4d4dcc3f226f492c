"""Spans on standard error, a line each, as they end."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

from opentelemetry.sdk.trace.export import SpanExporter, SpanExportResult
from opentelemetry.trace import StatusCode

if TYPE_CHECKING:
    from collections.abc import Sequence

    from opentelemetry.sdk.trace import ReadableSpan

__all__ = ["ConsoleExporter"]


class ConsoleExporter(SpanExporter):
    """Prints trace id, kind, name and duration of every span, and its attributes."""

    def export(self, spans: Sequence[ReadableSpan]) -> SpanExportResult:
        """Print a batch."""
        sys.stderr.write("".join(map(_line, spans)))
        sys.stderr.flush()
        return SpanExportResult.SUCCESS


def _line(span: ReadableSpan) -> str:
    context = span.context
    trace_id = format(context.trace_id, "032x") if context is not None else "-"
    took = ((span.end_time or 0) - (span.start_time or 0)) / 1e6
    error = " ERROR" if span.status.status_code is StatusCode.ERROR else ""
    attributes = " ".join(f"{key}={value!r}" for key, value in (span.attributes or {}).items())
    return f"{trace_id} {span.kind.name:8} {took:9.2f} ms {span.name}{error} {attributes}".rstrip() + "\n"
