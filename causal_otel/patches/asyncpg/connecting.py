"""Making connections: ``CONNECT``, with name lookup and TLS told apart, and nobody's context in what outlives it."""

from __future__ import annotations

import functools
from asyncio import base_events
from contextvars import ContextVar
from time import perf_counter
from typing import TYPE_CHECKING, Any

from opentelemetry.context import Context, create_key

from causal_otel.engine import context
from causal_otel.instrument.calls import Args, Kwargs, detached, suppressed, traced_call
from causal_otel.instrument.declaration import Connect, Wrap
from causal_otel.names import CAUSAL_CONNECT, CAUSAL_CONNECT_DNS, CAUSAL_CONNECT_TLS
from causal_otel.patches.asyncpg.operations import plumbing
from causal_otel.patches.asyncpg.under_way import Step

if TYPE_CHECKING:
    from collections.abc import Callable

    from causal_otel.instrument.operation import Operation
    from causal_otel.instrument.tracing import Tracing

__all__ = ["TARGETS"]

_CONNECTING = create_key("causal-otel-asyncpg-connecting")


class _Connecting(Step):
    """A connection being made. The addresses that are tried are noted: the arguments may name them in many ways."""

    __slots__ = ("endpoint", "over", "secured_since")

    def __init__(self, tracing: Tracing[Any]) -> None:
        super().__init__(tracing, self._operation, (), CAUSAL_CONNECT)
        self.inside = Context({**(self.inside or {}), _CONNECTING: self})
        self.endpoint: tuple[Any, str] = None, ""
        self.over = False
        self.secured_since = 0.0

    def _operation(self) -> Operation:
        return plumbing("CONNECT", *self.endpoint)

    def tries(self, endpoint: tuple[Any, str]) -> None:
        """An address is about to be tried."""
        self.endpoint = endpoint
        if self.outer is not None:
            self.outer.endpoint = endpoint

    def took(self, key: str, seconds: float) -> None:
        """A part of connecting took so long."""
        self.around.add(key, seconds)
        if self.outer is not None:
            self.outer.add(key, seconds)

    def end(self, result: Any = None, error: BaseException | None = None) -> None:
        """The connection is made, or not."""
        self.over = True
        super().end(result, error)

    @staticmethod
    def current() -> _Connecting | None:
        """The innermost one under way, if any: tasks started while it connected may still have it in their context."""
        found = context.current().get(_CONNECTING)
        return found if isinstance(found, _Connecting) and not found.over else None


_trying: ContextVar[_Connecting | None] = ContextVar("causal_otel_asyncpg_trying", default=None)
"""The connection for which an address is tried: in there, the context is nobody's."""


def _begin(tracing: Tracing[Any], instance: None, args: Args, kwargs: Kwargs) -> _Connecting | None:
    return None if _Connecting.current() is not None else _Connecting(tracing)


def _connect(tracing: Tracing[Any], original: Callable[..., Any]) -> Callable[..., Any]:
    """For the functions that connect."""
    call = traced_call(_begin)(tracing, _as_method(original))

    @functools.wraps(original)
    async def connect(*args: Any, **kwargs: Any) -> Any:
        return await call(None, *args, **kwargs)

    return connect


def _as_method(original: Callable[..., Any]) -> Callable[..., Any]:
    """The same, to be called with an instance first, as wrappers of calls do."""

    @functools.wraps(original)
    async def method(self: None, /, *args: Any, **kwargs: Any) -> Any:
        return await original(*args, **kwargs)

    return method


def _trying_address(tracing: Tracing[Any], original: Callable[..., Any]) -> Callable[..., Any]:
    """For the function that tries one address."""

    @functools.wraps(original)
    async def connect_addr(*args: Any, **kwargs: Any) -> Any:
        connecting = _Connecting.current()
        if connecting is None:
            return await original(*args, **kwargs)
        connecting.tries((kwargs.get("addr"), getattr(kwargs.get("params"), "database", None) or ""))
        token = _trying.set(connecting)
        try:
            return await original(*args, **kwargs)
        finally:
            _trying.reset(token)

    return connect_addr


def _detached(tracing: Tracing[Any], original: Callable[..., Any]) -> Callable[..., Any]:
    """For the function that opens the transport, whose reader keeps the context that it is made in."""
    call = detached(tracing, _as_method(original))

    @functools.wraps(original)
    async def open_transport(*args: Any, **kwargs: Any) -> Any:
        return await call(None, *args, **kwargs)

    return open_transport


def _tcp_is_up(tracing: Tracing[Any], original: Callable[..., Any]) -> Callable[..., Any]:
    """For the beginning of the protocol that asks for TLS, which asyncio makes when it has connected."""

    @functools.wraps(original)
    def __init__(self: Any, /, *args: Any, **kwargs: Any) -> Any:
        connecting = _trying.get()
        if connecting is not None:
            connecting.secured_since = perf_counter()
        return original(self, *args, **kwargs)

    return __init__


def _secured(tracing: Tracing[Any], original: Callable[..., Any]) -> Callable[..., Any]:
    """For the function that connects with TLS."""

    @functools.wraps(original)
    async def create_ssl_connection(*args: Any, **kwargs: Any) -> Any:
        try:
            return await original(*args, **kwargs)
        finally:
            connecting = _trying.get()
            if connecting is not None and connecting.secured_since:
                connecting.took(CAUSAL_CONNECT_TLS, perf_counter() - connecting.secured_since)
                connecting.secured_since = 0.0

    return create_ssl_connection


def _watch_names(tracing: Tracing[Any]) -> Callable[[], None]:
    """See how long asyncio's own loops look up names for asyncpg: it asks nobody else. uvloop's does not tell."""
    loop: Any = base_events.BaseEventLoop
    original = vars(loop).get("_ensure_resolved")
    if original is None:
        return lambda: None

    async def timed(self: Any, connecting: _Connecting, args: Args, kwargs: Kwargs) -> Any:
        since = perf_counter()
        try:
            return await original(self, *args, **kwargs)
        finally:
            connecting.took(CAUSAL_CONNECT_DNS, perf_counter() - since)

    @functools.wraps(original)
    def ensure_resolved(self: Any, /, *args: Any, **kwargs: Any) -> Any:
        connecting = _trying.get()
        if connecting is None:
            return original(self, *args, **kwargs)
        return timed(self, connecting, args, kwargs)

    loop._ensure_resolved = ensure_resolved

    def undo() -> None:
        if vars(loop).get("_ensure_resolved") is ensure_resolved:
            loop._ensure_resolved = original

    return undo


_MODULE = "asyncpg.connect_utils"

TARGETS = (
    # Both when the package is complete: it copies the one, which is to be the driver's own, to the other.
    Wrap("asyncpg", "connect", _connect),
    Wrap("asyncpg", "connection.connect", _connect),
    Wrap(_MODULE, "_connect", _connect, optional=True),  # for whoever has imported one of them before
    Wrap(_MODULE, "_connect_addr", _trying_address, optional=True),
    Wrap(_MODULE, "__connect_addr", _detached, optional=True),
    Wrap(_MODULE, "_create_ssl_connection", _secured, optional=True),
    Wrap(_MODULE, "TLSUpgradeProto.__init__", _tcp_is_up, optional=True),
    Wrap(_MODULE, "_can_use_connection", suppressed, optional=True),
    Connect(_MODULE, _watch_names),
)
"""The targets. Those that are optional are private: if one is missing, the others are placed."""
