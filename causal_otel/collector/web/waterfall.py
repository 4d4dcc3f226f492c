"""The waterfall of a trace as rows and numbers: what the template of the trace page draws."""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple

from markupsafe import Markup

from causal_otel.collector.analysis import waited_before
from causal_otel.collector.attributes import tags
from causal_otel.collector.units import format_duration, ticks
from causal_otel.collector.web import legend
from causal_otel.collector.web.axis import AxisLabel
from causal_otel.collector.web.bars import Axis, PartView, drawing, gap_drawing, parts, path_rects
from causal_otel.collector.web.flags import Flag, flags
from causal_otel.collector.web.task_lines import task_lines

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence

    from causal_otel.causality.critical_path import Segment, TaskRun, Until
    from causal_otel.causality.explanation import Gap
    from causal_otel.collector.analysis import Explained, SpanView, TraceLogsView, TraceView

__all__ = ["CHUNK", "Chunk", "Row", "Waterfall", "find_spans", "parents", "waterfall"]

CHUNK = 50
"""Rows that the browser lays out together, once they come into view."""

_ROWS_AT_ONCE = 200

ROWS_LIMIT = 10_000
"""Rows that a page has at most. Of a trace with more spans, those that are collapsed away are left out first."""

_DEEPEST_INDENT = 24
_LEAST_PARTED = 0.25
"""Bars of some three pixels show no parts but those before them."""

_MINIMAP_FROM = 12
_TICKS = 9
_MINIMAP_WIDTH = 1000


@dataclass(frozen=True, slots=True)
class Row:
    """A span's row, or that of a gap in its own time.

    Attributes:
        span: what it shows, or whose gap.
        gap: what the gap is called; empty: it is the span's own row.
        attributes: of its HTML element.
        indent: how far its name is indented, in steps.
        below: how many spans are below it.
        hidden: whether it is itself below one that is collapsed.
        flags: what is special about it.
        took: its duration.
        drawing: its bar, where its time went, and what of it is on the critical path, as SVG.
    """

    span: SpanView
    gap: str
    attributes: Markup
    indent: int
    below: int
    hidden: bool
    flags: tuple[Flag, ...]
    took: str
    drawing: Markup


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
    """For scripts: each row's span id (a gap's is empty), level from 1, and how many rows are hidden by collapsing it.

    0: it cannot be collapsed. -1: it can be, and what is below it is left out of the page.
    """
    ticks: tuple[AxisLabel, ...]
    minimap: tuple[tuple[int, str], ...]
    legend: tuple[legend.Entry, ...]
    """Of what was drawn."""
    partial: bool
    """Whether hidden rows are left out of the page, because the trace has more spans than a page may have rows."""
    left_out: int
    """How many rows are left out though they are not hidden, because they are too many."""


class _Place(NamedTuple):
    """A row to be drawn."""

    span: SpanView
    gap: Gap | None
    hidden: bool


def waterfall(
    explained: Explained,
    colours: Mapping[str, int],
    *,
    collapsed: Collection[str] = (),
    opened: Collection[str] = (),
    hits: Collection[int] = (),
    until: Until = "answer",
) -> Waterfall:
    """Lay out a trace.

    Args:
        explained: the trace.
        colours: of its services.
        collapsed: spans that are collapsed, by their ids.
        opened: spans whose details are open, likewise.
        hits: spans to be marked as found, by their index.
        until: where the critical path leads to.
    """
    trace = explained.view
    axis = Axis(trace.start, max(1, trace.duration))
    below = _below(trace.spans)
    path = _by_span(explained.path(until))
    partial = len(trace.spans) > ROWS_LIMIT
    places, left_out = _places(explained, below, collapsed, partial=partial)
    numbers = {place.span.index: number for number, place in enumerate(places) if place.gap is None}
    lines = task_lines(explained.tasks, numbers, path, axis)
    drawn = _drawn_of_tasks(explained.tasks)
    minimap: dict[int, list[str]] = defaultdict(list)
    rows: list[Row] = []
    for number, place in enumerate(places):
        if place.gap is not None:
            drawn.add(legend.GAP)
            rows.append(_gap_row(place, place.gap, axis, colours, lines.get(number, ())))
            continue
        span = place.span
        index = span.index
        x, width = axis.at(span.start), axis.wide(span.duration)
        minimap[colours[span.service]].append(_stroke(number, x, width))
        inside = _inside(explained, span, axis, width)
        drawn.update(part.kind for part in inside)
        critical = list(path_rects(path.get(index, ()), axis))
        drawn.update(name for name, _ in critical)
        took = format_duration(span.duration)
        is_collapsed = bool(below[index]) and span.span_id in collapsed
        rows.append(
            Row(
                span=span,
                gap="",
                attributes=_attributes(
                    span,
                    f"row s{colours[span.service]}{' err' if span.error else ''}{' hit' if index in hits else ''}"
                    f"{' open' if span.span_id in opened else ''}{' on-path' if critical else ''}",
                    expanded=not is_collapsed if below[index] else None,
                    hidden=place.hidden,
                ),
                indent=min(span.depth, _DEEPEST_INDENT),
                below=below[index],
                hidden=place.hidden,
                flags=flags(explained, span),
                took=took,
                drawing=drawing(
                    f"{took}, by itself {format_duration(span.self_time)}; "
                    f"starts at {format_duration(span.start - trace.start)}",
                    x,
                    width,
                    inside,
                    (*(rect for _, rect in critical), *lines.get(number, ())),
                ),
            )
        )
    return Waterfall(
        chunks=tuple(_chunk(rows[at : at + CHUNK], at, opened) for at in range(0, len(rows), CHUNK)),
        index=tuple(_index(rows)),
        ticks=tuple(AxisLabel(axis.at(trace.start + tick.at), tick.label) for tick in ticks(trace.duration, _TICKS)),
        minimap=tuple((colour, "".join(strokes)) for colour, strokes in sorted(minimap.items()))
        if len(rows) >= _MINIMAP_FROM
        else (),
        legend=legend.entries(drawn),
        partial=partial,
        left_out=left_out,
    )


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


