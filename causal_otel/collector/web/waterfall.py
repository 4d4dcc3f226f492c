"""The waterfall of a trace as rows and numbers: what the template of the trace page draws."""

from __future__ import annotations

from bisect import bisect_left
from collections import defaultdict
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Literal

from markupsafe import Markup

from causal_otel.collector.analysis import waited_before
from causal_otel.collector.analysis.runs import n_plus_one
from causal_otel.collector.attributes import tags
from causal_otel.collector.units import format_duration, ticks
from causal_otel.collector.web import legend
from causal_otel.collector.web.axis import AxisLabel
from causal_otel.collector.web.bars import Axis, PartView, drawing, gap_drawing, parts, path_rects, path_shapes, strokes
from causal_otel.collector.web.flags import Flag, flags
from causal_otel.collector.web.run_rows import PathIndex, RunView, run_view
from causal_otel.collector.web.task_lines import task_lines

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence

    from causal_otel.causality.critical_path import TaskRun, Until
    from causal_otel.causality.explanation import Gap
    from causal_otel.collector.analysis import Explained, SpanView, TraceLogsView, TraceView
    from causal_otel.collector.analysis.runs import Run
    from causal_otel.collector.web.layout import Layout, More, Place
    from causal_otel.collector.web.narrowing import Window

__all__ = ["CHUNK", "Chunk", "Row", "Waterfall", "find_spans", "parents", "system_beside", "waterfall"]

CHUNK = 50
"""Rows that the browser lays out together, once they come into view."""

_ROWS_AT_ONCE = 200

_DEEPEST_INDENT = 24
_LEAST_PARTED = 0.25
"""Bars of some three pixels show no parts but those before them."""

_MOST_RECTS = 50
"""Segments of the critical path in one span that each say what they are. More are a shape."""

_MINIMAP_FROM = 12
_TICKS = 9
_SURELY_SHOWN = 16
"""Characters of a name that there is room for, also on a phone."""
_CALLS = frozenset({"client", "producer", "consumer"})


@dataclass(frozen=True, slots=True)
class Row:
    """A row: a span's, a run's, that of a gap in a span's own time, or the way to a run's other members.

    Attributes:
        kind: which of these.
        span: what it shows, whose gap, the run's first, or the first of the other members.
        attributes: of its HTML element.
        indent: how far its name is indented, in steps.
        hidden: whether it is itself below one that is collapsed.
        took: its duration; of a run that of all its members.
        drawing: its bar, where its time went, and what of it is on the critical path, as SVG.
        label: what a gap is called.
        system: what a call goes to; empty: it is none, or that is not known.
        title: all of its name, if it may be cut.
        below: how many spans are below it.
        flags: what is special about it.
        run: what the row of a run says.
        members: the run.
        more: the members that it leads to.
    """

    kind: Literal["span", "run", "gap", "more"]
    span: SpanView
    attributes: Markup
    indent: int
    hidden: bool
    took: str = ""
    drawing: Markup = field(default_factory=Markup)
    label: str = ""
    system: str = ""
    title: str = ""
    below: int = 0
    flags: tuple[Flag, ...] = ()
    run: RunView | None = None
    members: Run | None = None
    more: More | None = None


@dataclass(frozen=True, slots=True)
class Chunk:
    """Some consecutive rows.

    Attributes:
        rows: at most :data:`CHUNK`.
        hidden: whether all of them are.
        later: whether a browser with scripts need not make elements of them before they come into view.
    """

    rows: tuple[Row, ...]
    hidden: bool
    later: bool


@dataclass(frozen=True, slots=True)
class Waterfall:
    """All rows, in chunks, with the axis, and for each colour the path that the minimap draws in it."""

    chunks: tuple[Chunk, ...]
    index: tuple[tuple[str, int, int], ...]
    """For scripts: each row's span id, level from 1, and how many rows are hidden by collapsing it.

    The id of a run is that of its first span behind ``r-``, those of other rows are empty. 0: it cannot be collapsed.
    -1: it can be, and what is below it is left out of the page.
    """
    ticks: tuple[AxisLabel, ...]
    minimap: tuple[tuple[int, str], ...]
    legend: tuple[legend.Entry, ...]
    """Of what was drawn."""


def waterfall(
    explained: Explained,
    colours: Mapping[str, int],
    layout: Layout,
    *,
    collapsed: Collection[str] = (),
    opened: Collection[str] = (),
    hits: Collection[int] = (),
    until: Until | None = "answer",
    window: Window | None = None,
) -> Waterfall:
    """Draw the rows of a trace.

    Args:
        explained: the trace.
        colours: of its services.
        layout: its rows.
        collapsed: spans that are collapsed, by their ids.
        opened: spans whose details are open, likewise.
        hits: spans to be marked as found, by their index.
        until: where the critical path leads to; None: nothing is shown that has to be found out first.
        window: the part of its time that is as wide as the page; None: all of it.
    """
    return _Drawing(explained, colours, layout, set(collapsed), set(opened), set(hits), until, window).waterfall()


