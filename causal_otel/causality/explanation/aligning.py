"""Which span of one trace is which of another: by operation and by position, level by level.

Roots are aligned with roots, and below two spans that are a pair, their children with each other: as sequences of
operations, as a diff aligns lines. So the third call of ``SELECT orders`` below ``GET /orders`` is compared with the
third one, and a call that was put in between moves none of the others. What is left over of the same operation on both
sides happened in another order: it is a pair as well, which is moved. Only what is still left is in one trace alone.
"""

from __future__ import annotations

from collections import defaultdict, deque
from dataclasses import dataclass
from typing import TYPE_CHECKING, Generic

from causal_otel.causality.spans import SpanT

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from causal_otel.causality.spans import Span, Trace

__all__ = ["Operation", "Pair", "aligned", "operation_of"]

Operation = tuple[str, str, str]
"""Service, name, and what it talks to."""

_MOST_CELLS = 2_000_000
"""Comparisons of two operations in all: half a second. Levels for which none are left are aligned by number alone."""


@dataclass(frozen=True, slots=True)
class Pair(Generic[SpanT]):
    """A span of one trace and that of the other which takes its place.

    Attributes:
        depth: how far from the roots.
        a: the span of the first trace; None: the other one was put in.
        b: the span of the second trace; None: the other one is gone.
        moved: whether they are at different places among their siblings.
    """

    depth: int
    a: SpanT | None
    b: SpanT | None
    moved: bool = False


def operation_of(span: Span) -> Operation:
    """What has to be the same for two spans to be a pair."""
    return span.service, span.name, span.system


def aligned(a: Trace[SpanT], b: Trace[SpanT]) -> Iterator[Pair[SpanT]]:
    """Every span of both traces, each once: parents before their children, siblings in the order of their starts."""
    cells = _MOST_CELLS
    left, cells = _level(0, a.roots, b.roots, cells)
    left.reverse()
    while left:
        pair = left.pop()
        yield pair
        below_a = pair.a.children if pair.a is not None else ()
        below_b = pair.b.children if pair.b is not None else ()
        if below_a or below_b:
            level, cells = _level(pair.depth + 1, below_a, below_b, cells)
            left.extend(reversed(level))


def _level(depth: int, a: Sequence[SpanT], b: Sequence[SpanT], cells: int) -> tuple[list[Pair[SpanT]], int]:
    """The pairs of some siblings, and how many cells are left."""
    operations_a, operations_b = [*map(operation_of, a)], [*map(operation_of, b)]
    matched, used = _in_order(operations_a, operations_b, cells)
    in_order = used <= cells
    cells -= used if in_order else 0
    moved = _left_over(operations_a, operations_b, matched)
    found: list[Pair[SpanT]] = []
    # What was put in stands behind whatever it follows, and behind what is gone from there.
    taken = {**matched, **moved}
    put_in = _put_in(len(b), set(taken.values()))
    waiting = put_in.get(-1, [])
    for place, span in enumerate(a):
        other = taken.get(place)
        if other is None:
            found.append(Pair(depth, span, None))
            continue
        found += [Pair(depth, None, b[each]) for each in waiting]
        found.append(Pair(depth, span, b[other], moved=in_order and place in moved))
        waiting = put_in.get(other, [])
    found += [Pair(depth, None, b[each]) for each in waiting]
    return found, cells


def _put_in(count: int, taken: set[int]) -> dict[int, list[int]]:
    """The places of b that are in no pair, by the last place before them that is; -1: there is none."""
    found: defaultdict[int, list[int]] = defaultdict(list)
    last = -1
    for place in range(count):
        if place in taken:
            last = place
        else:
            found[last].append(place)
    return found


def _left_over(a: Sequence[Operation], b: Sequence[Operation], matched: dict[int, int]) -> dict[int, int]:
    """Pairs of what is not matched: of each operation the first with the first, and so on."""
    taken = set(matched.values())
    waiting: defaultdict[Operation, deque[int]] = defaultdict(deque)
    for place, operation in enumerate(b):
        if place not in taken:
            waiting[operation].append(place)
    return {
        place: waiting[operation].popleft()
        for place, operation in enumerate(a)
        if place not in matched and waiting.get(operation)
    }


def _in_order(a: Sequence[Operation], b: Sequence[Operation], cells: int) -> tuple[dict[int, int], int]:
    """A longest common subsequence, as places in both, and how many cells it takes to find it.

    Of several, that which takes the first of equal calls. If it takes more cells than there are, what is found is
    where both begin alike.
    """
    begin, shorter = 0, min(len(a), len(b))
    while begin < shorter and a[begin] == b[begin]:
        begin += 1
    end = 0
    while end < shorter - begin and a[-1 - end] == b[-1 - end]:
        end += 1
    # What is also before the common end may have its counterpart there.
    before = {*a[begin : len(a) - end], *b[begin : len(b) - end]}
    while end and a[-end] in before:
        end -= 1
    found = {place: place for place in range(begin)}
    middle_a, middle_b = a[begin : len(a) - end], b[begin : len(b) - end]
    size = len(middle_a) * len(middle_b)
    if size <= cells:
        found |= {len(a) - 1 - back: len(b) - 1 - back for back in range(end)}
        for one, other in _common(middle_a, middle_b):
            found[begin + one] = begin + other
    return found, size


def _common(a: Sequence[Operation], b: Sequence[Operation]) -> Iterator[tuple[int, int]]:
    # Of what is common to the rests from these two places on.
    lengths = [[0] * (len(b) + 1) for _ in range(len(a) + 1)]
    for one in range(len(a) - 1, -1, -1):
        row, below, operation = lengths[one], lengths[one + 1], a[one]
        for other in range(len(b) - 1, -1, -1):
            same = operation == b[other]
            row[other] = below[other + 1] + 1 if same else max(below[other], row[other + 1])
    one = other = 0
    while one < len(a) and other < len(b):
        if a[one] == b[other]:
            yield one, other
            one, other = one + 1, other + 1
        elif lengths[one + 1][other] >= lengths[one][other + 1]:
            one += 1
        else:
            other += 1
