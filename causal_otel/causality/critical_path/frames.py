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
    from causal_otel.causality.critical_path.segments import Until, Via
    from causal_otel.causality.critical_path.tasks import Task, Tasks

__all__ = ["Frames", "Waited"]

_SPAN, _TASK, _GUESSED_TASK = range(3)


class Waited(NamedTuple):
    """What was waited for in a frame. Sorted, that which was over last comes first.

    Attributes:
        before: when it was over, negated.
        rank: of several that were over at once, the span within the frame is first: a task is where its span is.
        start: from when on it is on the path while it still runs; a task is only once it is over.
        frame: where the path goes on.
        via: how it is known to have been waited for; with ``alone``, only if none of the others ran meanwhile.
    """

    before: int
    rank: int
    start: int
    frame: int
    via: Via
    alone: bool = False


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
        self._sorted: set[int] = set()  # frames, inverted for what outlasts them
        for index in range(spans):
            self._add_span(index)
        for task in tasks.all:
            if not task.main:
                self._add_task(task)
        for task, inside in tasks.waiting(forest):
            assert task.waiter is not None
            if inside != NOBODY or not task.waiter.main:
                frame = self._of_task[id(task.waiter)] if inside == NOBODY else inside
                waited = Waited(-task.end, _TASK, task.end, self._of_task[id(task)], "edge")
                self._waited[frame].append(waited)

    def waited(self, frame: int) -> list[Waited]:
        """What was waited for in the frame, last first."""
        found = self._waited[frame]
        if frame not in self._sorted:
            self._sorted.add(frame)
            found.sort()
            _look_beside(found)
        return found

    def outlasting(self, frame: int) -> list[Waited]:
        """What goes on below a span after its end, last first. To the answer it is nothing."""
        found = self._outlasting[frame]
        if ~frame not in self._sorted:
            self._sorted.add(~frame)
            found.sort()
        return found

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
        elif parent == NOBODY:
            end = forest.over[index]
        via: Via = "edge" if called or serial else "heuristic" if parent == NOBODY else "sequence"
        if not (served and parent != NOBODY and _sent(forest, index, parent)):
            self._waited[up].append(Waited(-end, _SPAN, start, index, via, alone=not called))
        if self._until == "end" and parent != NOBODY and forest.over[index] > forest.end[parent]:
            self._outlasting[parent].append(Waited(-forest.over[index], _SPAN, start, index, "heuristic"))

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
            self._waited[home].append(Waited(-task.end, _GUESSED_TASK, task.end, frame, "heuristic"))


def _called(forest: Forest[Any], index: int, parent: int) -> bool:
    return bool(forest.spans[index].kind == "server" and forest.spans[parent].kind == "client")


def _sent(forest: Forest[Any], index: int, parent: int) -> bool:
    """Whether it works on a message that the span above it has sent: nobody waits for that there, however quick."""
    return bool(forest.spans[index].kind == "consumer" and forest.spans[parent].kind == "producer")


def _look_beside(found: list[Waited]) -> None:
    """Take those for guesses that should have run alone and did not.

    Spans of one task overlap where it has started threads, and those of unknown tasks wherever several are at work.
    """
    by_start = sorted((place for place, each in enumerate(found) if each.alone), key=lambda place: found[place].start)
    over: int | None = None
    for number, place in enumerate(by_start):
        each = found[place]
        after = found[by_start[number + 1]].start if number + 1 < len(by_start) else None
        if (over is not None and over > each.start) or (after is not None and after < -each.before):
            found[place] = each._replace(via="heuristic")
        over = -each.before if over is None else max(over, -each.before)
