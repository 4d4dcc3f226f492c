"""The headers by which a response tells its trace: one of ours, and ``traceresponse`` of W3C Trace Context."""

from __future__ import annotations

import functools
from typing import TYPE_CHECKING

from causal_otel._internal import faults
from causal_otel.patches.asgi.protocol import Message, Send

if TYPE_CHECKING:
    from opentelemetry.trace import SpanContext

    from causal_otel.patches._http_server_options import HttpServerOptions

__all__ = ["Headers", "telling", "trace_headers"]

Headers = tuple[tuple[bytes, bytes], ...]

_TRACERESPONSE = b"traceresponse"
_STARTS = frozenset({"http.response.start", "websocket.accept", "websocket.http.response.start"})


def trace_headers(options: HttpServerOptions, found: SpanContext) -> Headers:
    """The headers for a response, as ``options`` say; none where there is no trace.

    ``traceresponse`` is as Level 2 of W3C Trace Context has drafted it: version, trace id, the id of the span that has
    served the request, and flags, which say whether it is sampled.
    """
    if not found.is_valid:
        return ()
    value = f"00-{found.trace_id:032x}-{found.span_id:016x}-{found.trace_flags:02x}".encode()
    own = options.trace_id_header
    if own is None:
        return ((_TRACERESPONSE, value),) if options.traceresponse else ()
    if options.traceresponse:
        return (_name(own), value[3:35]), (_TRACERESPONSE, value)
    return ((_name(own), value[3:35]),)


@functools.lru_cache(16)
def _name(header: str) -> bytes:
    return header.lower().encode("latin-1")


def telling(send: Send, headers: Headers) -> Send:
    """A ``send`` that adds headers to the first message of a response of any kind."""

    async def send_(message: Message) -> None:
        if message.get("type") in _STARTS:
            message = _with_headers(message, headers)
        await send(message)

    return send_


def _with_headers(message: Message, headers: Headers) -> Message:
    """A copy of ``message`` with those of the headers that the application has not set itself.

    Neither the message nor its headers are ours to change: the same response object may be sent many times.
    """
    try:
        given: list[tuple[bytes, bytes]] = list(message.get("headers") or ())
        names = {name.lower() for name, _ in given}
        given.extend(header for header in headers if header[0] not in names)
        return {**message, "headers": given}
    except Exception:
        faults.report("asgi: response's header")
        return message
