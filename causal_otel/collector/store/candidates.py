"""The tag index of a day: which chunks may have a tag."""

from __future__ import annotations

from typing import TYPE_CHECKING

from causal_otel.collector.store import postings
from causal_otel.collector.store.indexing import indexed, resource_hash
from causal_otel.collector.store.schema import BUCKET_BITS, slot, tag_hash, tag_range

if TYPE_CHECKING:
    from collections.abc import Mapping

    from causal_otel.collector.store.day_reading import DayReading

__all__ = ["TagIndex"]

_MOST_RESOURCES = 200
"""A tag that more resources of the day have is not looked up: asking for each of them takes longer than it saves."""


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

    def hashes(self, key: str, text: str) -> list[int] | None:
        """What the chunks are indexed by that have a tag on a span or on a resource; None: any may have it."""
        if not indexed(key, text):
            return None
        having = [resource for resource, tags in self._resources.items() if (key, text) in tags]
        if having and (len(having) == len(self._resources) or len(having) > _MOST_RESOURCES):
            return None
        return [tag_hash(key, text), *map(resource_hash, having)]

    def count(self, hashes: list[int], most: int) -> int:
        """About how many chunks there are; never fewer than there are, if they are not more than ``most``."""
        found = 0
        for hashed in hashes:
            # Each takes a byte at least, though most of a slot may be other tags'.
            blob = self._posting(hashed)
            found += len(blob) if len(blob) <= most else len(postings.find(blob, hashed))
            for bucket in self._buckets:
                if found > most:
                    return found
                found += self._db.execute(
                    "SELECT count(*) FROM (SELECT 1 FROM tag WHERE key BETWEEN ? AND ? LIMIT ?)",
                    (*tag_range(bucket, hashed), most + 1),
                ).fetchone()[0]
        return found

    def chunks(self, hashes: list[int]) -> set[int]:
        """The ids of the chunks, and perhaps of a few others."""
        found: set[int] = set()
        for hashed in hashes:
            found.update(postings.find(self._posting(hashed), hashed))
            for bucket in self._buckets:
                first, last = tag_range(bucket, hashed)
                base = (bucket << BUCKET_BITS) - first
                rows = self._db.execute("SELECT key + ? FROM tag WHERE key BETWEEN ? AND ?", (base, first, last))
                found.update(chunk for (chunk,) in rows)
        return found

    def _posting(self, hashed: int) -> bytes:
        if self._slot_bits is None:
            return b""
        row = self._db.execute("SELECT chunks FROM posting WHERE slot = ?", (slot(hashed, self._slot_bits),)).fetchone()
        return b"" if row is None else row[0]
