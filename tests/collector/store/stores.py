"""Stores on the disk with what a test asks for in them."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterable, Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

from opentelemetry.proto.trace.v1.trace_pb2 import TracesData

from causal_otel.collector.matching import matching_span, summary
from causal_otel.collector.query import SORTS, Found, Query
from causal_otel.collector.store import days
from causal_otel.collector.store.compaction import close_day
from causal_otel.collector.store.writer import Writer
from tests.collector.oracle import BY_TIME, MemoryReader
from tests.collector.spans import HOUR, NOON, SECOND, request

__all__ = ["EVER", "NOW", "close", "contents", "damage", "same_answer", "starts", "write", "writing"]

NOW = NOON + 6 * HOUR
"""What the writer's clock says, Unix time in nanoseconds."""
EVER = (0, 2**63 - 1)


@contextmanager
def writing(directory: Path) -> Iterator[Writer]:
    """A writer that is closed afterwards."""
    writer = Writer(directory, clock=lambda: NOW / SECOND)
    writer.start()
    try:
        yield writer
    finally:
        writer.close(30)


def write(directory: Path, messages: Iterable[TracesData], expected: MemoryReader | None = None) -> MemoryReader:
    """Put messages into a store, each in a commit of its own; returns what must be found in it.

    Args:
        directory: of the store.
        messages: what to put in.
        expected: what is in it already.
    """
    expected = MemoryReader() if expected is None else expected
    with writing(directory) as writer:
        for message in messages:
            writer.put(request(message)).result(30)
            expected.add(message)
    return expected


def close(directory: Path) -> None:
    """Compact every day that is there, while nobody writes."""
    files = days.day_files(directory)
    for day, path in files.items():
        beside = [files[near] for near in (day - 1, day + 1) if near in files]
        for _ in close_day(path, now=NOW / SECOND, beside=beside, release=lambda: None):
            pass


def damage(path: Path, table: str) -> None:
    """Overwrite the first page of a table of a day file, which nobody has open."""
    with closing(sqlite3.connect(path)) as db:
        db.execute("PRAGMA wal_checkpoint(TRUNCATE)")
        (page,) = db.execute("SELECT rootpage FROM sqlite_schema WHERE name = ?", (table,)).fetchone()
        (size,) = db.execute("PRAGMA page_size").fetchone()
    content = bytearray(path.read_bytes())
    content[(page - 1) * size : page * size] = b"\xa5" * size
    path.write_bytes(content)


def contents(trace: TracesData | None) -> list[tuple[bytes, bytes, bytes]]:
    """Every span of a trace with its resource and scope, in an order of its own."""
    assert trace is not None
    return sorted(
        (
            group.resource.SerializeToString(deterministic=True),
            scoped.scope.SerializeToString(deterministic=True),
            span.SerializeToString(deterministic=True),
        )
        for group in trace.resource_spans
        for scoped in group.scope_spans
        for span in scoped.spans
    )


def starts(expected: MemoryReader, query: Query, trace_ids: Iterable[bytes]) -> list[Any]:
    """What each trace is compared by, None where none matches: the order of a search, up to ties."""
    found: list[Any] = []
    for trace_id in trace_ids:
        trace = expected.trace(trace_id)
        span = None if trace is None else matching_span(trace, query)
        if span is None or trace is None or query.sort in BY_TIME:
            found.append(None if span is None else span.start_time_unix_nano)
        else:
            found.append(SORTS[query.sort](summary(trace)))
    return found


def same_answer(found: Found, expected: MemoryReader, query: Query) -> bool:
    """Whether a search has found what it must, in the order that it must."""
    wanted = expected.search(query)
    return (
        found.complete
        and len(set(found.trace_ids)) == len(found.trace_ids)
        and starts(expected, query, found.trace_ids) == starts(expected, query, wanted.trace_ids)
    )
