"""Where in the application's own code an operation was issued, told by real drivers."""

from __future__ import annotations

import asyncio
import inspect
from typing import TYPE_CHECKING, Any

import asyncpg
import httpx
import pytest
import redis
from sqlalchemy import create_engine, text
from sqlalchemy.ext.asyncio import create_async_engine

import causal_otel
from causal_otel.names import CAUSAL_CODE_ORIGIN
from causal_otel.patches.asyncpg import AsyncpgOptions
from causal_otel.patches.redis import RedisOptions
from tests.patches.http_server import echo_app, serve
from tests.recording import recording

if TYPE_CHECKING:
    from collections.abc import Callable

_PATCHES = ["asyncpg", "httpx", "redis", "sqlalchemy"]


@pytest.fixture(autouse=True)
def setting(monkeypatch: pytest.MonkeyPatch) -> None:
    """It is off by default."""
    monkeypatch.setenv("TRACING_CODE_ORIGIN", "true")


def _line(function: Callable[..., Any], containing: str) -> str:
    """A line of a function as an origin names it."""
    lines, first = inspect.getsourcelines(function)
    (number,) = [first + index for index, line in enumerate(lines) if containing in line]
    return f"patches/test_code_origin.py:{number} {function.__qualname__.rpartition('.')[2]}()"


async def _fetch(url: str) -> None:
    connection = await asyncpg.connect(url)
    try:
        await connection.fetchval("SELECT 1")  # here
    finally:
        await connection.close()


def _get(url: str) -> None:
    with redis.Redis.from_url(url) as client:
        client.get("key")  # here


def _request(url: str) -> None:
    with httpx.Client(trust_env=False) as client:
        client.get(url)  # here


def _select() -> None:
    engine = create_engine("sqlite://")
    with engine.connect() as connection:
        connection.execute(text("SELECT 1"))  # here
    engine.dispose()


async def _select_async(url: str) -> None:
    engine = create_async_engine(url.replace("postgresql://", "postgresql+asyncpg://"))
    async with engine.connect() as connection:
        await connection.execute(text("SELECT 1"))  # here
    await engine.dispose()


def test_asyncpg(postgres_url: str) -> None:
    """The frame is that of the coroutine that awaits the query, not the driver's."""
    with recording(_PATCHES) as recorded:
        asyncio.run(_fetch(postgres_url))
    assert recorded.only("SELECT").attributes[CAUSAL_CODE_ORIGIN] == _line(_fetch, "# here")  # type: ignore[index]


def test_redis(redis_url: str) -> None:
    """The same of a synchronous client."""
    with recording(_PATCHES) as recorded:
        _get(redis_url)
    assert recorded.only("GET").attributes[CAUSAL_CODE_ORIGIN] == _line(_get, "# here")  # type: ignore[index]


def test_httpx() -> None:
    """The same of a request."""
    with serve(echo_app) as url, recording(_PATCHES) as recorded:
        _request(url)
    assert recorded.only("GET").attributes[CAUSAL_CODE_ORIGIN] == _line(_request, "# here")  # type: ignore[index]


def test_sqlalchemy() -> None:
    """The same of a statement."""
    with recording(_PATCHES) as recorded:
        _select()
    assert recorded.only("SELECT").attributes[CAUSAL_CODE_ORIGIN] == _line(_select, "# here")  # type: ignore[index]


def test_sqlalchemy_with_asyncio(postgres_url: str) -> None:
    """The same where SQLAlchemy runs in a greenlet, whose stack ends below the application's."""
    with recording(_PATCHES) as recorded:
        asyncio.run(_select_async(postgres_url))
    assert recorded.only("SELECT").attributes[CAUSAL_CODE_ORIGIN] == _line(_select_async, "# here")  # type: ignore[index]


def test_off_by_default(redis_url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Without the setting nothing tells its origin."""
    monkeypatch.delenv("TRACING_CODE_ORIGIN")
    with recording(_PATCHES) as recorded:
        _get(redis_url)
    assert CAUSAL_CODE_ORIGIN not in recorded.only("GET").attributes  # type: ignore[operator]


def test_of_one_patch(redis_url: str, postgres_url: str) -> None:
    """A patch's option beats the setting."""
    with recording({"asyncpg": AsyncpgOptions(code_origin=False), "redis": RedisOptions()}) as recorded:
        _get(redis_url)
        asyncio.run(_fetch(postgres_url))
    assert CAUSAL_CODE_ORIGIN in recorded.only("GET").attributes  # type: ignore[operator]
    assert CAUSAL_CODE_ORIGIN not in recorded.only("SELECT").attributes  # type: ignore[operator]


def test_in_a_span_of_ones_own(redis_url: str) -> None:
    """A block of the application's own has no origin: its name says what it is."""
    with recording(_PATCHES) as recorded, causal_otel.span("mine"):
        _get(redis_url)
    assert CAUSAL_CODE_ORIGIN not in recorded.only("mine").attributes  # type: ignore[operator]
