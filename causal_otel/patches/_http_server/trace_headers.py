"""The headers by which a response tells its trace: one of ours, and ``traceresponse`` of W3C Trace Context."""

from __future__ import annotations

import functools
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from opentelemetry.trace import SpanContext

    from causal_otel.patches._http_server.options import HttpServerOptions

__all__ = ["Headers", "trace_headers"]

Headers = tuple[tuple[bytes, bytes], ...]

_TRACERESPONSE = b"traceresponse"
_FLAGS = tuple(f"{flags:02x}" for flags in range(256))


def trace_headers(options: HttpServerOptions, found: SpanContext) -> Headers:
    """The headers for a response, as ``options`` say; none where there is no trace.

    ``traceresponse`` is as Level 2 of W3C Trace Context has drafted it: version, trace id, the id of the span that has
    served the request, and flags, which say whether it is sampled.
    """
    if not found.is_valid:
        return ()
    trace_id, span_id = found.trace_id.to_bytes(16).hex(), found.span_id.to_bytes(8).hex()
    value = f"00-{trace_id}-{span_id}-{_FLAGS[found.trace_flags & 0xFF]}".encode()
    own = options.trace_id_header
    if own is None:
        return ((_TRACERESPONSE, value),) if options.traceresponse else ()
    if options.traceresponse:
        return (_name(own), value[3:35]), (_TRACERESPONSE, value)
    return ((_name(own), value[3:35]),)


@functools.lru_cache(16)
def _name(header: str) -> bytes:
    return header.lower().encode("latin-1")
