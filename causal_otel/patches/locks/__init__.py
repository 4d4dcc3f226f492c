"""Locks and queues: what a span waited for another task for, and which one had the lock.

``causal.lock.wait`` is how long it was. A wait that takes as long as slow plumbing (``slow_plumbing``, 10 ms) is an
INTERNAL span of its own, named ``wait Lock``, ``wait Semaphore``, ``wait Queue.get`` and so on. It has
``causal.lock.kind``, how many waited already (``causal.lock.waiting``), how many may have it at a time
(``causal.lock.size``) and, if one task had it and that is known, the task's name (``causal.lock.holder``) and a link to
the span that was current in it (``causal.link`` is ``holder``). Shorter waits are added up on the span that was
current. A wait that is cancelled or times out is marked ``causal.cancelled``.

* anyio, on asyncio and trio: ``Lock``, ``Semaphore``, ``CapacityLimiter``. The holder is known of locks, and of
  limiters with one token.
* asyncio: ``Lock``, ``Semaphore``, ``BoundedSemaphore``, the ``wait`` of a ``Condition`` until it is notified and has
  its lock back, ``Queue.get`` and ``put``. The holder is known of locks, and of semaphores for one.
* threading: ``acquire`` of a ``Lock``, ``RLock``, ``Semaphore`` or ``BoundedSemaphore`` that is awaited in a thread, by
  ``asyncio.to_thread`` or ``run_in_executor`` (while the patch ``threads`` is at work) or ``anyio.to_thread.run_sync``.
  What the job waited for a thread is no part of it. ``causal.lock.acquired`` is false where it was given up.

Nothing is told of a lock that is free, outside of any recorded span, of a task that has outlived the span that it was
started in, nor where a driver waits, whose patch tells that as a part of its call. ``Event`` is no lock: who sets it is
not in anybody's way.

``TRACING_LOCK_WAITS=false`` leaves this patch out.

Options: :class:`LocksOptions`.
"""

from __future__ import annotations

from dataclasses import dataclass

from causal_otel.instrument.declaration import Patch, Wrap
from causal_otel.instrument.options import Options
from causal_otel.names import (
    CAUSAL_ABANDONED,
    CAUSAL_CANCELLED,
    CAUSAL_LOCK_ACQUIRED,
    CAUSAL_LOCK_HOLDER,
    CAUSAL_LOCK_KIND,
    CAUSAL_LOCK_SIZE,
    CAUSAL_LOCK_WAIT,
    CAUSAL_LOCK_WAITING,
    ERROR_TYPE,
)
from causal_otel.patches.locks import anyio_locks, asyncio_locks, asyncio_queues, thread_locks

__all__ = ["PATCH", "LocksOptions"]


@dataclass(frozen=True, kw_only=True)
class LocksOptions(Options):
    """The options of this patch.

    The hooks are never called.

    Args:
        excluded: patterns of the kinds that nothing is told of, such as ``"asyncio.Queue.*"``.
        slow_plumbing: seconds. A wait that takes longer is a span of its own. None: what the setting ``slow_plumbing``
            says, which is 0.01 by default.
    """

    slow_plumbing: float | None = None


PATCH = Patch(
    name="locks",
    versions={},
    options=LocksOptions,
    targets=(
        Wrap("asyncio.locks", "Lock.acquire", asyncio_locks.lock_acquire),
        Wrap("asyncio.locks", "Lock.release", asyncio_locks.lock_release),
        Wrap("asyncio.locks", "Semaphore.__init__", asyncio_locks.semaphore_init),
        Wrap("asyncio.locks", "Semaphore.acquire", asyncio_locks.semaphore_acquire),
        Wrap("asyncio.locks", "Semaphore.release", asyncio_locks.semaphore_release),
        Wrap("asyncio.locks", "Condition.wait", asyncio_locks.condition_wait),
        Wrap("asyncio.queues", "Queue.get", asyncio_queues.queue_get),
        Wrap("asyncio.queues", "Queue.put", asyncio_queues.queue_put),
        *anyio_locks.TARGETS,
        *thread_locks.TARGETS,
    ),
    records=(
        CAUSAL_LOCK_ACQUIRED,
        *(CAUSAL_LOCK_HOLDER, CAUSAL_LOCK_KIND, CAUSAL_LOCK_SIZE, CAUSAL_LOCK_WAIT, CAUSAL_LOCK_WAITING),
        *(CAUSAL_CANCELLED, CAUSAL_ABANDONED, ERROR_TYPE),
    ),
    never=("items of queues", "arguments of calls"),
)
