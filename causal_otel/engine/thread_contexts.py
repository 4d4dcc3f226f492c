"""In which ``contextvars.Context`` each thread works, for a thread that looks at the others, such as a profiler.

Python tells a thread its own context only. So threads note it themselves, while somebody wants to know: where a trace
or a job begins, and where an event loop runs. What is current there is then read whenever somebody looks: a Context is
the same object for as long as the work goes on, and of a loop it is that of the task that runs.
"""

from __future__ import annotations

import functools
import gc
import weakref
from asyncio import AbstractEventLoop
from contextvars import Context
from threading import get_ident
from typing import TYPE_CHECKING, Any

from causal_otel._internal import faults, process
from causal_otel.engine import context
from causal_otel.engine.asyncio_task import running_loop, task_of

if TYPE_CHECKING:
    from collections.abc import Callable

    from opentelemetry.context import Context as OtelContext

__all__ = ["begin_loop", "begin_work", "context_of_task", "current_in", "end", "known", "watch", "watching"]

Where = Context | weakref.ref[AbstractEventLoop]

known: dict[int, Where] = {}
"""By the number of a thread: the Context that it works in, or the loop that it runs. Empty, unless somebody watches."""

watching: Callable[[], None] | None = None
"""Is called in a thread that begins to work, after that is noted; None: nobody wants to know, and nothing is noted."""


def watch(began: Callable[[], None]) -> Callable[[], None]:
    """Have threads note where they work, until what is returned is called.

    Args:
        began: is called in each thread that begins a trace or a job.
    """
    global watching
    watching = began

    def undo() -> None:
        global watching
        if watching is began:
            watching = None
            known.clear()

    return undo


def begin_work(job: object = None) -> Where | None:
    """A trace or a job begins in this thread. Call it only while somebody watches. Never raises.

    Args:
        job: the function that is about to be called, which may run another one in a Context of its own.

    Returns:
        What the thread worked in until now, for :func:`end`.
    """
    before = None
    try:
        ident, loop = get_ident(), running_loop()
        before = known.get(ident)
        known[ident] = weakref.ref(loop) if loop is not None else _inside(job) or _here()
        if watching is not None:
            watching()
    except Exception:
        faults.report("profiling: a thread that begins to work")
    return before


def begin_loop(loop: AbstractEventLoop) -> Where | None:
    """This thread is about to run ``loop``; returns what it worked in until now, for :func:`end`."""
    if watching is None:
        return None
    ident = get_ident()
    before = known.get(ident)
    known[ident] = weakref.ref(loop)
    return before


def end(before: Where | None) -> None:
    """A job or a loop is over in this thread: what was current there is not what the thread does now."""
    if before is None or watching is None:
        known.pop(get_ident(), None)
    else:
        known[get_ident()] = before


def current_in(where: Where) -> OtelContext | None:
    """What is current in a thread, read by another thread; None: nothing runs there that could be known."""
    if context.variable is None:
        return None
    if isinstance(where, Context):
        return where.get(context.variable)
    loop = where()
    task = task_of(loop) if loop is not None else None
    found = None if task is None else context_of_task(task)
    return None if found is None else found.get(context.variable)


def context_of_task(task: Any) -> Context | None:
    """The ``contextvars.Context`` that an asyncio task runs in."""
    get = getattr(task, "get_context", None)
    if get is not None:  # Python 3.12
        found: Context = get()
        return found
    # The first of what a task in C refers to, before those of its callbacks.
    return next((each for each in gc.get_referents(task) if type(each) is Context), None)


def _here() -> Context:
    """The Context of this thread itself, and no copy of it: a token refers to the one that it was made in."""
    assert context.variable is not None
    token = context.variable.set(context.variable.get())
    try:
        return next(each for each in gc.get_referents(token) if type(each) is Context)
    finally:
        context.variable.reset(token)


def _inside(job: object) -> Context | None:
    """The Context that a job runs a function in, as ``asyncio.to_thread()`` has it."""
    if isinstance(job, functools.partial):
        owner = getattr(job.func, "__self__", None)
        if type(owner) is Context:
            return owner
    return None


process.at_fork(in_child=known.clear)
