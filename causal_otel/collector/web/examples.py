"""Traces of an operation to look at: its slowest, those that failed, and typical ones."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from causal_otel.collector.store.histogram import BOUNDS, bucket
from causal_otel.collector.units import format_duration

if TYPE_CHECKING:
    from collections.abc import Iterator

    from causal_otel.collector.query import Query, TraceReader
    from causal_otel.collector.trends.rates import Rates

__all__ = ["Example", "examples", "least_of_slowest"]

_MOST = 4
_SECONDS = 0.3
"""For which one kind of them is looked for."""


@dataclass(frozen=True, slots=True)
class Example:
    """Traces of one kind.

    Attributes:
        title: what they are.
        note: which ones these are.
        trace_ids: 16 bytes each.
        complete: whether there was time to look at all that there are.
        search: the parameters of the search for all of them.
    """

    title: str
    note: str
    trace_ids: tuple[bytes, ...]
    complete: bool
    search: dict[str, str]


def examples(reader: TraceReader, query: Query, found: Rates) -> Iterator[Example]:
    """A few of each kind.

    Args:
        reader: where to look.
        query: finds the operation's spans.
        found: how these went, which tells what is slow and what is typical.
    """
    if not found.calls:
        return
    slow = least_of_slowest(found, _MOST)
    yield _example(
        reader,
        replace(query, shortest=slow),
        "Slowest",
        f"{format_duration(slow)} or longer",
        {"shortest": f"{slow}ns"},
    )
    if found.errors:
        yield _example(reader, replace(query, errors=True), "Failed", "the newest", {"errors": "1"})
    middle = bucket(found.durations.quantile(0.5))
    shortest, longest = (BOUNDS[middle - 1] + 1 if middle else 0), BOUNDS[middle]
    yield _example(
        reader,
        replace(query, shortest=shortest, longest=longest),
        "Typical",
        f"near to the median, {format_duration(found.quantile(0.5))}",
        {"shortest": f"{shortest}ns", "longest": f"{longest}ns"},
    )


def least_of_slowest(found: Rates, most: int) -> int:
    """A duration that so many calls at least have reached, and not many more."""
    calls = 0
    least = 0
    for bound, count in reversed(found.durations.buckets()):
        place = bucket(bound)
        least, calls = (BOUNDS[place - 1] + 1 if place else 0), calls + count
        if calls >= most:
            break
    return least


def _example(reader: TraceReader, query: Query, title: str, note: str, search: dict[str, str]) -> Example:
    answer = reader.search(replace(query, limit=_MOST), seconds=_SECONDS)
    return Example(title, note, answer.trace_ids, answer.complete, search)
