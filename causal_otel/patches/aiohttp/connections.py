"""Opening a connection: in nobody's context, and with the parts that aiohttp does not tell of: proxies and TLS."""

from __future__ import annotations

import functools
from contextvars import ContextVar
from time import perf_counter
from typing import TYPE_CHECKING, Any

from causal_otel.instrument.calls import detached
from causal_otel.instrument.declaration import Wrap
from causal_otel.names import CAUSAL_CONNECT_DNS, CAUSAL_CONNECT_TLS

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from causal_otel.instrument.tracing import Tracing
    from causal_otel.patches.aiohttp.attempts import Attempt

__all__ = ["TARGETS", "connecting", "timed"]

connecting: ContextVar[Attempt | None] = ContextVar("causal_otel_aiohttp_connecting", default=None)
"""The attempt that a connection is being had for in this task."""


async def timed(attempt: Attempt, key: str, step: Awaitable[Any]) -> Any:
    """Await a step of connecting, and note how long it took.

    Args:
        attempt: what is told.
        key: the part.
        step: the step.
    """
    began = perf_counter()
    try:
        return await step
    finally:
        attempt.part(key, perf_counter() - began)


def _part(key: str) -> Callable[[Tracing[Any], Callable[..., Any]], Callable[..., Any]]:
    """Makes the wrapper of a method that is one step of connecting."""

    def wrap(tracing: Tracing[Any], original: Callable[..., Any]) -> Callable[..., Any]:
        @functools.wraps(original)
        async def step(self: Any, /, *args: Any, **kwargs: Any) -> Any:
            attempt = connecting.get()
            if attempt is None:
                return await original(self, *args, **kwargs)
            return await timed(attempt, key, original(self, *args, **kwargs))

        return step

    return wrap


def _securing(tracing: Tracing[Any], original: Callable[..., Any]) -> Callable[..., Any]:
    """For the method that connects to an address, and negotiates TLS from when it asks for a protocol on."""

    @functools.wraps(original)
    async def _wrap_create_connection(self: Any, /, *args: Any, **kwargs: Any) -> Any:
        attempt = connecting.get()
        if attempt is None or not args or not kwargs.get("ssl"):
            return await original(self, *args, **kwargs)
        factory, *rest = args
        began = 0.0

        def make() -> Any:
            nonlocal began
            began = perf_counter()
            return factory()

        try:
            return await original(self, make, *rest, **kwargs)
        finally:
            if began:
                attempt.part(CAUSAL_CONNECT_TLS, perf_counter() - began)

    return detached(tracing, _wrap_create_connection)


_MODULE = "aiohttp.connector"

TARGETS = (
    Wrap(_MODULE, "TCPConnector._resolve_host", _part(CAUSAL_CONNECT_DNS), optional=True),
    Wrap(_MODULE, "TCPConnector._wrap_create_connection", _securing, optional=True),
    Wrap(_MODULE, "TCPConnector._start_tls_connection", _part(CAUSAL_CONNECT_TLS), optional=True),
    Wrap(_MODULE, "UnixConnector._create_connection", detached, optional=True),
)
