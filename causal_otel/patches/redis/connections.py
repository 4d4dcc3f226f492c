"""What a command waits for before it is sent: a connection, the pause before another attempt.

All of it happens inside the call of a command, in methods that know nothing of it. Each leaves a note of its time (see
:mod:`causal_otel.instrument.parts`), and the command takes the notes at its end. Only what is called for that purpose
is wrapped: nothing of it runs for a command that finds a connection which is open.

Of asyncio's half neither ``causal.connect.dns`` nor ``.tls`` is known: its event loop does both, in one call. The
synchronous half looks names up inside of the call that connects: see :mod:`causal_otel.patches.redis.modules`.
"""

from __future__ import annotations

import functools
import inspect
from time import perf_counter
from typing import TYPE_CHECKING, Any

from causal_otel.instrument import parts
from causal_otel.instrument.calls import detached
from causal_otel.instrument.declaration import Wrap
from causal_otel.names import (
    CAUSAL_CONNECT,
    CAUSAL_CONNECT_TLS,
    CAUSAL_DISCOVERY,
    CAUSAL_RETRY_WAIT,
)

if TYPE_CHECKING:
    from collections.abc import Callable

    from causal_otel.instrument.calls import Wrapper
    from causal_otel.instrument.tracing import Tracing

__all__ = ["discovering", "targets"]

_BACKOFFS = tuple(
    f"{kind}Backoff.compute"
    for kind in ("Constant", "DecorrelatedJitter", "EqualJitter", "Exponential", "ExponentialWithJitter", "FullJitter")
)


def _part(told: Callable[[float], None]) -> Wrapper:
    """A wrapper that tells when the call began, as soon as it is over."""

    def wrap(tracing: Tracing[Any], original: Callable[..., Any]) -> Callable[..., Any]:
        if inspect.iscoroutinefunction(original):

            @functools.wraps(original)
            async def async_call(*args: Any, **kwargs: Any) -> Any:
                began = perf_counter()
                try:
                    return await original(*args, **kwargs)
                finally:
                    told(began)

            return async_call

        @functools.wraps(original)
        def call(*args: Any, **kwargs: Any) -> Any:
            began = perf_counter()
            try:
                return original(*args, **kwargs)
            finally:
                told(began)

        return call

    return wrap


def _connected(began: float) -> None:
    # The parts inside are told by themselves, those of another class of connections among them.
    parts.note(CAUSAL_CONNECT, perf_counter() - began - parts.noted(began))


def _secured(began: float) -> None:
    parts.note(CAUSAL_CONNECT_TLS, perf_counter() - began)


def _discovered(began: float) -> None:
    parts.forget(began)  # connecting to those who are asked is part of it
    parts.note(CAUSAL_DISCOVERY, perf_counter() - began)


def _paused(began: float) -> None:
    parts.note(CAUSAL_RETRY_WAIT, perf_counter() - began)
    parts.retried()


_connecting = _part(_connected)
_securing = _part(_secured)
discovering = _part(_discovered)
"""A wrapper for what finds the server."""
_pausing = _part(_paused)


def _opening(tracing: Tracing[Any], original: Callable[..., Any]) -> Callable[..., Any]:
    return _connecting(tracing, detached(tracing, original))


def _backing_off(tracing: Tracing[Any], original: Callable[..., Any]) -> Callable[..., Any]:
    """For what says how long to pause: without a pause, this alone tells of another attempt."""

    @functools.wraps(original)
    def compute(self: Any, /, *args: Any, **kwargs: Any) -> Any:
        seconds = original(self, *args, **kwargs)
        if not isinstance(seconds, int | float) or seconds <= 0:
            parts.retried()
        return seconds

    return compute


def targets(driver: str) -> tuple[Wrap, ...]:
    """Where all that is.

    Args:
        driver: the package, ``redis`` or ``valkey``.
    """
    plain, asynchronous = f"{driver}.connection", f"{driver}.asyncio.connection"
    return (
        *(
            Wrap(module, f"{name}._connect", _opening)
            for module in (plain, asynchronous)
            for name in ("Connection", "UnixDomainSocketConnection")
        ),
        Wrap(plain, "SSLConnection._connect", _connecting),
        Wrap(plain, "SSLConnection._wrap_socket_with_ssl", _securing, optional=True),  # since 5.1
        *(Wrap(module, "AbstractConnection.on_connect", _connecting) for module in (plain, asynchronous)),
        *(
            Wrap(module, "AbstractConnection.on_connect_check_health", _connecting, optional=True)  # since 6
            for module in (plain, asynchronous)
        ),
        Wrap(f"{driver}.retry", "sleep", _pausing),
        Wrap(f"{driver}.asyncio.retry", "sleep", _pausing),
        *(Wrap(f"{driver}.backoff", name, _backing_off, optional=True) for name in _BACKOFFS),
    )
