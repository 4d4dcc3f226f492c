"""The FastAPI application of the tests of ASGI: made before any ``install()``, served in the tests and by uvicorn.

Where TESTS_INSTALL is set, importing the module installs, after the application has been made.
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncIterator
from typing import Any

from fastapi import APIRouter, BackgroundTasks, FastAPI, HTTPException, Request, WebSocket
from opentelemetry import trace
from starlette.applications import Starlette
from starlette.responses import PlainTextResponse, Response, StreamingResponse
from starlette.routing import Mount, Route

import causal_otel

__all__ = ["CONSTANT", "app", "sub", "text"]


async def text(_: Any) -> Response:
    return PlainTextResponse("text")


class Own(FastAPI):
    """A subclass, as applications have them."""


app = Own()
sub = FastAPI()
starlette = Starlette(routes=[Route("/x/{a}", text), Mount("/m/{tenant:int}", routes=[Route("/y/{b}", text)])])
outer, inner = APIRouter(prefix="/v1"), APIRouter(prefix="/u/{uid}")

CONSTANT = Response("the same object each time")


@app.get("/items/{i}")
@sub.get("/items/{i}")
async def item(i: int, request: Request) -> dict[str, Any]:
    found = trace.get_current_span().get_span_context()
    return {"i": i, "trace": f"{found.trace_id:032x}", "span": f"{found.span_id:016x}"}


@inner.get("/f/{path:path}")
async def nested(uid: int, path: str) -> str:
    return path


outer.include_router(inner)
app.include_router(outer, prefix="/api")
app.mount("/sub", sub)
app.mount("/mounted/{z}", starlette)


@app.get("/constant")
async def constant() -> Response:
    return CONSTANT


@app.get("/own-header")
async def own_header() -> Response:
    return Response(headers={"X-Trace-Id": "the application's own"})


@app.get("/status/{status}")
async def status(status: int) -> None:
    raise HTTPException(status)


@app.get("/boom")
async def boom() -> None:
    raise ValueError("went wrong")


@app.get("/slow/{seconds}")
async def slow(seconds: float) -> None:
    await asyncio.sleep(seconds)


@app.get("/stream")
async def stream(chunks: int = 3, pause: float = 0.03, fail: bool = False) -> StreamingResponse:
    async def body() -> AsyncIterator[bytes]:
        for _ in range(chunks):
            await asyncio.sleep(pause)
            yield b"x" * 100
        if fail:
            raise RuntimeError("no more")

    return StreamingResponse(body())


async def _afterwards(seconds: float, fail: bool) -> None:
    with causal_otel.span("afterwards"):
        await asyncio.sleep(seconds)
    if fail:
        raise LookupError("too late")


@app.get("/background")
async def background(tasks: BackgroundTasks, seconds: float = 0.0, fail: bool = False, status: int = 200) -> Response:
    tasks.add_task(_afterwards, seconds, fail)
    return Response("accepted", status, background=tasks)


@app.websocket("/ws/{room}")
async def echo(websocket: WebSocket, room: str) -> None:
    if room == "closed":
        await websocket.close()
        return
    await websocket.accept()
    while (said := await websocket.receive_text()) != "bye":
        if said == "fail":
            raise ValueError("went wrong")
        await websocket.send_text(said)
    await websocket.close()


if "TESTS_INSTALL" in os.environ:
    causal_otel.install(app, service_name="asgi-tests", patches=["asgi"])
