"""Shapes: which frequent tags are together on the spans of a series.

The posting lists of tags know chunks, not spans. If two tags are in many traces but never on one span, or if a frequent
tag is never on the spans of the wanted operation, the lists lead to many chunks that do not match. Therefore the spans
of a closed day that have the same series and the same frequent tags form a shape. A day has a few thousand shapes. The
tables ``shape`` and ``shape_tag`` describe them, and chunks are indexed by the shapes of their spans as by tags.

Which tags are frequent is estimated from a sample, so that there are few shapes. A search asks for the shapes that have
a tag. If the tag is not a frequent one, the search uses the posting list of the tag.
"""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING

from causal_otel.collector.store.schema import tag_hash

if TYPE_CHECKING:
    import sqlite3
    from collections.abc import Callable, Sequence
    from collections.abc import Set as AbstractSet

    from causal_otel.collector.store.series import Series

__all__ = ["OTHERS", "Shapes", "frequent_tags", "shape_hash"]

OTHERS = 0
"""The shape of all spans that come after the number of shapes has reached its limit."""

_SHARES = (64, 32, 16, 8)
"""A tag is frequent if one trace in so many has it: the first of these by which shapes are few."""
_SPANS_PER_SHAPE = 2
"""In the sample. If they are fewer, shapes are not few."""


def shape_hash(shape: int) -> int:
    """The hash that the chunks with a span of a shape are indexed by."""
    return tag_hash("\0shape", str(shape))


def frequent_tags(traces: Sequence[Sequence[tuple[Series, AbstractSet[int]]]], most: int) -> frozenset[int]:
    """The hashes of the tags that make shapes.

    Args:
        traces: a sample: of each trace, the series of every span and the hashes of its tags.
        most: how many shapes there may be.
    """
    having = Counter(hashed for spans in traces for hashed in set().union(*(hashes for _, hashes in spans)))
    few = min(most, sum(map(len, traces)) // _SPANS_PER_SHAPE)
    for share in _SHARES:
        tags = frozenset(hashed for hashed, count in having.items() if count * share >= len(traces))
        shapes = {(series, tags & hashes) for spans in traces for series, hashes in spans}
        if len(shapes) <= few:
            return tags
    return frozenset()


class Shapes:
    """Gives shapes to the spans of a day.

    Args:
        frequent: the hashes of the tags that make them.
        most: how many there may be.
    """

    def __init__(self, frequent: frozenset[int], most: int) -> None:
        self._frequent = frequent
        self._most = most
        self._hashes: dict[tuple[Series, frozenset[int]], int] = {}
        self._others = shape_hash(OTHERS)

    def hashed(self, series: Series, tags: AbstractSet[int]) -> int:
        """The hash of a span's shape, by its series and the hashes of its tags."""
        shape = series, self._frequent & tags
        known = self._hashes.get(shape)
        if known is None:
            if len(self._hashes) >= self._most:
                return self._others
            known = self._hashes[shape] = shape_hash(len(self._hashes) + 1)
        return known

    def save(self, connection: sqlite3.Connection, number_of: Callable[[Series], int]) -> None:
        """Write the tables.

        Args:
            connection: to the day file.
            number_of: gives the id of a series.
        """
        shapes = list(enumerate(self._hashes, 1))
        connection.executemany(
            "INSERT INTO shape VALUES (?, ?)", [(number_of(series), shape) for shape, (series, _) in shapes]
        )
        connection.executemany(
            "INSERT INTO shape_tag VALUES (?, ?)", [(tag, shape) for shape, (_, tags) in shapes for tag in tags]
        )
