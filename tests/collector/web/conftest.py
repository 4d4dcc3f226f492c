"""A browser, and the pages over the sample traces."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING

import pytest
from starlette.applications import Starlette
from starlette.testclient import TestClient

from tests.collector.oracle import MemoryReader
from tests.collector.web.browser import chromium, open_page, serve
from tests.collector.web.sample_traces import attack, broken, shop
from tests.collector.web.trace_site import application

if TYPE_CHECKING:
    from starlette.types import ASGIApp

__all__ = ["chromium", "open_page", "serve"]


@pytest.fixture(scope="module")
def app() -> Starlette:
    """The pages over the sample traces."""
    return application(MemoryReader([shop(), broken(), attack()]))


@pytest.fixture
def client(app: Starlette) -> Iterator[TestClient]:
    """Asks the pages without a browser."""
    with TestClient(app) as client:
        yield client


@pytest.fixture
def base(app: Starlette, serve: Callable[[ASGIApp], str]) -> str:
    """Where a browser finds the pages."""
    return serve(app)
