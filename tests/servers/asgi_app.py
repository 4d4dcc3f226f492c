"""The FastAPI application of ``test_asgi_servers.py``, which is installed where INSTALL says."""

from __future__ import annotations

import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import anyio
from fastapi import FastAPI, HTTPException, WebSocket
from fastapi.responses import StreamingResponse
from starlette.requests import Request

import causal_otel
from tests.servers.installing import install

if os.environ["INSTALL"] == "import":
    install()


@asynccontextmanager
async def lifespan(_: FastAPI) -> AsyncIterator[None]:
    if os.environ["INSTALL"] == "lifespan":
        install()
    yield


app = FastAPI(lifespan=lifespan)


@app.get("/")
async def ready() -> None: ...


@app.get("/items/{number}")
async def item(number: int) -> dict[str, int]:
    with causal_otel.span("work"):
        return {"pid": os.getpid()}


@app.get("/status/{status}")
async def status(status: int) -> None:
    raise HTTPException(status)


@app.get("/boom")
async def boom() -> None:
    raise ValueError("went wrong")


@app.get("/stream")
async def stream() -> StreamingResponse:
    async def parts() -> AsyncIterator[bytes]:
        while True:
            yield b"x" * 1000
            await anyio.sleep(0.01)

    return StreamingResponse(parts())


@app.get("/waits")
async def waits(request: Request) -> None:
    """Works until its client has gone, or until the server cancels it."""
    print("under way", flush=True)
    while not await request.is_disconnected():  # noqa: ASYNC110  # what it waits for is not ours
        await anyio.sleep(0.01)


@app.get("/forever")
async def forever() -> None:
    print("under way", flush=True)
    await anyio.sleep_forever()


@app.websocket("/ws")
async def echo(websocket: WebSocket) -> None:
    await websocket.accept(headers=[(b"x-own", b"1")])
    await websocket.send_text(await websocket.receive_text())
    await websocket.close()
