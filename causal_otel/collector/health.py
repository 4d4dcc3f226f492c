"""``/health`` and ``/ready``, for whoever watches over the collector: they need no token, and tell nothing else."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from starlette.responses import PlainTextResponse
from starlette.routing import Route

if TYPE_CHECKING:
    from starlette.requests import Request
    from starlette.responses import Response

    from causal_otel.collector.status import Parts

__all__ = ["PATHS", "routes"]

PATHS = ("/health", "/ready")


def routes(parts: Parts) -> list[Route]:
    """Both routes, for GET and HEAD.

    ``/health`` answers 200 unless only a new process helps: then, when the writer has stopped, 503 with the reason.
    ``/ready`` answers 503 with the reason while spans cannot be kept: the disk is full, the directory is gone or takes
    no file, the last spans that came could not be written, too much waits, the writer has stopped or is stuck, or what
    is to be sent on cannot be queued.
    """

    async def health(_: Request) -> Response:
        return PlainTextResponse(f"{parts.writer.stopped or 'ok'}\n", 503 if parts.writer.stopped else 200)

    async def ready(_: Request) -> Response:
        # This writes to the disk. It does not use the threads for pages: while all are busy, the collector is ready.
        reason = await asyncio.to_thread(parts.not_ready)
        return PlainTextResponse(f"{reason or 'ready'}\n", 503 if reason else 200)

    return [Route(path, answer, methods=["GET"]) for path, answer in zip(PATHS, (health, ready), strict=True)]