class _Drawing:
    """Draws one."""

    def __init__(
        self,
        explained: Explained,
        colours: Mapping[str, int],
        layout: Layout,
        collapsed: set[str],
        opened: set[str],
        hits: set[int],
        until: Until | None,
        window: Window | None,
    ) -> None:
        trace = explained.view
        self._explained, self._trace, self._colours, self._layout = explained, trace, colours, layout
        self._collapsed, self._opened, self._hits = collapsed, opened, hits
        self._sorted_hits = sorted(hits)
        self._whole = Axis(trace.start, max(1, trace.duration))
        self._axis = self._whole if window is None else Axis(trace.start + window.start, window.length)
        self._from = 0 if window is None else window.start
        self._path = PathIndex(explained.path(until) if until is not None else ())
        self._findings = n_plus_one(explained) if until is not None else {}
        self._lines = task_lines(explained.tasks, layout.own, self._path, self._axis)
        self._drawn = _drawn_of_tasks(explained.tasks)
        self._minimap: defaultdict[int, list[str]] = defaultdict(list)

    def waterfall(self) -> Waterfall:
        rows = [self._row(number, place) for number, place in enumerate(self._layout.places)]
        axis = self._axis
        return Waterfall(
            chunks=tuple(_chunk(rows[at : at + CHUNK], at, self._opened) for at in range(0, len(rows), CHUNK)),
            index=tuple(_index(self._layout.places)),
            ticks=tuple(
                AxisLabel(axis.at(self._trace.start + tick.at), tick.label)
                for tick in ticks(axis.length, _TICKS, begin=self._from)
            ),
            minimap=tuple((colour, "".join(drawn)) for colour, drawn in sorted(self._minimap.items()))
            if len(rows) >= _MINIMAP_FROM or self._axis is not self._whole
            else (),
            legend=legend.entries(self._drawn),
        )

    def _row(self, number: int, place: Place) -> Row:
        if place.gap is not None:
            return self._gap(number, place, place.gap)
        if place.more is not None:
            return self._more(place, place.more)
        if place.run is not None:
            return self._run(number, place, place.run)
        return self._span(number, place)

    def _span(self, number: int, place: Place) -> Row:
        span, axis = place.span, self._axis
        index = span.index
        x, width = axis.place(span.start, span.end)
        self._stroke(number, span.service, [(span.start, span.end)])
        inside = self._inside(span, width)
        self._drawn.update(part.kind for part in inside)
        segments = self._path.of(index)
        draw = path_rects if len(segments) <= _MOST_RECTS else path_shapes
        critical = list(draw(segments, axis)) if segments else []
        self._drawn.update(name for name, _ in critical)
        took = format_duration(span.duration)
        is_collapsed = bool(place.below) and span.span_id in self._collapsed
        return Row(
            kind="span",
            span=span,
            attributes=_attributes(
                f"row s{self._colours[span.service]}{' err' if span.error else ''}"
                f"{' hit' if index in self._hits else ''}{' open' if span.span_id in self._opened else ''}"
                f"{' on-path' if critical else ''}{' untimed' if span.untimed else ''}",
                f"s-{span.span_id}",
                place,
                expanded=not is_collapsed if place.below else None,
            ),
            indent=min(place.level, _DEEPEST_INDENT),
            hidden=place.hidden,
            took=took,
            drawing=drawing(
                f"{took}, by itself {format_duration(span.self_time)}; "
                f"starts at {format_duration(span.start - self._trace.start)}",
                x,
                width,
                inside,
                (*(rect for _, rect in critical), *self._lines.get(number, ())),
            ),
            system=system_beside(span),
            title=_title(span, place.level),
            below=place.below,
            flags=flags(self._explained, span),
        )

    def _run(self, number: int, place: Place, run: Run) -> Row:
        span = run.first
        end = self._explained.end_of[run.members[-1]]
        view = run_view(
            run, axis=self._axis, path=self._path, end=end, findings=self._findings, expanded=place.expanded
        )
        self._drawn.update(view.classes)
        self._stroke(number, span.service, [(each.start, each.end) for each in run.spans])
        has_hit = not place.expanded and bisect_left(self._sorted_hits, run.first.index) < bisect_left(
            self._sorted_hits, end
        )
        return Row(
            kind="run",
            span=span,
            attributes=_attributes(
                f"run row s{self._colours[span.service]}{' err' if view.errors else ''}{' hit' if has_hit else ''}"
                f"{' on-path' if view.classes else ''}",
                f"r-{span.span_id}",
                place,
                expanded=place.expanded,
            ),
            indent=min(place.level, _DEEPEST_INDENT),
            hidden=place.hidden,
            took=format_duration(run.total),
            drawing=view.drawing,
            system=system_beside(span),
            title=_title(span, place.level),
            run=view,
            members=run,
        )

    def _gap(self, number: int, place: Place, gap: Gap) -> Row:
        self._drawn.add(legend.GAP)
        took = format_duration(gap.duration)
        x, width = self._axis.place(gap.local_start, gap.local_start + gap.duration)
        return Row(
            kind="gap",
            span=place.span,
            attributes=_attributes(f"gap row s{self._colours[place.span.service]}", "", place),
            indent=min(place.level, _DEEPEST_INDENT),
            hidden=place.hidden,
            took=took,
            drawing=gap_drawing(
                f"{took}: {gap.details}; from {format_duration(gap.local_start - self._trace.start)}",
                x,
                width,
                self._lines.get(number, ()),
            ),
            label=gap.label,
            title=gap.label,
        )

    def _more(self, place: Place, more: More) -> Row:
        return Row(
            kind="more",
            span=more.target,
            attributes=_attributes(f"more row s{self._colours[place.span.service]}", "", place),
            indent=min(place.level, _DEEPEST_INDENT),
            hidden=place.hidden,
            more=more,
        )

    def _inside(self, span: SpanView, width: float) -> Sequence[PartView]:
        if width >= _LEAST_PARTED:
            return parts(self._explained, span, self._axis)
        if not waited_before(span):
            return ()
        return [part for part in parts(self._explained, span, self._axis) if part.before]

    def _stroke(self, row: int, service: str, times: Iterable[tuple[int, int]]) -> None:
        drawn = (f"M{left} {row}.5H{max(left + 2, right)}" for left, right in strokes(times, self._whole))
        self._minimap[self._colours[service]].append("".join(drawn))


