"""Streams of events that end when the server stops."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from starlette.types import ASGIApp, Message, Receive, Scope, Send

__all__ = ["EndStreams"]


class EndStreams:
    """ASGI middleware: when ``stopping`` is set, streams of events end as if the client had left."""

    def __init__(self, app: ASGIApp, stopping: asyncio.Event) -> None:
        self._app = app
        self._stopping = stopping

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer a request."""
        if (b"accept", b"text/event-stream") not in scope.get("headers", ()):
            await self._app(scope, receive, send)
            return
        ended = False

        async def receive_or_stop() -> Message:
            receiving = asyncio.ensure_future(receive())
            stop = asyncio.ensure_future(self._stopping.wait())
            try:
                await asyncio.wait((receiving, stop), return_when=asyncio.FIRST_COMPLETED)
                return receiving.result() if receiving.done() else {"type": "http.disconnect"}
            finally:
                receiving.cancel()
                stop.cancel()

        async def watched(message: Message) -> None:
            nonlocal ended
            ended = message["type"] == "http.response.body" and not message.get("more_body", False)
            await send(message)

        await self._app(scope, receive_or_stop, watched)
        if not ended:
            await send({"type": "http.response.body", "body": b""})
