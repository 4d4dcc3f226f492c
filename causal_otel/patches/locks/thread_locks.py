"""Locks of ``threading`` that somebody awaits: ``asyncio.to_thread(lock.acquire)`` and the like.

These locks are C: nothing can be replaced on them, and a thread that waits for one by itself is not seen. What is seen
is the job: a lock's own ``acquire``, given to a pool of threads. Its time in a thread is the wait for the lock; what it
waited for the thread is told by whoever tells that of all jobs.

A thread that waits cannot be cancelled, only who awaits it. The wait ends then, though the thread goes on.
"""

from __future__ import annotations

import functools
import sys
import threading
import weakref
from asyncio import CancelledError
from contextvars import Context
from types import BuiltinMethodType, FunctionType, MethodType
from typing import TYPE_CHECKING, Any

from causal_otel._internal import faults
from causal_otel.instrument import jobs
from causal_otel.instrument.declaration import Connect
from causal_otel.names import CAUSAL_LOCK_ACQUIRED
from causal_otel.patches.locks.waiting import Waits

if TYPE_CHECKING:
    from collections.abc import Callable
    from concurrent.futures import Future

    from causal_otel.instrument.tracing import Tracing
    from causal_otel.patches.locks.waiting import Begun

__all__ = ["TARGETS"]

_LAYERS = 4  # of functions around a lock's: partial(), Context.run(), a patch's own
_TYPES: dict[type, str] = {type(threading.Lock()): "threading.Lock", type(threading.RLock()): "threading.RLock"}
_CLASSES = (threading.BoundedSemaphore, threading.Semaphore)  # the first is one of the second


def _lock_of(function: Any) -> Any:
    """The lock whose ``acquire`` a job is; None: it is something else."""
    for _ in range(_LAYERS):
        kind = type(function)
        if kind is MethodType or kind is BuiltinMethodType:
            return function.__self__ if function.__name__ == "acquire" else None
        if kind is functools.partial:
            inner = function.func
            # asyncio.to_thread() runs a function in a copy of the context.
            is_run = type(inner) is BuiltinMethodType and type(inner.__self__) is Context and function.args
            function = function.args[0] if is_run else inner
        elif isinstance(function, jobs.Around):
            function = function.function
        else:
            return None
    return None


class _Acquire(jobs.Around):
    """Acquires a lock in a thread, and tells how long it waited.

    Args:
        waits: its kind.
        lock: which one.
        function: the job.
    """

    __slots__ = ("_begun", "_lock", "_waits")

    def __init__(self, waits: Waits, lock: Any, function: Callable[..., Any]) -> None:
        super().__init__(function)
        self._waits = waits
        self._lock = lock
        self._begun: list[Begun] = []

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        begun = self._waits.begin(self._lock)
        if begun is None:
            return self.function(*args, **kwargs)
        self._begun.append(begun)
        try:
            result = self.function(*args, **kwargs)
        except BaseException as error:
            self.end(error)
            raise
        self.end(learned={CAUSAL_LOCK_ACQUIRED: False} if result is False else None)
        return result

    def end(self, error: BaseException | None = None, learned: dict[str, Any] | None = None) -> None:
        """The lock was had, or given up, by the thread or by who awaits it: who comes first tells it."""
        try:
            begun = self._begun.pop()  # one step
        except IndexError:
            return
        self._waits.end(self._lock, begun, error, learned, is_own=True)

    def submitted(self, future: Future[Any]) -> None:
        """Be told when asyncio cancels what is awaited, which a job that runs never hears of."""
        reference = weakref.ref(future)

        def cancel() -> bool:
            if sys._getframe(1).f_globals.get("__name__") == "asyncio.futures":  # nobody else awaits it
                self.end(CancelledError())
            found = reference()
            return found is not None and type(found).cancel(found)

        future.cancel = cancel  # type: ignore[method-assign]


def _finder(tracing: Tracing[Any]) -> Callable[[Callable[..., Any]], _Acquire | None]:
    """What finds the jobs that wait for a lock."""

    def look(semaphore: Any) -> tuple[int, Any]:
        return len(semaphore._cond._waiters), None

    of_types = {kind: Waits(tracing, name, lambda lock: (None, None)) for kind, name in _TYPES.items()}
    of_classes = [
        (kind, Waits(tracing, f"threading.{kind.__name__}", look, lambda lock: getattr(lock, "_initial_value", None)))
        for kind in _CLASSES
    ]

    def find(function: Callable[..., Any]) -> _Acquire | None:
        if type(function) is FunctionType:  # as most jobs are
            return None
        try:
            lock = _lock_of(function)
            if lock is None:
                return None
            waits = of_types.get(type(lock))
            if waits is None:
                waits = next((waits for kind, waits in of_classes if isinstance(lock, kind)), None)
            return None if waits is None else _Acquire(waits, lock, function)
        except Exception:
            faults.report("locks: a job")
            return None

    return find


def _watch(tracing: Tracing[Any]) -> Callable[[], None]:
    """Look at the jobs of pools that the patch ``threads`` hands on."""
    return jobs.watch(_finder(tracing))


def _in_backend(module: str, owner: str, tracing: Tracing[Any]) -> Callable[[], None]:
    """Look at the jobs of a back end of anyio's, whose class method everybody calls through the class."""
    backend, method = getattr(sys.modules[module], owner, None), "run_sync_in_worker_thread"
    original: Any = getattr(backend, "__dict__", {}).get(method)
    if not isinstance(original, classmethod):
        return lambda: None  # an older version, whose jobs go another way
    find = _finder(tracing)

    @functools.wraps(original.__func__)
    async def run(cls: Any, func: Callable[..., Any], *args: Any, **kwargs: Any) -> Any:
        job = find(func) if tracing.active else None
        call = original.__get__(None, cls)
        if job is None:
            return await call(func, *args, **kwargs)
        try:
            return await call(job, *args, **kwargs)
        except BaseException as error:
            job.end(error)
            raise

    placed = classmethod(run)
    setattr(backend, method, placed)

    def undo() -> None:
        if vars(backend).get(method) is placed:
            setattr(backend, method, original)

    return undo


TARGETS = (
    Connect("asyncio.threads", _watch),
    *(
        Connect(module, functools.partial(_in_backend, module, owner))
        for module, owner in (
            ("anyio._backends._asyncio", "AsyncIOBackend"),
            ("anyio._backends._trio", "TrioBackend"),
        )
    ),
)
