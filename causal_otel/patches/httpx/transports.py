"""Where requests go on the wire: httpx's own transport, and any other that a client has been given.

Each request that httpx's own transport is handed is an attempt, whoever hands it over: a client, or a transport of the
user's own that repeats what failed. Of another transport nobody knows what it does with a request. So its attempt
begins when it is handed one, and is the first that it puts on the wire through httpx's own, if there is any.
"""

from __future__ import annotations

import functools
from typing import TYPE_CHECKING, Any

from causal_otel.patches.httpx.attempts import AsyncAttempt, Attempt
from causal_otel.patches.httpx.beginning import Attempts
from causal_otel.patches.httpx.bodies import async_body, sync_body
from causal_otel.patches.httpx.exchanges import Exchange

if TYPE_CHECKING:
    from collections.abc import Callable
    from types import ModuleType

    from httpx import Request, Response

    from causal_otel.instrument.tracing import Tracing

__all__ = ["choosing", "choosing_async", "own", "own_async"]

_OURS = "_causal_itself"


def _ours(function: Callable[..., Any]) -> Callable[..., Any]:
    """Mark what stands for the method of httpx's own transport. A copy of its attributes marks nothing else."""
    setattr(function, _OURS, function)
    return function


def _is_other(transport: Any, method: str) -> bool:
    """Whether a transport sends by another method than httpx's own, where its attempts would be seen."""
    found = getattr(transport, method, None)
    function = getattr(found, "__func__", None)
    return found is not None and (function is None or getattr(function, _OURS, None) is not function)


def own(library: ModuleType, tracing: Tracing[Any], original: Callable[..., Any]) -> Callable[..., Any]:
    """For the method by which httpx's own transport sends a request."""
    attempts = Attempts(tracing, Attempt, sync_body(library))

    @functools.wraps(original)
    def handle_request(self: Any, request: Request) -> Response:
        if not tracing.active:
            return original(self, request)  # type: ignore[no-any-return]
        attempt, sent = attempts.own(self, request)
        if attempt is None:
            return original(self, sent)  # type: ignore[no-any-return]
        try:
            response: Response = original(self, sent)
        except BaseException as error:
            attempts.failed(attempt, error)
            raise
        attempts.answered(attempt, request, response)
        return response

    return _ours(handle_request)


def own_async(library: ModuleType, tracing: Tracing[Any], original: Callable[..., Any]) -> Callable[..., Any]:
    """The same, of an asynchronous one."""
    attempts = Attempts(tracing, AsyncAttempt, async_body(library))

    @functools.wraps(original)
    async def handle_async_request(self: Any, request: Request) -> Response:
        if not tracing.active:
            return await original(self, request)  # type: ignore[no-any-return]
        attempt, sent = attempts.own(self, request)
        if attempt is None:
            return await original(self, sent)  # type: ignore[no-any-return]
        try:
            response: Response = await original(self, sent)
        except BaseException as error:
            attempts.failed(attempt, error)
            raise
        attempts.answered(attempt, request, response)
        return response

    return _ours(handle_async_request)


def choosing(library: ModuleType, tracing: Tracing[Any], original: Callable[..., Any]) -> Callable[..., Any]:
    """For the method by which a client chooses the transport of a request: any but its own is one of these."""
    attempts = Attempts(tracing, Attempt, sync_body(library))

    @functools.wraps(original)
    def _transport_for_url(self: Any, /, *args: Any, **kwargs: Any) -> Any:
        transport = original(self, *args, **kwargs)
        return _Other(attempts, transport) if tracing.active and _is_other(transport, "handle_request") else transport

    return _transport_for_url


def choosing_async(library: ModuleType, tracing: Tracing[Any], original: Callable[..., Any]) -> Callable[..., Any]:
    """The same, of an asynchronous client."""
    attempts = Attempts(tracing, AsyncAttempt, async_body(library))

    @functools.wraps(original)
    def _transport_for_url(self: Any, /, *args: Any, **kwargs: Any) -> Any:
        transport = original(self, *args, **kwargs)
        return (
            _AsyncOther(attempts, transport)
            if tracing.active and _is_other(transport, "handle_async_request")
            else transport
        )

    return _transport_for_url


class _Other:
    """A transport that is not httpx's own, as a client is given it for one request.

    Args:
        attempts: begins and ends them.
        transport: the transport.
    """

    __slots__ = ("_attempts", "_transport")

    def __init__(self, attempts: Attempts, transport: Any) -> None:
        self._attempts = attempts
        self._transport = transport

    def __getattr__(self, name: str) -> Any:
        return getattr(self._transport, name)

    def handle_request(self, request: Request) -> Response:
        exchange = Exchange(self._attempts, request)
        try:
            response: Response = self._transport.handle_request(exchange.request)
        except BaseException as error:
            exchange.failed(error)
            raise
        exchange.answered(response)
        return response


class _AsyncOther(_Other):
    """The same, of an asynchronous client."""

    __slots__ = ()

    async def handle_async_request(self, request: Request) -> Response:
        exchange = Exchange(self._attempts, request)
        try:
            response: Response = await self._transport.handle_async_request(exchange.request)
        except BaseException as error:
            exchange.failed(error)
            raise
        exchange.answered(response)
        return response
