"""Runs of equal siblings, which are one row: a loop's thousand statements are one thing that happened."""

from __future__ import annotations

from bisect import bisect_left
from dataclasses import dataclass
from itertools import groupby
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Collection, Hashable, Iterator, Sequence

    from causal_otel.collector.analysis.explained import Explained
    from causal_otel.collector.view import SpanView

__all__ = ["LEAST", "Run", "grouped", "n_plus_one"]

LEAST = 5
"""Equal siblings in a row that are one."""


@dataclass(frozen=True, slots=True)
class Run:
    """Spans of one parent that follow each other, of the same service, kind, system and name.

    Attributes:
        spans: its members. What is below them is no part of its figures.
        members: their indexes.
    """

    spans: tuple[SpanView, ...]
    members: tuple[int, ...]

    @property
    def first(self) -> SpanView:
        """The first member, by whose id it goes."""
        return self.spans[0]

    @property
    def total(self) -> int:
        """Nanoseconds of all members, added up."""
        return sum(span.duration for span in self.spans)

    @property
    def p50(self) -> int:
        """A duration that half of them do not exceed."""
        return sorted(span.duration for span in self.spans)[(len(self.spans) - 1) // 2]

    @property
    def longest(self) -> SpanView:
        """The first of those that took longest."""
        return max(self.spans, key=lambda span: (span.duration, -span.index))

    @property
    def errors(self) -> int:
        """How many members have failed."""
        return sum(span.error for span in self.spans)

    @property
    def errors_below(self) -> int:
        """How many spans below them have failed."""
        return sum(span.errors_below for span in self.spans)

    def place(self, index: int) -> int | None:
        """Which of its members a span is; None: none."""
        at = bisect_left(self.members, index)
        return at if at < len(self.members) and self.members[at] == index else None

    def places(self, indexes: Collection[int]) -> list[int]:
        """Which members these spans are, in the order of ``indexes``."""
        return [place for place in map(self.place, indexes) if place is not None]


def grouped(spans: Sequence[SpanView], siblings: Sequence[int]) -> Iterator[Run | int]:
    """Siblings in their order, with runs in the place of their members.

    Args:
        spans: all of the trace.
        siblings: some of them, by their indexes.
    """
    if len(siblings) < LEAST:
        yield from siblings
        return
    for _, alike in groupby(siblings, lambda index: _looks(spans[index])):
        some = tuple(alike)
        if len(some) < LEAST:
            yield from some
            continue
        for _, equal in groupby(some, lambda index: spans[index].system):  # it takes longer to find out
            members = tuple(equal)
            if len(members) < LEAST:
                yield from members
            else:
                yield Run(tuple(spans[index] for index in members), members)


def n_plus_one(explained: Explained) -> dict[str, int]:
    """For spans of which a finding says that they are N+1 the number of that finding, counted from 1."""
    return {
        span_id: number
        for number, finding in enumerate(explained.explanation.findings, 1)
        if finding.kind == "n_plus_one"
        for span_id in finding.span_ids
    }


def _looks(span: SpanView) -> Hashable:
    """Those without a parent here are siblings if they name the same one."""
    message = span.message
    return span.service, span.name, message.kind, message.parent_span_id if span.parent is None else b""
