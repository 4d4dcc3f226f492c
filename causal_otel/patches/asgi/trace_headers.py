"""The headers by which a response tells its trace: one of ours, and ``traceresponse`` of W3C Trace Context."""

from __future__ import annotations

import functools
from typing import TYPE_CHECKING

from causal_otel._internal import faults
from causal_otel.engine.w3c import traceparent
from causal_otel.patches.asgi.protocol import Message, Send

if TYPE_CHECKING:
    from opentelemetry.trace import Span

    from causal_otel.patches._http_server.options import HttpServerOptions

__all__ = ["STARTS", "Headers", "telling", "trace_headers", "with_headers"]

Headers = tuple[tuple[bytes, bytes], ...]

_TRACERESPONSE = b"traceresponse"
STARTS = frozenset({"http.response.start", "websocket.accept", "websocket.http.response.start"})
"""The types of the messages by which a response of any kind begins."""


def trace_headers(options: HttpServerOptions, span: Span) -> Headers:
    """The headers for a response that ``span`` has served, as ``options`` say; none where there is no trace.

    ``traceresponse`` is as Level 2 of W3C Trace Context has drafted it: version, trace id, the id of the span that has
    served the request, and flags, which say whether it is sampled.
    """
    found = traceparent(span)
    if found is None:
        return ()
    value = found.encode()
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
        if message.get("type") in STARTS:
            message = with_headers(message, headers)
        await send(message)

    return send_


def with_headers(message: Message, headers: Headers) -> Message:
    """A copy of ``message`` with those of the headers that the application has not set itself.

    Neither the message nor its headers are ours to change: the same response object may be sent many times.
    """
    given: list[tuple[bytes, bytes]] | None = None
    try:
        given = [*(message.get("headers") or ())]
        names, added = dict(headers), headers
        for name, _ in given:
            if name.lower() in names:
                added = tuple(header for header in added if header[0] != name.lower())
        return {**message, "headers": [*given, *added]}
    except Exception:
        faults.report("asgi: response's header")
        return message if given is None else {**message, "headers": given}  # an iterator has been read
