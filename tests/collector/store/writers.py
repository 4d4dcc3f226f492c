"""Writers at work, and what is in their files, for tests."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

from opentelemetry.proto.trace.v1.trace_pb2 import Span, TracesData

from causal_otel.collector.store import days, varint
from causal_otel.collector.store.reader import Reader
from causal_otel.collector.store.writer import Kept, Writer
from tests.collector.spans import (
    HOUR,
    NOON,
    SECOND,
    event,
    link,
    request,
    span,
    trace_id,
    traces,
)
from tests.collector.store.stores import contents

__all__ = ["DAY", "NOW", "RICH", "TODAY", "Clock", "field", "put", "rows", "stored", "writing"]

NOW = NOON + 6 * HOUR
TODAY = days.day_of(NOW)
DAY = 24 * HOUR


class Clock:
    """A writer's clock that a test moves."""

    def __init__(self, now: int = NOON) -> None:
        self.now = now

    def __call__(self) -> float:
        return self.now / SECOND


@contextmanager
def writing(directory: Path, **options: Any) -> Iterator[Writer]:
    """A writer whose clock stands at :data:`NOW`, unless told otherwise."""
    writer = Writer(directory, **{"clock": lambda: NOW / SECOND, **options})
    writer.start()
    try:
        yield writer
    finally:
        writer.close(30)


def put(writer: Writer, *messages: TracesData) -> Kept:
    return writer.put(request(*messages)).result(30)


def rows(directory: Path, statement: str, *values: object, day: int = TODAY) -> list[Any]:
    """What a statement finds in a day's file; nothing if there is none."""
    path = days.path_of(directory, day)
    if not path.exists():
        return []
    with closing(sqlite3.connect(path)) as db:
        return db.execute(statement, values).fetchall()


def stored(directory: Path, number: int) -> list[tuple[bytes, bytes, bytes]]:
    with Reader(directory) as reader:
        return contents(reader.trace(trace_id(number)))


def field(tag: bytes, *content: bytes) -> bytes:
    """A protobuf field of bytes."""
    body = b"".join(content)
    return tag + varint.encode([len(body)]) + body


RICH = traces(
    span("GET /", id=1, kind=Span.SPAN_KIND_SERVER, tags={"text": "é\0", "flag": True, "n": -3, "f": 2.5, "empty": ""}),
    span(
        "odd",
        parent=1,
        error="it broke",
        tags={"list": [1, "two", [3.5]], "map": {"a": {"b": b"\x00"}}, "bytes": b"\xff", "none": None},
        events=[event("exception", {"exception.message": "no"}), event("plain")],
        links=[link(7, 8, {"why": "retry"})],
        trace_state="a=b",
        flags=0x101,
        dropped_attributes_count=3,
    ),
    resource={"host.name": "h", "pids": [1, 2]},
    schema_url="https://opentelemetry.io/schemas/1.44.0",
)
