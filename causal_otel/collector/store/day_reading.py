"""A connection to a day file for reading, and what was learned from the file by it."""

from __future__ import annotations

import sqlite3
from contextlib import suppress
from itertools import chain
from typing import TYPE_CHECKING

from google.protobuf.message import DecodeError  # type: ignore[import-untyped]
from opentelemetry.proto.trace.v1.trace_pb2 import ResourceSpans

from causal_otel.collector.attributes import plain, service_name, text
from causal_otel.collector.store import chunks
from causal_otel.collector.store.log_tables import DICTIONARY
from causal_otel.collector.store.schema import SCHEMA_VERSION

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from opentelemetry.proto.logs.v1.logs_pb2 import LogsData
    from opentelemetry.proto.trace.v1.trace_pb2 import TracesData

    from causal_otel.collector.store.literals import Literals

__all__ = ["DayReading", "OtherVersion"]

_BUSY_SECONDS = 1.0


class OtherVersion(Exception):
    """The file has other tables, or none yet."""


class DayReading:
    """A connection to a day file. It keeps the file that it was opened on, whatever takes its place.

    Used by one thread at a time, not always the same one.

    Args:
        uri: the file's, as SQLite understands it.

    Raises:
        OtherVersion: with the reason; without one, the file is only just being made.
        sqlite3.Error: It cannot be read.
    """

    def __init__(self, uri: str) -> None:
        self.connection = sqlite3.connect(
            uri, uri=True, timeout=_BUSY_SECONDS, isolation_level=None, check_same_thread=False
        )
        self.execute = self.connection.execute
        self.fault = ""
        """What was found to be wrong with the file, though a part of it can be read."""
        self._resources: Mapping[int, bytes] = {}
        self._scopes: Mapping[int, bytes] = {}
        self._dictionary = self._log_dictionary = b""
        self._resource_tags: dict[int, frozenset[tuple[str, str]]] = {}
        self._services: dict[int, str] = {}
        self._hours_version: int | None = None
        self._hours: tuple[int, int] | None = None
        try:
            self._check()
        except BaseException:
            self.close()
            raise

    def _check(self) -> None:
        self.execute("BEGIN")
        (version,) = self.execute("PRAGMA user_version").fetchone()
        (tables,) = self.execute("SELECT count(*) FROM sqlite_schema").fetchone()
        self.execute("ROLLBACK")
        if version == SCHEMA_VERSION:
            return
        if not tables and not version:
            raise OtherVersion
        raise OtherVersion(
            f"its version is {version}, this program reads version {SCHEMA_VERSION}:"
            " read it with the program that wrote it, or move it away"
        )

    def close(self) -> None:
        """Close the connection."""
        self.connection.close()

    def unpack(self, body: bytes, literals: Literals | None = None) -> TracesData | None:
        """The spans of a chunk; None if it is damaged, with a note in :attr:`fault`, or if none are wanted.

        Args:
            body: the chunk's.
            literals: what a span must have in it to be wanted.
        """
        for again in (False, True):
            if again:
                # The writer has added something since it was learned.
                self._learn()
            try:
                content = chunks.decompressed(body, self._dictionary)
                if literals and not literals.may_be_in(content):
                    return None
                groups = list(chunks.groups(content))
                if literals:
                    groups = literals.narrowed(groups)
                return chunks.joined(groups, self._resources, self._scopes) if groups else None
            except (KeyError, ValueError, DecodeError) as error:
                reason = error
        self.fault = f"a chunk cannot be read: {reason!r}"
        return None

    def unpack_all(self, bodies: Sequence[bytes]) -> list[TracesData]:
        """The spans of a trace's chunks: one message, if none of them is damaged, of which none has to be copied."""
        if len(bodies) > 1:
            for again in (False, True):
                if again:
                    self._learn()
                with suppress(KeyError, ValueError, DecodeError):
                    content = (chunks.groups(chunks.decompressed(body, self._dictionary)) for body in bodies)
                    groups = chunks.merged(chain.from_iterable(content))
                    return [chunks.joined(groups, self._resources, self._scopes)]
        return [part for part in map(self.unpack, bodies) if part is not None]

    def has_logs(self) -> bool:
        """Whether there are tables of log records: they are made for the first record."""
        return self.execute("SELECT 1 FROM sqlite_schema WHERE name = 'log'").fetchone() is not None

    def unpack_logs(self, body: bytes) -> LogsData | None:
        """The records of a row of ``log``; None if it is damaged, with a note in :attr:`fault`."""
        for again in (False, True):
            if again:
                self._learn()
            try:
                groups = chunks.groups(chunks.decompressed(body, self._log_dictionary))
                return chunks.joined_logs(groups, self._resources, self._scopes)
            except (KeyError, ValueError, DecodeError) as error:
                reason = error
        self.fault = f"log records cannot be read: {reason!r}"
        return None

    def _learn(self) -> None:
        meta = dict(self.execute("SELECT key, value FROM meta WHERE key IN ('dictionary', ?)", (DICTIONARY,)))
        self._dictionary, self._log_dictionary = meta.get("dictionary", b""), meta.get(DICTIONARY, b"")
        self._scopes = dict(self.execute("SELECT id, body FROM scope"))
        self._resources = dict(self.execute("SELECT id, body FROM resource"))

    def resource_tags(self) -> Mapping[int, frozenset[tuple[str, str]]]:
        """The attributes of every resource of the day, as keys and texts, by the resource's id."""
        latest = max(self._resource_tags, default=0)
        for resource, body in self.execute("SELECT id, body FROM resource WHERE id > ?", (latest,)).fetchall():
            try:
                message = ResourceSpans.FromString(body).resource
            except DecodeError as error:
                self.fault = f"a resource cannot be read: {error!r}"
                continue
            tags = ((pair.key, text(plain(pair.value))) for pair in message.attributes)
            self._resource_tags[resource] = frozenset(tags)
            self._services[resource] = service_name(message)
        return self._resource_tags

    def resources_of(self, service: str) -> frozenset[int]:
        """The ids of a service's resources."""
        self.resource_tags()
        return frozenset(each for each, name in self._services.items() if name == service)

    def resources_in(self, body: bytes) -> set[int]:
        """The ids of the resources that spans of a chunk are of; none if it is damaged."""
        for again in (False, True):
            if again:
                self._learn()
            with suppress(ValueError):
                return {resource for resource, _, _ in chunks.groups(chunks.decompressed(body, self._dictionary))}
        self.fault = "a chunk cannot be read"
        return set()

    def hours(self) -> tuple[int, int] | None:
        """The first and the last hour that a span of the file starts in; None if it is empty."""
        (version,) = self.execute("PRAGMA data_version").fetchone()
        if version != self._hours_version:
            first, last = self.execute(
                "SELECT min((SELECT min(hour) FROM hour WHERE series = id AND hour >= 0)),"
                " max((SELECT max(hour) FROM hour WHERE series = id AND hour >= 0)) FROM series"
            ).fetchone()
            self._hours = None if first is None else (first, last)
            self._hours_version = version
        return self._hours
