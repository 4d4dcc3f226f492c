"""What is slow outside of the slow demo's API: an HTTP service that thinks, and a way to the database that is long.

It is somebody else's, so nothing here is traced.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from urllib.parse import urlsplit

from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse
from starlette.routing import Route

from causal_otel.cli.demo.slow.causes import PLANTED
from causal_otel.cli.demo.slow.config import SlowConfig
from causal_otel.testing.process import LOOPBACK

__all__ = ["app"]

config = SlowConfig.load()


async def score(request: Request) -> JSONResponse:
    """An answer after as many seconds as the query says."""
    await asyncio.sleep(float(request.query_params.get("after", PLANTED)))
    return JSONResponse({"risk": 0.5})


async def relay(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """Pass bytes on to the database and back, and take long to begin."""
    await asyncio.sleep(PLANTED)
    address = urlsplit(config.postgres_url)
    there_reader, there_writer = await asyncio.open_connection(address.hostname, address.port)
    async with asyncio.TaskGroup() as group:
        group.create_task(_pass_on(reader, there_writer))
        group.create_task(_pass_on(there_reader, writer))


async def _pass_on(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    while data := await reader.read(65536):
        writer.write(data)
        await writer.drain()
    writer.close()


@asynccontextmanager
async def lifespan(_: Starlette) -> AsyncIterator[None]:
    """Listen for those who want to connect slowly."""
    async with await asyncio.start_server(relay, LOOPBACK, config.relay_port):
        yield


app = Starlette(routes=[Route("/score", score)], lifespan=lifespan)
