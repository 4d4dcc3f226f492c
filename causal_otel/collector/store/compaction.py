"""Compaction: the file of a day that is over is rewritten. It takes a third of the space, and searches are faster.

- Every trace becomes one chunk, or several if its spans start further apart than :data:`~.schema.SPREAD`. A span that
  was received twice is stored once.
- Chunks are numbered in the order of their start. They are compressed with a dictionary made of the day's own spans.
- The tag index becomes posting lists, for tags and for shapes (see :mod:`.shapes`).
- Log records are written anew as well, see :mod:`.log_compaction`.
- Counts are made again, because parents and repeated spans are known only now.

The new file is written beside the old one and replaces it in one step, so there is a complete file at any time.

Compaction runs in slices. Between two slices the writer writes, also to the old file of this day.
"""

from __future__ import annotations

import os
import sqlite3
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, closing, suppress
from typing import TYPE_CHECKING

from causal_otel.collector.store import chunks, days
from causal_otel.collector.store.calls import calls_of
from causal_otel.collector.store.dayfile import DayFile
from causal_otel.collector.store.days import LARGEST
from causal_otel.collector.store.daysource import DaySource
from causal_otel.collector.store.dictionary import trained
from causal_otel.collector.store.incoming import Origin, Piece, SpanParser
from causal_otel.collector.store.indexing import resource_hash
from causal_otel.collector.store.log_compaction import LogCompaction
from causal_otel.collector.store.otlp_slim import SlimSpan
from causal_otel.collector.store.shapes import Shapes, frequent_tags
from causal_otel.collector.store.slices import slices
from causal_otel.collector.store.sorter import PostingSorter
from causal_otel.collector.store.tables import Damaged, connect

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Sequence
    from pathlib import Path

    from causal_otel.collector.store.incoming import Observation
    from causal_otel.collector.store.series import Series

__all__ = ["SUFFIX", "Busy", "close_day", "is_due"]

SUFFIX = ".closing"
"""Of the new file's name, while it is made."""

_LEVEL = 9
_STARTS = 2000
"""Chunks to read in a slice."""
_SAMPLED_TRACES = 400
_SAMPLED_SPANS = 4
"""Of each of them."""
_MOST_SHAPES = 1 << 14
_TRACES_PER_SHAPE = 4.0
"""At least: what a shape takes shall be little beside its chunks."""
_LATE_SHARE = 50
"""A closed day is compacted again if one in so many of its chunks is late, or after a day."""
_GRACE_SECONDS = 3600
_DAY_SECONDS = 86_400
_POLL_SECONDS = 0.02
_BUSY_SECONDS = 0.2
_BUSY_TIMES = 300


class Busy(Exception):
    """Somebody has been reading the old file all the time: try again later."""


