"""Spans that follow each other: how long they took together, and the same calls made one after the other."""

from __future__ import annotations

from collections import defaultdict
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Hashable, Iterable, Iterator

    from causal_otel.causality.spans import CallSpan, CallT

__all__ = ["one_after_another", "together"]

_OVERLAP = 1.1
"""How much longer than together they may have taken one by one: whoever asks for several at once has thought of it."""


def together(spans: Iterable[CallSpan]) -> int:
    """Nanoseconds in which at least one of them ran."""
    spent, until = 0, 0
    for span in sorted(spans, key=lambda each: (each.start, each.end)):
        if span.end > until:
            spent += span.end - max(span.start, until)
            until = span.end
    return spent


def one_after_another(
    spans: Iterable[CallT], same: Callable[[CallT], Hashable], least: int, *, roots: bool = False
) -> Iterator[list[CallT]]:
    """The same calls of one parent, many times, one after the other.

    Args:
        spans: of one trace or of several, parents before their children.
        same: what is equal of calls that are the same.
        least: how many are many.
        roots: whether calls without a parent are looked at as well, as if they had one.
    """
    for group in _groups(spans, same, least, roots):
        group.sort(key=lambda span: (span.start, span.end, span.span_id))
        if len(group) >= least and sum(span.duration for span in group) <= _OVERLAP * together(group):
            yield group


def _groups(
    spans: Iterable[CallT], same: Callable[[CallT], Hashable], least: int, roots: bool
) -> Iterator[list[CallT]]:
    """The same calls below one parent, or each below a span of its own of one name below one parent."""
    direct: defaultdict[tuple[CallSpan | None, Hashable], list[CallT]] = defaultdict(list)
    for span in spans:
        if span.kind == "client" and (span.parent is not None or roots):
            direct[span.parent, same(span)].append(span)
    spread: defaultdict[Hashable, list[CallT]] = defaultdict(list)
    for (parent, what), some in direct.items():
        if len(some) >= least:
            yield some
        elif len(some) == 1 and parent is not None and parent.kind == "internal" and (parent.parent or roots):
            spread[parent.parent, parent.name, what].append(some[0])
    yield from spread.values()
