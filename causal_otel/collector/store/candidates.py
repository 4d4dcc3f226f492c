"""The tag index of a day: which chunks may have a tag, or several on one span."""

from __future__ import annotations

from dataclasses import dataclass
from operator import itemgetter
from typing import TYPE_CHECKING

from causal_otel.collector.conditions import is_exact
from causal_otel.collector.expressions import And, Compare, Or
from causal_otel.collector.store import postings
from causal_otel.collector.store.indexing import indexed, resource_hash
from causal_otel.collector.store.schema import BUCKET_BITS, slot, tag_hash, tag_range
from causal_otel.collector.store.shapes import OTHERS, shape_hash
from causal_otel.collector.store.table_conditions import is_column

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator, Mapping, Sequence

    from causal_otel.collector.expressions import Expression
    from causal_otel.collector.store.day_reading import DayReading

__all__ = ["TagIndex", "Wanted"]

_MOST_HASHES = 500
"""Of tags, one of which is asked for: to look up more of them takes longer than it saves."""
_MOST_COUNTED = 1000
"""Chunks of one of several tags, all of which are asked for, before any other will do."""

_MOST_RESOURCES = 200
"""A tag that more resources of the day have is not looked up: asking for each of them takes longer than it saves."""


@dataclass(frozen=True)
class Wanted:
    """Chunks that are wanted for their tags, as the index knows them.

    Attributes:
        closed: hashes for chunks that were written before the day was closed; a chunk matches if it has any of them.
        late: for chunks that were added since, one list of hashes per tag; a chunk must have a hash of every list.
    """

    closed: Sequence[int]
    late: Sequence[Sequence[int]]


