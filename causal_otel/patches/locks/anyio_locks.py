"""anyio's ``Lock``, ``Semaphore`` and ``CapacityLimiter``, of both of its back ends.

anyio knows who has a lock, so nothing is noted here. Each replacement looks whether it has to be waited for and returns
the coroutine of anyio's own method if not: one more function, 50 ns. It is marked as a coroutine function and is none,
which would cost three times that. ``inspect.iscoroutinefunction`` knows of such marks from Python 3.12 on,
``asyncio.iscoroutinefunction``, which frameworks and mocks ask, on all.
"""

from __future__ import annotations

import asyncio
import functools
import inspect
import sys
from typing import TYPE_CHECKING, Any

from causal_otel.instrument.declaration import Wrap
from causal_otel.patches.locks.waiting import Waits

if TYPE_CHECKING:
    from collections.abc import Callable

    from causal_otel.instrument.tracing import Tracing
    from causal_otel.patches.locks.waiting import Look

__all__ = ["TARGETS"]

_ASYNCIO, _TRIO = "anyio._backends._asyncio", "anyio._backends._trio"


def _marked(replacement: Callable[..., Any]) -> Callable[..., Any]:
    """A plain function that returns a coroutine, marked as a coroutine function."""
    if sys.version_info >= (3, 12):
        inspect.markcoroutinefunction(replacement)
    else:
        replacement._is_coroutine = asyncio.coroutines._is_coroutine  # type: ignore[attr-defined]
    return replacement


def _one_borrower(borrowers: set[Any], tokens: float) -> Any:
    """The task that has the only token of a limiter; None: there are several, or what has it is no task."""
    if tokens != 1 or len(borrowers) != 1:
        return None
    (borrower,) = borrowers
    return borrower if hasattr(borrower, "get_name") or hasattr(borrower, "context") else None


# -- on asyncio -------------------------------------------------------------------------------------------------------


def _lock(tracing: Tracing[Any], original: Callable[..., Any]) -> Callable[..., Any]:
    waits = Waits(tracing, "anyio.Lock", lambda lock: (len(lock._waiters), lock._owner_task))

    @functools.wraps(original)
    def acquire(self: Any) -> Any:
        try:
            if self._owner_task is None and not self._waiters:
                return original(self)
        except AttributeError:
            return original(self)
        return waits.during(original, self)

    return _marked(acquire)


def _semaphore(tracing: Tracing[Any], original: Callable[..., Any]) -> Callable[..., Any]:
    waits = Waits(
        tracing,
        "anyio.Semaphore",
        lambda semaphore: (len(semaphore._waiters), None),
        lambda semaphore: semaphore.max_value,
    )

    @functools.wraps(original)
    def acquire(self: Any) -> Any:
        try:
            if self._value > 0 and not self._waiters:
                return original(self)
        except AttributeError:
            return original(self)
        return waits.during(original, self)

    return _marked(acquire)


def _look_at_limiter(limiter: Any) -> Look:
    return len(limiter._wait_queue), _one_borrower(limiter._borrowers, limiter._total_tokens)


def _limiter(tracing: Tracing[Any], original: Callable[..., Any]) -> Callable[..., Any]:
    waits = Waits(tracing, "anyio.CapacityLimiter", _look_at_limiter, lambda limiter: limiter.total_tokens)

    @functools.wraps(original)
    def acquire_on_behalf_of(self: Any, borrower: object) -> Any:
        try:
            if len(self._borrowers) < self._total_tokens and not self._wait_queue:
                return original(self, borrower)
        except AttributeError:
            return original(self, borrower)
        return waits.during(original, self, borrower)

    return _marked(acquire_on_behalf_of)


# -- on trio: each is one of trio's behind a private name -------------------------------------------------------------


def _trio_lock(tracing: Tracing[Any], original: Callable[..., Any]) -> Callable[..., Any]:
    def look(lock: Any) -> Look:
        found = lock._Lock__original
        return len(found._lot), found._owner

    waits = Waits(tracing, "anyio.Lock", look)

    @functools.wraps(original)
    def acquire(self: Any) -> Any:
        try:
            if self._Lock__original._owner is None:
                return original(self)
        except AttributeError:
            return original(self)
        return waits.during(original, self)

    return _marked(acquire)


def _trio_semaphore(tracing: Tracing[Any], original: Callable[..., Any]) -> Callable[..., Any]:
    waits = Waits(
        tracing,
        "anyio.Semaphore",
        lambda semaphore: (len(semaphore._Semaphore__original._lot), None),
        lambda semaphore: semaphore.max_value,
    )

    @functools.wraps(original)
    def acquire(self: Any) -> Any:
        try:
            if self._Semaphore__original._value > 0:
                return original(self)
        except AttributeError:
            return original(self)
        return waits.during(original, self)

    return _marked(acquire)


def _look_at_trio_limiter(limiter: Any) -> Look:
    found = limiter._CapacityLimiter__original
    return len(found._lot), _one_borrower(found._borrowers, found._total_tokens)


def _trio_limiter(tracing: Tracing[Any], original: Callable[..., Any]) -> Callable[..., Any]:
    waits = Waits(tracing, "anyio.CapacityLimiter", _look_at_trio_limiter, lambda limiter: limiter.total_tokens)

    @functools.wraps(original)
    def acquire(self: Any) -> Any:
        try:
            limiter = self._CapacityLimiter__original
            if len(limiter._borrowers) < limiter._total_tokens and not limiter._lot:
                return original(self)
        except AttributeError:
            return original(self)
        return waits.during(original, self)

    return _marked(acquire)


def _trio_limiter_on_behalf_of(tracing: Tracing[Any], original: Callable[..., Any]) -> Callable[..., Any]:
    waits = Waits(tracing, "anyio.CapacityLimiter", _look_at_trio_limiter, lambda limiter: limiter.total_tokens)

    @functools.wraps(original)
    def acquire_on_behalf_of(self: Any, borrower: object) -> Any:
        try:
            limiter = self._CapacityLimiter__original
            if len(limiter._borrowers) < limiter._total_tokens and not limiter._lot:
                return original(self, borrower)
        except AttributeError:
            return original(self, borrower)
        return waits.during(original, self, borrower)

    return _marked(acquire_on_behalf_of)


TARGETS = (
    Wrap(_ASYNCIO, "Lock.acquire", _lock, optional=True),
    Wrap(_ASYNCIO, "Semaphore.acquire", _semaphore, optional=True),
    Wrap(_ASYNCIO, "CapacityLimiter.acquire_on_behalf_of", _limiter, optional=True),
    Wrap(_TRIO, "Lock.acquire", _trio_lock, optional=True),
    Wrap(_TRIO, "Semaphore.acquire", _trio_semaphore, optional=True),
    Wrap(_TRIO, "CapacityLimiter.__aenter__", _trio_limiter, optional=True),
    Wrap(_TRIO, "CapacityLimiter.acquire", _trio_limiter, optional=True),
    Wrap(_TRIO, "CapacityLimiter.acquire_on_behalf_of", _trio_limiter_on_behalf_of, optional=True),
)
"""What is replaced. Older versions of anyio have some of these classes elsewhere; nothing is told of them then."""
