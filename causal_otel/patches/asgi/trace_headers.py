"""A response that tells its trace by headers."""

from __future__ import annotations

from causal_otel._internal import faults
from causal_otel.patches._http_server.trace_headers import Headers
from causal_otel.patches.asgi.protocol import Message, Send

__all__ = ["telling"]

_STARTS = frozenset({"http.response.start", "websocket.accept", "websocket.http.response.start"})


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
