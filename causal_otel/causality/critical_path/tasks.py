"""Which asyncio task each span ran in, and which tasks were waited for."""

from __future__ import annotations

import heapq
from bisect import bisect_left
from collections import defaultdict
from dataclasses import dataclass, field
from itertools import accumulate
from typing import TYPE_CHECKING, Any, Literal

from causal_otel.causality.critical_path.forest import NOBODY

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from causal_otel.causality.critical_path.forest import Forest

__all__ = ["Task", "Tasks", "tasks"]

_BUSY = frozenset({"client", "producer"})
"""Kinds of spans that are calls of a driver: while one is open, its task waits for the driver and not for a task."""


@dataclass(slots=True, eq=False)
class Task:
    """A task within one process's part of a trace.

    Attributes:
        local_root: the number of that part's first span.
        number: the task's own, which is unique within that part.
        main: whether it is that span's own task. Whoever calls the process waits for it, not one of its tasks.
        spans: the numbers of its spans, those before others that are below them.
        home: the span that was current when the task was started: the parent of the first of its spans. For a task
            without a span, that of the first that it waited for.
        start: when the first of its spans started.
        end: when the last of its spans, and of the tasks that it waited for, ended.
        waiter: the task that waited for it.
        fate: ``awaited``; ``unawaited``, nobody waited for it; or ``unknown``.
        starts: when those of its spans started that are in no other of its spans, in order.
        ends: by when those had ended that started until then.
    """

    local_root: int
    number: int
    main: bool = False
    spans: list[int] = field(default_factory=list)
    home: int = NOBODY
    start: int = 0
    end: int = 0
    waiter: Task | None = None
    fate: Literal["awaited", "unawaited", "unknown"] = "unknown"
    starts: list[int] = field(default_factory=list)
    ends: list[int] = field(default_factory=list)

    def is_between(self, at: int) -> bool:
        """Whether it was in none of its spans then; a main task never was."""
        begun = bisect_left(self.starts, at)
        return not self.main and (not begun or self.ends[begun - 1] <= at)


@dataclass(slots=True)
class Tasks:
    """The tasks of some traces.

    Attributes:
        of: each span's task. In parts of which nothing is known, it is one for all spans.
        known: of each span, whether anything is known of the tasks in its process's part of the trace.
        inside: of each span, the nearest one above it in the same task, or :data:`NOBODY`.
        all: all tasks.
    """

    of: list[Task]
    known: list[bool]
    inside: list[int]
    all: list[Task]

    def waiting(self, forest: Forest[Any]) -> Iterator[tuple[Task, int]]:
        """Each task that was waited for, and the span that its waiter was in; :data:`NOBODY`: between its spans.

        That is the innermost one open when the task ended which is no call of a driver. For a task that took no time
        nobody has waited.
        """
        joined: dict[int, list[Task]] = defaultdict(list)
        waiters: dict[int, Task] = {}
        for task in self.all:
            if task.waiter is not None and not (task.spans and task.start == task.end):
                joined[id(task.waiter)].append(task)
                waiters[id(task.waiter)] = task.waiter
        for key, found in joined.items():
            yield from _inmost(forest, waiters[key].spans, found)


def tasks(forest: Forest[Any]) -> Tasks:
    """Number, home, end and waiter of every task. Waiters that go in a circle are none."""
    found = Tasks([], [], [], [])
    numbered: dict[tuple[int, int], Task] = {}
    numbers: list[int] = []
    local_roots: list[int] = []
    telling: set[int] = set()
    for index, span in enumerate(forest.spans):
        above = forest.above[index]
        if above == NOBODY or span.local_root:
            local_root, number = index, 1 if span.task is None else span.task
        else:
            local_root, number = local_roots[above], numbers[above] if span.task is None else span.task
        local_roots.append(local_root)
        numbers.append(number)
        if span.task is not None or span.waiter is not None or span.unawaited:
            telling.add(local_root)
        task = numbered.get((local_root, number))
        if task is None:
            task = numbered[local_root, number] = Task(local_root, number, main=local_root == index)
        found.of.append(task)
        if not forest.hidden[index]:
            task.spans.append(index)
    found.known = [local_root in telling for local_root in local_roots]
    found.inside = _inside(forest, found.of)
    for task in list(numbered.values()):
        _settle(forest, task, numbered, found)
    found.all = list(numbered.values())
    _end_with_what_they_wait_for(found.all)
    return found


def _inside(forest: Forest[Any], of: list[Task]) -> list[int]:
    found: list[int] = []
    way: list[int] = []
    open_in: dict[int, list[int]] = defaultdict(list)
    for index, parent in enumerate(forest.parent):
        if forest.hidden[index]:
            found.append(NOBODY)
            continue
        while way and way[-1] != parent:
            open_in[id(of[way.pop()])].pop()
        mine = open_in[id(of[index])]
        found.append(mine[-1] if mine else NOBODY)
        mine.append(index)
        way.append(index)
    return found


def _settle(forest: Forest[Any], task: Task, numbered: dict[tuple[int, int], Task], found: Tasks) -> None:
    """Find the task's home, its end and its waiter."""
    if not task.spans:
        return
    task.end = max(forest.end[index] for index in task.spans)
    if task.main:
        return
    tops = sorted((each for each in task.spans if found.inside[each] == NOBODY), key=lambda each: forest.start[each])
    task.starts = [forest.start[each] for each in tops]
    task.ends = list(accumulate((forest.end[each] for each in tops), max))
    task.home, task.start = forest.parent[tops[0]], task.starts[0]
    said = max(
        (each for each in task.spans if forest.spans[each].waiter is not None or forest.spans[each].unawaited),
        key=lambda each: forest.end[each],
        default=None,
    )
    if said is None:
        return
    number = forest.spans[said].waiter
    if number is None:
        task.fate = "unawaited"
        return
    waiter = numbered.setdefault((task.local_root, number), Task(task.local_root, number))
    if waiter is task:
        return
    task.waiter, task.fate = waiter, "awaited"
    if not waiter.spans and waiter.home == NOBODY:  # only others have seen it
        waiter.home = task.home


def _end_with_what_they_wait_for(every: Iterable[Task]) -> None:
    """Let no task end before those that it waited for; cut circles."""
    left: dict[int, int] = defaultdict(int)
    for task in every:
        if task.waiter is not None:
            left[id(task.waiter)] += 1
    ready = [task for task in every if not left[id(task)]]
    while ready:
        task = ready.pop()
        waiter = task.waiter
        if waiter is not None:
            if not waiter.main:  # that one ends with its local root
                waiter.end = max(waiter.end, task.end)
            left[id(waiter)] -= 1
            if not left[id(waiter)]:
                ready.append(waiter)
    for task in every:
        if left[id(task)]:
            task.waiter, task.fate = None, "unknown"


def _inmost(forest: Forest[Any], spans: list[int], ended: list[Task]) -> Iterator[tuple[Task, int]]:
    """Of each task in ``ended``, the innermost of ``spans`` that was open then; all by time, so each is seen once."""
    start, end = forest.start, forest.end
    opening = sorted((index for index in spans if forest.spans[index].kind not in _BUSY), key=start.__getitem__)
    open_now: list[int] = []  # a heap, in which what is below others comes first
    at = 0
    for task in sorted(ended, key=lambda each: each.end):
        while at < len(opening) and start[opening[at]] < task.end:
            heapq.heappush(open_now, -opening[at])
            at += 1
        while open_now and end[-open_now[0]] < task.end:
            heapq.heappop(open_now)
        yield task, -open_now[0] if open_now else NOBODY
