"""A day file, open for writing."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from causal_otel.collector.store import chunks, indexing, whole_days
from causal_otel.collector.store.below import below
from causal_otel.collector.store.calls import Calls
from causal_otel.collector.store.days import LARGEST
from causal_otel.collector.store.dictionary import Dictionary
from causal_otel.collector.store.hours import Hours
from causal_otel.collector.store.log_tables import LogTables
from causal_otel.collector.store.measures import Measures
from causal_otel.collector.store.names import Names
from causal_otel.collector.store.schema import BUCKET_BITS, tag_key
from causal_otel.collector.store.tables import connect

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
    from pathlib import Path

    from causal_otel.collector.store.calls import Call, SomeCalls
    from causal_otel.collector.store.incoming import Piece

__all__ = ["DayFile"]

_TAGS_AT_ONCE = 50
"""Rows in a statement: in one of its own each would take nearly twice as long."""
_INSERT_TAG = "INSERT INTO tag VALUES (?)"
_ADD_TO_TRACE = (
    "INSERT INTO trace (id, start, end, spans, errors, newest) VALUES (?, ?, ?, ?, ?, ?) ON CONFLICT DO UPDATE SET"
    " start = min(start, excluded.start), end = max(end, excluded.end), spans = spans + excluded.spans,"
    " errors = errors + excluded.errors, newest = excluded.newest"
)
_INSERT_TAGS = _INSERT_TAG + ", (?)" * (_TAGS_AT_ONCE - 1)


class DayFile:
    """Adds to a day file, in transactions.

    Args:
        path: the file; made if it is not there.

    Raises:
        Damaged: see :func:`connect`.
        sqlite3.Error: see :func:`connect`.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self.connection = connect(path)
        try:
            self.reload()
        except BaseException:
            self.connection.close()
            raise

    def reload(self) -> None:
        """Look into the file again: it is not what it was."""
        self.names = Names(self.connection)
        self._hours = Hours(self.connection)
        self._measures = Measures(self.connection)
        self._calls = Calls(self.connection, self.names)
        self._dictionary = Dictionary(self.connection)
        (last,) = self.connection.execute("SELECT max(id) FROM chunk").fetchone()
        self.last_chunk: int = last or 0
        self._summed = self.meta(whole_days.SUMMED) is not None
        self._logs: LogTables | None = None

    @property
    def logs(self) -> LogTables:
        """The day's log records, whose tables are made when this is first asked for. In a transaction."""
        if self._logs is None:
            self._logs = LogTables(self.connection, self.names)
        return self._logs

    def begin(self) -> None:
        """Start a transaction."""
        self.connection.execute("BEGIN IMMEDIATE")

    def commit(self) -> None:
        """End it; what was added outlives the process when this returns."""
        self._hours.save()
        self._measures.save()
        self._calls.save()
        self.connection.execute("COMMIT")

    def close(self) -> None:
        """Give the file up."""
        self.connection.close()

    def meta(self, key: str) -> Any:
        """What ``meta`` says of ``key``; None if nothing."""
        row = self.connection.execute("SELECT value FROM meta WHERE key = ?", (key,)).fetchone()
        return None if row is None else row[0]

    def note_trial(self, now: float) -> None:
        """Write something that means nothing, to see whether that can be done."""
        self.connection.execute("INSERT OR REPLACE INTO meta VALUES ('trial', ?)", (now,))

    def knows(self, digest: bytes) -> bool:
        """Whether a request with that digest was taken."""
        return self.connection.execute("SELECT 1 FROM batch WHERE digest = ?", (digest,)).fetchone() is not None

    def add(self, pieces: Sequence[Piece]) -> None:
        """Add traces' spans to the open tables: each piece is a chunk."""
        if not pieces:
            return
        self._forget_sums()
        self._dictionary.learn(pieces, self.last_chunk)
        keys: list[int] = []

        def index(chunk: int, hashes: Iterable[int]) -> None:
            base = tag_key(chunk, 0)
            keys.extend([base | hashed << BUCKET_BITS for hashed in hashes])

        self.add_chunks(pieces, self._dictionary.pack, index)
        keys.sort()  # neighbours are on the same page
        alone = len(keys) % _TAGS_AT_ONCE
        self.connection.executemany(_INSERT_TAG, [(key,) for key in keys[:alone]])
        self.connection.executemany(_INSERT_TAGS, zip(*[iter(keys[alone:])] * _TAGS_AT_ONCE, strict=True))

    def add_chunks(
        self,
        pieces: Iterable[Piece],
        pack: Callable[[list[chunks.Group]], bytes],
        index: Callable[[int, Iterable[int]], None],
    ) -> None:
        """Add traces' spans but for the index of their tags.

        Args:
            pieces: each is a chunk.
            pack: makes it one.
            index: is told a chunk's id and the hashes that it is to be indexed by.
        """
        rows = []
        traces = []
        found: list[tuple[int, ...]] = []
        names = self.names
        for piece in pieces:
            self.last_chunk = chunk = self.last_chunk + 1
            groups = []
            hashes = piece.hashes
            for origin, spans in piece.parts.items():
                resource = names.resource(origin.resource)
                groups.append((resource, names.scope(origin.scope), chunks.spans_field(spans)))
                hashes.add(indexing.resource_hash(resource))
            hashes.discard(indexing.NOT_INDEXED)
            index(chunk, hashes)
            rows.append((chunk, piece.trace_id, piece.start, len(piece.observations), pack(groups)))
            series, end, errors = self._found(chunk, piece)
            found.extend(series)
            traces.append((piece.trace_id, piece.start, min(end, LARGEST), len(piece.observations), errors, chunk))
        execute = self.connection.executemany
        execute("INSERT INTO chunk VALUES (?, ?, ?, ?, ?)", rows)
        execute(_ADD_TO_TRACE, traces)
        execute("INSERT INTO found VALUES (?, ?, ?, ?, ?, ?)", found)

    def add_digests(self, digests: Iterable[bytes]) -> None:
        """Note that requests were taken."""
        self.connection.executemany("INSERT OR IGNORE INTO batch VALUES (?)", [(digest,) for digest in digests])

    def add_calls(self, calls: Mapping[Call, SomeCalls]) -> None:
        """Count calls."""
        if calls:
            self._forget_sums()
            self._calls.add(calls)

    def sum_up(self, day: int) -> Iterator[float]:
        """Write the sums of the whole day, a table for each step; they are deleted when more is added."""
        yield from whole_days.sum_up(self.connection, day)
        self._summed = True

    @property
    def summed(self) -> bool:
        """Whether it has the sums of the whole day."""
        return self._summed

    def _forget_sums(self) -> None:
        if self._summed:
            whole_days.forget(self.connection)
            self._summed = False

    def mark_elsewhere(self, trace_ids: Iterable[bytes]) -> None:
        """Note that parts of these traces, if they are here, are in other days' files."""
        self.connection.executemany("UPDATE trace SET elsewhere = 1 WHERE id = ?", [(each,) for each in trace_ids])

    def _found(self, chunk: int, piece: Piece) -> tuple[Iterable[tuple[int, ...]], int, int]:
        """The rows of ``found`` for a chunk, when its last span ends, and how many have failed."""
        found: dict[int, tuple[int, ...]] = {}
        end = failed = 0
        series_of, known_series = self.names.series, self.names.known_series
        touch, measured = self._hours.touch, self._measures.add
        trace_id = piece.trace_id
        for each in piece.observations:
            named, start, hour, duration, bucket, error, _, _, measures = each
            series = known_series(named) or series_of(named)
            before = found.get(series)
            if before is None:
                found[series] = (series, start, chunk, duration, duration, int(error))
            else:
                _, latest, _, shortest, longest, errors = before
                found[series] = (
                    series, max(start, latest), chunk, min(duration, shortest), max(duration, longest), errors + error,
                )  # fmt: skip
            touch((series, hour)).add(duration, bucket, error)
            for key, label, value in measures:
                measured(series, hour, key, label, value, trace_id)
            failed += error
            if start + duration > end:
                end = start + duration
        for entry, key, label, value in below(piece.observations):
            series = known_series(entry.series) or series_of(entry.series)
            measured(series, entry.hour, key, label, value, trace_id)
        return found.values(), end, failed