class TagIndex:
    """The tag index of a day file.

    Args:
        db: a connection to it.
        resources: the attributes of its resources.
    """

    def __init__(self, db: DayReading, resources: Mapping[int, frozenset[tuple[str, str]]]) -> None:
        self._db = db
        self._resources = resources
        meta = dict(db.execute("SELECT key, value FROM meta WHERE key IN ('closed_chunks', 'slot_bits')"))
        (last,) = db.execute("SELECT max(id) FROM chunk").fetchone()
        closed = meta.get("closed_chunks", 0)
        self._slot_bits: int | None = meta.get("slot_bits")
        self._buckets = range((last or 0) >> BUCKET_BITS, (closed >> BUCKET_BITS) - 1, -1) if last != closed else ()

    def wanted(self, key: str, text: str) -> Wanted | None:
        """The chunks that have a tag on a span or on a resource; None: any may have it."""
        if not indexed(key, text):
            return None
        having = [resource for resource, tags in self._resources.items() if (key, text) in tags]
        if having and (len(having) == len(self._resources) or len(having) > _MOST_RESOURCES):
            return None
        hashes = [tag_hash(key, text), *map(resource_hash, having)]
        return Wanted(hashes, [hashes])

    def leading_to(self, part: Expression) -> Wanted | None:
        """The chunks that have a span for which a part of an expression may hold; None: any may have one."""
        if isinstance(part, Compare):
            can_tell = part.operator == "=" and is_exact(part) and not is_column(part)
            return self.wanted(part.key, part.value) if can_tell else None
        if isinstance(part, And):
            some = [each for inner in part.parts if (each := self.leading_to(inner)) is not None]
            counted = [(self.count(each, _MOST_COUNTED), place, each) for place, each in enumerate(some)]
            return min(counted, key=itemgetter(0, 1))[2] if counted else None
        if isinstance(part, Or):
            hashes: dict[int, None] = {}
            for inner in part.parts:
                each = self.leading_to(inner)
                if each is None:
                    return None
                hashes |= dict.fromkeys(each.closed)
            return Wanted(list(hashes), [list(hashes)]) if len(hashes) <= _MOST_HASHES else None
        return None

    def together(self, tags: Sequence[Wanted], series: str, values: Mapping[str, str | int]) -> list[Wanted]:
        """The chunks that have all of some tags on one span, of certain series, as far as the day's shapes tell.

        Args:
            tags: the tags.
            series: a condition on the table ``series``, named ``s``; empty: any.
            values: its parameters.

        Returns:
            The tags, but in place of those that were frequent when the day was closed what is known of them together.
        """
        frequent: list[Wanted] = []
        shapes: list[set[int]] = []
        rare: set[int] = set()
        for tag in tags:
            rows = self._db.execute(
                f"SELECT hash, shape FROM shape_tag WHERE hash IN ({','.join(map(str, tag.closed))})"  # noqa: S608
            ).fetchall()
            if rows:
                frequent.append(tag)
                shapes.append({shape for _, shape in rows})
                rare.update(set(tag.closed).difference(hashed for hashed, _ in rows))
        if series:
            rows = self._db.execute(
                f"SELECT p.id FROM series s CROSS JOIN shape p ON p.series = s.id WHERE {series}",  # noqa: S608
                values,
            ).fetchall()
            shapes.append({shape for (shape,) in rows})
        if not frequent or len(shapes) < 2:
            return list(tags)
        # A span that has none of a tag's frequent hashes may have one of the others.
        closed = [*map(shape_hash, (OTHERS, *set.intersection(*shapes))), *rare]
        known = Wanted(closed, [hashes for tag in frequent for hashes in tag.late])
        return [known, *(tag for tag in tags if tag not in frequent)]

    def count(self, wanted: Wanted, most: int) -> int:
        """About how many chunks there are; never fewer than there are, if they are not more than ``most``."""
        found = 0
        for hashed in wanted.closed:
            found += postings.count(self._posting(hashed), hashed)
            if found > most:
                return found
        return found + min(self._count_late(hashes, most) for hashes in wanted.late)

    def chunks(self, wanted: Wanted) -> set[int]:
        """The ids of the chunks, and perhaps of a few others."""
        found: set[int] = set()
        for hashed in wanted.closed:
            found.update(postings.find(self._posting(hashed), hashed))
        late = map(self._late, wanted.late)
        return found.union(set.intersection(*late))

    def newest_of_resources(self, resources: Collection[int]) -> Iterator[int]:
        """The chunks with spans of some resources, the latest first, and perhaps a few others."""
        hashes = list(map(resource_hash, resources))
        for bucket in self._buckets:
            late = {chunk for hashed in hashes for chunk in self._late_in(bucket, hashed)}
            yield from sorted(late, reverse=True)
        closed = {chunk for hashed in hashes for chunk in postings.find(self._posting(hashed), hashed)}
        yield from sorted(closed, reverse=True)

    def _count_late(self, hashes: Sequence[int], most: int) -> int:
        found = 0
        for hashed in hashes:
            for bucket in self._buckets:
                if found > most:
                    return found
                found += self._db.execute(
                    "SELECT count(*) FROM (SELECT 1 FROM tag WHERE key BETWEEN ? AND ? LIMIT ?)",
                    (*tag_range(bucket, hashed), most + 1),
                ).fetchone()[0]
        return found

    def _late(self, hashes: Sequence[int]) -> set[int]:
        found: set[int] = set()
        for hashed in hashes:
            for bucket in self._buckets:
                found.update(self._late_in(bucket, hashed))
        return found

    def _late_in(self, bucket: int, hashed: int) -> Iterator[int]:
        first, last = tag_range(bucket, hashed)
        base = (bucket << BUCKET_BITS) - first
        rows = self._db.execute("SELECT key + ? FROM tag WHERE key BETWEEN ? AND ?", (base, first, last))
        return (chunk for (chunk,) in rows)

    def _posting(self, hashed: int) -> bytes:
        if self._slot_bits is None:
            return b""
        row = self._db.execute("SELECT chunks FROM posting WHERE slot = ?", (slot(hashed, self._slot_bits),)).fetchone()
        return b"" if row is None else row[0]
