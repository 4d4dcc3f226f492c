"""The log records of a day, in the day's file beside its spans: the tables, and their writing.

The tables are made when the first record of a day comes, so a file without them is a day without records.

* ``log``: the records of one trace that came together, compressed as the spans of a chunk are (see :mod:`.chunks`),
  with a dictionary of their own. The messages of spans and of records have the same fields around them, so both share
  the tables ``resource`` and ``scope``.
* ``log_word``: one integer for every word of a row of ``log``, made as those of ``tag``; ``log_posting``: the same once
  the day is closed.

``meta`` has three keys more: ``log_records``, how many there are; once the day is closed ``log_closed``, the highest id
that ``log_posting`` covers, and ``log_slot_bits``; and ``log_dictionary``.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from causal_otel.collector.store import chunks
from causal_otel.collector.store.dictionary import Dictionary
from causal_otel.collector.store.schema import BUCKET_BITS, tag_key

if TYPE_CHECKING:
    import sqlite3
    from collections.abc import Callable, Iterable, Sequence

    from causal_otel.collector.store.incoming_logs import LogPiece
    from causal_otel.collector.store.names import Names

__all__ = ["DICTIONARY", "LogTables"]

DICTIONARY = "log_dictionary"

_TABLES = (
    """CREATE TABLE IF NOT EXISTS log (id INTEGER PRIMARY KEY, trace_id BLOB NOT NULL, start INTEGER NOT NULL,
    last INTEGER NOT NULL, records INTEGER NOT NULL, body BLOB NOT NULL)""",
    "CREATE INDEX IF NOT EXISTS log_trace ON log (trace_id)",
    "CREATE TABLE IF NOT EXISTS log_word (key INTEGER PRIMARY KEY)",
    "CREATE TABLE IF NOT EXISTS log_posting (slot INTEGER PRIMARY KEY, chunks BLOB NOT NULL)",
)
_KEYS_AT_ONCE = 200_000
"""Keys of words that are sorted and written together: a request of 16 MiB may have millions of them."""
_COUNT = "INSERT INTO meta VALUES ('log_records', ?) ON CONFLICT DO UPDATE SET value = value + excluded.value"


class LogTables:
    """Adds log records to a day file, in its transactions. The tables are made if they are not there.

    Args:
        connection: to the file, in a transaction.
        names: of the file.
    """

    def __init__(self, connection: sqlite3.Connection, names: Names) -> None:
        self._connection = connection
        self._names = names
        for statement in _TABLES:
            connection.execute(statement)
        self._dictionary = Dictionary(connection, DICTIONARY)
        (last,) = connection.execute("SELECT max(id) FROM log").fetchone()
        self.last: int = last or 0

    def add(self, pieces: Sequence[LogPiece]) -> None:
        """Add traces' records to the open tables."""
        self._dictionary.learn(pieces, self.last)
        keys: list[int] = []

        def index(row: int, hashes: Iterable[int]) -> None:
            base = tag_key(row, 0)
            keys.extend([base | hashed << BUCKET_BITS for hashed in hashes])
            if len(keys) >= _KEYS_AT_ONCE:
                write()

        def write() -> None:
            keys.sort()
            self._connection.executemany("INSERT INTO log_word VALUES (?)", ((key,) for key in keys))
            keys.clear()

        self.add_rows(pieces, self._dictionary.pack, index)
        write()

    def add_rows(
        self,
        pieces: Iterable[LogPiece],
        pack: Callable[[list[chunks.Group]], bytes],
        index: Callable[[int, Iterable[int]], None],
    ) -> None:
        """Add traces' records but for the index of their words.

        Args:
            pieces: each is a row.
            pack: makes the body of it.
            index: is told a row's id and the hashes that it is to be indexed by.
        """
        rows = []
        for piece in pieces:
            self.last += 1
            groups = [
                (self._names.resource(resource), self._names.scope(scope), chunks.spans_field(records))
                for (resource, scope), records in piece.parts.items()
            ]
            index(self.last, piece.words)
            rows.append((self.last, piece.trace_id, piece.start, piece.last, piece.count, pack(groups)))
        self._connection.executemany("INSERT INTO log VALUES (?, ?, ?, ?, ?, ?)", rows)
        self._connection.execute(_COUNT, (sum(row[4] for row in rows),))
