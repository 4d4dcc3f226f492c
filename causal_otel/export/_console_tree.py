"""A trace as lines of text: a tree of spans with kind, time and a few attributes, for a terminal or a log."""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TextIO

from opentelemetry.trace import StatusCode

from causal_otel import semconv

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from opentelemetry.sdk.trace import ReadableSpan

__all__ = ["Row", "forest", "write"]

_MOST_ATTRIBUTES = 6
_LONGEST_VALUE = 60
_LONGEST_NAME = 80
_WIDEST_TREE = 60
# What tells most comes first, what the name or the tree tells already not at all.
_FIRST = (
    semconv.ERROR_TYPE,
    semconv.HTTP_RESPONSE_STATUS_CODE,
    semconv.DB_RESPONSE_STATUS_CODE,
    semconv.QUEUE_WAIT,
    semconv.URL_FULL,
    semconv.URL_PATH,
    semconv.DB_QUERY_TEXT,
)
_IMPLIED = frozenset(
    {
        semconv.DB_SYSTEM_NAME,
        semconv.DB_OPERATION_NAME,
        semconv.DB_QUERY_SUMMARY,
        semconv.HTTP_REQUEST_METHOD,
        semconv.HTTP_ROUTE,
        semconv.URL_SCHEME,
        semconv.NETWORK_PEER_ADDRESS,
        semconv.NETWORK_PEER_PORT,
        semconv.NETWORK_PROTOCOL_NAME,
        semconv.NETWORK_PROTOCOL_VERSION,
        semconv.USER_AGENT_ORIGINAL,
        semconv.MESSAGING_SYSTEM,
        semconv.MESSAGING_OPERATION_NAME,
        semconv.MESSAGING_OPERATION_TYPE,
    }
)


@dataclass(frozen=True, slots=True)
class Row:
    """What is printed of a span. The span itself is let go.

    Args:
        trace_id: of its trace.
        span_id: its own.
        parent_id: its parent's; 0: it has none.
        top: whether it has no parent, or one in another process.
        service: the name of the service.
        name: its name, with the database's in front.
        kind: its kind.
        start: when it began, in nanoseconds since 1970.
        took: how long it took, in nanoseconds.
        failed: whether its status is an error.
        notes: its attributes, as text.
    """

    trace_id: int
    span_id: int
    parent_id: int
    top: bool
    service: str
    name: str
    kind: str
    start: int
    took: int
    failed: bool
    notes: str

    @classmethod
    def of(cls, span: ReadableSpan) -> Row:
        """The row of an ended span."""
        context, parent, attributes = span.context, span.parent, span.attributes or {}
        assert context is not None
        start = span.start_time or 0
        name, system = _printable(span.name, _LONGEST_NAME), attributes.get(semconv.DB_SYSTEM_NAME)
        failed = span.status.status_code is StatusCode.ERROR
        notes = _notes(attributes)
        if failed and span.status.description:
            notes = f"{_printable(span.status.description, _LONGEST_VALUE)!r} {notes}".rstrip()
        return cls(
            trace_id=context.trace_id,
            span_id=context.span_id,
            parent_id=parent.span_id if parent is not None else 0,
            top=parent is None or parent.is_remote,
            service=_printable(str(span.resource.attributes.get(semconv.SERVICE_NAME, "")), _LONGEST_NAME),
            name=name if system is None else f"{_printable(str(system), _LONGEST_NAME)}: {name}",
            kind=span.kind.name,
            start=start,
            took=(span.end_time or start) - start,
            failed=failed,
            notes=notes,
        )


@dataclass(frozen=True, slots=True)
class _Line:
    """A row's place in the tree; ``branches`` tells for each level whether it goes on below, its own last."""

    row: Row
    branches: tuple[bool, ...]

    def tree(self, ascii_only: bool) -> str:
        guide, tee, elbow, cross = ("| ", "|-", "`-", "!") if ascii_only else ("│ ", "├╴", "╰╴", "✗")
        text = "".join(guide if more else "  " for more in self.branches[:-1])
        if self.branches:
            text += tee if self.branches[-1] else elbow
        return text + (f"{cross} " if self.row.failed else "") + self.row.name


