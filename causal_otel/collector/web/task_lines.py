"""Lines between the bars of a waterfall: where an asyncio task was started, and where it was waited for.

Each row draws its own piece of a line that goes through it, so that lines fit whatever rows are hidden. In a row that
many lines would go through, some are left out: those between rows that are far from each other, which would not help
anybody. Then only their ends are drawn.
"""

from __future__ import annotations

from collections import defaultdict
from typing import TYPE_CHECKING, NamedTuple

from causal_otel.collector.web.legend import JOIN, START

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator, Mapping, Sequence

    from causal_otel.causality.critical_path import TaskRun
    from causal_otel.collector.analysis import SpanView
    from causal_otel.collector.web.bars import Axis

__all__ = ["task_lines"]

_MOST_IN_A_ROW = 6
_LONGEST = 60


class _Edge(NamedTuple):
    """A line from the row of the span that started a task, or waited for it, to one of the task's own."""

    kind: str
    x: float
    other: int
    own: int

    @property
    def length(self) -> int:
        return abs(self.own - self.other)


def task_lines(
    runs: Sequence[TaskRun[SpanView]], rows: Mapping[int, int], on_path: Collection[int], axis: Axis
) -> dict[int, list[str]]:
    """What each row draws of them, as SVG, by the row's number.

    Args:
        runs: the tasks.
        rows: the number of each span's row, by the span's index.
        on_path: spans on the critical path, by their index: lines to these are drawn first.
        axis: of the waterfall.
    """
    found: defaultdict[int, list[str]] = defaultdict(list)
    crossing: defaultdict[int, set[tuple[str, float, int]]] = defaultdict(set)
    important: list[_Edge] = []
    others: list[_Edge] = []
    for run in runs:
        edges = important if run.first.index in on_path or run.last.index in on_path else others
        edges.extend(_edges(run, rows, axis))
    for edge in (*sorted(important, key=lambda each: each.length), *sorted(others, key=lambda each: each.length)):
        _draw(edge, crossing, found)
    return found


def _edges(run: TaskRun[SpanView], rows: Mapping[int, int], axis: Axis) -> Iterator[_Edge]:
    ends = ((START, run.started_in, run.first, run.first.start), (JOIN, run.waited_in, run.last, run.last.end))
    for kind, other, own, time in ends:
        if other is not None and other is not own and other.index in rows and own.index in rows:
            x = min(99.8, max(0.0, round(axis.at(time), 1)))
            yield _Edge(kind, x, rows[other.index], rows[own.index])


def _draw(
    edge: _Edge, crossing: defaultdict[int, set[tuple[str, float, int]]], found: defaultdict[int, list[str]]
) -> None:
    above, below = ("bottom", "top") if edge.other < edge.own else ("top", "bottom")
    line, key = f'<rect class="edge {edge.kind}', (edge.kind, edge.x, edge.other)
    between = range(min(edge.own, edge.other) + 1, max(edge.own, edge.other))
    found[edge.own].append(f'{line} {below}" x="{edge.x}%"/>')
    if edge.length > _LONGEST or any(
        len(crossing[row]) >= _MOST_IN_A_ROW and key not in crossing[row] for row in between
    ):
        return
    if key not in crossing[edge.other]:  # several lines from one place are drawn once
        crossing[edge.other].add(key)
        found[edge.other].append(
            f'{line} {above}" x="{edge.x}%"/><circle class="edge {edge.kind} {above}" cx="{edge.x}%"/>'
        )
    for row in between:
        if key not in crossing[row]:
            crossing[row].add(key)
            found[row].append(f'{line} through" x="{edge.x}%"/>')
