"""A trace as lines for a terminal: a tree of spans, each with service, kind, duration and a bar on one time axis.

With its explanation, equal siblings that follow each other are one row, and below a call stands where it went and what
it said.

    for line in tree(view, screen.width):
        screen.print(*line)

What is damaged is shown, not refused: a span whose parent is not there stands at the top level and says so.
"""

from __future__ import annotations

from collections import defaultdict
from functools import cached_property
from typing import TYPE_CHECKING, NamedTuple

from causal_otel._internal.printable import printable
from causal_otel.cli.bars import GAP, Part, bar, legend, parts_of
from causal_otel.cli.tree_details import details
from causal_otel.cli.tree_rows import explained_rows, guided, plain_rows
from causal_otel.collector.analysis.runs import n_plus_one
from causal_otel.collector.units import format_duration
from causal_otel.names import CAUSAL_CANCELLED, CELERY_TASK_REVOKE_REASON, CELERY_TASK_STATE, DB_SYSTEM_NAME, ERROR_TYPE
from causal_otel.terminal.columns import cells, fit, width_of
from causal_otel.terminal.guides import guides, signs

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence

    from causal_otel.causality.critical_path import Segment
    from causal_otel.cli.tree_rows import Row
    from causal_otel.collector.analysis import Explained, SpanView, TraceView
    from causal_otel.collector.analysis.runs import Run
    from causal_otel.terminal.columns import Line

__all__ = ["TreeLine", "explained_tree", "tree"]

_COLOURS = ("cyan", "magenta", "yellow", "green", "blue")
_ORDINARY = (None, "SUCCESS")
_SHORTEST_TREE = 14
_SHORTEST_BAR = 10
_LONGEST_BAR = 64
_NARROW = 72  # columns of a terminal in which every character counts