def is_due(path: Path, day: int, now: float) -> bool:
    """Whether a day file is to be compacted: an hour after the day, and again once enough has come late.

    Args:
        path: the file, which is there.
        day: its day.
        now: Unix time in seconds.

    Raises:
        Damaged: see :func:`~.tables.connect`.
        sqlite3.Error: see :func:`~.tables.connect`.
    """
    with closing(connect(path)) as source:
        if now < (day + 1) * _DAY_SECONDS + _GRACE_SECONDS:
            return False
        meta = dict(source.execute("SELECT key, value FROM meta WHERE key != 'dictionary'"))
        if meta["state"] == "open":
            return True
        closed = meta["closed_chunks"]
        (late,) = source.execute("SELECT count(*) FROM chunk WHERE id > ?", (closed,)).fetchone()
    return bool(late > closed // _LATE_SHARE or (late and now - meta["closed_at"] >= _DAY_SECONDS))


def close_day(path: Path, *, now: float, beside: Iterable[Path], release: Callable[[], None]) -> Iterator[float]:
    """Compact a day file, a slice for each step; each yields the seconds that it can wait for the next.

    Args:
        path: the file.
        now: Unix time in seconds.
        beside: the files in which a parent may be that is not in this one: of the days before and after.
        release: gives up the connection to the file that is used for writing. Called in the step that replaces the
            file, or tries to.

    Raises:
        Busy: see there.
        Damaged: see :func:`~.tables.connect`.
        OSError: The disk.
        sqlite3.Error: The disk, or what is in the file.
        ValueError: A chunk cannot be read. In all these cases the old file is as it was.
    """
    target = path.with_name(path.name + SUFFIX)
    days.remove(target)
    try:
        with ExitStack() as stack:
            source = stack.enter_context(closing(DaySource(path)))
            others = [stack.enter_context(closing(other)) for other in _sources(beside)]
            day = stack.enter_context(closing(DayFile(target)))
            sorter = stack.enter_context(closing(PostingSorter(path.parent)))
            # Nobody reads it yet, and if the machine stops it is made again.
            day.connection.executescript(
                "PRAGMA journal_mode = DELETE; PRAGMA journal_mode = OFF; PRAGMA synchronous = OFF"
            )
            logs = stack.enter_context(closing(LogCompaction(path, day)))
            work = _Compaction(source, others, day, sorter)
            yield from work.write()
            yield from logs.write()
            day_number = days.day_of_file(path)
            yield from day.sum_up(day_number)
            yield from _finished(day.connection, target)
            yield from _emptied_log(path, release)
            # From here to the end nobody else writes to the old file: it is one step.
            work.add_late()
            logs.add_late()
            if not day.summed:
                for _ in day.sum_up(day_number):
                    pass
            day.connection.executemany(
                "INSERT OR REPLACE INTO meta VALUES (?, ?)", {"state": "closed", "closed_at": now}.items()
            )
            day.connection.execute("PRAGMA journal_mode = WAL")
        _replace(path, target)
    finally:
        days.remove(target)


def _sources(paths: Iterable[Path]) -> Iterator[DaySource]:
    for path in paths:
        # One that cannot be read is its own day's business: here it only tells where a few parents were.
        if path.exists():
            with suppress(Damaged, sqlite3.Error):
                yield DaySource(path)


def _finished(connection: sqlite3.Connection, path: Path) -> Iterator[float]:
    """Write all pages anew, and full, to the disk: one long step of SQLite's, so not on the writer's thread."""

    def finish() -> None:
        connection.execute("VACUUM")
        _sync(path)

    with ThreadPoolExecutor(1, "causal-otel-vacuum") as pool:
        done = pool.submit(finish)
        while not done.done():
            yield _POLL_SECONDS
        done.result()


def _emptied_log(path: Path, release: Callable[[], None]) -> Iterator[float]:
    """Bring all that is in the old file's write-ahead log into the file. Readers may have to end first."""
    for _ in range(_BUSY_TIMES):
        release()
        if not path.exists():
            raise FileNotFoundError(f"{path} was deleted meanwhile")
        with closing(sqlite3.connect(path, isolation_level=None, timeout=0)) as old:
            (blocked, _, _) = old.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchone()
        if not blocked:
            return
        yield _BUSY_SECONDS
    raise Busy(f"{path} has been read for {_BUSY_SECONDS * _BUSY_TIMES:.0f} s without a pause")


def _replace(path: Path, target: Path) -> None:
    _sync(target)
    # The old file's log is empty. It must not be taken for the new one's; who reads the old file keeps it.
    for suffix in ("-wal", "-shm"):
        path.with_name(path.name + suffix).unlink(missing_ok=True)
    os.replace(target, path)
    _sync(path.parent)


def _sync(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


class _Compaction:
    """The writing of a day anew.

    Args:
        source: the old file.
        others: files of the days beside it.
        day: the new one.
        sorter: for the index of its tags.
    """

    def __init__(self, source: DaySource, others: Sequence[DaySource], day: DayFile, sorter: PostingSorter) -> None:
        self._source = source
        self._others = others
        self._day = day
        self._sorter = sorter
        self._parser = SpanParser()

    def write(self) -> Iterator[float]:
        """Everything but what comes late."""
        day, connection = self._day, self._day.connection
        starts: dict[bytes, int] = {}
        for first in range(1, self._source.last_chunk + 1, _STARTS):
            for trace_id, start in self._source.starts(first, min(first + _STARTS - 1, self._source.last_chunk)):
                starts[trace_id] = min(start, starts.get(trace_id, LARGEST))
            yield 0.0
        traces = sorted(starts, key=starts.__getitem__)
        starts.clear()
        samples: list[bytes] = []
        tagged: list[list[tuple[Series, set[int]]]] = []
        for some in slices(traces[:: max(1, len(traces) // _SAMPLED_TRACES)]):
            for trace_id in some:
                spans = self._source.spans(trace_id)
                samples += [raw for _, raw in spans[:_SAMPLED_SPANS]]
                tagged.append([(series, tags) for _, series, tags in self._tagged(spans)])
            yield 0.0
        dictionary = trained(samples)
        most = min(_MOST_SHAPES, int(len(traces) / _TRACES_PER_SHAPE))
        frequent = frequent_tags(tagged, most)
        shapes = Shapes(frequent, most) if frequent else None
        samples.clear()
        tagged.clear()
        packer = chunks.Packer(dictionary, level=_LEVEL)
        for some in slices(traces):
            day.begin()
            some_ids = []
            for trace_id in some:
                some_ids.append(trace_id)
                pieces = self._pieces(self._source.spans(trace_id), shapes)
                day.add_chunks(pieces, packer.pack, self._sorter.add)
                self._add_calls(trace_id, _observations(pieces))
            day.mark_elsewhere(each for each in some_ids if any(other.has(each) for other in self._others))
            day.commit()
            yield 0.0
        day.mark_elsewhere(self._source.elsewhere())
        if shapes:
            shapes.save(connection, day.names.series)
        bits = self._sorter.slot_bits()
        for rows in self._sorter.parts(bits):
            connection.execute("BEGIN")
            connection.executemany("INSERT INTO posting VALUES (?, ?)", rows)
            connection.execute("COMMIT")
            yield 0.0
        connection.executemany(
            "INSERT OR REPLACE INTO meta VALUES (?, ?)",
            {"closed_chunks": day.last_chunk, "slot_bits": bits, "dictionary": dictionary}.items(),
        )

    def add_late(self) -> None:
        """What has come since it began, to the open tables."""
        day = self._day
        day.reload()
        day.begin()
        for trace_id, spans in self._source.late().items():
            pieces = self._pieces(spans)
            day.add(pieces)
            known = self._source.observations(trace_id, self._parser)
            self._add_calls(trace_id, _observations(pieces), known)
        day.commit()

    def _pieces(self, spans: Iterable[tuple[Origin, bytes]], shapes: Shapes | None = None) -> list[Piece]:
        """The chunks of a trace, as few as may be; indexed by their spans' shapes, if there are any."""
        pieces: list[Piece] = []
        for piece, series, tags in self._tagged(spans):
            if shapes:
                piece.hashes.add(shapes.hashed(series, tags))
            if not pieces or piece is not pieces[-1]:
                pieces.append(piece)
        return pieces

    def _tagged(self, spans: Iterable[tuple[Origin, bytes]]) -> Iterator[tuple[Piece, Series, set[int]]]:
        """The spans of a trace, as they start: the chunk, the series and the hashes of all tags of each."""
        self._parser.make_room()
        parsed = [(SlimSpan.FromString(raw), origin, raw) for origin, raw in spans]
        parsed.sort(key=lambda each: each[0].start)
        piece: Piece | None = None
        for span, origin, raw in parsed:
            start = min(span.start, LARGEST)
            if piece is None or not piece.takes(start):
                piece = Piece(span.trace_id, start)
            tags = self._parser.add(raw, span, origin, piece)
            tags |= origin.hashes
            tags.add(resource_hash(self._day.names.resource(origin.resource)))
            yield piece, piece.observations[-1].series, tags

    def _add_calls(self, trace_id: bytes, found: Sequence[Observation], before: Sequence[Observation] = ()) -> None:
        """Count the calls that spans of a trace are.

        Args:
            trace_id: the trace's.
            found: the spans.
            before: others of it, whose calls have been counted but for those by spans that are found only now.
        """
        there = _by_id(before)
        new = {span_id: series for span_id, series in _by_id(found).items() if span_id not in there}
        there |= new
        if any(each.parent_id and each.parent_id not in there for each in found):
            for other in self._others:
                there = _by_id(other.observations(trace_id, self._parser)) | there
        self._day.add_calls(calls_of(found, there))
        self._day.add_calls(calls_of(before, new))


def _by_id(observations: Iterable[Observation]) -> dict[bytes, Series]:
    return {each.span_id: each.series for each in observations}


def _observations(pieces: Iterable[Piece]) -> list[Observation]:
    return [each for piece in pieces for each in piece.observations]
