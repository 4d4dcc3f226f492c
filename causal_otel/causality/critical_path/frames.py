"""Where the path can be, and what was waited for there.

A frame is a span in its own task; a task between its spans; or a trace between its roots. What was waited for in it are
other frames, each with the time when it was over. From a frame in which nothing is left the path goes up, to the one
that it was started in.
"""

from __future__ import annotations

from bisect import bisect_right
from collections import defaultdict
from typing import TYPE_CHECKING, Any, NamedTuple

from causal_otel.causality.critical_path.forest import NOBODY

if TYPE_CHECKING:
    from causal_otel.causality.critical_path.forest import Forest
    from causal_otel.causality.critical_path.segments import Until
    from causal_otel.causality.critical_path.tasks import Task, Tasks

__all__ = ["Frames", "Waited"]

_SPAN, _TASK, _GUESSED_TASK = range(3)


class Waited(NamedTuple):
    """What was waited for in a frame. Sorted, that which was over last comes first.

    Attributes:
        before: when it was over, negated.
        rank: of several that were over at once, the span within the frame is first: a task is where its span is.
        start: when it starts.
        frame: where the path goes on.
        edge: whether it is known to have been waited for, else it is guessed.
        serial: whether that is known because a task's spans run one after another.
    """

    before: int
    rank: int
    start: int
    frame: int
    edge: bool
    serial: bool = False

    @property
    def is_span(self) -> bool:
        """Whether it is a span within the frame, and not another task."""
        return self.rank == _SPAN


class Frames:
    """The frames of some traces. Those of spans have their numbers, those of tasks and of traces come after.

    Args:
        forest: the traces.
        tasks: their tasks.
        until: what is waited for.

    Attributes:
        span: of each frame the span whose time it is; :data:`NOBODY` for a trace's.
        up: where the path goes from a frame in which nothing is left; a trace's is its own.
        roots: the frame of each trace.
        beside: of each frame, whether what was still running is on the path where nothing else is known to have been.
    """

    def __init__(self, forest: Forest[Any], tasks: Tasks, until: Until) -> None:
        self._forest, self._tasks, self._until = forest, tasks, until
        spans = len(forest.spans)
        self._of_task = {id(task): spans + number for number, task in enumerate(tasks.all)}
        self.roots = [spans + len(tasks.all) + number for number in range(len(forest.first))]
        self.span = [*range(spans), *(task.home for task in tasks.all), *(NOBODY for _ in self.roots)]
        self.up = list(range(len(self.span)))
        self.beside = [until == "end" and not known for known in tasks.known]
        self.beside += [False] * len(tasks.all)
        self.beside += [True] * len(self.roots)
        self._waited: dict[int, list[Waited]] = defaultdict(list)
        self._outlasting: dict[int, list[Waited]] = defaultdict(list)
        self._sorted: set[int] = set()
        for index in range(spans):
            self._add_span(index)
        for task in tasks.all:
            if not task.main:
                self._add_task(task)
        for task, inside in tasks.waiting(forest):
            assert task.waiter is not None
            if inside != NOBODY or not task.waiter.main:
                frame = self._of_task[id(task.waiter)] if inside == NOBODY else inside
                waited = Waited(-task.end, _TASK, task.end, self._of_task[id(task)], edge=True)
                self._waited[frame].append(waited)

    def waited(self, frame: int) -> list[Waited]:
        """What was waited for in the frame, last first."""
        found = self._waited[frame]
        if frame not in self._sorted:
            self._sorted.add(frame)
            found.sort()
            _check_serial(found)
        return found

    def outlasting(self, frame: int) -> list[Waited]:
        """What goes on below a span after its end, last first. To the answer it is nothing."""
        return sorted(self._outlasting[frame])

    def root_of(self, span: int) -> int:
        """The frame of the span's trace."""
        return self.roots[bisect_right(self._forest.first, span) - 1]

    def _add_span(self, index: int) -> None:
        forest, tasks = self._forest, self._tasks
        start, end, parent = forest.start[index], forest.end[index], forest.parent[index]
        # A local root, or what stands in for it if that is hidden.
        served = tasks.of[index].main and tasks.inside[index] == NOBODY
        serial = tasks.known[index] and not served
        if parent == NOBODY:
            up = self.root_of(index)
        elif not serial:
            up = parent
        else:
            inside = tasks.inside[index]
            up = self._of_task[id(tasks.of[index])] if inside == NOBODY else inside
        self.up[index] = up
        if forest.hidden[index]:
            return
        called = served and parent != NOBODY and _called(forest, index, parent)
        if self._until == "answer":
            if up == self.span[up] and not called and (forest.spans[index].detached or end > forest.end[up]):
                return
        elif self.beside[up]:
            end = forest.over[index]
        self._waited[up].append(Waited(-end, _SPAN, start, index, edge=called or serial, serial=serial))
        if self._until == "end" and parent != NOBODY and forest.over[index] > forest.end[parent]:
            self._outlasting[parent].append(Waited(-forest.over[index], _SPAN, start, index, edge=False))

    def _add_task(self, task: Task) -> None:
        forest, home, frame = self._forest, task.home, self._of_task[id(task)]
        if home == NOBODY:
            self.up[frame] = self.root_of(task.local_root)
            return
        waiter = task.waiter  # who waits for a task has started it, as far as can be known
        started = waiter is not None and waiter.home == home and waiter.is_between(task.start)
        self.up[frame] = self._of_task[id(waiter)] if started else home
        detached = bool(task.spans) and forest.spans[task.spans[0]].detached
        if task.fate == "unknown" and task.end <= forest.end[home] and not (detached and self._until == "answer"):
            self._waited[home].append(Waited(-task.end, _GUESSED_TASK, task.end, frame, edge=False))


def _called(forest: Forest[Any], index: int, parent: int) -> bool:
    return bool(forest.spans[index].kind == "server" and forest.spans[parent].kind == "client")


def _check_serial(found: list[Waited]) -> None:
    """Where spans of one task overlap, as those of threads do that it has started, none is known to be waited for."""
    began: int | None = None
    for each in found:
        if each.serial:
            if began is not None and -each.before > began:
                break
            began = each.start if began is None else min(began, each.start)
    else:
        return
    found[:] = [each._replace(edge=False) if each.serial else each for each in found]
