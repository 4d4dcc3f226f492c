"""Which rows a waterfall has, and in which order: spans, runs of equal ones, and gaps."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, NamedTuple

from causal_otel.collector.analysis.runs import Run, grouped
from causal_otel.collector.web.narrowing import Narrowed, Narrowing, Window, narrowed

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Iterator, Sequence

    from causal_otel.causality.explanation import Gap
    from causal_otel.collector.analysis import Explained, SpanView, TraceView

__all__ = ["FIRST_ROWS", "PAGE", "ROWS_LIMIT", "Layout", "More", "Place", "Shown", "Stop", "lay_out", "stops"]

PAGE = 500
"""Members of a run that are shown at a time."""

ROWS_LIMIT = 10_000
"""Rows that a page has at most. Of a trace with more, those that are collapsed away are left out first."""

FIRST_ROWS = 2000
"""Rows of a page that another one follows at once. Nobody has gone through them by then."""


@dataclass(frozen=True, slots=True)
class Shown:
    """What of a trace is asked for.

    Attributes:
        collapsed: ids of spans below which nothing is shown.
        opened: ids of spans that are to be seen; the runs that they are in are open.
        runs: ids of members of runs that are open, at the page with that member.
        narrowing: what is hidden.
        window: the part of its time; None: all of it.
    """

    collapsed: Collection[str] = ()
    opened: Collection[str] = ()
    runs: Collection[str] = ()
    narrowing: Narrowing = field(default_factory=Narrowing)
    window: Window | None = None


@dataclass(frozen=True, slots=True)
class More:
    """Members of an open run that are on other pages: how many, and the first of the page to go to."""

    run: Run
    count: int
    before: bool
    target: SpanView


@dataclass(frozen=True, slots=True)
class Place:
    """A row to be drawn.

    Attributes:
        span: that it shows, whose gap it is, or the first of the run.
        level: how many rows it is below.
        hidden: whether it is below one that is collapsed.
        below: how many spans that are shown are below it.
        gap: the gap that it shows, if it is one's.
        run: the run that it shows, if it is one's.
        expanded: whether that is open.
        inside: how many spans of the run, or below its members, have no row because it is closed, or on another page.
        more: the other members that it leads to, if it does.
    """

    span: SpanView
    level: int
    hidden: bool = False
    below: int = 0
    gap: Gap | None = None
    run: Run | None = None
    expanded: bool = False
    inside: int = 0
    more: More | None = None

    @property
    def is_span(self) -> bool:
        """Whether it is a span's own row."""
        return self.gap is None and self.run is None and self.more is None


@dataclass(frozen=True, slots=True)
class Layout:
    """The rows of a page.

    Attributes:
        places: in their order.
        own: the number of each span's own row, by its index.
        home: for each span of the trace, by its index, the number of the row that it is at, or is found behind.
        hidden: how many spans are hidden by what was asked for.
        outside: how many are outside of the window.
        left_out: how many are left out though they are not hidden, because they are too many.
        folded: how many spans that are collapsed away are left out for that reason.
        partial: whether any were.
        first: whether they are left out because the page with all of them follows at once.
    """

    places: tuple[Place, ...]
    own: dict[int, int]
    home: Sequence[int]
    hidden: int
    outside: int
    left_out: int
    folded: int
    partial: bool
    first: bool = False


def lay_out(explained: Explained, shown: Shown, *, gaps: bool = True, first: bool = False) -> Layout:
    """Put a trace's rows in order.

    Args:
        explained: the trace.
        shown: what of it.
        gaps: whether those are among them, for which the trace has to be explained.
        first: whether it is enough to show the first rows; nothing may be collapsed then.
    """
    trace = explained.view
    left = narrowed(trace, shown.narrowing, shown.window, _indexes(trace, shown.opened))
    gaps_before = explained.gaps_before if gaps else {}
    rows = _Rows(trace, left, shown, gaps_before, FIRST_ROWS if first else ROWS_LIMIT, skips=not shown.collapsed)
    if not rows.lay():
        rows = _Rows(trace, left, shown, gaps_before, ROWS_LIMIT, skips=True)
        rows.lay()
    layout = rows.layout()
    return replace(layout, partial=False, first=layout.partial) if first else layout


@dataclass(frozen=True, slots=True)
class _Frame:
    """Siblings of which rows are being made."""

    items: Iterator[Run | int | Place]
    level: int
    hidden: bool
    run: Run | None = None


