"""A server of gRPC with a method of every kind, without generated code: messages are bytes."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager
from typing import Any

import grpc  # type: ignore[import-untyped]
import grpc.aio  # type: ignore[import-untyped]
from opentelemetry import trace

__all__ = ["PAUSE", "SECRET", "Shop", "requests", "served"]

SECRET = "p4ssw0rd-planted"
PAUSE = 0.02
"""Seconds that a method takes at least, but for Get, Forever and Broken."""
_UNARY, _STREAM = ("unary", "stream")


def _current() -> bytes:
    return trace.get_current_span().get_span_context().span_id.to_bytes(8, "big")


async def _get(request: bytes, context: Any) -> bytes:
    """Answer with the current span's id, or as the request says."""
    word, _, rest = request.decode().partition(" ")
    if word == "abort":
        await context.abort(grpc.StatusCode[rest], SECRET)
    if word == "set":
        context.set_code(grpc.StatusCode[rest])
        context.set_details(SECRET)
        return b""
    if word == "raise":
        raise ValueError(SECRET)
    if word == "sleep":
        await asyncio.sleep(float(rest))
    if word == "metadata":
        return repr(sorted(dict(context.invocation_metadata()))).encode()
    return _current()


async def _list(request: bytes, context: Any) -> AsyncIterator[bytes]:
    await asyncio.sleep(PAUSE)
    for _ in range(int(request)):
        yield _current()


async def _forever(request: bytes, context: Any) -> AsyncIterator[bytes]:
    while True:
        yield _current()
        await asyncio.sleep(0.01)


async def _sum(requests: Any, context: Any) -> bytes:
    await asyncio.sleep(PAUSE)
    return b"%d" % sum([int(request) async for request in requests])


async def _echo(requests: Any, context: Any) -> AsyncIterator[bytes]:
    await asyncio.sleep(PAUSE)
    async for request in requests:
        yield request


async def _read_and_write(_: Any, context: Any) -> None:
    await asyncio.sleep(PAUSE)
    while (request := await context.read()) is not grpc.aio.EOF:
        await context.write(request)


def _get_in_thread(request: bytes, context: Any) -> bytes:
    time.sleep(PAUSE)
    if request:
        context.abort(grpc.StatusCode[request.decode()], SECRET)
    return _current()


def _list_in_thread(request: bytes, context: Any) -> Iterator[bytes]:
    time.sleep(PAUSE)
    for _ in range(int(request)):
        yield _current()


_HANDLERS = {
    "Get": grpc.unary_unary_rpc_method_handler(_get),
    "List": grpc.unary_stream_rpc_method_handler(_list),
    "Forever": grpc.unary_stream_rpc_method_handler(_forever),
    "Sum": grpc.stream_unary_rpc_method_handler(_sum),
    "Echo": grpc.stream_stream_rpc_method_handler(_echo),
    "ReadAndWrite": grpc.stream_stream_rpc_method_handler(_read_and_write),
    "GetInThread": grpc.unary_unary_rpc_method_handler(_get_in_thread),
    "ListInThread": grpc.unary_stream_rpc_method_handler(_list_in_thread),
    "Broken": grpc.unary_unary_rpc_method_handler(_get, request_deserializer=int),
}


async def requests(*numbers: int) -> AsyncIterator[bytes]:
    """Requests that come one by one."""
    for number in numbers:
        yield b"%d" % number


class Shop:
    """The server's methods, as a stub has them.

    Args:
        channel: a channel to it.
    """

    def __init__(self, channel: Any) -> None:
        self.channel = channel
        for name, handler in _HANDLERS.items():
            kind = f"{_STREAM if handler.request_streaming else _UNARY}_"
            kind += _STREAM if handler.response_streaming else _UNARY
            setattr(self, name, getattr(channel, kind)(f"/shop.Shop/{name}"))

    def __getattr__(self, name: str) -> Any:
        return self.channel.unary_unary(f"/shop.Shop/{name}")


@asynccontextmanager
async def served(
    interceptors: Any = (), client_interceptors: Any = (), **options: Any
) -> AsyncIterator[tuple[Shop, int]]:
    """A server, with a stub for it and its port."""
    with ThreadPoolExecutor(2) as threads:
        server = grpc.aio.server(migration_thread_pool=threads, interceptors=interceptors, **options)
        server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler("shop.Shop", _HANDLERS),))
        port = server.add_insecure_port("127.0.0.1:0")
        await server.start()
        try:
            async with grpc.aio.insecure_channel(f"127.0.0.1:{port}", interceptors=client_interceptors) as channel:
                yield Shop(channel), port
        finally:
            await server.stop(None)
