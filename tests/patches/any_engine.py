"""Engines of SQLAlchemy with any driver, sync or asyncio, which the tests use in one way: by plain functions."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

import sqlalchemy
from sqlalchemy.ext.asyncio import AsyncEngine, AsyncSession, create_async_engine
from sqlalchemy.orm import Session

from tests.patches.authors import SECRET

if TYPE_CHECKING:
    from pathlib import Path

__all__ = ["AnyEngine", "any_engine", "url_of"]

_ASYNC = {"aiosqlite", "asyncpg", "psycopg_async"}


def url_of(driver: str, postgres_url: str, folder: Path, port: int | None = None) -> str:
    """The URL of a database for a driver: a file of SQLite, or the server, by another port where one is given."""
    if driver in ("aiosqlite", "pysqlite"):
        return f"sqlite+{driver}:///{folder / 'shop.db'}"
    parts = urlsplit(postgres_url)
    if port is not None:
        parts = parts._replace(netloc=f"{parts.username}:{SECRET}@127.0.0.1:{port}")
    return parts._replace(scheme="postgresql").geturl().replace("postgresql", f"postgresql+{driver}", 1)


class AnyEngine:
    """An engine.

    Args:
        url: with the driver.
        options: for ``create_engine()``.

    Attributes:
        sync: the ``Engine``, which an ``AsyncEngine`` has, too.
        asyncio: the ``AsyncEngine``, if it is one.
    """

    def __init__(self, url: str, **options: Any) -> None:
        self.asyncio: AsyncEngine | None = None
        if url.partition("://")[0].partition("+")[2] in _ASYNC:
            self.asyncio = create_async_engine(url, **options)
            self.sync = self.asyncio.sync_engine
        else:
            self.sync = sqlalchemy.create_engine(url, **options)

    async def connected(self, do: Callable[[sqlalchemy.Connection], Any] = lambda connection: None) -> Any:
        """What ``do`` returns, given a connection that is closed afterwards, and not committed."""
        if self.asyncio is None:
            with self.sync.connect() as connection:
                return do(connection)
        async with self.asyncio.connect() as connection:
            return await connection.run_sync(do)

    async def committed(self, do: Callable[[sqlalchemy.Connection], Any]) -> Any:
        """The same in a transaction, which is committed."""
        if self.asyncio is None:
            with self.sync.begin() as connection:
                return do(connection)
        async with self.asyncio.begin() as connection:
            return await connection.run_sync(do)

    async def in_session(self, do: Callable[[Session], Any]) -> Any:
        """The same with a session, which is closed and not committed."""
        if self.asyncio is None:
            with Session(self.sync) as session:
                return do(session)
        async with AsyncSession(self.asyncio) as session:
            return await session.run_sync(do)

    async def dispose(self) -> None:
        """Close its connections."""
        if self.asyncio is None:
            self.sync.dispose()
        else:
            await self.asyncio.dispose()


@asynccontextmanager
async def any_engine(url: str, *, known: bool = True, **options: Any) -> AsyncIterator[AnyEngine]:
    """An engine, which knows its server already, having connected once, if it is to."""
    engine = AnyEngine(url, **options)
    try:
        if known:
            await engine.connected()
        yield engine
    finally:
        await engine.dispose()
