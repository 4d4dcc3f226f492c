"""The FastAPI application of ``test_asgi_servers.py``, which is installed where INSTALL says."""

from __future__ import annotations

import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

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


api = FastAPI(lifespan=lifespan)


@api.get("/")
async def ready() -> None: ...


@api.get("/items/{number}")
async def item(number: int) -> dict[str, int]:
    with causal_otel.span("work"):
        return {"pid": os.getpid()}


@api.get("/status/{status}")
async def status(status: int) -> None:
    raise HTTPException(status)


@api.get("/boom")
async def boom() -> None:
    raise ValueError("went wrong")


@api.get("/stream")
async def stream() -> StreamingResponse:
    async def parts() -> AsyncIterator[bytes]:
        while True:
            yield b"x" * 1000
            await anyio.sleep(0.01)

    return StreamingResponse(parts())


@api.get("/waits")
async def waits(request: Request) -> None:
    """Works until its client has gone, or until the server cancels it."""
    print("under way", flush=True)
    while not await request.is_disconnected():  # noqa: ASYNC110  # what it waits for is not ours
        await anyio.sleep(0.01)


@api.get("/forever")
async def forever() -> None:
    print("under way", flush=True)
    await anyio.sleep_forever()


@api.websocket("/ws")
async def echo(websocket: WebSocket) -> None:
    await websocket.accept(headers=[(b"x-own", b"1")])
    await websocket.send_text(await websocket.receive_text())
    await websocket.close()


async def app(scope: Any, receive: Any, send: Any) -> None:
    """The application, which says when a request is over: its span has ended then."""
    try:
        await api(scope, receive, send)
    finally:
        print("over:", scope.get("path"), flush=True)
