"""A call by ``grpc.aio``, with its server in the same process: two spans, by OpenTelemetry's instrumentations and ours.

Both instrumentations see only channels and servers that are made under them, so each round has its own.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator
from functools import partial
from typing import TYPE_CHECKING, Any

import grpc  # type: ignore[import-untyped]
import grpc.aio  # type: ignore[import-untyped]
import pytest
from opentelemetry.instrumentation.grpc import GrpcAioInstrumentorClient, GrpcAioInstrumentorServer

from benchmarks.rounds import on_core
from benchmarks.traced import Operation, recorded, unsampled

if TYPE_CHECKING:
    from pytest_benchmark.fixture import BenchmarkFixture

    from benchmarks.conftest import Record, Sink

Loop = asyncio.AbstractEventLoop


class Both:
    """OpenTelemetry's instrumentations of the client and of the server."""

    def __init__(self) -> None:
        self._instrumentors: list[Any] = [GrpcAioInstrumentorClient(), GrpcAioInstrumentorServer()]

    def instrument(self, **options: Any) -> None:
        """Place both."""
        for each in self._instrumentors:
            each.instrument(**options)

    def uninstrument(self) -> None:
        """Take both away."""
        for each in self._instrumentors:
            each.uninstrument()


async def _answer(request: bytes, context: Any) -> bytes:
    return request


class _Service:
    """The server and the channel of a round."""

    def __init__(self, loop: Loop) -> None:
        self._loop = loop
        self._open: tuple[Any, Any] | None = None

    async def _make(self) -> Any:
        await self.close()
        handlers = {"Get": grpc.unary_unary_rpc_method_handler(_answer)}
        server = grpc.aio.server()
        server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler("shop.Shop", handlers),))
        port = server.add_insecure_port("127.0.0.1:0")
        await server.start()
        channel = grpc.aio.insecure_channel(f"127.0.0.1:{port}")
        await channel.channel_ready()
        self._open = server, channel
        return channel.unary_unary("/shop.Shop/Get")

    async def close(self) -> None:
        """Close those of the last round."""
        if self._open is not None:
            server, channel = self._open
            self._open = None
            await channel.close()
            await server.stop(None)

    def prepare(self, _: str, times: int) -> Callable[[], object]:
        """What calls so many times."""
        get = self._loop.run_until_complete(self._make())

        async def repeat() -> None:
            for _ in range(times):
                await get(b"x")

        return partial(self._loop.run_until_complete, repeat())


@pytest.fixture
def operation(loop: Loop) -> Iterator[Operation]:
    """One call."""
    with on_core(0):
        service = _Service(loop)
        try:
            yield Operation(prepare=service.prepare, patch="grpc", instrumentor=Both(), spans=2, our_spans=2)
        finally:
            loop.run_until_complete(service.close())


def test_recorded(benchmark: BenchmarkFixture, record: Record, sink: Sink, operation: Operation) -> None:
    """In a recorded trace."""
    record("grpc", recorded(benchmark, sink, operation))


def test_unsampled(benchmark: BenchmarkFixture, record: Record, operation: Operation) -> None:
    """In a trace that is not sampled."""
    record("grpc unsampled", unsampled(benchmark, operation))
