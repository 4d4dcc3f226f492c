"""A query of psycopg, by an ``AsyncConnection``: bare, with OpenTelemetry's instrumentation, and with our patch.

The instrumentation sees only connections that are made under it, so each round has one of its own.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator
from functools import partial
from typing import TYPE_CHECKING, Any

import psycopg
import pytest
from opentelemetry.instrumentation.psycopg import PsycopgInstrumentor
from opentelemetry.instrumentation.utils import suppress_instrumentation

from benchmarks.rounds import on_core
from benchmarks.traced import Operation, recorded, unsampled

if TYPE_CHECKING:
    from pytest_benchmark.fixture import BenchmarkFixture

    from benchmarks.conftest import Record, Sink

QUERY = ("SELECT relname FROM pg_class WHERE oid = %s", (1259,))

Loop = asyncio.AbstractEventLoop


class _Connection:
    """The connection of a round."""

    def __init__(self, loop: Loop, url: str) -> None:
        self._loop = loop
        self._url = url
        self._open: psycopg.AsyncConnection[Any] | None = None

    async def _make(self) -> psycopg.AsyncConnection[Any]:
        await self.close()
        with suppress_instrumentation():
            self._open = made = await psycopg.AsyncConnection.connect(self._url, autocommit=True)
        return made

    async def close(self) -> None:
        """Close that of the last round."""
        if self._open is not None:
            await self._open.close()
            self._open = None

    def prepare(self, _: str, times: int) -> Callable[[], object]:
        """What queries so many times."""
        connection = self._loop.run_until_complete(self._make())

        async def repeat() -> None:
            for _ in range(times):
                await (await connection.execute(*QUERY)).fetchone()

        return partial(self._loop.run_until_complete, repeat())


@pytest.fixture
def operation(postgres_url: str, loop: Loop) -> Iterator[Operation]:
    """One query."""
    with on_core(0):
        connection = _Connection(loop, postgres_url)
        try:
            yield Operation(prepare=connection.prepare, patch="psycopg", instrumentor=PsycopgInstrumentor())
        finally:
            loop.run_until_complete(connection.close())


def test_recorded(benchmark: BenchmarkFixture, record: Record, sink: Sink, operation: Operation) -> None:
    """In a recorded trace."""
    record("psycopg", recorded(benchmark, sink, operation))


def test_unsampled(benchmark: BenchmarkFixture, record: Record, operation: Operation) -> None:
    """In a trace that is not sampled."""
    record("psycopg unsampled", unsampled(benchmark, operation))
