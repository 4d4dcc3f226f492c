"""The pages over sample traces, and what a browser does on the page of a trace, for tests."""

from __future__ import annotations

import re
from concurrent.futures import Future
from typing import TYPE_CHECKING, Any

from opentelemetry.proto.trace.v1.trace_pb2 import TracesData
from starlette.applications import Starlette

from causal_otel.collector import web
from causal_otel.collector.reading import Reading
from tests.collector.oracle import MemoryReader
from tests.collector.web.sample_traces import Builder

if TYPE_CHECKING:
    from playwright.sync_api import Page


__all__ = [
    "ATTACKED",
    "BROKEN",
    "FAILED",
    "LARGE",
    "RESERVE",
    "SELECT",
    "SHOP",
    "application",
    "current",
    "follow",
    "parameter",
    "parameter_of",
    "visible",
]

SHOP = "5b8aa5a2d2c872e8321cf37308d69df2"
BROKEN = "0bad" * 8
ATTACKED = "66" * 16
LARGE = "1a" * 16
FAILED = Builder.id(15)
SELECT = Builder.id(7)
RESERVE = Builder.id(8)


def application(reader: MemoryReader, *, writable: bool = True) -> Starlette:
    """All pages over ``reader``, which also takes what is imported."""

    def put(request: bytes) -> Future[Any]:
        done: Future[Any] = Future()
        reader.add(TracesData.FromString(request))
        done.set_result(None)
        return done

    routes = web.routes(Reading(reader), status=dict, put=put if writable else None)
    return Starlette(routes=routes, exception_handlers=web.EXCEPTION_HANDLERS)


def current(page: Page) -> str:
    """The id of the span that keys act on."""
    return str(page.locator(".row.current").get_attribute("id")).removeprefix("s-")


def follow(page: Page, selector: str) -> None:
    """Click on what leads to another page, and be there."""
    with page.expect_navigation():
        page.click(selector)


def parameter(page: Page, name: str) -> str | None:
    """A parameter of the page's address."""
    value: str | None = page.evaluate("name => new URL(location.href).searchParams.get(name)", name)
    return value


def visible(page: Page) -> int:
    """How many spans have a row that is shown."""
    return page.locator(".row:not(.gap):visible").count()


def parameter_of(url: str, name: str) -> str | None:
    """The same of an address as it is."""
    match = re.search(rf"[?&]{name}=([^&#]*)", url)
    return match[1] if match else None
