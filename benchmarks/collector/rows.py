"""What the store is compared with: the same spans as rows, a table of SQLite's and one of DuckDB's."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Iterable, Iterator
from itertools import islice
from pathlib import Path
from typing import Any

import duckdb
from opentelemetry.proto.trace.v1.trace_pb2 import Status, TracesData

from causal_otel.collector.attributes import plain, service_name, text
from causal_otel.collector.expressions import Compare, leaves
from causal_otel.collector.query import Query

__all__ = ["DuckRows", "SqliteRows"]

_COLUMNS = ("trace_id", "service", "operation", "start", "duration", "error", "attributes")
_AT_ONCE = 20_000
_FAILED = ("error", "true")

Row = tuple[str, str, str, int, int, bool, dict[str, str]]


def _rows(bodies: Iterable[bytes]) -> Iterator[Row]:
    for body in bodies:
        for group in TracesData.FromString(body).resource_spans:
            service = service_name(group.resource)
            of_resource = {pair.key: text(plain(pair.value)) for pair in group.resource.attributes}
            for scoped in group.scope_spans:
                for span in scoped.spans:
                    start = span.start_time_unix_nano
                    attributes = {pair.key: text(plain(pair.value)) for pair in span.attributes}
                    error = span.status.code == Status.STATUS_CODE_ERROR
                    duration = span.end_time_unix_nano - start
                    row = span.trace_id.hex(), service, span.name, start, duration, error
                    yield (*row, {**of_resource, **attributes})


def _where(query: Query, tag: str) -> tuple[str, list[Any]]:
    """The condition of a query, with ``tag`` for each tag, and its values."""
    conditions = ["start BETWEEN ? AND ?"]
    values: list[Any] = [query.start, query.end]
    for column, value in (("service", query.service), ("operation", query.operation)):
        if value is not None:
            conditions.append(f"{column} = ?")
            values.append(value)
    if query.shortest is not None:
        conditions.append("duration >= ?")
        values.append(query.shortest)
    asked = [(each.key, each.value) for each in leaves(query.where) if isinstance(each, Compare)]
    tags = [each for each in asked if each != _FAILED]
    if query.errors or len(tags) < len(asked):
        conditions.append("error")
    for key, value in tags:
        conditions.append(tag)
        values += (key, value)
    return " AND ".join(conditions), values


class SqliteRows:
    """A row for each span, attributes as JSON, indexes on what has a column."""

    name = "SQLite, a row per span"
    _tag = "json_extract(attributes, '$.\"' || ? || '\"') = ?"

    def __init__(self, directory: Path) -> None:
        self._db = sqlite3.connect(directory / "rows.db", isolation_level=None)
        self._db.executescript(
            "PRAGMA journal_mode = WAL; PRAGMA synchronous = NORMAL; PRAGMA page_size = 8192;"
            "CREATE TABLE span (trace_id, service, operation, start INTEGER, duration INTEGER, error, attributes);"
            "CREATE INDEX by_service ON span (service, start); CREATE INDEX by_time ON span (start);"
            "CREATE INDEX by_trace ON span (trace_id);"
        )

    def load(self, bodies: Iterable[bytes]) -> None:
        """Put the spans in."""
        rows = ((*row, json.dumps(attributes)) for *row, attributes in _rows(bodies))
        while some := list(islice(rows, _AT_ONCE)):
            self._db.execute("BEGIN")
            self._db.executemany(f"INSERT INTO span VALUES ({','.join('?' * len(_COLUMNS))})", some)
            self._db.execute("COMMIT")

    def search(self, query: Query) -> list[str]:
        """The newest traces."""
        where, values = _where(query, self._tag)
        found: dict[str, None] = {}
        for (trace_id,) in self._db.execute(f"SELECT trace_id FROM span WHERE {where} ORDER BY start DESC", values):
            found[trace_id] = None
            if len(found) == query.limit:
                break
        return list(found)

    def trace(self, trace_id: bytes) -> list[Any]:
        """Its spans."""
        return self._db.execute("SELECT * FROM span WHERE trace_id = ?", (trace_id.hex(),)).fetchall()

    def close(self) -> None:
        """Close the file."""
        self._db.close()


class DuckRows:
    """One table, attributes as a map, in the order that they came in."""

    name = "DuckDB, one table"
    _tag = "attributes[?] = ?"

    def __init__(self, directory: Path) -> None:
        self._directory = directory
        self._db = duckdb.connect(str(directory / "rows.duckdb"))
        self._db.execute(
            "CREATE TABLE span (trace_id VARCHAR, service VARCHAR, operation VARCHAR, start BIGINT, duration BIGINT,"
            " error BOOLEAN, attributes MAP(VARCHAR, VARCHAR))"
        )

    def load(self, bodies: Iterable[bytes]) -> None:
        """Put the spans in, by way of files: the fastest that it has without a further library."""
        rows = _rows(bodies)
        file = self._directory / "rows.json"
        while some := list(islice(rows, _AT_ONCE)):
            file.write_text("\n".join(json.dumps(dict(zip(_COLUMNS, row, strict=True))) for row in some))
            self._db.execute(
                "INSERT INTO span SELECT * FROM read_json(?, format = 'newline_delimited', columns = {"
                "trace_id: 'VARCHAR', service: 'VARCHAR', operation: 'VARCHAR', start: 'BIGINT', duration: 'BIGINT',"
                " error: 'BOOLEAN', attributes: 'MAP(VARCHAR, VARCHAR)'})",
                [str(file)],
            )
        file.unlink(missing_ok=True)

    def search(self, query: Query) -> list[str]:
        """The newest traces."""
        where, values = _where(query, self._tag)
        # A trace may have several spans among the newest: some more of them, rather than a group for every trace.
        statement = f"SELECT trace_id FROM span WHERE {where} ORDER BY start DESC LIMIT {query.limit * 20}"
        rows = self._db.execute(statement, values).fetchall()
        return list(dict.fromkeys(trace_id for (trace_id,) in rows))[: query.limit]

    def trace(self, trace_id: bytes) -> list[Any]:
        """Its spans."""
        return self._db.execute("SELECT * FROM span WHERE trace_id = ?", [trace_id.hex()]).fetchall()

    def close(self) -> None:
        """Close the file."""
        self._db.close()
