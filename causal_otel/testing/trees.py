"""Traces as text: for snapshots, which are the same in every run, and for people, who want to know how long it took.

A line is a span: its name, in brackets what it is or what it talks to, and how it went. Equal siblings that follow each
other are one line with their number.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from itertools import groupby
from typing import TYPE_CHECKING

from causal_otel._internal.durations import format_duration
from causal_otel._internal.printable import printable
from causal_otel.names import (
    CAUSAL_ABANDONED,
    CAUSAL_CANCELLED,
    CELERY_TASK_STATE,
    DB_RESPONSE_STATUS_CODE,
    ERROR_TYPE,
    HTTP_RESPONSE_STATUS_CODE,
    RPC_RESPONSE_STATUS_CODE,
)
from causal_otel.terminal.guides import guides
from causal_otel.testing.calls import is_timed

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Sequence

    from causal_otel.collector.view import SpanView, TraceView

__all__ = ["Node", "describe", "forest", "indented", "long_lines", "text_of"]

_OUTCOMES = (HTTP_RESPONSE_STATUS_CODE, RPC_RESPONSE_STATUS_CODE, CELERY_TASK_STATE)


@dataclass(slots=True)
class Node:
    """A line of the tree, with those below it.

    Attributes:
        text: the line.
        children: below it; of several siblings each has as many.
        count: how many siblings it stands for.
        spans: those, and of what is below several siblings those of all.
    """

    text: str
    children: list[Node] = field(default_factory=list)
    count: int = 1
    spans: list[SpanView] = field(default_factory=list)

    def key(self) -> tuple[object, ...]:
        """What is equal of equal siblings: the text, and all that is below."""
        return self.text, self.count, *(child.key() for child in self.children)

    def join(self, other: Node) -> None:
        """Stand for an equal node's spans as well."""
        self.spans += other.spans
        for mine, its in zip(self.children, other.children, strict=True):
            mine.join(its)


def describe(span: SpanView, attributes: Iterable[str] = ()) -> str:
    """The line of a span: without ids, times, ports and whatever else differs between two runs.

    Args:
        span: the span.
        attributes: names of attributes that are to be told as well.
    """
    # Of what is not sent anywhere the kind tells most, of a call what it talks to.
    what = span.system if span.kind in ("client", "producer") and span.system else span.kind
    said = [printable(span.name), f"[{printable(what)}]", *_outcome(span)]
    said += [f"{name}={printable(str(span.attributes[name]))}" for name in attributes if name in span.attributes]
    return " ".join(said)


def _outcome(span: SpanView) -> Iterator[str]:
    attributes = span.attributes
    for key in _OUTCOMES:
        if key in attributes:
            yield str(attributes[key])
    if attributes.get(CAUSAL_CANCELLED):
        yield "cancelled"
    if attributes.get(CAUSAL_ABANDONED):
        yield "abandoned"
    if span.error:
        why = str(attributes.get(ERROR_TYPE) or attributes.get(DB_RESPONSE_STATUS_CODE) or "")
        yield "ERROR" if why in ("", str(attributes.get(HTTP_RESPONSE_STATUS_CODE))) else f"ERROR {printable(why)}"


def forest(
    traces: Iterable[TraceView],
    text: Callable[[SpanView], str] = describe,
    *,
    by_name: bool = False,
    everything: bool = False,
) -> list[Node]:
    """The trees of some traces.

    Args:
        traces: in their order.
        text: the line of a span.
        by_name: whether siblings stand in the order of their text; else in that of their start.
        everything: also what is there only because something took long.
    """

    def nodes(spans: Sequence[SpanView]) -> list[Node]:
        found = []
        for span in spans:
            below = nodes(span.children)
            if is_timed(span) and not everything:
                found += below
            else:
                found.append(Node(text(span), below, spans=[span]))
        return _joined(sorted(found, key=Node.key) if by_name else found)

    roots = [span for trace in traces for span in trace.roots]
    return nodes(roots)


def _joined(nodes: list[Node]) -> list[Node]:
    """The same with equal siblings that follow each other as one."""
    found = []
    for _, equal in groupby(nodes, Node.key):
        first, *others = equal
        first.count += len(others)
        for other in others:
            first.join(other)
        found.append(first)
    return found


def indented(nodes: Iterable[Node], depth: int = 0) -> Iterator[tuple[int, bool, Node]]:
    """All lines from top to bottom: how deep each is, whether a sibling follows below it, and its node."""
    some = list(nodes)
    for number, node in enumerate(some, 1):
        yield depth, number < len(some), node
        yield from indented(node.children, depth + 1)


def text_of(nodes: Iterable[Node]) -> str:
    """The trees with guides, without a line end."""
    lines = list(indented(nodes))
    above = guides((depth, more) for depth, more, _ in lines)
    return "\n".join(
        f"{guide}{f'{node.count}× ' if node.count > 1 else ''}{node.text}"
        for guide, (_, _, node) in zip(above, lines, strict=True)
    )


def long_lines(nodes: Iterable[Node]) -> list[str]:
    """The same, a line each, with how long each took; siblings that are one line are added up."""
    lines = list(indented(nodes))
    texts = text_of(nodes).splitlines()
    widest = min(100, max(map(len, texts), default=0))
    return [
        f"{text:{widest}}  {format_duration(sum(span.duration for span in node.spans))}"
        for text, (_, _, node) in zip(texts, lines, strict=True)
    ]
