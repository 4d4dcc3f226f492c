"""Traces in a file: a line of OTLP JSON for each, as OpenTelemetry's file exporters write them; plain or gzip."""

from __future__ import annotations

import gzip
import zlib
from typing import TYPE_CHECKING, BinaryIO, cast

from opentelemetry.proto.trace.v1.trace_pb2 import ResourceSpans, ScopeSpans, TracesData

from causal_otel.collector.receive import otlp_json

if TYPE_CHECKING:
    import io
    from collections.abc import Iterator

__all__ = ["LINE_LIMIT", "BadLine", "in_parts", "read_lines"]

LINE_LIMIT = 64 * 1024 * 1024
"""Bytes that a line may have."""

_GZIP = b"\x1f\x8b"


class BadLine(Exception):
    """A line cannot be read, or nothing from it on can; ``number`` counts from 1."""

    def __init__(self, number: int, message: str) -> None:
        super().__init__(f"line {number}: {message}")
        self.number = number


def read_lines(stream: io.BufferedReader) -> Iterator[tuple[int, TracesData | BadLine]]:
    """What each line of ``stream`` holds, with its number, from 1; gzip is recognised, empty lines are passed over.

    Input is not to be trusted: a line longer than :data:`LINE_LIMIT` is never held as a whole.
    """
    compressed = stream.peek(len(_GZIP)).startswith(_GZIP)
    source = cast("BinaryIO", gzip.GzipFile(fileobj=stream)) if compressed else stream
    number = 0
    try:
        while line := source.readline(LINE_LIMIT + 1):
            number += 1
            if len(line) > LINE_LIMIT:
                while line and not line.endswith(b"\n"):
                    line = source.readline(LINE_LIMIT)
                yield number, BadLine(number, f"it has more than {LINE_LIMIT} bytes")
            elif not line.isspace():
                yield number, _parsed(number, line)
    except (EOFError, gzip.BadGzipFile, zlib.error) as error:
        yield number + 1, BadLine(number + 1, f"the gzip data is damaged from here on: {error}")


def _parsed(number: int, line: bytes) -> TracesData | BadLine:
    try:
        trace = otlp_json.loads(line)
    except ValueError as error:
        return BadLine(number, str(error))
    if not any(scoped.spans for group in trace.resource_spans for scoped in group.scope_spans):
        return BadLine(number, "there are no spans in it; OTLP JSON has them under resourceSpans")
    return trace


def in_parts(trace: TracesData, size: int) -> Iterator[TracesData]:
    """The same spans in messages of at most about ``size`` bytes in binary, a single span larger than that alone."""
    if trace.ByteSize() <= size:
        yield trace
        return
    part, filled = TracesData(), 0
    for group in trace.resource_spans:
        for scoped in group.scope_spans:
            inner: ScopeSpans | None = None
            for span in scoped.spans:
                if filled and filled + span.ByteSize() > size:
                    yield part
                    part, filled, inner = TracesData(), 0, None
                if inner is None:
                    outer = ResourceSpans(resource=group.resource, schema_url=group.schema_url)
                    outer.scope_spans.add(scope=scoped.scope, schema_url=scoped.schema_url)
                    filled += outer.ByteSize()
                    part.resource_spans.append(outer)
                    inner = part.resource_spans[-1].scope_spans[0]
                inner.spans.append(span)
                filled += span.ByteSize() + 8
    if filled:
        yield part
