"""Durations counted in buckets a tenth wide, and what can be told from them."""

from __future__ import annotations

from bisect import bisect_left
from itertools import accumulate
from typing import TYPE_CHECKING

from causal_otel.collector.store import varint

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

__all__ = ["BOUNDS", "Histogram", "bucket"]


def _bounds() -> tuple[int, ...]:
    bounds = [1]
    while bounds[-1] < 1 << 63:
        bounds.append(bounds[-1] + max(1, bounds[-1] // 10))
    return tuple(bounds)


BOUNDS = _bounds()
"""The largest duration of each bucket, in nanoseconds: each a tenth more than the one before."""


def bucket(duration: int) -> int:
    """The index in :data:`BOUNDS` of the bucket of a duration in nanoseconds, at most 2**63 - 1."""
    return bisect_left(BOUNDS, duration)


class Histogram:
    """How many durations fell into which bucket.

    Args:
        counts: by the bucket's index in :data:`BOUNDS`.
    """

    __slots__ = ("counts",)

    def __init__(self, counts: dict[int, int] | None = None) -> None:
        self.counts = {} if counts is None else counts

    @classmethod
    def decode(cls, blob: bytes) -> Histogram:
        """What :meth:`encode` made."""
        return cls(dict(_pairs(blob)) if blob else None)

    def merge_encoded(self, blob: bytes) -> None:
        """Count what another has counted, which :meth:`encode` made ``blob`` of: quicker than to decode it first."""
        counts = self.counts
        for index, count in _pairs(blob) if blob else ():
            counts[index] = counts.get(index, 0) + count

    def encode(self) -> bytes:
        """A few bytes for each bucket that is not empty."""
        values: list[int] = []
        before = 0
        for index, count in sorted(self.counts.items()):
            values += (index - before, count)
            before = index
        return varint.encode(values)

    def add(self, duration: int) -> None:
        """Count a duration in nanoseconds, at most 2**63 - 1."""
        self.count(bucket(duration))

    def count(self, index: int) -> None:
        """Count a duration whose bucket is known."""
        self.counts[index] = self.counts.get(index, 0) + 1

    def merge(self, others: Iterable[Histogram]) -> None:
        """Count what ``others`` have counted."""
        for other in others:
            for index, count in other.counts.items():
                self.counts[index] = self.counts.get(index, 0) + count

    def quantile(self, share: float) -> int:
        """A duration that about ``share`` (0 to 1) of all are not longer than: its bucket's bound; 0 if it is empty."""
        buckets = self.buckets()
        wanted = share * sum(self.counts.values())
        seen = 0
        for bound, count in buckets:
            seen += count
            if seen >= wanted:
                return bound
        return buckets[-1][0] if buckets else 0

    def buckets(self) -> tuple[tuple[int, int], ...]:
        """Bounds in nanoseconds, and how many took at most that and more than the bound before; ascending."""
        return tuple((BOUNDS[index], count) for index, count in sorted(self.counts.items()))


def _pairs(blob: bytes) -> Iterator[tuple[int, int]]:
    """The buckets and what they have counted."""
    index, position = varint.read(blob, 0)
    rest = blob[position:]
    # Only the first one is far from the one before, as a rule, and in an hour few are counted.
    values = rest if rest.isascii() else varint.decode(rest)
    return zip(accumulate(values[1::2], initial=index), values[::2], strict=True)