def system_beside(span: SpanView) -> str:
    """What a call goes to, to stand beside its name; empty for what is no call, and where that is not known."""
    return span.system if span.kind in _CALLS else ""


def _title(span: SpanView, level: int) -> str:
    """All of what a row names its span by; empty where it is too short to be cut."""
    system = system_beside(span)
    name = f"{span.service} {system}: {span.name}" if system else f"{span.service} {span.name}"
    return name if len(name) + 2 * level > _SURELY_SHOWN else ""


def parents(trace: TraceView) -> list[str]:
    """The ids of the spans that others are below, in the waterfall's order."""
    return list(dict.fromkeys(span.span_id for span in trace.spans if span.children))


def find_spans(trace: TraceView, wanted: str, logs: TraceLogsView) -> list[SpanView]:
    """The spans with ``wanted`` in their service, name, id, tags or log records, in any case.

    ``key=value`` is found where the value of that key begins so.
    """
    needle = wanted.casefold()
    return [
        span
        for span in trace.spans
        if needle in _haystack(span)
        or any(needle in record.haystack().casefold() for record in logs.by_span.get(span.span_id, ()))
    ]


def _haystack(span: SpanView) -> str:
    found = [span.service, span.name, span.span_id]
    found.extend(f"{key}={value}" for key, value in tags(span.message, span.scope))
    return "\n".join(found).casefold()


def _index(places: Sequence[Place]) -> Iterator[tuple[str, int, int]]:
    levels = [place.level + 1 for place in places]
    ends = [len(places)] * len(places)
    """The number of the first row behind each that is not below it."""
    way: list[int] = []
    for number, level in enumerate(levels):
        while way and levels[way[-1]] >= level:
            ends[way.pop()] = number
        way.append(number)
    for number, place in enumerate(places):
        here = ends[number] - number - 1
        name = place.span.span_id if place.is_span else f"r-{place.span.span_id}" if place.run is not None else ""
        yield name, levels[number], (here or -1) if place.below else 0


def _drawn_of_tasks(runs: Iterable[TaskRun[SpanView]]) -> set[str]:
    found: set[str] = set()
    for run in runs:
        found.update(() if run.main else (legend.TASK,))
        found.update(() if run.started_in is None else (legend.START,))
        found.update(() if run.waited_in is None else (legend.JOIN,))
    return found


def _chunk(rows: Sequence[Row], first: int, opened: Collection[str]) -> Chunk:
    later = first >= _ROWS_AT_ONCE and not any(row.kind == "span" and row.span.span_id in opened for row in rows)
    return Chunk(tuple(rows), hidden=all(row.hidden for row in rows), later=later)


def _attributes(classes: str, name: str, place: Place, *, expanded: bool | None = None) -> Markup:
    """Those of a row's element. No text needs escaping, and the template would take three times as long."""
    named = f' id="{name}"' if name else ""
    tree = "" if expanded is None else f' aria-expanded="{"true" if expanded else "false"}"'
    written = f'class="{classes}"{named} role="row" aria-level="{place.level + 1}"{tree}'
    return Markup(f"{written} hidden" if place.hidden else written)  # noqa: S704
