"""A recorder of spans that reads who waits for a task from the task's own callbacks, as the real one does."""

from __future__ import annotations

import asyncio
import functools
from contextlib import contextmanager
from contextvars import ContextVar
from typing import TYPE_CHECKING, Any

from tests.causality.traces import PlainSpan, PlainTrace, plain_trace

if TYPE_CHECKING:
    from collections.abc import Iterator

__all__ = ["Recorder", "waiter_of"]


class Recorder:
    """Spans by the loop's clock; the task of the first of them has the number 1.

    Args:
        unit: of the spans' times, in seconds.
    """

    def __init__(self, unit: float = 1.0) -> None:
        self._unit = unit
        self.spans: list[PlainSpan] = []
        self.current: ContextVar[PlainSpan | None] = ContextVar("current", default=None)
        self._open: set[int] = set()
        self._numbers: dict[asyncio.Task[Any], int] = {}

    @contextmanager
    def span(self, name: str, kind: str = "internal") -> Iterator[PlainSpan]:
        """Record what happens inside."""
        task = asyncio.current_task()
        assert task is not None
        span = PlainSpan(name, self.now(), 0, self.current.get(), kind=kind)
        span.task = self.number(task)
        self._open.add(id(span))
        before = self.current.set(span)
        try:
            yield span
        finally:
            self.current.reset(before)
            self._open.discard(id(span))
            span.end = self.now()
            waiter = waiter_of(task)
            if span.task == 1:
                span.task = None if span.parent is None or span.parent.task in (None, 1) else 1
            elif waiter is not None:
                span.waiter = self.number(waiter)
            else:
                span.unawaited = span.parent is not None and id(span.parent) not in self._open
            self.spans.append(span)

    def now(self) -> int:
        """The time."""
        return round(asyncio.get_running_loop().time() / self._unit)

    def number(self, task: asyncio.Task[Any]) -> int:
        """The task's number."""
        return self._numbers.setdefault(task, len(self._numbers) + 1)

    def trace(self) -> PlainTrace:
        """What was recorded."""
        return plain_trace(self.spans)


def waiter_of(future: asyncio.Future[Any], depth: int = 0) -> asyncio.Task[Any] | None:
    """The task that waits for ``future``, if its callbacks tell."""
    if depth > 4:
        return None
    for callback, _ in getattr(future, "_callbacks", None) or ():
        found = _from_callback(callback, future, depth)
        if found is not None:
            return found
    return None


def _from_callback(callback: Any, future: asyncio.Future[Any], depth: int) -> asyncio.Task[Any] | None:
    while isinstance(callback, functools.partial):
        for argument in callback.args:
            if isinstance(argument, asyncio.Future) and (found := waiter_of(argument, depth + 1)):
                return found
        callback = callback.func
    owner = getattr(callback, "__self__", None)
    if isinstance(owner, asyncio.Task):
        return owner
    for getter in getattr(getattr(owner, "_done", None), "_getters", ()):  # as_completed of Python 3.13
        if found := waiter_of(getter, depth + 1):
            return found
    parent: asyncio.Task[Any] | None = getattr(owner, "_parent_task", None)  # TaskGroup
    if parent is not None:
        return parent
    for cell in getattr(callback, "__closure__", None) or ():
        try:
            value = cell.cell_contents
        except ValueError:
            continue
        if isinstance(value, asyncio.Future) and value is not future and (found := waiter_of(value, depth + 1)):
            return found
        host: asyncio.Task[Any] | None = getattr(getattr(value, "cancel_scope", None), "_host_task", None)  # anyio
        if host is not None:
            return host
        for getter in getattr(value, "_getters", None) or ():  # as_completed until Python 3.12
            if found := waiter_of(getter, depth + 1):
                return found
    return None
