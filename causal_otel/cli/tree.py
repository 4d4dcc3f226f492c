"""A trace as lines for a terminal: a tree of spans, each with service, kind, duration and a bar on one time axis.

    for line in tree(view, screen.width):
        screen.print(*line)

What is damaged is shown, not refused: a span whose parent is not there stands at the top level and says so.
"""

from __future__ import annotations

from collections import defaultdict
from typing import TYPE_CHECKING

from causal_otel._internal.printable import printable
from causal_otel.collector.units import format_duration
from causal_otel.names import CAUSAL_CANCELLED, CELERY_TASK_REVOKE_REASON, CELERY_TASK_STATE, DB_SYSTEM_NAME, ERROR_TYPE
from causal_otel.terminal.columns import cells, fit, width_of
from causal_otel.terminal.guides import guides, signs

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence

    from causal_otel.causality.critical_path import Segment
    from causal_otel.collector.analysis import SpanView, TraceView
    from causal_otel.terminal.columns import Line

__all__ = ["bar", "tree"]

_COLOURS = ("cyan", "magenta", "yellow", "green", "blue")
_ORDINARY = (None, "SUCCESS")
_SHORTEST_TREE = 14
_SHORTEST_BAR = 10
_LONGEST_BAR = 64
_NARROW = 72  # columns of a terminal in which every character counts

# By what the left and the right half of a character are: nothing, light, heavy.
_LINES = (" ╶╺", "╴─╼", "╸╾━")
_ASCII_LINES = (" -=", "--=", "===")


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
    if not view.spans:
        yield (("no spans", "dim"),)
        return
    styles = {each.name: _COLOURS[number % len(_COLOURS)] for number, each in enumerate(view.services)}
    names = list(_names(view, ascii_only))
    columns: dict[str, list[tuple[str, str]]] = {
        "service": [(printable(span.service), styles[span.service]) for span in view.spans],
        "kind": [(span.kind, "dim") for span in view.spans],
        "duration": [(format_duration(span.duration), "") for span in view.spans],
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
    yield ((" " * (gutter + names_width) + titles + gap + f"0{total.rjust(axis - 1)}"[:axis], "dim"),)

    heavy: Mapping[int, list[tuple[int, int]]] | None = None if path is None else _by_span(path, view.start)
    for span, name in zip(view.spans, names, strict=True):
        line: list[tuple[str, str]] = [((marks or {}).get(span.span_id, "").ljust(gutter), "bold")]
        line += fit(name, names_width, ascii_only=ascii_only)
        for title, wide in widths.items():
            cell = fit([columns[title][span.index]], wide, ascii_only=ascii_only, right=title == "duration")
            line += [(gap, ""), *cell]
        drawn = bar(
            span.start - view.start,
            span.end - view.start,
            view.duration,
            axis,
            heavy=None if heavy is None else heavy.get(span.index, ()),
            ascii_only=ascii_only,
        )
        line.append((gap + drawn.rstrip(), "red" if span.error else styles[span.service]))
        yield tuple(line)


def bar(
    start: int,
    end: int,
    total: int,
    width: int,
    *,
    heavy: Iterable[tuple[int, int]] | None = None,
    ascii_only: bool = False,
) -> str:
    """A line of ``width`` characters, drawn from ``start`` to ``end`` where ``total`` is all of it.

    It is exact to half a character, and at least that long, so that the shortest span is seen.

    Args:
        start: where it begins.
        end: where it ends.
        total: what the whole width stands for, in the same unit.
        width: in characters.
        heavy: the parts that are drawn heavy, the others light; None: all of it.
        ascii_only: whether nothing else may be drawn with.
    """
    halves = 2 * width

    def covered(start: int, end: int) -> range:
        if total <= 0:
            return range(halves)
        first = min(max(0, round(start * halves / total)), halves - 1)
        return range(first, min(max(first + 1, round(end * halves / total)), halves))

    drawn = bytearray(halves)
    for half in covered(start, end):
        drawn[half] = 2 if heavy is None else 1
    for part in heavy or ():
        for half in covered(*part):
            drawn[half] = 2
    signs = _ASCII_LINES if ascii_only else _LINES
    return "".join(signs[drawn[cell]][drawn[cell + 1]] for cell in range(0, halves, 2))


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


def _names(view: TraceView, ascii_only: bool) -> Iterator[list[tuple[str, str]]]:
    """The tree's column: guides, name, and what is special about each span."""
    cross = signs(ascii_only).cross
    places = ((span.depth, span.parent is not None and span.parent.children[-1] is not span) for span in view.spans)
    for span, above in zip(view.spans, guides(places, ascii_only=ascii_only), strict=True):
        yield [(above, "dim"), *_described(span, cross)]


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
