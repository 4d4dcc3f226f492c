"""A real HTTP server for tests: uvicorn in a thread, and an application that behaves in every way one needs."""

from __future__ import annotations

import asyncio
import contextlib
import socket
import threading
import time
from collections.abc import AsyncIterator, Callable, Iterator
from typing import Any

import uvicorn
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, RedirectResponse, Response, StreamingResponse
from starlette.routing import Route

__all__ = ["echo_app", "serve"]


@contextlib.contextmanager
def serve(app: Callable[..., Any], **config: Any) -> Iterator[str]:
    """Serve ``app`` on a free port for as long as the block lasts; yields its base URL."""
    listener = socket.create_server(("127.0.0.1", 0))
    defaults = {
        "log_level": "critical",
        "lifespan": "off",
        "ws": "none",
        "timeout_graceful_shutdown": 1,
        "timeout_keep_alive": 300,  # else a connection is closed under a client that has had to wait for 5 s
    }
    server = uvicorn.Server(uvicorn.Config(app, **{**defaults, **config}))
    thread = threading.Thread(target=server.run, kwargs={"sockets": [listener]}, daemon=True)
    thread.start()
    deadline = time.monotonic() + 60
    while not server.started:
        assert thread.is_alive(), "the server has ended"
        assert time.monotonic() < deadline, "the server has not started"
        time.sleep(0.01)
    try:
        yield f"http://127.0.0.1:{listener.getsockname()[1]}"
    finally:
        server.should_exit = True
        thread.join(60)
        assert not thread.is_alive(), "the server has not stopped"


async def _echo(request: Request) -> Response:
    headers = [(name.decode("latin-1"), value.decode("latin-1")) for name, value in request.headers.raw]
    return JSONResponse({"headers": headers, "body": (await request.body()).decode("latin-1")})


async def _redirect(request: Request) -> Response:
    left = int(request.path_params["left"])
    return RedirectResponse(f"/redirect/{left - 1}" if left else "/echo")


async def _status(request: Request) -> Response:
    return Response("said so", status_code=int(request.path_params["status"]))


async def _slow(request: Request) -> Response:
    await asyncio.sleep(float(request.path_params["seconds"]))
    return Response("at last")


async def _stream(request: Request) -> Response:
    async def chunks() -> AsyncIterator[bytes]:
        for _ in range(int(request.query_params.get("chunks", "3"))):
            yield b"x" * 1000
            await asyncio.sleep(float(request.query_params.get("pause", "0.02")))

    return StreamingResponse(chunks())


async def _broken(_: Request) -> Response:
    """A body that ends before its announced length."""

    async def chunks() -> AsyncIterator[bytes]:
        yield b"only this"
        raise RuntimeError("no more")

    return StreamingResponse(chunks(), headers={"content-length": "100000"})


async def _digest(request: Request) -> Response:
    if "authorization" in request.headers:
        return Response("welcome")
    challenge = 'Digest realm="tests", nonce="bm9uY2U=", qop="auth", algorithm=MD5'
    return Response("who is there?", 401, {"www-authenticate": challenge})


echo_app = Starlette(
    routes=[
        Route("/echo", _echo, methods=["GET", "POST", "PUT", "DELETE", "PATCH"]),
        Route("/redirect/{left:int}", _redirect),
        Route("/status/{status:int}", _status),
        Route("/slow/{seconds}", _slow),
        Route("/stream", _stream),
        Route("/broken", _broken),
        Route("/digest", _digest, methods=["GET", "POST"]),
    ]
)
