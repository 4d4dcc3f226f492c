"""A search for words in log records: the traces that have them and satisfy the rest of the query.

It goes from the records to the traces: the index of words names the rows of a day that may have all the words, the
latest first. Each is read; if a record has them, the trace is read as well, and :func:`matching_span` decides.
"""

from __future__ import annotations

from operator import attrgetter, itemgetter
from typing import TYPE_CHECKING

from causal_otel.collector.log_words import has_words, word_hash
from causal_otel.collector.matching import matching_span
from causal_otel.collector.query import Counted, Cursor, Found
from causal_otel.collector.store import postings
from causal_otel.collector.store.days import HOUR
from causal_otel.collector.store.incoming_logs import time_of
from causal_otel.collector.store.limits import within_range
from causal_otel.collector.store.open_days import OutOfTime, Skipped
from causal_otel.collector.store.schema import BUCKET_BITS, slot, tag_range
from causal_otel.collector.store.search import satisfiable

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterator, Mapping, Sequence

    from opentelemetry.proto.logs.v1.logs_pb2 import LogsData
    from opentelemetry.proto.trace.v1.trace_pb2 import TracesData

    from causal_otel.collector.query import Query
    from causal_otel.collector.store.day_reading import DayReading
    from causal_otel.collector.store.open_days import Deadline, OpenDay

__all__ = ["log_count", "log_search"]

_AFTER = HOUR
"""Nanoseconds: what is logged so much later than the time that spans are to start in still counts."""
_IDS_AT_ONCE = 500
_BY_TIME = ("newest", "oldest")
_SIZES = {"longest": "max(end) - min(start)", "spans": "sum(spans)", "errors": "sum(errors)"}


def log_search(
    days: Sequence[OpenDay], query: Query, deadline: Deadline, trace: Callable[[bytes], TracesData | None]
) -> Found:
    """Find the traces that satisfy ``query``, which asks for words.

    Args:
        days: where to look, newest first.
        query: what for. The order ``newest`` goes by the records that have the words.
        deadline: when to stop.
        trace: reads a whole trace, of all days.
    """
    if not satisfiable(query):
        return Found(())
    if query.sort == "newest" and query.before is None:
        return _newest(days, query, deadline, trace)
    having: dict[bytes, int] = {}
    complete = True
    try:
        for logged, trace_id in _matches(days, query, deadline):
            having[trace_id] = logged  # noqa: PERF403 - what was found when the time is over counts
    except OutOfTime:
        complete = False
    since = min(having.values(), default=None)
    deadline.extend(1.0)  # to compare what was found
    places = _in_order(days, query, having)
    first, step = _begin(query, places)
    found: list[Cursor] = []
    for place in places[first::step]:
        if len(found) == query.limit:
            break
        if deadline.passed():
            complete, since = False, None
            break
        if _satisfies(trace(place.trace_id), query):
            found.append(place)
    return _found(found[::step], complete, None if complete or query.sort in _BY_TIME else since)


def log_count(
    days: Sequence[OpenDay], query: Query, deadline: Deadline, trace: Callable[[bytes], TracesData | None]
) -> Counted:
    """Count the traces that satisfy ``query``, which asks for words. The arguments are those of :func:`log_search`."""
    count = 0
    if satisfiable(query):
        try:
            for _, trace_id in _matches(days, query, deadline):
                count += _satisfies(trace(trace_id), query)
        except OutOfTime:
            return Counted(count, complete=False)
    return Counted(count)


def _newest(
    days: Sequence[OpenDay], query: Query, deadline: Deadline, trace: Callable[[bytes], TracesData | None]
) -> Found:
    found: list[Cursor] = []
    passed = query.after is None
    try:
        for logged, trace_id in _matches(days, query, deadline):
            if query.after is not None and trace_id == query.after.trace_id:
                passed = True
            elif passed and _satisfies(trace(trace_id), query):
                found.append(Cursor(0, logged, trace_id))
                if len(found) == query.limit:
                    break
    except OutOfTime:
        return _found(found, False, None)
    return _found(found, True, None)


def _in_order(days: Sequence[OpenDay], query: Query, having: Mapping[bytes, int]) -> list[Cursor]:
    """The places of traces, given when the record was logged that each was found by, the newest first."""
    if query.sort in _BY_TIME:
        places = [Cursor(0, logged, trace_id) for trace_id, logged in having.items()]
        return places if query.sort == "newest" else places[::-1]
    sizes = _sizes(days, list(having), query.sort)
    places = [Cursor(size, having[trace_id], trace_id) for trace_id, size in sizes.items()]
    return sorted(places, key=attrgetter("size", "trace_id"), reverse=True)


