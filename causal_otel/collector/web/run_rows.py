"""The row of a run: how many there are, how long they took, what has failed, and where they were."""

from __future__ import annotations

from bisect import bisect_left
from collections import defaultdict
from dataclasses import dataclass
from typing import TYPE_CHECKING

from causal_otel.collector.units import format_duration
from causal_otel.collector.web.bars import path_shapes, run_drawing, strokes

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence

    from markupsafe import Markup

    from causal_otel.causality.critical_path import Segment
    from causal_otel.collector.analysis import SpanView
    from causal_otel.collector.analysis.runs import Run
    from causal_otel.collector.web.bars import Axis

__all__ = ["PathIndex", "RunView", "run_view"]


@dataclass(frozen=True, slots=True)
class RunView:
    """What the row of a run says.

    Attributes:
        count: how many members it has.
        p50: of their durations.
        longest: of their durations.
        longest_id: of the member that it is of.
        errors: how many have failed.
        errors_below: how many spans below them have.
        failed_id: of the first that has failed, a member or below one; empty: none has.
        on_path: how long the critical path is in it, as text; empty: it is not.
        path_id: of the first span of the critical path in it.
        finding: the number of the finding that says it is N+1, counted from 1; 0: none does.
        expanded: whether its members are shown.
        classes: of its parts of the critical path.
        drawing: its bars.
    """

    count: int
    p50: str
    longest: str
    longest_id: str
    errors: int
    errors_below: int
    failed_id: str
    on_path: str
    path_id: str
    finding: int
    expanded: bool
    classes: frozenset[str]
    drawing: Markup


class PathIndex:
    """The critical path by the indexes of its spans."""

    def __init__(self, segments: Iterable[Segment[SpanView]]) -> None:
        found: defaultdict[int, list[Segment[SpanView]]] = defaultdict(list)
        for segment in segments:
            found[segment.span.index].append(segment)
        self._by_span = dict(found)
        self._indexes = sorted(found)

    def __contains__(self, index: object) -> bool:
        return index in self._by_span

    def __iter__(self) -> Iterator[int]:
        return iter(self._indexes)

    def __len__(self) -> int:
        return len(self._indexes)

    def of(self, index: int) -> Sequence[Segment[SpanView]]:
        """What of it is in a span."""
        return self._by_span.get(index, ())

    def within(self, begin: int, end: int) -> list[Segment[SpanView]]:
        """What of it is in spans from one index on, and before another."""
        some = self._indexes[bisect_left(self._indexes, begin) : bisect_left(self._indexes, end)]
        return [segment for index in some for segment in self._by_span[index]]


def run_view(
    run: Run, *, axis: Axis, path: PathIndex, end: int, findings: Mapping[str, int], expanded: bool
) -> RunView:
    """What the row of a run says and draws.

    Args:
        run: the run.
        axis: of the waterfall.
        path: the critical path.
        end: the index behind the last span below its members.
        findings: see :func:`~causal_otel.collector.analysis.runs.n_plus_one`.
        expanded: whether its members are shown.
    """
    segments = path.within(run.first.index, end)
    shapes = list(path_shapes(segments, axis))
    longest = run.longest
    count, total, p50 = len(run.spans), run.total, run.p50
    failed = next((span for span in run.spans if span.error or span.errors_below), None)
    says = (
        f"{count} spans, {format_duration(total)} together; half of them at most {format_duration(p50)}, "
        f"the longest {format_duration(longest.duration)}"
    )
    return RunView(
        count=count,
        p50=format_duration(p50),
        longest=format_duration(longest.duration),
        longest_id=longest.span_id,
        errors=run.errors,
        errors_below=run.errors_below,
        failed_id=_failed(failed),
        on_path=format_duration(sum(segment.duration for segment in segments)) if segments else "",
        path_id=segments[0].span.span_id if segments else "",
        finding=next((findings[span.span_id] for span in run.spans if span.span_id in findings), 0) if findings else 0,
        expanded=expanded,
        classes=frozenset(name for name, _ in shapes),
        drawing=run_drawing(
            says, strokes(((span.start, span.end) for span in run.spans), axis), (shape for _, shape in shapes)
        ),
    )


def _failed(span: SpanView | None) -> str:
    """The id of the first that has failed, of it and what is below it."""
    while span is not None and not span.error:
        span = next((child for child in span.children if child.error or child.errors_below), None)
    return "" if span is None else span.span_id
