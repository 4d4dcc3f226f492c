"""HTTP clients of either kind, the spans that they leave, and what a server tells that it has received."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import httpx
import pytest
from opentelemetry.trace import SpanKind

if TYPE_CHECKING:
    from opentelemetry.sdk.trace import ReadableSpan

    from tests.recording import Recording

__all__ = ["Call", "call", "clients", "received"]

Call = Callable[..., httpx.Response]


@pytest.fixture(params=["sync", "async"])
def call(request: pytest.FixtureRequest) -> Call:
    """Send a request with a client of either kind, made with ``client=`` arguments."""

    def sync_call(method: str, url: str, client: dict[str, Any] | None = None, **arguments: Any) -> httpx.Response:
        with httpx.Client(trust_env=False, **(client or {})) as opened:
            return opened.request(method, url, **arguments)

    def async_call(method: str, url: str, client: dict[str, Any] | None = None, **arguments: Any) -> httpx.Response:
        async def run() -> httpx.Response:
            async with httpx.AsyncClient(trust_env=False, **(client or {})) as opened:
                return await opened.request(method, url, **arguments)

        return asyncio.run(run())

    return sync_call if request.param == "sync" else async_call


def clients(kept: Recording) -> list[ReadableSpan]:
    """The spans of the patch, without the parents that tests make."""
    return [span for span in kept.spans if span.kind is SpanKind.CLIENT]


def received(response: httpx.Response, name: str) -> list[str]:
    """The values of a header as the echo application received it."""
    return [value for given, value in response.json()["headers"] if given == name]