def forest(rows: Iterable[Row]) -> list[_Line]:
    """The rows from top to bottom: a child below its parent, siblings by their starts."""
    known = {row.span_id: row for row in rows}
    children: dict[int, list[Row]] = defaultdict(list)
    for row in sorted(known.values(), key=lambda row: (row.start, row.span_id)):
        children[row.parent_id if row.parent_id in known and row.parent_id != row.span_id else 0].append(row)
    lines: list[_Line] = []
    left = dict(known)
    waiting: list[tuple[Row, tuple[bool, ...]]] = [(row, ()) for row in reversed(children[0])]
    while waiting:  # no recursion, since a trace may be deeper than Python's stack
        row, branches = waiting.pop()
        del left[row.span_id]
        lines.append(_Line(row, branches))
        below = children[row.span_id]
        last = len(below) - 1
        waiting += [(child, (*branches, number < last)) for number, child in reversed(list(enumerate(below)))]
    return lines + [_Line(row, ()) for row in left.values()]  # damaged: parents in a circle


def write(stream: TextIO, lines: list[_Line], remark: str) -> None:
    """Write a trace: in colours if the stream is a terminal and rich is there, else as plain text, at one stroke.

    Args:
        stream: where to.
        lines: of one trace, at least one.
        remark: what is special about it.
    """
    ascii_only = not (getattr(stream, "encoding", None) or "ascii").lower().startswith("utf")
    first = lines[0].row
    header = f"trace {first.trace_id:032x}"
    for part in (first.service, remark):
        header += f"  {part}" if part else ""
    begin = min(line.row.start for line in lines)
    trees = [line.tree(ascii_only) for line in lines]
    width = min(_WIDEST_TREE, max(map(len, trees)))
    rest = [_columns(line.row, begin) for line in lines]
    if stream.isatty() and _in_colours(stream, header, lines, [tree.ljust(width) for tree in trees], rest):
        return
    text = header + "\n"
    for line, tree, columns in zip(lines, trees, rest, strict=True):
        text += f"{tree.ljust(width)}  {columns}  {line.row.notes}".rstrip() + "\n"
    if ascii_only:
        text = text.encode("ascii", "backslashreplace").decode("ascii")
    stream.write(text)
    stream.flush()


def _columns(row: Row, begin: int) -> str:
    return f"{row.kind:8}  {f'+{_duration(row.start - begin)}':>10}  {_duration(row.took):>9}"


def _in_colours(stream: TextIO, header: str, lines: list[_Line], trees: list[str], rest: list[str]) -> bool:
    try:
        from rich.console import Console, Group
        from rich.text import Text
    except ImportError:
        return False
    texts = [Text(header, "bold", no_wrap=True, overflow="ellipsis")]
    for line, tree, columns in zip(lines, trees, rest, strict=True):
        text = Text(no_wrap=True, overflow="ellipsis")
        text.append(tree, "red" if line.row.failed else "").append(f"  {columns}").append(f"  {line.row.notes}", "dim")
        texts.append(text)
    Console(file=stream, highlight=False, markup=False, emoji=False).print(Group(*texts))
    return True


def _duration(nanoseconds: int) -> str:
    if nanoseconds >= 10_000_000_000:
        return f"{nanoseconds / 1e9:.1f} s"
    return f"{nanoseconds / 1e6:.1f} ms"


def _notes(attributes: Mapping[str, Any]) -> str:
    names = [name for name in _FIRST if name in attributes]
    names += [name for name in attributes if name not in _FIRST and name not in _IMPLIED]
    shown = [f"{_printable(name, _LONGEST_NAME)}={_value(attributes[name])}" for name in names[:_MOST_ATTRIBUTES]]
    if len(names) > _MOST_ATTRIBUTES:
        shown.append(f"+{len(names) - _MOST_ATTRIBUTES} more")
    return " ".join(shown)


def _value(value: Any) -> str:
    if isinstance(value, float):
        return f"{value:.6g}"
    if isinstance(value, str):
        text = _printable(value, _LONGEST_VALUE)
        return f'"{text}"' if " " in text or not text else text
    return _printable(str(value), _LONGEST_VALUE)


def _printable(text: str, longest: int) -> str:
    """Text comes from elsewhere: nothing in it may move the cursor, turn the line around or fill the screen."""
    if len(text) > longest:
        text = text[: longest - 1] + "…"
    return "".join(sign if sign.isprintable() else " " for sign in text)
