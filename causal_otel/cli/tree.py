"""A trace as lines for a terminal: a tree of spans, each with service, kind, duration and a bar on one time axis.

    for line in tree(view, screen.width):
        screen.print(*line)

What is damaged is shown, not refused: a span whose parent is not there stands at the top level and says so.
"""

from __future__ import annotations

from collections import defaultdict
from typing import TYPE_CHECKING, NamedTuple

from causal_otel._internal.printable import printable
from causal_otel.cli.bars import GAP, Part, bar, legend, parts_of
from causal_otel.collector.units import format_duration
from causal_otel.names import CAUSAL_CANCELLED, CELERY_TASK_REVOKE_REASON, CELERY_TASK_STATE, DB_SYSTEM_NAME, ERROR_TYPE
from causal_otel.terminal.columns import cells, fit, width_of
from causal_otel.terminal.guides import guides, signs

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence

    from causal_otel.causality.critical_path import Segment
    from causal_otel.causality.explanation import Gap
    from causal_otel.collector.analysis import Explained, SpanView, TraceView
    from causal_otel.terminal.columns import Line

__all__ = ["TreeLine", "explained_tree", "tree"]

_COLOURS = ("cyan", "magenta", "yellow", "green", "blue")
_ORDINARY = (None, "SUCCESS")
_SHORTEST_TREE = 14
_SHORTEST_BAR = 10
_LONGEST_BAR = 64
_NARROW = 72  # columns of a terminal in which every character counts


class TreeLine(NamedTuple):
    """A line of a tree; ``span`` is the one that it shows, None: it shows none."""

    span: SpanView | None
    line: Line


class _Row(NamedTuple):
    span: SpanView
    gap: Gap | None

    @property
    def depth(self) -> int:
        return self.span.depth + (self.gap is not None)


def tree(
    view: TraceView,
    width: int,
    *,
    path: Sequence[Segment[SpanView]] | None = None,
    marks: Mapping[str, str] | None = None,
    ascii_only: bool = False,
) -> Iterator[Line]:
    """The trace's lines, after one that says what its columns are.

    Args:
        view: the trace.
        width: columns of the terminal.
        path: the critical path, whose parts of the bars are drawn heavy and all else light; None: all is heavy.
        marks: by span id, a character to stand before that line.
        ascii_only: whether nothing else may be drawn with; the screen writes the ``µ`` of durations as ``u``.
    """
    for each in _lines(view, None, width, path, marks or {}, ascii_only):
        yield each.line


def explained_tree(
    explained: Explained, width: int, *, path: Sequence[Segment[SpanView]], ascii_only: bool = False
) -> Iterator[TreeLine]:
    """Likewise, with where the time of each span went, a line for each gap, and what tasks spans ran in.

    The last line says what the signs in the bars mean, if there are any.
    """
    return _lines(explained.view, explained, width, path, {}, ascii_only)


