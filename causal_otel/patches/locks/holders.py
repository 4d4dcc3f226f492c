"""Who holds a lock: a task, its name, and the span that is current in it."""

from __future__ import annotations

import asyncio
import gc
import re
import sys
from asyncio.events import _get_running_loop
from contextvars import Context
from typing import TYPE_CHECKING, Any

from opentelemetry.trace import Link

from causal_otel.engine.context import SPAN_KEY, variable
from causal_otel.names import CAUSAL_LINK

if TYPE_CHECKING:
    from collections.abc import Sequence

__all__ = ["current_in", "is_here", "links", "name_of", "running_task", "running_tasks"]

_UNNAMED = re.compile(r"Task-\d+")

running_tasks = getattr(asyncio.tasks, "_current_tasks", {}).values()
"""The tasks that run now, one of each event loop at the most. Only Python 3.11 needs them. Loops of other threads have
theirs here as well: ask :func:`is_here` before telling of one."""

if sys.version_info >= (3, 12):

    def running_task() -> asyncio.Task[Any] | None:
        """The task that runs now; None: there is none, or no event loop of asyncio's."""
        try:
            return asyncio.current_task()
        except RuntimeError:
            return None

else:

    def running_task() -> asyncio.Task[Any] | None:
        """The task that runs now, or that of another thread; None: there is none.

        ``current_task()`` asks the system for the number of the process each time: a third of a microsecond.
        """
        return next(iter(running_tasks), None)


def current_in(task: Any) -> Any:
    """The OpenTelemetry context that is current in a task, of asyncio or trio, which is suspended; None: not known."""
    try:
        found = task.get_context()
    except AttributeError:
        found = _context_of(task)
    return None if found is None or variable is None else found.get(variable)


def _context_of(task: Any) -> Context | None:
    found = getattr(task, "context", None)  # trio's
    if isinstance(found, Context):
        return found
    # Python 3.11 shows it to the garbage collector alone: first what the task runs in, then those of its callbacks.
    return next((each for each in gc.get_referents(task) if type(each) is Context), None)


def is_here(task: Any) -> bool:
    """Whether a task belongs to the loop that runs here, as whatever has a lock of that loop does."""
    return not isinstance(task, asyncio.Task) or task.get_loop() is _get_running_loop()


def name_of(task: Any) -> str | None:
    """The name of a task; None: there is none, or it would mislead."""
    if not isinstance(task, asyncio.Task):
        name = getattr(task, "name", None)  # trio's
        return name if isinstance(name, str) else None
    name = task.get_name()
    # Until Python 3.11 wait_for() acquires a lock in a task of its own, which is over when the lock is had.
    return None if task.done() and _UNNAMED.fullmatch(name) else name


def links(context: Any) -> Sequence[Link] | None:
    """A link to the span of the holder's context, if that is recorded; None: it is not."""
    span = None if context is None else context.get(SPAN_KEY)
    identity = None if span is None else span.get_span_context()
    if identity is None or not (identity.is_valid and identity.trace_flags.sampled):
        return None
    return (Link(identity, {CAUSAL_LINK: "holder"}),)
