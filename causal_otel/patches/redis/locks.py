"""``Lock.acquire()``: one operation, however often it asks.

redis-py has no blocking command for a lock: it sends ``SET key token NX`` again and again, with a pause between. What
the caller did is to wait for a lock, so these commands are no spans. ``causal.lock.wait`` is the time from when the
lock was found to be another's until the attempt that got it, or until waiting was given up.
"""

from __future__ import annotations

import functools
import inspect
from time import perf_counter
from typing import TYPE_CHECKING, Any

from opentelemetry.context import Context, create_key

from causal_otel.engine import context
from causal_otel.instrument import parts
from causal_otel.instrument.calls import excluded_call, traced_call
from causal_otel.instrument.declaration import Wrap
from causal_otel.names import CAUSAL_LOCK_ACQUIRED, CAUSAL_LOCK_WAIT, CAUSAL_SERVER
from causal_otel.patches.redis.errors import RAISED
from causal_otel.patches.redis.operations import named
from causal_otel.patches.redis.routes import Routed

if TYPE_CHECKING:
    from collections.abc import Callable

    from causal_otel.instrument.awaiting import Call
    from causal_otel.instrument.calls import Args, Kwargs
    from causal_otel.instrument.operation import Running
    from causal_otel.instrument.tracing import Tracing

__all__ = ["targets"]

_KEY = create_key("causal-otel-redis-lock")


class _Acquire(Routed):
    """Getting a lock.

    Args:
        running: the operation.
    """

    def __init__(self, running: Running) -> None:
        super().__init__(running, suppressed=True)
        self.inside = Context({**(self.inside or {}), _KEY: self})
        self._refused: float | None = None
        self._tried = 0.0

    def trying(self) -> None:
        """An attempt begins."""
        self._tried = perf_counter()
        if self._refused is not None:
            parts.forget(self._refused)  # what attempts in vain waited for is part of the wait for the lock

    def tried(self, *, acquired: bool) -> None:
        """It is over."""
        if not acquired and self._refused is None:
            self._refused = perf_counter()

    def end(self, result: Any = None, error: BaseException | None = None) -> None:
        """There is a lock, or waiting for it was given up."""
        acquired = result is True
        if self._refused is not None:
            until = self._tried
            if not acquired:
                until = perf_counter()
                parts.forget(self._refused)
            parts.note(CAUSAL_LOCK_WAIT, until - self._refused)
        if error is None:
            self._running.learn({CAUSAL_LOCK_ACQUIRED: acquired})
        super().end(result, error)


def _begin(tracing: Tracing[Any], lock: Any, args: Args, kwargs: Kwargs) -> Call | None:
    operation = named("LOCK", getattr(lock, "redis", None))
    if operation is None:
        return None
    if tracing.excluded is not None and operation.fits(tracing.excluded):
        return excluded_call(tracing)
    running = tracing.leaf(operation, RAISED, (lock, args, kwargs))
    if running is None:
        return None
    running.take_notes(CAUSAL_SERVER)
    return _Acquire(running)


def _trying(tracing: Tracing[Any], original: Callable[..., Any]) -> Callable[..., Any]:
    """For the method that asks for a lock once."""
    if inspect.iscoroutinefunction(original):

        @functools.wraps(original)
        async def async_do_acquire(self: Any, /, *args: Any, **kwargs: Any) -> Any:
            acquire = context.current().get(_KEY)
            if not isinstance(acquire, _Acquire):
                return await original(self, *args, **kwargs)
            acquire.trying()
            result = await original(self, *args, **kwargs)
            acquire.tried(acquired=result is True)
            return result

        return async_do_acquire

    @functools.wraps(original)
    def do_acquire(self: Any, /, *args: Any, **kwargs: Any) -> Any:
        acquire = context.current().get(_KEY)
        if not isinstance(acquire, _Acquire):
            return original(self, *args, **kwargs)
        acquire.trying()
        result = original(self, *args, **kwargs)
        acquire.tried(acquired=result is True)
        return result

    return do_acquire


def targets(driver: str) -> tuple[Wrap, ...]:
    """Where that is.

    Args:
        driver: the package, ``redis`` or ``valkey``.
    """
    acquire = traced_call(_begin)
    return tuple(
        Wrap(module, f"Lock.{method}", wrap)
        for module in (f"{driver}.lock", f"{driver}.asyncio.lock")
        for method, wrap in {"acquire": acquire, "do_acquire": _trying}.items()
    )
