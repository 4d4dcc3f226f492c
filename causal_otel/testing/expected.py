"""The tree that a test expects, as text, and what differs from it.

A line is a span: its name alone, or all that a snapshot says of it. What is below it is indented; the guides of a
snapshot may stand before it. ``*`` in a line is any text, ``...`` any number of siblings with all below them, and
``3×`` before a name means three of them.
"""

from __future__ import annotations

import difflib
import re
from textwrap import dedent
from typing import TYPE_CHECKING

from causal_otel._internal.printable import printable
from causal_otel.testing.trees import Node, describe, forest, indented

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from causal_otel.collector.view import SpanView, TraceView

__all__ = ["difference"]

_ANY = "..."
_GUIDES = str.maketrans({"│": " ", "├": " ", "╴": " ", "╰": " "})
_TIMES = re.compile(r"(\d+)[×x] ")


def difference(expected: str, traces: Iterable[TraceView], *, by_name: bool) -> str:
    """What differs between the traces and what is expected, line by line; empty: nothing.

    Args:
        expected: the tree. Where no line of it has brackets, only names are compared.
        traces: in their order.
        by_name: whether the order of siblings is that of their names, here and there.
    """
    wanted = _parsed(expected)
    full = any("[" in node.text for _, _, node in indented(wanted))
    found = forest(traces, describe if full else _name, by_name=by_name)
    if by_name:
        wanted = _sorted(wanted)
    if _fit(_each(wanted), _each(found)):
        return ""
    patterns = [(depth, node.text) for depth, _, node in indented(wanted) if "*" in node.text]
    left = [_line(depth, node) for depth, _, node in indented(wanted)]
    right = [_line(depth, _as_expected(depth, node, patterns)) for depth, _, node in indented(found)]
    return "\n".join(line.rstrip() for line in difflib.ndiff(left, right) if not line.startswith("?"))


def _name(span: SpanView) -> str:
    return printable(span.name)


def _parsed(text: str) -> list[Node]:
    roots: list[Node] = []
    way: list[tuple[int, Node]] = []
    for line in dedent(text.translate(_GUIDES)).splitlines():
        said = line.strip()
        if not said:
            continue
        indent = len(line) - len(line.lstrip())
        times = _TIMES.match(said)
        node = Node(said[times.end() :] if times else said, count=int(times[1]) if times else 1)
        while way and way[-1][0] >= indent:
            way.pop()
        (way[-1][1].children if way else roots).append(node)
        way.append((indent, node))
    return roots


def _sorted(nodes: Iterable[Node]) -> list[Node]:
    found = [Node(node.text, _sorted(node.children), node.count) for node in nodes]
    return sorted(found, key=Node.key)


def _each(nodes: Iterable[Node]) -> list[Node]:
    """A node for each sibling."""
    return [node for node in nodes for _ in range(node.count)]


def _fit(wanted: Sequence[Node], found: Sequence[Node]) -> bool:
    for place, node in enumerate(wanted):
        if node.text == _ANY:
            rest = wanted[place + 1 :]
            return any(_fit(rest, found[at:]) for at in range(place, len(found) + 1))
        if place >= len(found) or not _fits(node.text, found[place].text):
            return False
        if not _fit(_each(node.children), _each(found[place].children)):
            return False
    return len(wanted) == len(found)


def _fits(wanted: str, text: str) -> bool:
    if "*" not in wanted:
        return wanted == text
    return re.fullmatch(".*".join(map(re.escape, wanted.split("*"))), text) is not None


def _as_expected(depth: int, node: Node, patterns: Iterable[tuple[int, str]]) -> Node:
    """A node in the words of the pattern that it fits, so that it makes no difference."""
    text = next((each for at, each in patterns if at == depth and _fits(each, node.text)), node.text)
    return Node(text, count=node.count)


def _line(depth: int, node: Node) -> str:
    return f"{'  ' * depth}{f'{node.count}× ' if node.count > 1 else ''}{node.text}"