def _lines(
    view: TraceView,
    explained: Explained | None,
    width: int,
    path: Sequence[Segment[SpanView]] | None,
    marks: Mapping[str, str],
    ascii_only: bool,
) -> Iterator[TreeLine]:
    if not view.spans:
        yield TreeLine(None, (("no spans", "dim"),))
        return
    styles = {each.name: _COLOURS[number % len(_COLOURS)] for number, each in enumerate(view.services)}
    rows = list(_rows(view, explained))
    names = list(_names(rows, explained, ascii_only))
    columns: dict[str, list[tuple[str, str]]] = {
        "service": [("", "") if row.gap else (printable(row.span.service), styles[row.span.service]) for row in rows],
        "kind": [("", "") if row.gap else (row.span.kind, "dim") for row in rows],
        "duration": [
            (format_duration(row.gap.duration), "dim") if row.gap else (format_duration(row.span.duration), "")
            for row in rows
        ],
    }
    gutter = 2 if marks else 0
    gap, widths, room = _layout(width - gutter, columns)
    widest = max(map(width_of, names))
    names_width = max(1, min(widest, room - max(_SHORTEST_BAR, room // 3)))
    axis = max(1, min(room - names_width, _LONGEST_BAR))

    total = format_duration(view.duration)
    titles = "".join(
        gap + (title.rjust(wide) if title == "duration" else title.ljust(wide)) for title, wide in widths.items()
    )
    yield TreeLine(None, ((" " * (gutter + names_width) + titles + gap + f"0{total.rjust(axis - 1)}"[:axis], "dim"),))

    heavy = None if path is None else _by_span(path, view.start)
    bars = [_bar(row, explained, view, axis, heavy, ascii_only) for row in rows]
    for number, (row, name, drawn) in enumerate(zip(rows, names, bars, strict=True)):
        line: list[tuple[str, str]] = [(marks.get(row.span.span_id, "").ljust(gutter), "bold")]
        line += fit(name, names_width, ascii_only=ascii_only)
        for title, wide in widths.items():
            cell = fit([columns[title][number]], wide, ascii_only=ascii_only, right=title == "duration")
            line += [(gap, ""), *cell]
        style = "dim" if row.gap else "red" if row.span.error else styles[row.span.service]
        line.append((gap + drawn.rstrip(), style))
        yield TreeLine(None if row.gap else row.span, tuple(line))
    if explained is not None and (signs_drawn := legend(bars, ascii_only=ascii_only)):
        yield TreeLine(None, ((f"In the bars: {signs_drawn}", "dim"),))


def _rows(view: TraceView, explained: Explained | None) -> Iterator[_Row]:
    gaps = {} if explained is None else explained.gaps_before
    for index, span in enumerate(view.spans):
        for gap in gaps.get(index, ()):
            yield _Row(view.spans[gap.span.index], gap)
        yield _Row(span, None)
    for gap in gaps.get(len(view.spans), ()):
        yield _Row(view.spans[gap.span.index], gap)


def _bar(
    row: _Row,
    explained: Explained | None,
    view: TraceView,
    width: int,
    heavy: Mapping[int, Sequence[tuple[int, int]]] | None,
    ascii_only: bool,
) -> str:
    span, gap = row
    if gap is not None:
        start, end = gap.local_start - view.start, gap.local_end - view.start
        shown = None if heavy is None else _within(heavy.get(span.index, ()), start, end)
        parts = [Part(GAP, start, end)]
        return bar(start, end, view.duration, width, heavy=shown, parts=parts, ascii_only=ascii_only)
    return bar(
        span.start - view.start,
        span.end - view.start,
        view.duration,
        width,
        heavy=None if heavy is None else heavy.get(span.index, ()),
        parts=[] if explained is None else parts_of(explained.parts(span), view.start),
        ascii_only=ascii_only,
    )


def _within(stretches: Iterable[tuple[int, int]], start: int, end: int) -> list[tuple[int, int]]:
    return [(max(start, first), min(end, last)) for first, last in stretches if first < end and start < last]


def _by_span(path: Iterable[Segment[SpanView]], start: int) -> dict[int, list[tuple[int, int]]]:
    parts = defaultdict(list)
    for segment in path:
        parts[segment.span.index].append((segment.local_start - start, segment.local_end - start))
    return parts


def _layout(width: int, columns: Mapping[str, list[tuple[str, str]]]) -> tuple[str, dict[str, int], int]:
    """What stands between columns, how wide each one is, and how much that leaves for the tree and the bars.

    Where that is too little, columns are left out.
    """
    longest, gap = (12, " ") if width < _NARROW else (20, "  ")
    widths = {
        title: min(longest, max(cells(title), *(cells(text) for text, _ in found))) for title, found in columns.items()
    }

    def room() -> int:
        return width - sum(widths.values()) - len(gap) * (len(widths) + 1)

    for title in ("kind", "service"):
        if room() < _SHORTEST_TREE + _SHORTEST_BAR:
            del widths[title]
    return gap, widths, room()


def _names(rows: Sequence[_Row], explained: Explained | None, ascii_only: bool) -> Iterator[list[tuple[str, str]]]:
    """The tree's column: guides, name, and what is special about each span."""
    cross = signs(ascii_only).cross
    for row, above in zip(rows, guides(_guided(rows), ascii_only=ascii_only), strict=True):
        if row.gap is not None:
            yield [(above, "dim"), (row.gap.label, "dim")]
            continue
        yield [(above, "dim"), *_described(row.span, cross), *_task(row.span, explained)]


def _guided(rows: Sequence[_Row]) -> Iterator[tuple[int, bool]]:
    """The depth of each line, and whether there is another one at that depth below the same span."""
    found: list[tuple[int, bool]] = []
    later: list[bool] = []  # by depth, whether there is one further down, below the same span
    for row in reversed(rows):
        del later[row.depth + 1 :]
        later.extend([False] * (row.depth + 1 - len(later)))
        found.append((row.depth, later[row.depth]))
        later[row.depth] = True
    return reversed(found)


def _task(span: SpanView, explained: Explained | None) -> Iterator[tuple[str, str]]:
    """The task that it ran in, where that is another one than above; at its end, whether nobody waited for it."""
    if explained is None:
        return
    if (own := explained.own_task(span)) is not None:
        yield printable(f" #{own.title}"), "cyan"
    run = explained.task_of.get(span.index)
    if run is not None and run.fate == "unawaited" and span is run.last:
        yield " (nobody awaited it)", "yellow"


def _described(span: SpanView, cross: str) -> Iterator[tuple[str, str]]:
    if span.error:
        yield f"{cross} ", "red"
    if system := span.attributes.get(DB_SYSTEM_NAME):
        yield printable(f"{system}: "), "dim"
    yield printable(span.name), "red" if span.error else ""
    if span.error:
        if ERROR_TYPE in span.attributes:
            yield printable(f" ({str(span.attributes[ERROR_TYPE]).rpartition('.')[2]})"), ""
    elif (state := span.attributes.get(CELERY_TASK_STATE)) not in _ORDINARY:
        reason = span.attributes.get(CELERY_TASK_REVOKE_REASON) or str(state).lower()
        yield printable(f" ({reason})"), ""
    if span.attributes.get(CAUSAL_CANCELLED):
        yield " (cancelled)", ""
    if span.orphan:
        yield " (parent not received)", ""
