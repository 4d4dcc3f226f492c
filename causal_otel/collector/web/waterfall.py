"""The waterfall of a trace as rows and numbers: what the template of the trace page draws."""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass
from typing import TYPE_CHECKING

from markupsafe import Markup

from causal_otel.causality.critical_path import critical_path
from causal_otel.collector.analysis import where_time_went
from causal_otel.collector.attributes import tags
from causal_otel.collector.units import format_duration, ticks
from causal_otel.collector.web.axis import AxisLabel

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Mapping, Sequence

    from causal_otel.causality.critical_path import Segment, Until
    from causal_otel.collector.analysis import SpanView, TraceLogsView, TraceView

__all__ = ["CHUNK", "KINDS", "Chunk", "Part", "Row", "Waterfall", "find_spans", "parents", "parts", "waterfall"]

CHUNK = 50
"""Rows that the browser lays out together, once they come into view."""

KINDS = {
    "receive": ("receive", "waiting for the request's body"),
    "thread-pool": ("thread pool", "waiting for a free thread"),
    "pool-wait": ("pool wait", "waiting for a connection from the pool"),
    "connect": ("connect", "opening a connection"),
    "server": ("server", "the server was at work, or the network"),
    "fetch": ("fetch", "reading the results"),
    "send": ("send", "waiting for the client to read the response"),
    "loop-blocked": ("loop blocked", "the answer was there, but the event loop was busy with something else"),
    "queue-wait": ("queue wait", "lay in the queue before it started"),
    "thread-wait": ("thread wait", "waited for a thread of a pool: a job before it started, a request inside"),
}
"""The parts of a span's time by their CSS class: their label, and what they mean."""

_ROWS_AT_ONCE = 200

ROWS_LIMIT = 10_000
"""Rows that a page has at most. Of a trace with more spans, those that are collapsed away are left out first."""

_DEEPEST_INDENT = 24
_LEAST_WIDTH = 0.08
_LEAST_PARTED = 0.25
"""Bars of some three pixels show no parts."""

_MINIMAP_FROM = 12
_TICKS = 9
_MINIMAP_WIDTH = 1000


@dataclass(frozen=True, slots=True)
class Part:
    """A part of a span's time as a rectangle: per cent from the left, and of the width. ``says`` is for people."""

    kind: str
    x: float
    width: float
    says: str


@dataclass(frozen=True, slots=True)
class Row:
    """A span's row.

    Attributes:
        span: what it shows.
        attributes: of its HTML element.
        indent: how far its name is indented, in steps.
        below: how many spans are below it.
        hidden: whether it is itself below one that is collapsed.
        flags: such as its errors and warnings: a CSS class, a word or two, and what they mean.
        took: its duration.
        drawing: its bar, where its time went, and what of it is on the critical path, as SVG.
    """

    span: SpanView
    attributes: Markup
    indent: int
    below: int
    hidden: bool
    flags: tuple[tuple[str, str, str], ...]
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
    """Each row's span id, level from 1, and how many spans are below it, for scripts."""
    ticks: tuple[AxisLabel, ...]
    minimap: tuple[tuple[int, str], ...]
    kinds: tuple[str, ...]
    """The parts that there are, of :data:`KINDS`."""
    partial: bool
    """Whether hidden rows are left out of the page, because the trace has more spans than a page may have rows."""
    left_out: int
    """How many rows are left out though they are not hidden, because they are too many."""


def waterfall(
    trace: TraceView,
    colours: Mapping[str, int],
    *,
    collapsed: Collection[str] = (),
    opened: Collection[str] = (),
    hits: Collection[int] = (),
    until: Until = "answer",
) -> Waterfall:
    """Lay out ``trace``.

    Args:
        trace: the trace.
        colours: of its services.
        collapsed: spans that are collapsed, by their ids.
        opened: spans whose details are open, likewise.
        hits: spans to be marked as found, by their index.
        until: where the critical path leads to.
    """
    length = max(1, trace.duration)
    below = _below(trace.spans)
    path = _by_span(critical_path(trace, until=until), trace.start, length)
    rows: list[Row] = []
    hidden_until = left_out = 0
    partial = len(trace.spans) > ROWS_LIMIT
    kinds: set[str] = set()
    minimap: dict[int, list[str]] = defaultdict(list)
    for index, span in enumerate(trace.spans):
        is_collapsed = bool(below[index]) and span.span_id in collapsed
        hidden = index < hidden_until
        if is_collapsed and not hidden:
            hidden_until = index + below[index] + 1
        if partial and (hidden or len(rows) == ROWS_LIMIT):
            left_out += not hidden
            continue
        x, width = _percent(span.start - trace.start, length), max(_LEAST_WIDTH, _percent(span.duration, length))
        minimap[colours[span.service]].append(_stroke(len(rows), x, width))
        inside = parts(span, x, width) if width >= _LEAST_PARTED else ()
        kinds.update(part.kind for part in inside)
        critical = path.get(index, ())
        took = format_duration(span.duration)
        rows.append(
            Row(
                span=span,
                attributes=_attributes(
                    span,
                    f"row s{colours[span.service]}{' err' if span.error else ''}{' hit' if index in hits else ''}"
                    f"{' open' if span.span_id in opened else ''}{' on-path' if critical else ''}",
                    expanded=not is_collapsed if below[index] else None,
                    hidden=hidden,
                ),
                indent=min(span.depth, _DEEPEST_INDENT),
                below=below[index],
                hidden=hidden,
                flags=_flags(span),
                took=took,
                drawing=_drawing(
                    f"{took}, by itself {format_duration(span.self_time)}; "
                    f"starts at {format_duration(span.start - trace.start)}",
                    x,
                    width,
                    inside,
                    critical,
                ),
            )
        )
    return Waterfall(
        chunks=tuple(_chunk(rows[at : at + CHUNK], at, opened) for at in range(0, len(rows), CHUNK)),
        index=tuple((row.span.span_id, row.span.depth + 1, row.below) for row in rows),
        ticks=tuple(AxisLabel(_percent(tick.at, length), tick.label) for tick in ticks(trace.duration, _TICKS)),
        minimap=tuple((colour, "".join(strokes)) for colour, strokes in sorted(minimap.items()))
        if len(rows) >= _MINIMAP_FROM
        else (),
        kinds=tuple(kind for kind in KINDS if kind in kinds),
        partial=partial,
        left_out=left_out,
    )