def _inside(explained: Explained, span: SpanView, axis: Axis, width: float) -> Sequence[PartView]:
    if width >= _LEAST_PARTED:
        return parts(explained, span, axis)
    return [part for part in parts(explained, span, axis) if part.before] if waited_before(span) else ()


def _below(spans: Sequence[SpanView]) -> list[int]:
    counts = [0] * len(spans)
    for index in range(len(spans) - 1, 0, -1):
        parent = spans[index].parent
        if parent is not None:
            counts[parent.index] += counts[index] + 1
    return counts


def _by_span(segments: Iterable[Segment[SpanView]]) -> dict[int, list[Segment[SpanView]]]:
    found: dict[int, list[Segment[SpanView]]] = defaultdict(list)
    for segment in segments:
        found[segment.span.index].append(segment)
    return found


def _places(
    explained: Explained, below: Sequence[int], collapsed: Collection[str], *, partial: bool
) -> tuple[list[_Place], int]:
    """The rows in their order, and how many are left out though they are not hidden."""
    found: list[_Place] = []
    hidden_until = left_out = 0
    closed: set[int] = set()
    """Spans of which nothing is shown that lies below them."""
    gaps = explained.gaps_before
    for index in range(len(explained.view.spans) + 1):
        for gap in gaps.get(index, ()):
            owner: SpanView = explained.view.spans[gap.span.index]
            if not partial or (owner.index not in closed and len(found) < ROWS_LIMIT):
                found.append(_Place(owner, gap, owner.index in closed))
        if index == len(explained.view.spans):
            break
        span = explained.view.spans[index]
        hidden = index < hidden_until
        if below[index] and not hidden and span.span_id in collapsed:
            hidden_until = index + below[index] + 1
            closed.add(index)
        if hidden:
            closed.add(index)
        if partial and (hidden or len(found) >= ROWS_LIMIT):
            left_out += not hidden
            continue
        found.append(_Place(span, None, hidden))
    return found, left_out


def _gap_row(place: _Place, gap: Gap, axis: Axis, colours: Mapping[str, int], lines: Sequence[str]) -> Row:
    span = place.span
    took = format_duration(gap.duration)
    x, width = axis.at(gap.local_start), axis.wide(gap.duration)
    level = f'class="gap row s{colours[span.service]}" role="row" aria-level="{span.depth + 2}"'
    return Row(
        span=span,
        gap=gap.label,
        attributes=Markup(f"{level} hidden" if place.hidden else level),  # noqa: S704
        indent=min(span.depth + 1, _DEEPEST_INDENT),
        below=0,
        hidden=place.hidden,
        flags=(),
        took=took,
        drawing=gap_drawing(
            f"{took}: {gap.details}; from {format_duration(gap.local_start - axis.start)}", x, width, lines
        ),
    )


def _index(rows: Sequence[Row]) -> Iterator[tuple[str, int, int]]:
    levels = [row.span.depth + (2 if row.gap else 1) for row in rows]
    ends = [len(rows)] * len(rows)
    """The number of the first row behind each that is not below it."""
    way: list[int] = []
    for number, level in enumerate(levels):
        while way and levels[way[-1]] >= level:
            ends[way.pop()] = number
        way.append(number)
    for number, row in enumerate(rows):
        here = ends[number] - number - 1
        yield "" if row.gap else row.span.span_id, levels[number], (here or -1) if row.below else 0


def _drawn_of_tasks(runs: Iterable[TaskRun[SpanView]]) -> set[str]:
    found: set[str] = set()
    for run in runs:
        found.update(() if run.main else (legend.TASK,))
        found.update(() if run.started_in is None else (legend.START,))
        found.update(() if run.waited_in is None else (legend.JOIN,))
    return found


def _chunk(rows: Sequence[Row], first: int, opened: Collection[str]) -> Chunk:
    later = first >= _ROWS_AT_ONCE and not any(row.span.span_id in opened for row in rows)
    return Chunk(tuple(rows), hidden=all(row.hidden for row in rows), later=later)


def _attributes(span: SpanView, classes: str, *, expanded: bool | None, hidden: bool) -> Markup:
    """Those of a row's element. No text needs escaping, and the template would take three times as long."""
    tree = "" if expanded is None else f' aria-expanded="{"true" if expanded else "false"}"'
    written = f'class="{classes}" id="s-{span.span_id}" role="row" aria-level="{span.depth + 1}"{tree}'
    return Markup(f"{written} hidden" if hidden else written)  # noqa: S704


def _stroke(row: int, x: float, width: float) -> str:
    left = round(x * _MINIMAP_WIDTH / 100)
    right = max(left + 2, round((x + width) * _MINIMAP_WIDTH / 100))
    return f"M{left} {row}.5H{right}"
