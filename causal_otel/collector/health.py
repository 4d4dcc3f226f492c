"""``/health`` and ``/ready``, for whoever watches over the collector: they need no token, and tell nothing else."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from starlette.responses import PlainTextResponse
from starlette.routing import Route

if TYPE_CHECKING:
    from starlette.requests import Request
    from starlette.responses import Response

    from causal_otel.collector.store.writer import Writer

__all__ = ["PATHS", "routes"]

PATHS = ("/health", "/ready")


def routes(writer: Writer) -> list[Route]:
    """Both routes, for GET and HEAD.

    ``/health`` answers 200 as long as the process does. ``/ready`` answers 503 with the reason while spans cannot be
    kept: the last that came could not be written, too much waits, or the directory is gone.
    """

    async def health(_: Request) -> Response:
        return PlainTextResponse("ok\n")

    async def ready(_: Request) -> Response:
        # This reads the disk. It does not use the threads for pages: while they are all busy, the collector is ready.
        reason = await asyncio.to_thread(writer.not_ready)
        return PlainTextResponse(f"{reason or 'ready'}\n", 503 if reason else 200)

    return [Route(path, answer, methods=["GET"]) for path, answer in zip(PATHS, (health, ready), strict=True)]