class _Rows:
    """Makes them."""

    def __init__(
        self, trace: TraceView, left: Narrowed, shown: Shown, gaps: dict[int, list[Gap]], most: int, *, skips: bool
    ) -> None:
        self._trace = trace
        self._spans = trace.spans
        self._left = left
        self._shown = shown
        self._gaps = sorted(gaps.items())
        self._next_gap = 0
        self._most = most
        self._skips = skips
        self._full = False
        self._places: list[Place] = []
        self._own: dict[int, int] = {}
        self._at: dict[int, int] = {}
        """Rows at which spans without rows begin, by the index of the first."""
        self._closed: set[int] = set()
        """Spans of which nothing is shown that lies below them."""
        self._below = _below(left)
        self._needed = list(_needed(trace, (*shown.runs, *shown.opened)))
        self._left_out = self._folded = 0

    def lay(self) -> bool:
        """Make the rows; False: there are too many, and it was not told to skip those that are collapsed away."""
        frames = [_Frame(grouped(self._spans, self._left.children.get(-1, ())), 0, hidden=False)]
        while frames:
            if self._full and not self._skips:
                return False
            if self._full and not self._shown.collapsed:
                # The others are left out, and nothing else has to be known of them.
                told = len(self._own) + sum(place.inside for place in self._places)
                self._left_out = sum(self._left.shown) - told
                return True
            frame = frames[-1]
            item = next(frame.items, None)
            if item is None:
                frames.pop()
            elif isinstance(item, Run):
                frames.extend(self._run(item, frame))
            elif isinstance(item, Place):
                self._add(item)
            else:
                frames.extend(self._span(item, frame))
        self._add_gaps(len(self._spans), None, 0)
        return True

    def layout(self) -> Layout:
        """What came of it."""
        home, at = [], 0
        for index in range(len(self._spans)):
            at = self._at.get(index, at)
            home.append(at)
        return Layout(
            places=tuple(self._places),
            own=self._own,
            home=home,
            hidden=self._left.hidden,
            outside=self._left.outside,
            left_out=self._left_out,
            folded=self._folded,
            partial=self._full or (self._skips and self._folded > 0),
        )

    def _add(self, place: Place) -> bool:
        """Whether there was room for it."""
        if self._skips and place.hidden:
            return False
        if len(self._places) >= self._most:
            self._full = True
            return False
        if place.gap is None:
            self._at[place.span.index] = len(self._places)
        self._places.append(place)
        return True

    def _span(self, index: int, frame: _Frame) -> Iterator[_Frame]:
        self._add_gaps(index, frame.run, frame.level)
        span = self._spans[index]
        below = self._below[index]
        number = len(self._places)
        if self._add(Place(span, frame.level, frame.hidden, below)):
            self._own[index] = number
        elif frame.hidden:
            self._folded += 1
        else:
            self._left_out += 1
        hidden = frame.hidden or bool(below and span.span_id in self._shown.collapsed)
        if hidden:
            self._closed.add(index)
        if below:
            yield _Frame(grouped(self._spans, self._left.children[index]), frame.level + 1, hidden)

    def _run(self, run: Run, frame: _Frame) -> Iterator[_Frame]:
        self._add_gaps(run.first.index, frame.run, frame.level)
        all_inside = sum(1 + self._below[index] for index in run.members)
        places = run.places(self._needed)
        if not places:
            if not self._add(Place(run.first, frame.level, frame.hidden, run=run, inside=all_inside)):
                self._folded += all_inside * frame.hidden
                self._left_out += all_inside * (not frame.hidden)
            return
        begin = places[-1] // PAGE * PAGE
        members = run.members[begin : begin + PAGE]
        inside = all_inside - sum(1 + self._below[index] for index in members)
        if not self._add(Place(run.first, frame.level, frame.hidden, run=run, expanded=True, inside=inside)):
            self._folded += inside * frame.hidden
            self._left_out += inside * (not frame.hidden)
        yield _Frame(self._page(run, begin, frame), frame.level + 1, frame.hidden, run)

    def _page(self, run: Run, begin: int, frame: _Frame) -> Iterator[Run | int | Place]:
        end = min(begin + PAGE, len(run.members))
        if begin:
            more = More(run, begin, before=True, target=run.spans[begin - PAGE])
            yield Place(run.first, frame.level + 1, frame.hidden, more=more)
        yield from run.members[begin:end]
        if end < len(run.members):
            more = More(run, len(run.members) - end, before=False, target=run.spans[end])
            yield Place(run.spans[end], frame.level + 1, frame.hidden, more=more)

    def _add_gaps(self, until: int, run: Run | None, level: int) -> None:
        """Add those that are before the span with that index; among the members of a run they are on their level."""
        while self._next_gap < len(self._gaps) and self._gaps[self._next_gap][0] <= until:
            index, gaps = self._gaps[self._next_gap]
            self._next_gap += 1
            for gap in gaps:
                owner = gap.span.index
                if owner not in self._own or not self._in_window(gap):
                    continue
                within = run is not None and self._left.above[run.first.index] == owner and index > run.first.index
                place = Place(
                    self._spans[owner],
                    level if within else self._places[self._own[owner]].level + 1,
                    hidden=owner in self._closed,
                    gap=gap,
                )
                self._add(place)

    def _in_window(self, gap: Gap) -> bool:
        window = self._shown.window
        if window is None:
            return True
        start = gap.local_start - self._trace.start
        return start + gap.duration >= window.start and start <= window.end


def _below(left: Narrowed) -> list[int]:
    counts = [0] * len(left.above)
    for index in range(len(counts) - 1, -1, -1):
        above = left.above[index]
        if above >= 0 and left.shown[index]:
            counts[above] += counts[index] + 1
    return counts


def _indexes(trace: TraceView, ids: Iterable[str]) -> set[int]:
    return {span.index for span in map(trace.span, ids) if span is not None}


def _needed(trace: TraceView, ids: Iterable[str]) -> Iterator[int]:
    """The spans with these ids and those above them, by their indexes, the last ones last."""
    for each in ids:
        span = trace.span(each)
        while span is not None:
            yield span.index
            span = span.parent


class Stop(NamedTuple):
    """A span to go to: its id, the number of the row that it is at, and its number among all, from 1."""

    span_id: str
    row: int
    number: int


def stops(layout: Layout, spans: Iterable[SpanView]) -> list[Stop]:
    """Where to stop on the way through some spans, in their order: those with a row, and of others the first at a row.

    So there are not more than rows, twice, however many spans there are.
    """
    found: list[Stop] = []
    last = -1
    for number, span in enumerate(spans, 1):
        own = layout.own.get(span.index)
        row = layout.home[span.index]
        if own is not None or row != last:
            found.append(Stop(span.span_id, row, number))
        last = row if own is None else -1
    return found
