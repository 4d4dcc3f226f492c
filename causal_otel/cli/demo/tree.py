"""Traces in a terminal: a tree of spans, each with service, kind, duration and a bar on the trace's time axis.

    console.print(TraceTree(spans))

The spans are those of :mod:`causal_otel.cli.demo.received`, of one trace, in any order. What is damaged is shown, not
refused: a span whose parent is not there stands at the top level and says so, a repeated one counts once.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

from rich.cells import cell_len
from rich.text import Text

if TYPE_CHECKING:
    from rich.console import Console, ConsoleOptions, RenderResult

    from causal_otel.cli.demo.received import ReceivedSpan

__all__ = ["Row", "TraceTree", "bar", "by_trace", "duration", "rows"]

_COLOURS = ("cyan", "magenta", "yellow", "green", "blue")
_SHORTEST_TREE = 14
_SHORTEST_BAR = 10
_LONGEST_BAR = 64
_NARROW = 72  # columns of a terminal in which every character counts


@dataclass(frozen=True)
class Row:
    """A span's place in the tree.

    Args:
        span: the span.
        branches: for each level below the root, whether that level goes on below this row; the last one is its own.
        orphan: whether it names a parent that is not there.
    """

    span: ReceivedSpan
    branches: tuple[bool, ...]
    orphan: bool


class TraceTree:
    """A trace, for rich to print.

    Args:
        spans: the trace's spans.
        marks: by span id, a character to stand before that row.
    """

    def __init__(self, spans: Iterable[ReceivedSpan], marks: Mapping[str, str] | None = None) -> None:
        self.rows = rows(spans)
        self.marks = marks or {}

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        if not self.rows:
            yield Text("no spans", style="dim")
            return
        ascii_only = options.ascii_only
        spans = [row.span for row in self.rows]
        start, end = min(span["start"] for span in spans), max(span["end"] for span in spans)
        services = list(dict.fromkeys(span["service"] for span in spans))
        styles = {name: _COLOURS[number % len(_COLOURS)] for number, name in enumerate(services)}

        names = [_name(row, ascii_only) for row in self.rows]
        columns = {
            "service": [Text(_printable(span["service"]) or "-", styles[span["service"]]) for span in spans],
            "kind": [Text(span["kind"], "dim") for span in spans],
            "duration": [Text(duration(span["end"] - span["start"])) for span in spans],
        }
        gutter = 2 if self.marks else 0
        gap, widths, room = _layout(options.max_width - gutter, columns)
        tree = max(1, min(max(name.cell_len for name in names), room - max(_SHORTEST_BAR, room // 3)))
        axis = max(1, min(room - tree, _LONGEST_BAR))

        header = Text(" " * (gutter + tree), "dim")
        for title, width in widths.items():
            header.append(gap + (title.rjust(width) if title == "duration" else title.ljust(width)))
        yield header.append(gap + f"0{duration(end - start).rjust(axis - 1)}"[:axis])

        for number, (row, name) in enumerate(zip(self.rows, names, strict=True)):
            line = Text(no_wrap=True).append(self.marks.get(row.span["span_id"], "").ljust(gutter), "bold")
            line.append_text(_fit(name, tree, ascii_only))
            for title, width in widths.items():
                line.append(gap).append_text(_fit(columns[title][number], width, ascii_only, right=title == "duration"))
            drawn = bar(row.span["start"] - start, row.span["end"] - start, end - start, axis, ascii_only=ascii_only)
            yield line.append(gap + drawn.rstrip(), "red" if _failed(row.span) else styles[row.span["service"]])


def by_trace(spans: Iterable[ReceivedSpan]) -> dict[str, list[ReceivedSpan]]:
    """The spans of each trace, by trace id."""
    traces: dict[str, list[ReceivedSpan]] = defaultdict(list)
    for span in spans:
        traces[span["trace_id"]].append(span)
    return dict(traces)


def rows(spans: Iterable[ReceivedSpan]) -> list[Row]:
    """The spans from top to bottom: a child below its parent, siblings by their starts."""
    known = {span["span_id"]: span for span in spans}
    children: dict[str | None, list[ReceivedSpan]] = defaultdict(list)
    for span in sorted(known.values(), key=lambda span: (span["start"], -span["end"], span["span_id"])):
        parent = span["parent_span_id"]
        children[parent if parent in known else None].append(span)
    found: list[Row] = []
    left = dict(known)
    tops = children[None]
    while left:
        if not tops:  # damaged: parents in a circle
            tops = [min(left.values(), key=lambda span: span["start"])]
        waiting: list[tuple[ReceivedSpan, tuple[bool, ...]]] = [(span, ()) for span in reversed(tops)]
        while waiting:  # no recursion, since a trace may be deeper than Python's stack
            span, branches = waiting.pop()
            if left.pop(span["span_id"], None) is None:
                continue
            found.append(Row(span, branches, orphan=bool(span["parent_span_id"]) and not branches))
            below = children[span["span_id"]]
            last = len(below) - 1
            waiting += [(child, (*branches, number < last)) for number, child in reversed(list(enumerate(below)))]
        tops = []
    return found


def bar(start: int, end: int, total: int, width: int, *, ascii_only: bool = False) -> str:
    """A line of ``width`` characters, drawn from ``start`` to ``end`` where ``total`` is all of it.

    It is exact to half a character, and at least that long, so that the shortest span is seen.
    """
    halves = 2 * width
    first = min(max(0, round(start * halves / total)), halves - 1) if total > 0 else 0
    last = min(max(first + 1, round(end * halves / total)), halves) if total > 0 else halves
    signs = (" ", "=", "=", "=") if ascii_only else (" ", "╸", "╺", "━")

    def covered(half: int) -> bool:
        return first <= half < last

    return "".join(signs[covered(cell) + 2 * covered(cell + 1)] for cell in range(0, halves, 2))


def duration(nanoseconds: int) -> str:
    """A duration for people: milliseconds, from ten seconds on seconds."""
    if nanoseconds >= 10_000_000_000:
        return f"{nanoseconds / 1e9:.1f} s"
    return f"{nanoseconds / 1e6:.1f} ms"


def _layout(width: int, columns: Mapping[str, list[Text]]) -> tuple[str, dict[str, int], int]:
    """What stands between columns, how wide each one is, and how much that leaves for the tree and the bars.

    Where that is too little, columns are left out.
    """
    longest, gap = (12, " ") if width < _NARROW else (20, "  ")
    widths = {
        title: min(longest, max(cell_len(title), *(cell.cell_len for cell in cells)))
        for title, cells in columns.items()
    }

    def room() -> int:
        return width - sum(widths.values()) - len(gap) * (len(widths) + 1)

    for title in ("kind", "service"):
        if room() < _SHORTEST_TREE + _SHORTEST_BAR:
            del widths[title]
    return gap, widths, room()


def _name(row: Row, ascii_only: bool) -> Text:
    """The tree's column: guides, name, and what is special about the span."""
    guide, tee, elbow, cross = ("| ", "|-", "`-", "!") if ascii_only else ("│ ", "├╴", "╰╴", "✗")
    text = Text().append("".join(guide if more else "  " for more in row.branches[:-1]), "dim")
    if row.branches:
        text.append(tee if row.branches[-1] else elbow, "dim")
    failed, attributes = _failed(row.span), row.span["attributes"]
    if failed:
        text.append(f"{cross} ", "red")
    if system := attributes.get("db.system.name"):
        text.append(_printable(f"{system}: "), "dim")
    text.append(_printable(row.span["name"]), "red" if failed else "")
    if failed and "error.type" in attributes:
        text.append(_printable(f" ({attributes['error.type']})"))
    if attributes.get("causal.cancelled"):
        text.append(" (cancelled)")
    if row.orphan:
        text.append(" (parent not received)")
    return text


def _failed(span: ReceivedSpan) -> bool:
    return span["status"]["code"] == "ERROR"


def _fit(text: Text, width: int, ascii_only: bool, *, right: bool = False) -> Text:
    """``text``, cut or filled up to ``width``."""
    fitting = text.copy()
    fitting.truncate(width, overflow="crop" if ascii_only else "ellipsis")
    filling = width - fitting.cell_len
    if right:
        fitting.pad_left(filling)
    else:
        fitting.pad_right(filling)
    return fitting


def _printable(text: str) -> str:
    """Names come from elsewhere: nothing in them may move the cursor or turn the text around."""
    return "".join(sign if sign.isprintable() else " " for sign in text)
