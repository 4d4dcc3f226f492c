"""HTTP requests that ask for GraphQL operations, and the SERVER spans that tell of them."""

from __future__ import annotations

import functools
from collections.abc import Callable, Mapping
from contextvars import Token
from typing import TYPE_CHECKING, Any

from causal_otel._internal import faults
from causal_otel.instrument.tracing import Tracing
from causal_otel.patches._http_server import EXCHANGE
from causal_otel.patches.strawberry.operations import Teller, end_telling, teller

if TYPE_CHECKING:
    from causal_otel.patches.strawberry.described import Described

__all__ = ["HttpRequest", "wrap_parse", "wrap_parse_sync", "wrap_run", "wrap_run_sync"]


class HttpRequest:
    """A request whose response tells the results of one operation, or of a batch of them.

    Args:
        exchange: what the asgi patch knows of it; None: nobody traces it.
    """

    streams = False

    def __init__(self, exchange: Any) -> None:
        self._exchange = exchange
        self.batch = False

    def has_spans(self) -> bool:
        """Whether an operation is a span of its own: one of a batch, and where there is no SERVER span to tell."""
        return self.batch or self._exchange is None

    def tell(self, described: Described) -> None:
        """An operation is over."""
        exchange, failure = self._exchange, described.failure
        if exchange is None:
            return
        if not self.batch:
            exchange.operated(described.name, described.attributes)
        if failure is not None and not failure.refused:  # else the status says so: 400
            exchange.failed(failure.error_type, failure.description, () if self.batch else failure.exceptions)


def _scope_of(request: object) -> Mapping[str, Any]:
    """The ASGI scope or the WSGI environ of a framework's request; empty: it has none."""
    for name in ("scope", "environ", "META"):  # META: Django's environ
        found = getattr(request, name, None)
        if isinstance(found, Mapping):
            return found
    return {}


def _begin(args: tuple[Any, ...], options: dict[str, Any]) -> Token[Teller | None] | None:
    try:
        found = _scope_of(args[0] if args else options.get("request"))
        if found.get("type") == "websocket":
            return None  # each of its operations is a span
        return teller.set(HttpRequest(found.get(EXCHANGE)))
    except Exception:
        faults.report("strawberry: request")
        return None


def wrap_run(tracing: Tracing[Any], original: Callable[..., Any]) -> Callable[..., Any]:
    """Wraps the view's method that serves a request."""

    @functools.wraps(original)
    async def run(self: Any, *args: Any, **options: Any) -> Any:
        token = _begin(args, options) if tracing.active else None
        try:
            return await original(self, *args, **options)
        finally:
            if token is not None:
                end_telling(token)

    return run


def wrap_run_sync(tracing: Tracing[Any], original: Callable[..., Any]) -> Callable[..., Any]:
    """The same of the synchronous view."""

    @functools.wraps(original)
    def run(self: Any, *args: Any, **options: Any) -> Any:
        token = _begin(args, options) if tracing.active else None
        try:
            return original(self, *args, **options)
        finally:
            if token is not None:
                end_telling(token)

    return run


def _note_batch(parsed: Any) -> None:
    request = teller.get()
    if isinstance(request, HttpRequest):
        request.batch = isinstance(parsed, list)


def wrap_parse(tracing: Tracing[Any], original: Callable[..., Any]) -> Callable[..., Any]:
    """Wraps the view's method that reads the body of a request: which may ask for a batch of operations."""

    @functools.wraps(original)
    async def parse_http_body(self: Any, *args: Any, **options: Any) -> Any:
        parsed = await original(self, *args, **options)
        _note_batch(parsed)
        return parsed

    return parse_http_body


def wrap_parse_sync(tracing: Tracing[Any], original: Callable[..., Any]) -> Callable[..., Any]:
    """The same of the synchronous view."""

    @functools.wraps(original)
    def parse_http_body(self: Any, *args: Any, **options: Any) -> Any:
        parsed = original(self, *args, **options)
        _note_batch(parsed)
        return parsed

    return parse_http_body
