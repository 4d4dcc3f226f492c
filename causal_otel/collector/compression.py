"""Answers are compressed for whoever says that they may be: a page of 50,000 spans is 5.2 MB, and a tenth of that so.

Only what is answered as a whole: a stream's events are not to wait for each other. No page holds a secret that its own
text could give away by its length (BREACH): the token is in none, and what stands for it is in a cookie.
"""

from __future__ import annotations

import asyncio
import gzip
from typing import TYPE_CHECKING

from starlette.datastructures import Headers, MutableHeaders

if TYPE_CHECKING:
    from starlette.types import ASGIApp, Message, Receive, Scope, Send

__all__ = ["Compression"]

_SMALLEST = 1000
_LEVEL = 4
"""Of zlib: of a large page a little more than with level 9, in a fifth of the time."""
_KINDS = ("text/", "application/json", "application/javascript", "image/svg+xml")


class Compression:
    """ASGI middleware: compresses texts with gzip, in a thread, where the client accepts it (RFC 9110, 12.5.3)."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer a request."""
        if scope["type"] != "http" or scope["method"] == "HEAD":
            await self._app(scope, receive, send)
            return
        accepted = _accepts_gzip(Headers(scope=scope).get("accept-encoding", ""))
        start: Message | None = None

        async def send_compressed(message: Message) -> None:
            nonlocal start
            if message["type"] == "http.response.start":
                if _is_text(message):
                    start = message  # until it is known whether the body is a whole
                    MutableHeaders(scope=message).add_vary_header("Accept-Encoding")
                    return
            elif start is not None:
                begun, start = start, None
                body = message.get("body", b"")
                if accepted and len(body) >= _SMALLEST and not message.get("more_body", False):
                    body = await asyncio.to_thread(gzip.compress, body, _LEVEL, mtime=0)
                    headers = MutableHeaders(scope=begun)
                    headers["Content-Encoding"] = "gzip"
                    headers["Content-Length"] = str(len(body))
                    message = {**message, "body": body}
                await send(begun)
            await send(message)

        await self._app(scope, receive, send_compressed)


def _is_text(start: Message) -> bool:
    headers = Headers(scope=start)
    kind = headers.get("content-type", "")
    return start["status"] not in (206, 304) and "content-encoding" not in headers and kind.startswith(_KINDS)


def _accepts_gzip(header: str) -> bool:
    """Whether ``gzip`` or ``*`` is in ``Accept-Encoding``, with a weight that is not zero; ``gzip`` counts more."""
    weights = {}
    for item in header.lower().split(","):
        name, _, parameter = item.partition(";")
        weight = parameter.strip().removeprefix("q=")
        try:
            weights[name.strip()] = float(weight) if weight else 1.0
        except ValueError:
            weights[name.strip()] = 0.0
    return weights.get("gzip", weights.get("*", 0.0)) > 0
