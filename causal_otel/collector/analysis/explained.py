"""A trace with its explanation, and what else is shown of it; each is found out once, when it is first asked for."""

from __future__ import annotations

from functools import cached_property
from typing import TYPE_CHECKING, cast

from causal_otel.causality.critical_path import task_runs
from causal_otel.causality.explanation import Scene, explanation_of, gaps
from causal_otel.collector.analysis.placed_parts import PlacedPart, placed_parts

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from causal_otel.causality.critical_path import Segment, TaskRun, Until
    from causal_otel.causality.explanation import Explanation, Gap
    from causal_otel.collector.analysis.view import SpanView, TraceView

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

    def path(self, until: Until) -> Sequence[Segment[SpanView]]:
        """The critical path; no other trace is needed for it."""
        return cast("Sequence[Segment[SpanView]]", self._alone.segments(until))

    def parts(self, span: SpanView) -> list[PlacedPart]:
        """Where the span's time went, and when that was."""
        return placed_parts(span, lambda: self._scene.stalls.of(span))

    @cached_property
    def _scene(self) -> Scene:
        return Scene(self.view, None, tuple(self._beside()), self._alone.paths)
