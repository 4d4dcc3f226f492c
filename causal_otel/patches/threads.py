"""Threads, thread pools and process pools of the standard library: what they do stays in the trace of whoever asked.

No spans are made here. A job that is given to a pool, or a thread that is started, begins with the current trace and
baggage of whoever has done that, and with no other context variable of theirs. When the job is over, its thread has
none again. Where nothing is current, nothing is touched.

* ``ThreadPoolExecutor.submit`` and ``map``, ``loop.run_in_executor``, ``multiprocessing.pool.ThreadPool``. What a job
  waited until a thread was free for it is ``causal.threadpool.wait`` on the first span that it starts, whoever makes
  that; it began when the wait was over. Of ``map`` of a ``ThreadPool`` it is not told: one job there is many calls.
* ``ProcessPoolExecutor``, ``multiprocessing.Pool``: a job takes its context along as headers (W3C Trace Context, unless
  set otherwise), also to a process that has not called ``install()``. A child by itself begins without any.
* ``threading.Thread`` and ``Timer``, subclasses that override ``run`` too. Threads of pools, clients and tracing tools,
  which serve everybody, begin without a trace. So do those whose names fit ``excluded``, such as ``"*(poll)"``: Python
  names a thread ``Thread-1 (poll)`` after its function.

``asyncio.to_thread``, tasks, and the threads of anyio and trio carry the context by themselves.

Options: :class:`ThreadsOptions`.
"""

from __future__ import annotations

import functools
from dataclasses import dataclass
from time import perf_counter
from typing import TYPE_CHECKING, Any

from opentelemetry.context import Context

from causal_otel._internal import faults
from causal_otel.engine import carriers, thread_contexts
from causal_otel.engine.context import begin, current, restore
from causal_otel.engine.thread_waits import forget_thread_wait, waited_for_thread, waits
from causal_otel.instrument import jobs
from causal_otel.instrument.declaration import Patch, Wrap
from causal_otel.instrument.options import Options
from causal_otel.instrument.parts import LEAST
from causal_otel.names import CAUSAL_THREADPOOL_WAIT

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from concurrent.futures import Executor
    from multiprocessing.pool import Pool
    from threading import Thread

    from causal_otel.instrument.tracing import Tracing

__all__ = ["PATCH", "ThreadsOptions"]

_SERVING = frozenset(
    (
        *("anyio", "concurrent", "logging", "multiprocessing", "trio"),
        *("apscheduler", "billiard", "celery", "grpc", "kafka", "kombu"),
        *("paho", "psycopg_pool", "pymongo", "redis", "valkey"),
        *("causal_otel", "ddtrace", "logfire", "opentelemetry", "sentry_sdk"),
    )
)
"""Packages whose threads work for everybody, whoever happened to need them first."""


@dataclass(frozen=True, kw_only=True)
class ThreadsOptions(Options):
    """The options of this patch.

    The hooks are never called: there are no spans.

    Args:
        excluded: patterns of the names of threads that begin without the trace of whoever starts them, such as those
            that a library starts when it is first used, to serve everybody. Jobs of pools are not concerned.
    """


def _run(
    context: Context,
    submitted: float | None,
    function: Callable[..., Any],
    args: tuple[Any, ...],
    kwargs: dict[str, Any],
) -> Any:
    """Call ``function`` in the context of whoever has asked for it.

    Args:
        context: what is current meanwhile.
        submitted: when it began to wait for a thread, by ``perf_counter()``; None: it has not waited for one.
        function: the user's.
        args: for it.
        kwargs: for it.
    """
    if submitted is not None and (waited := perf_counter() - submitted) >= LEAST:
        waited_for_thread(waited)
    token = begin(context)
    watched = thread_contexts.watching is not None
    before = thread_contexts.begin_work(function) if watched else None
    try:
        return function(*args, **kwargs)
    finally:
        restore(token)
        if watched:
            thread_contexts.end(before)
        if waits:
            forget_thread_wait()
        del before, context, token  # or an exception that somebody keeps would keep the trace, through its traceback


class _Job:
    """A function that runs in a context, where a pool wants an object. Pickled, it is the same with headers for that.

    Args:
        function: the user's.
        context: what is current while it runs.
        submitted: see :func:`_run`; a pickle leaves it out.
    """

    __slots__ = ("_context", "_function", "_submitted")

    def __init__(self, function: Callable[..., Any], context: Context, submitted: float | None = None) -> None:
        self._function = function
        self._context = context
        self._submitted = submitted

    def __call__(self, /, *args: Any, **kwargs: Any) -> Any:
        try:
            return _run(self._context, self._submitted, self._function, args, kwargs)
        finally:
            del self  # as above

    def __reduce__(self) -> tuple[Any, ...]:
        return _arrived, (self._function, carriers.injected(self._context))


