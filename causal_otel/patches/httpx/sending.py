"""What one ``send()`` of a client puts on the wire: its first request, and those that repeat it.

The client follows redirects and repeats requests for authentication; a transport of the user's own may repeat a request
that failed. All of them are counted together.
"""

from __future__ import annotations

import functools
import inspect
from contextlib import suppress
from contextvars import ContextVar, Token
from typing import TYPE_CHECKING, Any

from causal_otel._internal import faults
from causal_otel.engine import context
from causal_otel.instrument.calls import argument
from causal_otel.patches.httpx.servers import is_excluded

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


class _Begun:
    """That one is under way.

    Args:
        tracing: the patch's handle.
        args: the arguments of the client's method that sends.
        kwargs: likewise.
    """

    __slots__ = ("_activation", "_token")

    def __init__(self, tracing: Tracing[HttpxOptions], args: Args, kwargs: Kwargs) -> None:
        self._activation: context.Activation | None = None
        if tracing.excluded is not None:
            try:
                if tracing.wanted() and is_excluded(tracing.excluded, argument(0, "request", args, kwargs)):
                    self._activation = context.attach(context.with_span(tracing.start_excluded()))
            except Exception:
                faults.report("httpx: excluded")
        self._token: Token[Sending | None] = sending.set(Sending())

    def end(self) -> None:
        with suppress(ValueError):  # a coroutine that was never awaited to its end goes in another Context
            sending.reset(self._token)
        if self._activation is not None:
            self._activation.end()


def wrap_send(library: ModuleType, tracing: Tracing[HttpxOptions], original: Callable[..., Any]) -> Callable[..., Any]:
    """For the method of a client that follows redirects and repeats requests for authentication."""
    if inspect.iscoroutinefunction(original):

        @functools.wraps(original)
        async def async_send(self: Any, /, *args: Any, **kwargs: Any) -> Any:
            if not tracing.active:
                return await original(self, *args, **kwargs)
            begun = _Begun(tracing, args, kwargs)
            try:
                return await original(self, *args, **kwargs)
            finally:
                begun.end()

        return async_send

    @functools.wraps(original)
    def send(self: Any, /, *args: Any, **kwargs: Any) -> Any:
        if not tracing.active:
            return original(self, *args, **kwargs)
        begun = _Begun(tracing, args, kwargs)
        try:
            return original(self, *args, **kwargs)
        finally:
            begun.end()

    return send
