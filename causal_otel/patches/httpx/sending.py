"""What one ``send()`` of a client puts on the wire: its first request, and those that repeat it.

The client follows redirects and repeats requests for authentication; a transport of the user's own may repeat a request
that failed. All of them are counted together.
"""

from __future__ import annotations

import functools
import inspect
from contextvars import ContextVar, Token
from typing import TYPE_CHECKING, Any

from causal_otel._internal import faults
from causal_otel.engine import context
from causal_otel.instrument.calls import argument
from causal_otel.patches._http_client.servers import is_excluded

if TYPE_CHECKING:
    from collections.abc import Callable
    from types import ModuleType

    from causal_otel.instrument.calls import Args, Kwargs
    from causal_otel.instrument.tracing import Tracing
    from causal_otel.patches.httpx.exchanges import Exchange
    from causal_otel.patches.httpx.options import HttpxOptions

__all__ = ["Sending", "sending", "wrap_send"]


class Sending:
    """One ``send()``, or one request through a transport of the user's own.

    Attributes:
        number: how many requests it has put on the wire.
        exchange: what goes on in a transport of the user's own; None: it is in none.
    """

    __slots__ = ("exchange", "number")

    def __init__(self) -> None:
        self.number = 0
        self.exchange: Exchange | None = None


sending: ContextVar[Sending | None] = ContextVar("causal_otel_httpx_sending", default=None)
"""The one under way in this task or thread."""


def _excluded(tracing: Tracing[HttpxOptions], args: Args, kwargs: Kwargs) -> context.Activation | None:
    """What is current meanwhile, if the request is excluded."""
    try:
        if tracing.wanted() and is_excluded(tracing.excluded, argument(0, "request", args, kwargs).url):
            return context.attach(context.with_span(tracing.start_excluded()))
    except Exception:
        faults.report("httpx: excluded")
    return None


def _end(token: Token[Sending | None], activation: context.Activation | None) -> None:
    try:  # noqa: SIM105  # no suppress(): that takes as long as all the rest
        sending.reset(token)
    except ValueError:
        pass  # a coroutine that was never awaited to its end goes in another Context
    if activation is not None:
        activation.end()


def wrap_send(library: ModuleType, tracing: Tracing[HttpxOptions], original: Callable[..., Any]) -> Callable[..., Any]:
    """For the method of a client that follows redirects and repeats requests for authentication."""
    if inspect.iscoroutinefunction(original):

        @functools.wraps(original)
        async def async_send(self: Any, /, *args: Any, **kwargs: Any) -> Any:
            if not tracing.active:
                return await original(self, *args, **kwargs)
            activation = None if tracing.excluded is None else _excluded(tracing, args, kwargs)
            token = sending.set(Sending())
            try:
                return await original(self, *args, **kwargs)
            finally:
                _end(token, activation)

        return async_send

    @functools.wraps(original)
    def send(self: Any, /, *args: Any, **kwargs: Any) -> Any:
        if not tracing.active:
            return original(self, *args, **kwargs)
        activation = None if tracing.excluded is None else _excluded(tracing, args, kwargs)
        token = sending.set(Sending())
        try:
            return original(self, *args, **kwargs)
        finally:
            _end(token, activation)

    return send
