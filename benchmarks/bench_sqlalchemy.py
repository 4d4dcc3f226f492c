"""``session.execute()`` of SQLAlchemy on asyncpg: bare, with OpenTelemetry's instrumentations, and with our patches.

A session's connection is made, and its transaction begun, before anything is timed or recorded.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator
from functools import partial
from typing import TYPE_CHECKING, Any

import pytest
from opentelemetry.instrumentation.asyncpg import AsyncPGInstrumentor
from opentelemetry.instrumentation.sqlalchemy import SQLAlchemyInstrumentor
from opentelemetry.instrumentation.utils import suppress_instrumentation
from sqlalchemy import select
from sqlalchemy.ext import asyncio as sqlalchemy_asyncio
from sqlalchemy.ext.asyncio import AsyncEngine, AsyncSession
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column

from benchmarks.rounds import on_core
from benchmarks.traced import Operation, recorded, unsampled

if TYPE_CHECKING:
    from pytest_benchmark.fixture import BenchmarkFixture

    from benchmarks.conftest import Record, Sink

Loop = asyncio.AbstractEventLoop


class Base(DeclarativeBase):
    pass


class Relation(Base):
    """A table that every PostgreSQL has."""

    __tablename__ = "pg_class"

    oid: Mapped[int] = mapped_column(primary_key=True)
    relname: Mapped[str]


QUERY = select(Relation.relname).where(Relation.oid == 1259)


class Both:
    """OpenTelemetry's instrumentations of SQLAlchemy, whose versions end before 2.1, and of asyncpg."""

    def __init__(self) -> None:
        self._instrumentors: list[Any] = [SQLAlchemyInstrumentor(), AsyncPGInstrumentor()]

    def instrument(self, **options: Any) -> None:
        """Place both."""
        for each in self._instrumentors:
            each.instrument(skip_dep_check=True, **options)

    def uninstrument(self) -> None:
        """Take both away."""
        for each in self._instrumentors:
            each.uninstrument()


class Session:
    """The session of a round: OpenTelemetry's instrumentation sees only engines that are made under it."""

    def __init__(self, loop: Loop, url: str) -> None:
        self._loop = loop
        self._url = url.replace("postgresql://", "postgresql+asyncpg://", 1)
        self._open: tuple[AsyncEngine, AsyncSession] | None = None

    async def _make(self) -> AsyncSession:
        await self.close()
        engine = sqlalchemy_asyncio.create_async_engine(self._url)  # theirs is in its place
        with suppress_instrumentation():
            session = AsyncSession(engine)
            await session.execute(QUERY)
        self._open = engine, session
        return session

    async def close(self) -> None:
        """Close what the last round had."""
        if self._open is not None:
            engine, session = self._open
            self._open = None
            with suppress_instrumentation():
                await session.close()
                await engine.dispose()

    def prepare(self, _: str, times: int) -> Callable[[], object]:
        """What executes so many times."""
        session = self._loop.run_until_complete(self._make())

        async def repeat() -> None:
            for _ in range(times):
                (await session.execute(QUERY)).scalar_one()

        return partial(self._loop.run_until_complete, repeat())


@pytest.fixture
def operation(postgres_url: str, loop: Loop) -> Iterator[Operation]:
    """One execution."""
    with on_core(0):
        session = Session(loop, postgres_url)
        try:
            yield Operation(
                prepare=session.prepare,
                patch="asyncpg sqlalchemy",
                instrumentor=Both(),
                spans=2,
            )
        finally:
            loop.run_until_complete(session.close())


def test_recorded(benchmark: BenchmarkFixture, record: Record, sink: Sink, operation: Operation) -> None:
    """In a recorded trace: one span of ours, two of theirs."""
    record("sqlalchemy", recorded(benchmark, sink, operation))


def test_unsampled(benchmark: BenchmarkFixture, record: Record, operation: Operation) -> None:
    """In a trace that is not sampled."""
    record("sqlalchemy unsampled", unsampled(benchmark, operation))