class TreeLine(NamedTuple):
    """A line of a tree; ``spans`` are those whose row it ends: one, or a run's with all below them, or none."""

    spans: Sequence[SpanView]
    line: Line


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
        ascii_only: whether nothing else may be drawn with; the screen writes ``µ`` as ``u`` and ``×`` as ``x``.
    """
    for each in _Tree(view, width, ascii_only, path, marks=marks).lines(list(plain_rows(view))):
        yield each.line


def explained_tree(
    explained: Explained,
    width: int,
    *,
    path: Sequence[Segment[SpanView]],
    rows: Sequence[Row] | None = None,
    ascii_only: bool = False,
) -> Iterator[TreeLine]:
    """Likewise, with where the time of each span went, a line for each gap, and what tasks spans ran in.

    Runs of equal siblings are one row with their figures. The last line says what the signs in the bars mean, if there
    are any.

    Args:
        explained: the trace.
        width: columns of the terminal.
        path: the critical path.
        rows: see :func:`~causal_otel.cli.tree_rows.explained_rows`; None: those in which runs are one row.
        ascii_only: whether nothing else may be drawn with.
    """
    if rows is None:
        rows = list(explained_rows(explained, expand=False))
    return _Tree(explained.view, width, ascii_only, path, explained=explained).lines(rows)


class _Tree:
    """Makes the lines."""

    def __init__(
        self,
        view: TraceView,
        width: int,
        ascii_only: bool,
        path: Sequence[Segment[SpanView]] | None,
        *,
        marks: Mapping[str, str] | None = None,
        explained: Explained | None = None,
    ) -> None:
        self._view = view
        self._width = width
        self._ascii_only = ascii_only
        self._marks = marks or {}
        self._explained = explained
        self._heavy = None if path is None else _by_span(path, view.start)
        self._styles = {each.name: _COLOURS[number % len(_COLOURS)] for number, each in enumerate(view.services)}

    def lines(self, rows: Sequence[Row]) -> Iterator[TreeLine]:
        """The lines of these rows, after one that says what their columns are."""
        if not rows:
            yield TreeLine((), (("no spans", "dim"),))
            return
        above = list(guides(guided(rows), ascii_only=self._ascii_only))
        names = [[(lead, "dim"), *self._named(row)] for row, lead in zip(rows, above, strict=True)]
        columns = self._columns(rows)
        gutter = 2 if self._marks else 0
        gap, widths, room = _layout(self._width - gutter, columns)
        widest = max(map(width_of, names))
        names_width = max(1, min(widest, room - max(_SHORTEST_BAR, room // 3)))
        axis = max(1, min(room - names_width, _LONGEST_BAR))

        total = format_duration(self._view.duration)
        titles = "".join(
            gap + (title.rjust(wide) if title == "duration" else title.ljust(wide)) for title, wide in widths.items()
        )
        head = " " * (gutter + names_width) + titles + gap + f"0{total.rjust(axis - 1)}"[:axis]
        yield TreeLine((), ((head, "dim"),))

        bars = [self._bar(row, axis) for row in rows]
        for number, (row, name, drawn) in enumerate(zip(rows, names, bars, strict=True)):
            line: list[tuple[str, str]] = [(self._marks.get(row.span.span_id, "").ljust(gutter), "bold")]
            line += fit(name, names_width, ascii_only=self._ascii_only)
            for title, wide in widths.items():
                cell = fit([columns[title][number]], wide, ascii_only=self._ascii_only, right=title == "duration")
                line += [(gap, ""), *cell]
            line.append((gap + drawn.rstrip(), self._style(row)))
            goes_on = number + 1 < len(rows) and rows[number + 1].depth > row.depth
            below = [] if self._explained is None else self._details(row, above[number], goes_on=goes_on)
            *others, last = (tuple(line), *below)
            yield from (TreeLine((), each) for each in others)
            yield TreeLine(row.inside, last)
        if self._explained is not None and (signs_drawn := legend(bars, ascii_only=self._ascii_only)):
            yield TreeLine((), ((f"In the bars: {signs_drawn}", "dim"),))

    def _columns(self, rows: Sequence[Row]) -> dict[str, list[tuple[str, str]]]:
        found: dict[str, list[tuple[str, str]]] = {"service": [], "kind": [], "duration": []}
        for row in rows:
            span, gap, run, _ = row
            service = ("", "") if gap else (printable(span.service), self._styles[span.service])
            duration = gap.duration if gap else run.total if run else span.duration
            found["service"].append(service)
            found["kind"].append(("", "") if gap else (span.kind, "dim"))
            found["duration"].append((format_duration(duration), "dim" if gap else ""))
        return found

    def _named(self, row: Row) -> Iterator[tuple[str, str]]:
        """What a row is called, and what is special about it."""
        cross = signs(self._ascii_only).cross
        if row.gap is not None:
            yield row.gap.label, "dim"
        elif row.run is not None:
            yield from _described_run(row.run, cross)
        else:
            yield from _described(row.span, cross)
            yield from _task(row.span, self._explained)

    def _details(self, row: Row, above: str, *, goes_on: bool) -> Iterator[Line]:
        """The lines below a row, with the guides of what is below them."""
        guide, tee, elbow, _ = signs(self._ascii_only)
        lead = above.removesuffix(tee).removesuffix(elbow)
        lead += guide if above.endswith(tee) else "  " if above else ""
        lead += guide if goes_on else "  "
        gutter = " " * (2 if self._marks else 0)
        for line in details(row, self._findings):
            pairs = ((gutter, ""), (lead, "dim"), *line)
            if width_of(pairs) > self._width:
                yield fit(pairs, self._width, ascii_only=self._ascii_only)
            else:
                yield pairs

    @cached_property
    def _findings(self) -> dict[str, int]:
        return {} if self._explained is None else n_plus_one(self._explained)

    def _style(self, row: Row) -> str:
        if row.gap is not None:
            return "dim"
        failed = row.run.errors if row.run is not None else row.span.error
        return "red" if failed else self._styles[row.span.service]

    def _bar(self, row: Row, width: int) -> str:
        span, gap, run, inside = row
        begin, total = self._view.start, self._view.duration
        if gap is not None:
            times = [(gap.local_start - begin, gap.local_end - begin)]
            parts = [Part(GAP, *times[0])]
            heavy = self._heavy_in([span])
            heavy = None if heavy is None else _within(heavy, *times[0])
        else:
            spans = [span] if run is None else run.spans
            times = [(each.start - begin, each.end - begin) for each in spans]
            parts = self._parts(spans)
            heavy = self._heavy_in(inside)
        return bar(times, total, width, heavy=heavy, parts=parts, ascii_only=self._ascii_only)

    def _heavy_in(self, spans: Iterable[SpanView]) -> list[tuple[int, int]] | None:
        if self._heavy is None:
            return None
        return [stretch for span in spans for stretch in self._heavy.get(span.index, ())]

    def _parts(self, spans: Iterable[SpanView]) -> list[Part]:
        if self._explained is None:
            return []
        return [part for span in spans for part in parts_of(self._explained.parts(span), self._view.start)]


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


def _task(span: SpanView, explained: Explained | None) -> Iterator[tuple[str, str]]:
    """The task that it ran in, where that is another one than above; at its end, whether nobody waited for it."""
    if explained is None:
        return
    if (own := explained.own_task(span)) is not None:
        yield printable(f" #{own.title}"), "cyan"
    run = explained.task_of.get(span.index)
    if run is not None and run.fate == "unawaited" and span is run.last:
        yield " (nobody awaited it)", "yellow"


def _described_run(run: Run, cross: str) -> Iterator[tuple[str, str]]:
    if run.errors:
        yield f"{cross} ", "red"
    yield f"{len(run.spans)}× ", "bold"
    if system := run.first.attributes.get(DB_SYSTEM_NAME):
        yield printable(f"{system}: "), "dim"
    yield printable(run.first.name), "red" if run.errors else ""


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
