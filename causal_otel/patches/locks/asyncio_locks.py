"""``asyncio.Lock``, ``Semaphore`` and ``Condition``: what is free is taken here, waiting is left to asyncio's methods.

asyncio does not know who holds a lock, so it is noted when it is acquired. That may cost 50 ns in all. One more call of
a Python function costs 35, and asking which task is running 25. So the few lines by which asyncio's method takes a lock
that is free stand here as well, and call nothing more. They do so only where that method is the one that is known: see
:func:`reads_only`.

The note stands in the lock's ``__dict__``, and goes when the lock is released: a task that is over must not stay alive
for it, or asyncio would be late to tell of an exception that nobody has asked the task for.
"""

from __future__ import annotations

import asyncio
import functools
import sys
from asyncio.tasks import current_task
from types import FunctionType
from typing import TYPE_CHECKING, Any

from causal_otel.patches.locks.holders import running_task, running_tasks
from causal_otel.patches.locks.waiting import Waits

if TYPE_CHECKING:
    from collections.abc import Callable

    from causal_otel.instrument.tracing import Tracing
    from causal_otel.patches.locks.waiting import Look

__all__ = [
    "condition_wait",
    "lock_acquire",
    "lock_release",
    "reads_only",
    "semaphore_acquire",
    "semaphore_init",
    "semaphore_release",
]

_WAITING = ("_get_loop", "create_future", "append", "remove", "collections", "deque", "exceptions", "CancelledError")
_ACQUIRE_LOCK = frozenset(("_locked", "_waiters", "all", "_wake_up_first", *_WAITING))
_RELEASE_LOCK = frozenset(("_locked", "_wake_up_first", "RuntimeError"))
_ACQUIRE_SEMAPHORE = frozenset(("locked", "_value", "_waiters", "_wake_up_next", "done", "cancelled", *_WAITING))


def reads_only(original: Callable[..., Any], names: frozenset[str]) -> bool:
    """Whether a method is asyncio's own and does nothing but with these names, so that its first lines are known."""
    return (
        type(original) is FunctionType
        and original.__globals__.get("__package__") == "asyncio"  # of a wrapper __module__ may be a copy
        and names.issuperset(original.__code__.co_names)
    )


# -- Lock -------------------------------------------------------------------------------------------------------------


def _look(lock: Any) -> Look:
    waiters = lock._waiters
    return len(waiters) if waiters else 0, getattr(lock, "_causal_holder", None)


def lock_acquire(tracing: Tracing[Any], original: Callable[..., Any]) -> Callable[..., Any]:
    """For ``asyncio.Lock.acquire``."""
    waits = Waits(tracing, "asyncio.Lock", _look)
    if not reads_only(original, _ACQUIRE_LOCK):
        return waits.around(original, lambda lock: lock._locked)

    if sys.version_info >= (3, 12):

        @functools.wraps(original)
        async def acquire(self: Any) -> Any:
            if not self._locked and not self._waiters:
                self._locked = True
                try:
                    self._causal_holder = current_task()
                except RuntimeError:  # there is no loop; a lock that is free can be had without
                    self._causal_holder = None
                return True
            result = await waits.during(original, self)
            self._causal_holder = running_task()
            return result

    else:  # current_task() costs a third of a microsecond

        @functools.wraps(original)
        async def acquire(self: Any) -> Any:
            if not self._locked and not self._waiters:
                self._locked = True
                for self._causal_holder in running_tasks:
                    break
                return True
            result = await waits.during(original, self)
            self._causal_holder = running_task()
            return result

    return acquire


def lock_release(tracing: Tracing[Any], original: Callable[..., Any]) -> Callable[..., Any]:
    """For ``asyncio.Lock.release``."""
    if not reads_only(original, _RELEASE_LOCK):
        return original

    @functools.wraps(original)
    def release(self: Any) -> None:
        if self._locked and not self._waiters:
            self._locked = False
        else:
            original(self)
        self._causal_holder = None

    return release


# -- Semaphore --------------------------------------------------------------------------------------------------------


def _size(semaphore: Any) -> int | None:
    return getattr(semaphore, "_bound_value", None) or getattr(semaphore, "_causal_size", None)


def _look_at_semaphore(semaphore: Any) -> Look:
    waiting, holder = _look(semaphore)
    return waiting, holder if _size(semaphore) == 1 else None


def semaphore_init(tracing: Tracing[Any], original: Callable[..., Any]) -> Callable[..., Any]:
    """For ``asyncio.Semaphore.__init__``: a semaphore does not remember how many may have it at a time."""

    @functools.wraps(original)
    def init(self: Any, *args: Any, **kwargs: Any) -> None:
        original(self, *args, **kwargs)
        self._causal_size = getattr(self, "_value", None)  # not by its __dict__, which would slow all access down

    return init


def semaphore_acquire(tracing: Tracing[Any], original: Callable[..., Any]) -> Callable[..., Any]:
    """For ``asyncio.Semaphore.acquire``, which ``BoundedSemaphore`` inherits."""
    plain = Waits(tracing, "asyncio.Semaphore", _look_at_semaphore, _size)
    bounded = Waits(tracing, "asyncio.BoundedSemaphore", _look_at_semaphore, _size)
    if not reads_only(original, _ACQUIRE_SEMAPHORE):
        return plain.around(original, lambda semaphore: semaphore._value <= 0)

    @functools.wraps(original)
    async def acquire(self: Any) -> Any:
        if self._value > 0 and not self._waiters:
            kind = type(self)
            if kind is not asyncio.Semaphore and kind is not asyncio.BoundedSemaphore:
                return await original(self)  # locked() may be another one
            self._value -= 1
            self._causal_holder = running_task()
            return True
        waits = bounded if isinstance(self, asyncio.BoundedSemaphore) else plain
        result = await waits.during(original, self)
        self._causal_holder = running_task()
        return result

    return acquire


def semaphore_release(tracing: Tracing[Any], original: Callable[..., Any]) -> Callable[..., Any]:
    """For ``asyncio.Semaphore.release``."""

    @functools.wraps(original)
    def release(self: Any) -> Any:
        self._causal_holder = None
        return original(self)

    return release


# -- Condition --------------------------------------------------------------------------------------------------------


def condition_wait(tracing: Tracing[Any], original: Callable[..., Any]) -> Callable[..., Any]:
    """For ``asyncio.Condition.wait``: until it is notified, and has its lock back."""
    return Waits(tracing, "asyncio.Condition", lambda condition: (len(condition._waiters), None)).around(original)
