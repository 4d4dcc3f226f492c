"""What the tests of several patches share."""

from __future__ import annotations

import gc
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

import asyncpg
import kombu.pools
import pytest
import pytest_asyncio
import redis
import redis.asyncio

from tests.patches.asyncpg_failing import late_postgres, pairs
from tests.patches.authors import SCHEMA, Check, connected, for_sqlalchemy
from tests.patches.celery_app import app
from tests.patches.celery_greenlets import greenlets_python
from tests.patches.celery_local import local, shared_worker
from tests.patches.foreign_calls import traced_calls
from tests.patches.graphs import graph, session
from tests.patches.hooking import PROVIDERS
from tests.patches.http_client import call
from tests.patches.http_server import echo_app, serve
from tests.patches.late_calls import server_and_client
from tests.patches.stubs import is_async, stub
from tests.patches.valkeys import (
    client,
    cluster_port,
    locked_server,
    make_cluster,
    redis_port,
    sentinel_port,
    traced,
    traced_both,
)
from tests.recording import Recording, recording

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterator

    from sqlalchemy.ext.asyncio import AsyncEngine

__all__ = [
    "call",
    "client",
    "cluster_port",
    "graph",
    "greenlets_python",
    "is_async",
    "late_postgres",
    "local",
    "locked_server",
    "make_cluster",
    "pairs",
    "redis_port",
    "sentinel_port",
    "server_and_client",
    "session",
    "shared_worker",
    "stub",
    "traced",
    "traced_both",
    "traced_calls",
]


@pytest.fixture
def recorded(request: pytest.FixtureRequest) -> Iterator[Recording]:
    """The patches that the test's module names as ``PATCHES`` are installed, and their spans are kept."""
    with recording(request.module.PATCHES) as kept:
        yield kept


@pytest.fixture(scope="session")
def broker(redis_url: str) -> Iterator[str]:
    """A database of the broker for these tests alone; the app publishes to it.

    One for all of them: the app keeps its pool of connections, which are closed once and for ever.
    """
    url = urlsplit(redis_url)._replace(path="/7").geturl()
    app.conf.update(broker_url=url, result_backend=url)
    yield url
    gc.collect()  # results that nobody has waited for talk to the backend when they go, so while it is there
    kombu.pools.reset()


@pytest.fixture(scope="module")
def server() -> Iterator[str]:
    """The base URL of a server that tells what it was sent."""
    with serve(echo_app) as url:
        yield url


@pytest_asyncio.fixture
async def connection(postgres_url: str) -> AsyncIterator[asyncpg.Connection[Any]]:
    """A connection that was there before anything was installed."""
    connection = await asyncpg.connect(postgres_url)
    yield connection
    await connection.close()


@pytest_asyncio.fixture
async def authors(postgres_url: str) -> AsyncIterator[asyncpg.Connection[Any]]:
    """A connection of the tests' own, which has made the tables of authors and books."""
    connection = await asyncpg.connect(postgres_url)
    await connection.execute(SCHEMA)
    yield connection
    await connection.close()


@pytest_asyncio.fixture
async def engine(postgres_url: str, authors: asyncpg.Connection[Any]) -> AsyncIterator[AsyncEngine]:
    """An engine of SQLAlchemy's with one connection."""
    async with connected(for_sqlalchemy(postgres_url), pool_size=1) as engine:
        yield engine


@pytest.fixture
def check(postgres_url: str) -> Check:
    """Asserts all that a span of a query tells."""
    return Check(postgres_url)


@pytest.fixture(params=list(PROVIDERS))
def provider(request: pytest.FixtureRequest) -> Any:
    """The class of the provider."""
    return PROVIDERS[request.param]


@pytest.fixture(params=["sync", "asyncio"])
def library(request: pytest.FixtureRequest) -> Any:
    """Either half of redis-py."""
    return redis if request.param == "sync" else redis.asyncio
