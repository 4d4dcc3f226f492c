"""A trace as lines of text: a tree of spans with kind, time and a few attributes, for a terminal or a log."""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TextIO

from opentelemetry.trace import StatusCode

from causal_otel import names
from causal_otel._internal.printable import printable
from causal_otel.terminal.columns import cells, fit
from causal_otel.terminal.guides import guides, signs
from causal_otel.terminal.screen import Screen
from causal_otel.terminal.text import escaped, in_milliseconds

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

    from opentelemetry.sdk.trace import ReadableSpan

    from causal_otel.terminal.columns import Line

__all__ = ["Node", "Row", "forest", "write"]

_MOST_ATTRIBUTES = 6
_MOST_LINKS = 3
_LONGEST_VALUE = 60
_LONGEST_NAME = 80
_WIDEST_TREE = 60
# What tells most comes first, what the name or the tree tells already not at all.
_FIRST = (
    names.ERROR_TYPE,
    names.HTTP_RESPONSE_STATUS_CODE,
    names.DB_RESPONSE_STATUS_CODE,
    names.CELERY_TASK_STATE,
    names.CELERY_TASK_REVOKE_REASON,
    names.CAUSAL_QUEUE_WAIT,
    names.CAUSAL_PREFETCH_WAIT,
    names.CAUSAL_THREADPOOL_WAIT,
    names.URL_FULL,
    names.URL_PATH,
    names.DB_QUERY_TEXT,
)
_IMPLIED = frozenset(
    {
        names.DB_SYSTEM_NAME,
        names.DB_OPERATION_NAME,
        names.DB_QUERY_SUMMARY,
        names.HTTP_REQUEST_METHOD,
        names.HTTP_ROUTE,
        names.URL_SCHEME,
        names.NETWORK_PEER_ADDRESS,
        names.NETWORK_PEER_PORT,
        names.NETWORK_PROTOCOL_NAME,
        names.NETWORK_PROTOCOL_VERSION,
        names.USER_AGENT_ORIGINAL,
        names.MESSAGING_SYSTEM,
        names.MESSAGING_OPERATION_NAME,
        names.MESSAGING_OPERATION_TYPE,
        names.CELERY_TASK_NAME,
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
        notes: its links and attributes, as text.
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
        name, system = printable(span.name, _LONGEST_NAME), attributes.get(names.DB_SYSTEM_NAME)
        failed = span.status.status_code is StatusCode.ERROR
        notes = " ".join((*_links(span, context.trace_id), *_notes(attributes)))
        if failed and span.status.description:
            notes = f"{printable(span.status.description, _LONGEST_VALUE)!r} {notes}".rstrip()
        return cls(
            trace_id=context.trace_id,
            span_id=context.span_id,
            parent_id=parent.span_id if parent is not None else 0,
            top=parent is None or parent.is_remote,
            service=printable(str(span.resource.attributes.get(names.SERVICE_NAME, "")), _LONGEST_NAME),
            name=name if system is None else f"{printable(str(system), _LONGEST_NAME)}: {name}",
            kind=span.kind.name,
            start=start,
            took=(span.end_time or start) - start,
            failed=failed,
            notes=notes,
        )


@dataclass(frozen=True, slots=True)
class Node:
    """A row's place in the tree.

    Args:
        row: what is printed of its span.
        depth: how many rows are above it; 0: none.
        more: whether a sibling stands below it.
    """

    row: Row
    depth: int = 0
    more: bool = False


def forest(rows: Iterable[Row]) -> list[Node]:
    """The rows from top to bottom: a child below its parent, siblings by their starts."""
    known = {row.span_id: row for row in rows}
    children: dict[int, list[Row]] = defaultdict(list)
    for row in sorted(known.values(), key=lambda row: (row.start, row.span_id)):
        children[row.parent_id if row.parent_id in known and row.parent_id != row.span_id else 0].append(row)
    nodes: list[Node] = []
    left = dict(known)
    waiting = [Node(row) for row in reversed(children[0])]
    while waiting:  # no recursion, since a trace may be deeper than Python's stack
        node = waiting.pop()
        del left[node.row.span_id]
        nodes.append(node)
        below = children[node.row.span_id]
        last = len(below) - 1
        waiting += [Node(child, node.depth + 1, number < last) for number, child in reversed(list(enumerate(below)))]
    return nodes + [Node(row) for row in left.values()]  # damaged: parents in a circle


def write(stream: TextIO, nodes: list[Node], remark: str) -> None:
    """Write a trace: in colours if the stream is a terminal and rich is there, else as plain text, at one stroke.

    Args:
        stream: where to.
        nodes: of one trace, at least one.
        remark: what is special about it.
    """
    screen = Screen(stream)
    lines = _lines(nodes, remark, screen.ascii_only)
    if screen.ascii_only:
        lines = [tuple((escaped(text), style) for text, style in line) for line in lines]
    screen.write(lines, cut=True)
    stream.flush()


def _lines(nodes: list[Node], remark: str, ascii_only: bool) -> list[Line]:
    first = nodes[0].row
    header = f"trace {first.trace_id:032x}"
    for part in (first.service, remark):
        header += f"  {part}" if part else ""
    begin = min(node.row.start for node in nodes)
    failed = f"{signs(ascii_only).cross} "
    above = guides(((node.depth, node.more) for node in nodes), ascii_only=ascii_only)
    trees = [
        guide + (failed if node.row.failed else "") + node.row.name for node, guide in zip(nodes, above, strict=True)
    ]
    widths = list(map(cells, trees))
    width = min(_WIDEST_TREE, max(widths))
    lines: list[Line] = [((header, "bold"),)]
    for node, tree, own_width in zip(nodes, trees, widths, strict=True):
        row = node.row
        columns = f"{row.kind:8}  {f'+{in_milliseconds(row.start - begin)}':>10}  {in_milliseconds(row.took):>9}"
        style = "red" if row.failed else ""
        lines.append((*fit([(tree, style)], max(width, own_width)), (f"  {columns}", ""), (f"  {row.notes}", "dim")))
    return lines


def _links(span: ReadableSpan, trace_id: int) -> Iterator[str]:
    """Where its links lead, with their roles; the trace is named where that is another one."""
    for link in span.links[:_MOST_LINKS]:
        role = printable(str((link.attributes or {}).get(names.CAUSAL_LINK, "")), _LONGEST_NAME)
        elsewhere = "" if link.context.trace_id == trace_id else f"{link.context.trace_id:032x}/"
        yield f"link={role}{':' if role else ''}{elsewhere}{link.context.span_id:016x}"
    if len(span.links) > _MOST_LINKS:
        yield f"+{len(span.links) - _MOST_LINKS} more links"


def _notes(attributes: Mapping[str, Any]) -> list[str]:
    listed = [name for name in _FIRST if name in attributes]
    listed += [name for name in attributes if name not in _FIRST and name not in _IMPLIED]
    shown = [f"{printable(name, _LONGEST_NAME)}={_value(attributes[name])}" for name in listed[:_MOST_ATTRIBUTES]]
    if len(listed) > _MOST_ATTRIBUTES:
        shown.append(f"+{len(listed) - _MOST_ATTRIBUTES} more")
    return shown


def _value(value: Any) -> str:
    if isinstance(value, float):
        return f"{value:.6g}"
    if isinstance(value, str):
        text = printable(value, _LONGEST_VALUE)
        return f'"{text}"' if " " in text or not text else text
    return printable(str(value), _LONGEST_VALUE)
