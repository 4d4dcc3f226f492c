"""Compaction of a day's log records: those of a trace together, each once, and the index of their words as postings."""

from __future__ import annotations

from contextlib import closing
from hashlib import blake2b
from itertools import chain
from typing import TYPE_CHECKING

from opentelemetry.proto.logs.v1.logs_pb2 import LogRecord

from causal_otel.collector.store import chunks
from causal_otel.collector.store.days import LARGEST
from causal_otel.collector.store.dictionary import CLOSED_BYTES
from causal_otel.collector.store.incoming_logs import add_record
from causal_otel.collector.store.log_tables import DICTIONARY
from causal_otel.collector.store.slices import for_a_slice, slices
from causal_otel.collector.store.sorter import PostingSorter
from causal_otel.collector.store.tables import connect

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from causal_otel.collector.store.dayfile import DayFile
    from causal_otel.collector.store.incoming_logs import LogOrigin, LogPiece

__all__ = ["LogCompaction"]

_LEVEL = 9
_STARTS = 2000
"""Rows to read in a slice."""
_SAMPLED_TRACES = 200
_LONGEST_SAMPLE = 2048
_DIGEST_BYTES = 16


class LogCompaction:
    """Writes the log records of a day anew, if there are any.

    Args:
        path: the old file.
        day: the new one.

    Raises:
        Damaged: see :func:`~.tables.connect`.
        sqlite3.Error: see :func:`~.tables.connect`.
    """

    def __init__(self, path: Path, day: DayFile) -> None:
        self._directory = path.parent
        self._day = day
        self._source = connect(path)
        self._dictionary = b""
        self._bodies: dict[tuple[str, int], bytes] = {}
        self._last = 0
        if self._has_tables():
            (last,) = self._source.execute("SELECT max(id) FROM log").fetchone()
            self._last = last or 0

    def close(self) -> None:
        """Give the old file up."""
        self._source.close()

    def _has_tables(self) -> bool:
        return self._source.execute("SELECT 1 FROM sqlite_schema WHERE name = 'log'").fetchone() is not None

    def write(self) -> Iterator[float]:
        """Everything but what comes late; in steps, see :func:`~.compaction.close_day`.

        Raises:
            ValueError: A row cannot be read.
        """
        if not self._last:
            return
        starts: dict[bytes, int] = {}
        for first in range(1, self._last + 1, _STARTS):
            last = min(first + _STARTS - 1, self._last)
            rows = self._source.execute("SELECT trace_id, start FROM log WHERE id BETWEEN ? AND ?", (first, last))
            for trace_id, start in rows.fetchall():
                starts[trace_id] = min(start, starts.get(trace_id, LARGEST))
            yield 0.0
        traces = sorted(starts, key=starts.__getitem__)
        starts.clear()
        samples: list[bytes] = []
        for some in slices(traces[:: max(1, len(traces) // _SAMPLED_TRACES)]):
            for trace_id in some:
                raw, _ = next(self._records(trace_id))
                if len(raw) <= _LONGEST_SAMPLE:
                    samples.append(chunks.spans_field([raw]))
            yield 0.0
        dictionary = b"".join(samples)[-CLOSED_BYTES:]
        packer, connection = chunks.Packer(dictionary, level=_LEVEL), self._day.connection
        with closing(PostingSorter(self._directory)) as sorter:
            pieces = chain.from_iterable(map(self._pieces, traces))
            for piece in pieces:
                connection.execute("BEGIN")
                self._day.logs.add_rows(chain([piece], for_a_slice(pieces)), packer.pack, sorter.add)
                connection.execute("COMMIT")
                yield 0.0
            bits = sorter.slot_bits()
            for postings in sorter.parts(bits):
                connection.execute("BEGIN")
                connection.executemany("INSERT INTO log_posting VALUES (?, ?)", postings)
                connection.execute("COMMIT")
                yield 0.0
        connection.executemany(
            "INSERT OR REPLACE INTO meta VALUES (?, ?)",
            {"log_closed": self._day.logs.last, "log_slot_bits": bits, DICTIONARY: dictionary}.items(),
        )

    def add_late(self) -> None:
        """What has come since it began, to the open tables. The new file was just looked into again."""
        if not self._has_tables():
            return
        rows = self._source.execute("SELECT trace_id, body FROM log WHERE id > ?", (self._last,)).fetchall()
        if not rows:
            return
        late: list[LogPiece] = []
        for trace_id, body in rows:
            pieces: list[LogPiece] = []
            for raw, origin in self._unpack(body):
                add_record(pieces, trace_id, origin, LogRecord.FromString(raw), raw)
            late += pieces
        self._day.begin()
        self._day.logs.add(late)
        self._day.commit()

    def _pieces(self, trace_id: bytes) -> Iterator[LogPiece]:
        """The records of a trace, each piece when it is full: those of one that logs all day would fill the memory."""
        pieces: list[LogPiece] = []
        for raw, origin in self._records(trace_id):
            add_record(pieces, trace_id, origin, LogRecord.FromString(raw), raw)
            if len(pieces) > 1:
                yield pieces.pop(0)
        yield from pieces

    def _records(self, trace_id: bytes) -> Iterator[tuple[bytes, LogOrigin]]:
        """Every record of a trace, serialized, once."""
        seen: set[bytes] = set()
        ids = self._source.execute(
            "SELECT id FROM log WHERE trace_id = ? AND id <= ? ORDER BY id", (trace_id, self._last)
        ).fetchall()
        for row in ids:
            (body,) = self._source.execute("SELECT body FROM log WHERE id = ?", row).fetchone()
            for raw, origin in self._unpack(body):
                lengths = b"%d %d " % (len(origin[0]), len(origin[1]))
                digest = blake2b(b"".join((lengths, *origin, raw)), digest_size=_DIGEST_BYTES).digest()
                if digest not in seen:
                    seen.add(digest)
                    yield raw, origin

    def _unpack(self, body: bytes) -> Iterator[tuple[bytes, LogOrigin]]:
        try:
            content = chunks.decompressed(body, self._dictionary)
        except ValueError:
            row = self._source.execute("SELECT value FROM meta WHERE key = ?", (DICTIONARY,)).fetchone()
            self._dictionary = row[0] if row else b""
            content = chunks.decompressed(body, self._dictionary)
        for resource, scope, records in chunks.groups(content):
            origin = self._body("resource", resource), self._body("scope", scope)
            for raw in chunks.raw_spans(records):
                yield raw, origin

    def _body(self, table: str, number: int) -> bytes:
        known = self._bodies.get((table, number))
        if known is None:
            row = self._source.execute(f"SELECT body FROM {table} WHERE id = ?", (number,)).fetchone()  # noqa: S608
            if row is None:
                raise ValueError(f"log records name {table} {number}, which is not there")
            known = self._bodies[table, number] = row[0]
        return known
