"""``/mcp`` of a running collector: the tools over streamable HTTP.

The SDK, which takes a second and 50 MB, is loaded when somebody asks for the first time. Every request is answered by
itself and in one piece, without a session: nothing has to be kept, a client goes on where the collector was restarted,
and there is nothing to stream, so GET and DELETE are answered with 405, as the protocol allows.

Who may ask is decided before, see :mod:`causal_otel.collector.security`: so the SDK's own protection against DNS
rebinding, which does not know our names, is off.
"""

from __future__ import annotations

from functools import cache, partial
from typing import TYPE_CHECKING, Any

from anyio import Lock, to_thread
from starlette.responses import PlainTextResponse
from starlette.routing import Route

from causal_otel._internal.extras import missing
from causal_otel.collector.mcp import PACKAGES

if TYPE_CHECKING:
    from collections.abc import Callable

    from starlette.routing import BaseRoute
    from starlette.types import Receive, Scope, Send

    from causal_otel.collector.mcp.sources import Traces
    from causal_otel.collector.reading import Reading

__all__ = ["PATH", "not_installed", "routes"]

PATH = "/mcp"
_MOST_BYTES = 64 * 1024
"""Of a request: arguments are short."""


@cache
def not_installed() -> str:
    """What is missing for it, and how to install that; empty: nothing."""
    return missing(PACKAGES, "mcp")


def routes(reading: Reading) -> list[BaseRoute]:
    """``/mcp``, which says what is missing if the SDK is not installed."""
    return [Route(PATH, _Endpoint(reading), methods=["POST"])]


class _Endpoint:
    def __init__(self, reading: Reading) -> None:
        self._reading = reading
        self._loading = Lock()
        self._server: Any = None

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if problem := not_installed():
            await PlainTextResponse(f"MCP is not here: {problem}\n", status_code=501)(scope, receive, send)
            return
        async with self._loading:
            if self._server is None:
                self._server = await to_thread.run_sync(_loaded, self._ask)
        from mcp.server.streamable_http_manager import StreamableHTTPSessionManager

        manager = StreamableHTTPSessionManager(
            self._server, stateless=True, json_response=True, max_request_body_size=_MOST_BYTES
        )
        async with manager.run():
            await manager.handle_request(scope, receive, send)

    async def _ask(self, work: Callable[[Traces], str]) -> str:
        # One at a time, like the pages of large traces: some tools read hundreds.
        return await self._reading.run(partial(work, self._reading.reader), large=True)


def _loaded(ask: Any) -> Any:
    from mcp.server import streamable_http_manager  # noqa: F401 - loaded here, not in the event loop

    from causal_otel.collector.mcp.server import server

    return server(ask)