def _arrived(function: Callable[..., Any], headers: Mapping[str, str]) -> _Job:
    """A job as another process has it. Pickles have the name of this function."""
    return _Job(function, carriers.extract(headers, Context()))


def _submit(tracing: Tracing[ThreadsOptions], original: Callable[..., Any]) -> Callable[..., Any]:
    from concurrent.futures import ThreadPoolExecutor

    @functools.wraps(original)
    def submit(executor: Executor, fn: Callable[..., Any], /, *args: Any, **kwargs: Any) -> Any:
        context = current()
        if not context or not tracing.active:
            return original(executor, fn, *args, **kwargs)
        if type(executor) is not ThreadPoolExecutor:  # as that of Python 3.14 for interpreters, which pickles
            return original(executor, _Job(fn, context, perf_counter()), *args, **kwargs)
        watched = None if jobs.ask is None else jobs.ask(fn)
        if watched is None:
            return original(executor, _run, context, perf_counter(), fn, args, kwargs)
        future = original(executor, _run, context, perf_counter(), watched, args, kwargs)
        watched.submitted(future)
        return future

    return submit


def _pool_call(tracing: Tracing[ThreadsOptions], original: Callable[..., Any]) -> Callable[..., Any]:
    one_call = original.__name__ == "apply_async"  # each other job is many

    @functools.wraps(original)
    def call(pool: Pool, func: Callable[..., Any], *args: Any, **kwargs: Any) -> Any:
        context = current()
        if context and tracing.active:
            func = _Job(func, context, perf_counter() if one_call else None)
        return original(pool, func, *args, **kwargs)

    return call


class _ThreadRun:
    """Stands in place of a thread's ``run`` from its start until it is called, whichever class has overridden that.

    Args:
        thread: whose it is.
        context: what is current while it runs.
    """

    __slots__ = ("_before", "_context", "_run", "_thread")

    def __init__(self, thread: Thread, context: Context) -> None:
        self._thread = thread
        self._context = context
        self._before = vars(thread).get("run")
        self._run = thread.run
        thread.run = self  # type: ignore[method-assign]

    def __call__(self, *_: Thread) -> None:  # Sentry's integration calls it with the thread
        self.remove()
        if current():  # its own, given by the user or inherited (Python 3.14)
            self._run()
            return
        _run(self._context, None, self._run, (), {})

    def remove(self) -> None:
        """Put back what was there."""
        found = vars(self._thread)
        if self._before is None:
            found.pop("run", None)
        else:
            found["run"] = self._before


def _start(tracing: Tracing[ThreadsOptions], original: Callable[..., Any]) -> Callable[..., Any]:
    @functools.wraps(original)
    def start(thread: Thread) -> None:
        context = current()
        run = _run_in(context, thread, tracing) if context and tracing.active else None
        if run is None:
            original(thread)
            return
        try:
            original(thread)
        except BaseException:
            run.remove()
            raise

    return start


def _run_in(context: Context, thread: Thread, tracing: Tracing[ThreadsOptions]) -> _ThreadRun | None:
    """Have a thread that is about to start run in ``context``; None: it is one that does not."""
    try:
        target = getattr(thread, "_target", None)
        module = type(thread).__module__ if target is None else getattr(target, "__module__", None)
        if module is not None and module.partition(".")[0] in _SERVING:
            return None
        if tracing.excluded is not None and tracing.excluded(thread.name):
            return None
        return _ThreadRun(thread, context)
    except Exception:
        faults.report("threads: Thread.start")
        return None


PATCH = Patch(
    name="threads",
    versions={},
    options=ThreadsOptions,
    targets=(
        Wrap("threading", "Thread.start", _start),
        Wrap("concurrent.futures.thread", "ThreadPoolExecutor.submit", _submit),
        Wrap("concurrent.futures.process", "ProcessPoolExecutor.submit", _submit),
        *(
            Wrap("multiprocessing.pool", f"Pool.{method}", _pool_call)
            for method in ("apply_async", "map", "map_async", "starmap", "starmap_async", "imap", "imap_unordered")
        ),
    ),
    records=(CAUSAL_THREADPOOL_WAIT,),
    never=("functions, arguments and results of jobs", "names of threads"),
)
