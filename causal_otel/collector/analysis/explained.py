"""A trace with its explanation, and what else is shown of it; each is found out once, when it is first asked for."""

from __future__ import annotations

from collections import defaultdict
from functools import cached_property
from typing import TYPE_CHECKING, cast

from causal_otel.causality.critical_path import task_runs
from causal_otel.causality.explanation import Scene, explanation_of, gaps
from causal_otel.collector.analysis.placed_parts import PlacedPart, placed_parts
from causal_otel.collector.trace_tree import corrected

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from causal_otel.causality.critical_path import Segment, TaskRun, Until
    from causal_otel.causality.explanation import Explanation, Gap
    from causal_otel.collector.view import SpanView, TraceView

__all__ = ["Explained"]


class Explained:
    """What pages and terminals show of a trace beside its spans.

    Args:
        view: the trace.
        beside: gives traces of the same time, see :func:`~causal_otel.collector.analysis.neighbours.traces_beside`;
            it is called once, if at all.
    """

    def __init__(self, view: TraceView, beside: Callable[[], Sequence[TraceView]] = list) -> None:
        self.view = view
        self._beside = beside
        self._alone = Scene(view)

    @cached_property
    def corrected(self) -> Explained:
        """The same trace with clocks that disagree corrected, see :func:`~.trace_tree.corrected`."""
        return Explained(corrected(self.view), self._beside)

    @property
    def ready(self) -> bool:
        """Whether the explanation was found out already, which takes seconds for a trace of 50,000 spans."""
        return "explanation" in vars(self)

    @cached_property
    def explanation(self) -> Explanation:
        """Why it took so long."""
        return explanation_of(self._scene)

    @cached_property
    def gaps(self) -> list[Gap]:
        """Where the critical path is in a span's own time and nothing traced ran."""
        return gaps(self._scene)

    @cached_property
    def tasks(self) -> list[TaskRun[SpanView]]:
        """The asyncio tasks that it tells of."""
        return task_runs(self.view)

    @cached_property
    def gaps_before(self) -> dict[int, list[Gap]]:
        """Where gaps stand in the tree: among the children of their span, by time.

        By the index of the span that they are before, which is one more than that of the last span for those behind it.
        """
        spans = self.view.spans
        found: defaultdict[int, list[Gap]] = defaultdict(list)
        for gap in self.gaps:
            span = spans[gap.span.index]
            after = (child.index for child in span.children if child.start >= gap.local_start)
            found[next(after, self.end_of[span.index])].append(gap)
        for gaps_there in found.values():  # at one place, those of deeper spans belong to what ends there
            gaps_there.sort(key=lambda gap: (-spans[gap.span.index].depth, gap.start))
        return found

    @cached_property
    def end_of(self) -> list[int]:
        """Of each span the index behind the last one below it."""
        ends = [span.index + 1 for span in self.view.spans]
        for span in reversed(self.view.spans):
            if span.parent is not None:
                ends[span.parent.index] = max(ends[span.parent.index], ends[span.index])
        return ends

    @cached_property
    def task_of(self) -> dict[int, TaskRun[SpanView]]:
        """The task that each span ran in, by the span's index, as far as it is known."""
        return {span.index: run for run in self.tasks for span in run.spans}

    def own_task(self, span: SpanView) -> TaskRun[SpanView] | None:
        """The task that a span ran in, if that is another one than that of the span above it."""
        if span.parent is None or span.local_root:
            return None
        run = self.task_of.get(span.index)
        return None if run is self.task_of.get(span.parent.index) else run

    def path(self, until: Until) -> Sequence[Segment[SpanView]]:
        """The critical path; no other trace is needed for it."""
        return cast("Sequence[Segment[SpanView]]", self._alone.segments(until))

    def parts(self, span: SpanView) -> list[PlacedPart]:
        """Where the span's time went, and when that was."""
        return placed_parts(span, lambda: self._scene.stalls.of(span))

    @cached_property
    def _scene(self) -> Scene:
        return Scene(self.view, None, tuple(self._beside()), self._alone.paths)
