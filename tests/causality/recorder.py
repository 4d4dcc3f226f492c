"""A recorder of spans by the loop's clock; who waits for a task is read as the real one does."""

from __future__ import annotations

import asyncio
from contextlib import contextmanager
from contextvars import ContextVar
from typing import TYPE_CHECKING, Any

from causal_otel.causality.task_edges import waiting_task
from tests.causality.traces import PlainSpan, PlainTrace, plain_trace

if TYPE_CHECKING:
    from collections.abc import Iterator

__all__ = ["Recorder"]


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
            waiter = waiting_task(task)
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
