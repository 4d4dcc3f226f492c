"""Answers are compressed with gzip for clients that accept it: a page of 50,000 spans has 5.2 MB, compressed a tenth.

Only answers with a length are compressed. A stream of server-sent events has none, and an event must not wait in the
compressor for the next one. The length of a compressed page cannot give away the token (the BREACH attack), because no
page contains it; browsers have a cookie that is derived from it.
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
"""The level of zlib. A large page gets a little larger than with level 9, but takes a fifth of the time."""
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
        start: Message | None = None  # while the body is gathered
        parts = bytearray()

        async def send_compressed(message: Message) -> None:
            nonlocal start
            if message["type"] == "http.response.start":
                headers = MutableHeaders(scope=message)
                text = _is_text(message["status"], headers)
                if text or message["status"] == 304:  # a 304 has the headers of the answer that it stands for
                    headers.add_vary_header("Accept-Encoding")
                if text and accepted and int(headers.get("content-length", 0)) >= _SMALLEST:
                    start = message
                    return
            elif start is not None:
                parts.extend(message.get("body", b""))
                if message.get("more_body", False):
                    return
                body = await asyncio.to_thread(gzip.compress, parts, _LEVEL, mtime=0)
                _compressed(MutableHeaders(scope=start), len(body))
                await send(start)
                message = {**message, "body": body}
            await send(message)

        await self._app(scope, receive, send_compressed)


def _is_text(status: int, headers: Headers) -> bool:
    kind = headers.get("content-type", "")
    return status not in (206, 304) and "content-encoding" not in headers and kind.startswith(_KINDS)


def _compressed(headers: MutableHeaders, length: int) -> None:
    """Make ``headers`` those of the compressed body."""
    headers["Content-Encoding"] = "gzip"
    headers["Content-Length"] = str(length)
    # Ranges cannot be served: they would be ranges of the uncompressed file. For the same reason the ETag becomes weak:
    # parts of the compressed and of the plain answer must not be put together (RFC 9110, 8.8.1).
    headers["Accept-Ranges"] = "none"
    tag = headers.get("etag", "")
    if tag and not tag.startswith("W/"):
        headers["ETag"] = f"W/{tag}"


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
