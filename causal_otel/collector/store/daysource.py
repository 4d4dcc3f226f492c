"""A day file, read from end to end."""

from __future__ import annotations

from typing import TYPE_CHECKING

from causal_otel.collector.store import chunks
from causal_otel.collector.store.incoming import Origin, Piece, origin_of
from causal_otel.collector.store.otlp_slim import SlimSpan
from causal_otel.collector.store.tables import connect

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from causal_otel.collector.store.incoming import Observation, SpanParser

__all__ = ["DaySource"]


class DaySource:
    """Reads the spans of a day file, while others may write to it.

    Args:
        path: the file, which is there.

    Raises:
        Damaged: see :func:`~.tables.connect`.
        sqlite3.Error: see :func:`~.tables.connect`.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        # Not only for reading: such a connection cannot read what a killed writer has left.
        self._connection = connect(path)
        self._origins: dict[tuple[int, int], Origin] = {}
        self._dictionary = b""
        try:
            (last,) = self._connection.execute("SELECT max(id) FROM chunk").fetchone()
        except BaseException:
            self.close()
            raise
        self.last_chunk: int = last or 0
        """The highest id of a chunk when this was made."""

    def close(self) -> None:
        """Give the file up."""
        self._connection.close()

    def starts(self, first: int, last: int) -> list[tuple[bytes, int]]:
        """The trace id and the start of the chunks with these ids, both included."""
        return self._connection.execute(
            "SELECT trace_id, start FROM chunk WHERE id BETWEEN ? AND ?", (first, last)
        ).fetchall()

    def spans(self, trace_id: bytes) -> list[tuple[Origin, bytes]]:
        """Every span of a trace, serialized, once: of the chunks up to :attr:`last_chunk`.

        Raises:
            ValueError: A chunk cannot be read.
        """
        found: dict[bytes, Origin] = {}
        rows = self._connection.execute(
            "SELECT body FROM chunk WHERE trace_id = ? AND id <= ? ORDER BY id", (trace_id, self.last_chunk)
        )
        for (body,) in rows.fetchall():
            for origin, raw in self._unpack(body):
                found.setdefault(raw, origin)
        return [(origin, raw) for raw, origin in found.items()]

    def has(self, trace_id: bytes) -> bool:
        """Whether there are spans of a trace."""
        return self._connection.execute("SELECT 1 FROM trace WHERE id = ?", (trace_id,)).fetchone() is not None

    def elsewhere(self) -> list[bytes]:
        """The traces that parts of are in other days' files, as far as was noted."""
        return [trace_id for (trace_id,) in self._connection.execute("SELECT id FROM trace WHERE elsewhere")]

    def late(self) -> dict[bytes, list[tuple[Origin, bytes]]]:
        """What the chunks after :attr:`last_chunk` have of each trace.

        Raises:
            ValueError: A chunk cannot be read.
        """
        rows = self._connection.execute("SELECT trace_id, body FROM chunk WHERE id > ?", (self.last_chunk,))
        found: dict[bytes, list[tuple[Origin, bytes]]] = {}
        for trace_id, body in rows.fetchall():
            found.setdefault(trace_id, []).extend(self._unpack(body))
        return found

    def observations(self, trace_id: bytes, parser: SpanParser) -> list[Observation]:
        """What the tables need to know of a trace's spans: of the chunks up to :attr:`last_chunk`.

        Raises:
            ValueError: A chunk cannot be read.
        """
        piece = Piece(trace_id, 0)
        for origin, raw in self.spans(trace_id):
            parser.add(raw, SlimSpan.FromString(raw), origin, piece)
        return piece.observations

    def _unpack(self, body: bytes) -> Iterator[tuple[Origin, bytes]]:
        try:
            content = chunks.decompressed(body, self._dictionary)
        except ValueError:
            self._dictionary = self._learn()
            content = chunks.decompressed(body, self._dictionary)
        for resource, scope, spans in chunks.groups(content):
            origin = self._origins.get((resource, scope)) or self._origin(resource, scope)
            for raw in chunks.raw_spans(spans):
                yield origin, raw

    def _learn(self) -> bytes:
        row = self._connection.execute("SELECT value FROM meta WHERE key = 'dictionary'").fetchone()
        return row[0] if row else b""

    def _origin(self, resource: int, scope: int) -> Origin:
        bodies = []
        for table, number in (("resource", resource), ("scope", scope)):
            row = self._connection.execute(f"SELECT body FROM {table} WHERE id = ?", (number,)).fetchone()  # noqa: S608
            if row is None:
                raise ValueError(f"a chunk names {table} {number}, which is not there")
            bodies.append(row[0])
        origin = self._origins[resource, scope] = origin_of(*bodies)
        return origin