def parents(trace: TraceView) -> list[str]:
    """The ids of the spans that others are below, in the waterfall's order."""
    return list(dict.fromkeys(span.span_id for span in trace.spans if span.children))


def parts(span: SpanView, x: float = 0.0, width: float = 100.0) -> tuple[Part, ...]:
    """Where the span's time went, within a bar that is at ``x`` and ``width`` wide, in per cent.

    The parts stand in the order they happen in, as only their lengths are known; time in a queue is before the bar.
    """
    found = []
    at = x
    for part in where_time_went(span):
        if part.key == "rest":
            continue
        kind = part.label.replace(" ", "-")
        if part.before:
            wide = width * part.duration / max(1, span.duration)
            left = max(0.0, x - wide)
            found.append(
                Part(
                    kind,
                    round(left, 3),
                    round(x - left, 3),
                    f"{part.label} {format_duration(part.duration)} before it started",
                )
            )
        else:
            wide = width * part.share
            found.append(
                Part(
                    kind,
                    round(at, 3),
                    round(wide, 3),
                    f"{part.label} {format_duration(part.duration)}, {100 * part.share:.3g} %",
                )
            )
            at += wide
    return tuple(found)


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


def _percent(part: int, whole: int) -> float:
    return round(100 * part / whole, 3)


def _below(spans: Sequence[SpanView]) -> list[int]:
    counts = [0] * len(spans)
    for index in range(len(spans) - 1, 0, -1):
        parent = spans[index].parent
        if parent is not None:
            counts[parent.index] += counts[index] + 1
    return counts


def _by_span(segments: Iterable[Segment[SpanView]], start: int, length: int) -> dict[int, list[tuple[float, float]]]:
    found: dict[int, list[tuple[float, float]]] = defaultdict(list)
    for segment in segments:
        width = max(_LEAST_WIDTH, _percent(segment.duration, length))
        found[segment.span.index].append((_percent(segment.local_start - start, length), width))
    return found


def _flags(span: SpanView) -> tuple[tuple[str, str, str], ...]:
    if not (span.error or span.errors_below or span.orphan or span.detached or span.warnings):
        return ()
    found = []
    if span.error:
        found.append(("error", "error", span.status_message[:500] or "its status is an error"))
    if span.errors_below:  # shown while it is collapsed
        found.append(("error below", f"{span.errors_below} below", "spans below it have failed"))
    if span.detached:
        found.append(("detached", "detached", "nobody waited for it"))
    if span.orphan:
        found.append(("warning", "orphan", "the span that it names as its parent is not here"))
    elif span.skew:
        found.append(("warning", "clock", "; ".join(span.warnings) or "its clock differs, as its parent's does"))
    elif span.warnings:
        found.append(("warning", "warning", "; ".join(span.warnings)))
    return tuple(found)


def _chunk(rows: Sequence[Row], first: int, opened: Collection[str]) -> Chunk:
    later = first >= _ROWS_AT_ONCE and not any(row.span.span_id in opened for row in rows)
    return Chunk(tuple(rows), hidden=all(row.hidden for row in rows), later=later)


# These two functions write HTML. They write numbers, hexadecimal ids and our own words, so nothing needs escaping. The
# template would take three times as long.


def _attributes(span: SpanView, classes: str, *, expanded: bool | None, hidden: bool) -> Markup:
    tree = "" if expanded is None else f' aria-expanded="{"true" if expanded else "false"}"'
    written = f'class="{classes}" id="s-{span.span_id}" role="row" aria-level="{span.depth + 1}"{tree}'
    return Markup(f"{written} hidden" if hidden else written)  # noqa: S704


def _drawing(
    says: str, x: float, width: float, inside: Iterable[Part], critical: Iterable[tuple[float, float]]
) -> Markup:
    drawn = [f'<title>{says}</title><rect class="bar" x="{x}%" width="{width}%"/>']
    drawn.extend(
        f'<rect class="part {part.kind}" x="{part.x}%" width="{part.width}%"><title>{part.says}</title></rect>'
        for part in inside
    )
    drawn.extend(f'<rect class="path" x="{left}%" width="{wide}%"/>' for left, wide in critical)
    return Markup("".join(drawn))  # noqa: S704


def _stroke(row: int, x: float, width: float) -> str:
    left = round(x * _MINIMAP_WIDTH / 100)
    right = max(left + 2, round((x + width) * _MINIMAP_WIDTH / 100))
    return f"M{left} {row}.5H{right}"
