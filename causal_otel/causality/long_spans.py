"""What is learned of a span that took a millisecond or more, at its end: its task, and when its thread stood still.

A span that is shorter has nothing of this: it would cost more than it tells. So the way of most spans has one
comparison more, and nothing is looked up when a span begins.
"""

from __future__ import annotations

from threading import get_ident
from typing import TYPE_CHECKING, Any

from opentelemetry.trace import SpanContext

from causal_otel._internal import faults
from causal_otel.causality import gc_pauses
from causal_otel.causality.pauses import pauses_of_thread
from causal_otel.causality.task_edges import TaskNumbers, waiting_task
from causal_otel.engine.asyncio_task import current_task
from causal_otel.names import (
    CAUSAL_BLOCK_FRAME,
    CAUSAL_CONNECT,
    CAUSAL_DISCOVERY,
    CAUSAL_FETCH,
    CAUSAL_GC,
    CAUSAL_LOCK_WAIT,
    CAUSAL_LOOP_BLOCKED,
    CAUSAL_POOL_SETUP,
    CAUSAL_POOL_WAIT,
    CAUSAL_RECEIVE,
    CAUSAL_RETRY_WAIT,
    CAUSAL_SEND,
    CAUSAL_SERVER,
    CAUSAL_TASK,
    CAUSAL_TASK_NAME,
    CAUSAL_TASK_UNAWAITED,
    CAUSAL_TASK_WAITER,
)

if TYPE_CHECKING:
    from collections.abc import Callable

    from causal_otel.engine.span import Span

__all__ = ["observer"]

_LEAST = 1_000_000
"""Nanoseconds from which on a part is recorded."""

_WAITS = (
    *(CAUSAL_SERVER, CAUSAL_POOL_WAIT, CAUSAL_CONNECT, CAUSAL_FETCH, CAUSAL_LOCK_WAIT, CAUSAL_RETRY_WAIT),
    *(CAUSAL_DISCOVERY, CAUSAL_POOL_SETUP, CAUSAL_RECEIVE, CAUSAL_SEND),
)
"""Parts of a span's time that were measured from outside, with whatever kept the loop from going on."""


def observer(*, task_edges: bool = True, collections: bool = True) -> Callable[[Span, int], None]:
    """What the engine tells of long spans: see :attr:`causal_otel.engine.core.Core.long_span`.

    Args:
        task_edges: whether spans tell their task, and who waited for it.
        collections: whether local roots tell how long garbage was collected.
    """

    def observe(span: Span, end: int) -> None:
        try:
            learned = _paused(span, end, collections)
            if task_edges:
                learned.update(_edge(span))
            if learned:
                span.set_attributes(learned)
            attributes: Any = span._attributes  # the span's own by now, if anything was learned
            for key in _WAITS:
                if learned.get(key) == 0.0:  # nothing is left of this part
                    del attributes[key]
        except Exception:
            faults.report("causality: a span's end")

    return observe


def _paused(span: Span, end: int, collections: bool) -> dict[str, Any]:
    """For how long its thread stood still, or the whole process."""
    learned: dict[str, Any] = {}
    start = span._start
    pauses = pauses_of_thread(get_ident())
    if pauses is not None:
        blocked = pauses.between(start, end)
        if blocked >= _LEAST and CAUSAL_BLOCK_FRAME not in (span._attributes or ()):
            learned = _made_room(span, blocked, end - start)
            learned[CAUSAL_LOOP_BLOCKED] = blocked / 1e9
    if collections and _is_local_root(span):
        collected = gc_pauses.pauses.between(start, end)
        if collected >= _LEAST:
            learned[CAUSAL_GC] = collected / 1e9
    return learned


def _made_room(span: Span, blocked: int, duration: int) -> dict[str, Any]:
    """The parts of its time without what they have of ``blocked``: together they are never more than the span.

    A query that was answered while its loop was stuck has waited for the loop, and not for its server.
    """
    attributes = span._attributes or {}
    parts = sorted(((attributes[key], key) for key in _WAITS if key in attributes), reverse=True)
    excess = (sum(seconds for seconds, _ in parts) * 1e9 + blocked - duration) / 1e9
    learned: dict[str, Any] = {}
    for seconds, key in parts:
        if excess <= 0:
            break
        left = seconds - excess
        learned[key] = left if left >= _LEAST / 1e9 else 0.0
        excess -= seconds
    return learned


def _edge(span: Span) -> dict[str, Any]:
    """In which task it ran, if that is not its local root's, and who waited for the task."""
    task = current_task()
    if task is None:
        return {}
    local = span._local_trace
    numbers = local.tasks
    if numbers is None:
        numbers = local.tasks = TaskNumbers(local.task)
    number = numbers.of(task)
    if number == 1:
        return {}
    learned: dict[str, Any] = {CAUSAL_TASK: number}
    name = task.get_name()
    if not name.startswith("Task-"):  # asyncio's own names are numbers
        learned[CAUSAL_TASK_NAME] = name
    waiter = waiting_task(task)
    if waiter is not None:
        learned[CAUSAL_TASK_WAITER] = numbers.of(waiter)
    elif getattr(span._parent_span, "_end", 0):
        learned[CAUSAL_TASK_UNAWAITED] = True
    return learned


def _is_local_root(span: Span) -> bool:
    parent = span._parent_span
    return parent is None or (isinstance(parent, SpanContext) and parent.is_remote)
