"""Which rows a trace's tree has in a terminal, and in which order: spans, runs of equal siblings, and gaps."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from causal_otel.collector.analysis.runs import Run, grouped

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from causal_otel.causality.explanation import Gap
    from causal_otel.collector.analysis import Explained, SpanView, TraceView

__all__ = ["Row", "explained_rows", "guided", "plain_rows", "runs_of"]


class Row(NamedTuple):
    """A row.

    Attributes:
        span: that it shows, whose gap it is, or the first of the run.
        gap: the gap that it shows, if it is one's.
        run: the run that it shows, if it is one's.
        inside: what it stands for, a run's members and all that is below them; of a gap nothing.
    """

    span: SpanView
    gap: Gap | None = None
    run: Run | None = None
    inside: Sequence[SpanView] = ()

    @property
    def depth(self) -> int:
        """How many rows it is below."""
        return self.span.depth + (self.gap is not None)


def plain_rows(view: TraceView) -> Iterator[Row]:
    """A row for each span."""
    for span in view.spans:
        yield Row(span, inside=(span,))


def explained_rows(explained: Explained, *, expand: bool) -> Iterator[Row]:
    """The rows of a trace with its gaps.

    Args:
        explained: the trace.
        expand: whether members of runs have rows of their own. Else a run is one row, nothing is shown below it, and
            gaps between its members stand behind it.
    """
    spans, gaps = explained.view.spans, _Gaps(explained)
    if expand:
        for span in spans:
            yield from gaps.until(span.index)
            yield gaps.shown(span)
    else:
        levels = [grouped(spans, [span.index for span in explained.view.roots])]
        while levels:
            item = next(levels[-1], None)
            if item is None:
                levels.pop()
            elif isinstance(item, Run):
                yield from gaps.until(item.first.index)
                end = explained.end_of[item.members[-1]]
                yield Row(item.first, run=item, inside=spans[item.first.index : end])
            else:
                yield from gaps.until(item)
                yield gaps.shown(spans[item])
                levels.append(grouped(spans, [child.index for child in spans[item].children]))
    yield from gaps.until(len(spans))


class _Gaps:
    """Those that have no row yet, of spans that have one."""

    def __init__(self, explained: Explained) -> None:
        self._spans = explained.view.spans
        self._left = sorted(explained.gaps_before.items(), reverse=True)
        self._own: set[int] = set()

    def shown(self, span: SpanView) -> Row:
        """The row of a span, whose gaps have rows from now on."""
        self._own.add(span.index)
        return Row(span, inside=(span,))

    def until(self, index: int) -> Iterator[Row]:
        """Rows of the gaps before the span with that index."""
        while self._left and self._left[-1][0] <= index:
            for gap in self._left.pop()[1]:
                if gap.span.index in self._own:
                    yield Row(self._spans[gap.span.index], gap)


def runs_of(rows: Iterable[Row]) -> dict[int, Run]:
    """The run that a span is a member of, by the span's index, as far as runs have rows."""
    return {index: row.run for row in rows if row.run is not None for index in row.run.members}


def guided(rows: Sequence[Row]) -> list[tuple[int, bool]]:
    """The depth of each row, and whether there is another one at that depth below the same span."""
    found: list[tuple[int, bool]] = []
    later: list[bool] = []  # by depth, whether there is one further down, below the same span
    for row in reversed(rows):
        del later[row.depth + 1 :]
        later.extend([False] * (row.depth + 1 - len(later)))
        found.append((row.depth, later[row.depth]))
        later[row.depth] = True
    return found[::-1]