def _begin(query: Query, places: Sequence[Cursor]) -> tuple[int, int]:
    """Where the wanted ones begin in an order, and which way they go on; a place that is gone is behind all others."""
    at = query.after or query.before
    if at is None:
        return 0, 1
    ids = [place.trace_id for place in places]
    place = ids.index(at.trace_id) if at.trace_id in ids else len(ids)
    if query.before is None:
        return place + 1, 1
    return (place - 1, -1) if place else (len(ids), 1)


def _found(places: Sequence[Cursor], complete: bool, since: int | None) -> Found:
    if not places:
        return Found((), complete, since)
    return Found(tuple(place.trace_id for place in places), complete, since, places[0], places[-1])


def _satisfies(trace: TracesData | None, query: Query) -> bool:
    return trace is not None and matching_span(trace, query) is not None


def _matches(days: Sequence[OpenDay], query: Query, deadline: Deadline) -> Iterator[tuple[int, bytes]]:
    """The traces with a record that has all the words, each once, about the latest first; and when that was logged."""
    seen: set[bytes] = set()
    for day in days:
        deadline.check()
        try:
            with day.reading(deadline) as db:
                for ids in _rows_with(db, query.logs):
                    for last, trace_id, body in _rows(db, ids, query):
                        deadline.check()
                        if trace_id not in seen and _has(db.unpack_logs(body), query):
                            seen.add(trace_id)
                            yield last, trace_id
        except Skipped:
            continue


def _has(message: LogsData | None, query: Query) -> bool:
    if message is None:
        return False
    return any(
        query.start <= time_of(record) <= query.end + _AFTER and has_words(record, query.logs)
        for group in message.resource_logs
        for scoped in group.scope_logs
        for record in scoped.log_records
    )


def _rows(db: DayReading, ids: Sequence[int], query: Query) -> Iterator[tuple[int, bytes, bytes]]:
    """When the last record of each row was logged, the trace, and the body; about the latest first."""
    for end in range(len(ids), 0, -_IDS_AT_ONCE):
        some = ids[max(0, end - _IDS_AT_ONCE) : end]
        marks = ",".join("?" * len(some))
        found = db.execute(
            f"SELECT last, id FROM log WHERE id IN ({marks}) AND start <= ? AND last >= ?",  # noqa: S608
            (*some, within_range(query.end + _AFTER), within_range(query.start)),
        ).fetchall()
        for last, row in sorted(found, key=itemgetter(0), reverse=True):
            yield last, *db.execute("SELECT trace_id, body FROM log WHERE id = ?", (row,)).fetchone()


def _rows_with(db: DayReading, words: Collection[str]) -> Iterator[list[int]]:
    """The ids of the rows that may have all the words, ascending, some at a time: first those that came last."""
    if not db.has_logs():
        return
    hashes = [word_hash(word) for word in words]
    meta = dict(db.execute("SELECT key, value FROM meta WHERE key IN ('log_closed', 'log_slot_bits')"))
    (last,) = db.execute("SELECT max(id) FROM log").fetchone()
    closed = meta.get("log_closed", 0)
    if (last or 0) > closed:
        for bucket in range(last >> BUCKET_BITS, (closed >> BUCKET_BITS) - 1, -1):
            yield sorted(set.intersection(*(_late(db, bucket, hashed) for hashed in hashes)))
    if closed:
        yield sorted(set.intersection(*(_closed(db, hashed, meta["log_slot_bits"]) for hashed in hashes)))


def _late(db: DayReading, bucket: int, hashed: int) -> set[int]:
    first, last = tag_range(bucket, hashed)
    base = (bucket << BUCKET_BITS) - first
    rows = db.execute("SELECT key + ? FROM log_word WHERE key BETWEEN ? AND ?", (base, first, last))
    return {row for (row,) in rows}


def _closed(db: DayReading, hashed: int, bits: int) -> set[int]:
    row = db.execute("SELECT chunks FROM log_posting WHERE slot = ?", (slot(hashed, bits),)).fetchone()
    return set() if row is None else set(postings.find(row[0], hashed))


def _sizes(days: Sequence[OpenDay], trace_ids: Sequence[bytes], sort: str) -> dict[bytes, int]:
    """What an order compares of each of these traces that there are spans of, added up over the days."""
    sizes: dict[bytes, int] = {}
    for day in days:
        try:
            with day.reading() as db:
                for position in range(0, len(trace_ids), _IDS_AT_ONCE):
                    some = trace_ids[position : position + _IDS_AT_ONCE]
                    marks = ",".join("?" * len(some))
                    statement = f"SELECT id, {_SIZES[sort]} FROM trace WHERE id IN ({marks}) GROUP BY id"  # noqa: S608
                    for trace_id, size in db.execute(statement, some):
                        sizes[trace_id] = sizes.get(trace_id, 0) + size
        except Skipped:
            continue
    return sizes
