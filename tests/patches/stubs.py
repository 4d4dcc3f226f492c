"""Drivers of neo4j that are connected to a scripted server."""

from __future__ import annotations

from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any

import neo4j
import pytest

from tests.patches.either import settle
from tests.services.bolt_stub import BoltStub, bolt_stub

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterator

__all__ = ["connected", "is_async", "query", "stub", "warm"]


@pytest.fixture
def stub() -> Iterator[BoltStub]:
    """A scripted server."""
    with bolt_stub() as stub:
        yield stub


@pytest.fixture(params=["sync", "async"])
def is_async(request: pytest.FixtureRequest) -> bool:
    """Which driver."""
    return bool(request.param == "async")


@asynccontextmanager
async def connected(is_async: bool, url: str, auth: Any = ("a", "b"), **config: Any) -> AsyncIterator[Any]:
    """A driver, closed at the end."""
    factory: Any = neo4j.AsyncGraphDatabase if is_async else neo4j.GraphDatabase
    driver = factory.driver(url, auth=auth, **config)
    try:
        yield driver
    finally:
        await settle(driver.close())


@asynccontextmanager
async def warm(is_async: bool, stub: BoltStub, **config: Any) -> AsyncIterator[Any]:
    """A driver that is connected to a stub."""
    async with connected(is_async, f"bolt://127.0.0.1:{stub.port}", **config) as driver:
        await settle(driver.verify_connectivity())
        yield driver


async def query(runner: Any, text: Any = "RETURN 1", **parameters: Any) -> Any:
    """Send a query and read all of it."""
    return await settle((await settle(runner.run(text, **parameters))).consume())
