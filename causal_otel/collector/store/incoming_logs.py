"""Requests with log records taken apart: records by trace, with the words that they are searched by."""

from __future__ import annotations

from typing import TYPE_CHECKING

from google.protobuf.message import DecodeError  # type: ignore[import-untyped]
from opentelemetry.proto.collector.logs.v1.logs_service_pb2 import ExportLogsServiceRequest

from causal_otel.collector.log_words import word_hash, words_of
from causal_otel.collector.store.days import LARGEST, day_of

if TYPE_CHECKING:
    from opentelemetry.proto.logs.v1.logs_pb2 import LogRecord, ResourceLogs

__all__ = ["LogOrigin", "LogPiece", "add_record", "log_pieces", "time_of"]

_NO_TRACE = bytes(16)
_MOST_RECORDS = 2000

LogOrigin = tuple[bytes, bytes]
"""A ``ResourceLogs`` and a ``ScopeLogs`` without what is inside them, serialized."""


class LogPiece:
    """The records of one trace that came together.

    Args:
        trace_id: the trace's.

    Attributes:
        trace_id: the trace's.
        start: when the earliest was logged, Unix time in nanoseconds.
        last: when the latest was.
        count: how many there are.
        parts: serialized records by where they come from.
        words: the hashes of all their words.
    """

    __slots__ = ("count", "last", "parts", "start", "trace_id", "words")

    def __init__(self, trace_id: bytes) -> None:
        self.trace_id = trace_id
        self.start, self.last = LARGEST, 0
        self.count = 0
        self.parts: dict[LogOrigin, list[bytes]] = {}
        self.words: set[int] = set()

    def add(self, origin: LogOrigin, record: LogRecord, raw: bytes) -> None:
        """Put a record in: ``raw``, and the message that it is."""
        logged = time_of(record)
        self.start, self.last = min(self.start, logged), max(self.last, logged)
        self.count += 1
        self.parts.setdefault(origin, []).append(raw)
        self.words.update(map(word_hash, words_of(record)))


def add_record(pieces: list[LogPiece], trace_id: bytes, origin: LogOrigin, record: LogRecord, raw: bytes) -> None:
    """Put a record into the last of a trace's pieces, or into a new one: a row that is read is read whole."""
    if not pieces or pieces[-1].count >= _MOST_RECORDS:
        pieces.append(LogPiece(trace_id))
    pieces[-1].add(origin, record, raw)


def time_of(record: LogRecord) -> int:
    """When it was logged; if it does not say so, when it was observed. As far as SQLite can count."""
    return min(record.time_unix_nano or record.observed_time_unix_nano, LARGEST)


def log_pieces(request: bytes, into: dict[tuple[bytes, int], list[LogPiece]]) -> tuple[int, int]:
    """Take a serialized ``ExportLogsServiceRequest`` apart.

    Args:
        request: its bytes.
        into: gets its records, but for those that name no trace; by trace id and day.

    Returns:
        How many records it got, and how many it did not.

    Raises:
        ValueError: It is not such a request; ``into`` is as it was.
    """
    try:
        message = ExportLogsServiceRequest.FromString(request)
    except DecodeError as error:
        raise ValueError(f"not an ExportLogsServiceRequest: {error}") from None
    kept = rejected = 0
    for group in message.resource_logs:
        records = [list(scoped.log_records) for scoped in group.scope_logs]
        for origin, of_scope in zip(_origins(group), records, strict=True):
            for record in of_scope:
                trace_id = record.trace_id
                if len(trace_id) != len(_NO_TRACE) or trace_id == _NO_TRACE:
                    rejected += 1
                    continue
                pieces = into.setdefault((trace_id, day_of(time_of(record))), [])
                add_record(pieces, trace_id, origin, record, record.SerializeToString())
                kept += 1
    return kept, rejected


def _origins(group: ResourceLogs) -> list[LogOrigin]:
    """One for each of the group's scopes. The group itself stays as it is."""
    resource = type(group)(resource=group.resource, schema_url=group.schema_url).SerializeToString()
    return [
        (resource, type(scoped)(scope=scoped.scope, schema_url=scoped.schema_url).SerializeToString())
        for scoped in group.scope_logs
    ]
