"""The tables of a day file, and the keys of its tag index.

A file ``traces-20261122.db`` holds what started on that UTC day. It is *open* while spans come in and *closed* by
compaction once the day is over: then every trace is one chunk, chunks are numbered in the order of their start, and the
tag index is posting lists. Late spans of a closed day go to the open tables of the same file; readers look at both.

* ``chunk``: the spans of one trace that came together, compressed (see :mod:`.chunks`). They start within
  :data:`SPREAD` of each other: where the spans of a trace lie further apart, in a commit or in compaction, it gets
  several chunks. So a chunk's ``start`` (its earliest) bounds every span in it, and a search can skip times by it.
* ``series``: what the day's spans are told apart by, see :mod:`.series`.
  ``found`` has a row for every series in a chunk and answers service, operation, kind, system, time, duration and
  errors, newest first.
* ``hour``: counts and durations of a series in an hour, and the durations of those spans that failed. It serves
  statistics, and tells a search which hours of which series cannot hold a span that long or that short.
* ``measure``: what the spans of a series tell of themselves in an hour, see :mod:`.measures`; ``measured`` has the keys
  with their labels.
* ``edge``: which service called which in an hour, by the child's start. ``call``: the same of series, of all hours in
  one: there may be so many pairs that their hours would take as much space as spans.
* ``trace``: what the chunks of a trace in this file are together, as they came: times, spans and errors, those that
  came twice counted twice. So a search knows the longest and the largest ones without a look into any. ``newest`` is
  its chunk that came last, ``elsewhere`` whether a part of it is in another day's file, as far as was noticed.
* ``tag``: one integer for every tag of a chunk, see :func:`tag_key`. ``posting``: the same once the day is closed: the
  chunks of a slot of hashes, see :func:`slot`. ``shape`` and ``shape_tag``: which of the tags are on one span together,
  see :mod:`.shapes`.
* ``batch``: digests of the requests that were taken, so that one sent again is not kept twice.

The three tables of sums by the hour have rows for the whole day as well once it is closed (:data:`~.hours.WHOLE_DAY`),
so that thirty days take no more reading than one. They are deleted when more comes to a closed day.

Log records have tables of their own, see :mod:`.log_tables`.
"""

from __future__ import annotations

from zlib import crc32

__all__ = ["BUCKET_BITS", "SCHEMA_VERSION", "SPREAD", "TABLES", "slot", "tag_hash", "tag_key", "tag_range"]

SCHEMA_VERSION = 4
"""Kept in SQLite's ``user_version``; a file with another one is not opened."""

SPREAD = 60 * 10**9
"""All spans of a chunk start less than so many nanoseconds after its first one. Readers rely on it."""

BUCKET_BITS = 12
_HASH_BITS = 32

TABLES = """
CREATE TABLE meta (key TEXT PRIMARY KEY, value) WITHOUT ROWID;
CREATE TABLE resource (id INTEGER PRIMARY KEY, body BLOB NOT NULL UNIQUE);
CREATE TABLE scope (id INTEGER PRIMARY KEY, body BLOB NOT NULL UNIQUE);
CREATE TABLE series (
  id INTEGER PRIMARY KEY, service TEXT NOT NULL, operation TEXT NOT NULL, kind INTEGER NOT NULL, system TEXT NOT NULL,
  version TEXT NOT NULL, root INTEGER NOT NULL, UNIQUE (service, operation, kind, system, version, root)
);
CREATE TABLE chunk (
  id INTEGER PRIMARY KEY, trace_id BLOB NOT NULL, start INTEGER NOT NULL, spans INTEGER NOT NULL, body BLOB NOT NULL
);
CREATE INDEX chunk_trace ON chunk (trace_id);
CREATE TABLE trace (
  id BLOB PRIMARY KEY, start INTEGER NOT NULL, end INTEGER NOT NULL, spans INTEGER NOT NULL, errors INTEGER NOT NULL,
  newest INTEGER NOT NULL, elsewhere INTEGER NOT NULL DEFAULT 0
) WITHOUT ROWID;
CREATE INDEX trace_elsewhere ON trace (elsewhere) WHERE elsewhere;
CREATE TABLE found (
  series INTEGER NOT NULL, start INTEGER NOT NULL, chunk INTEGER NOT NULL,
  shortest INTEGER NOT NULL, longest INTEGER NOT NULL, errors INTEGER NOT NULL,
  PRIMARY KEY (series, start, chunk)
) WITHOUT ROWID;
CREATE TABLE hour (
  series INTEGER NOT NULL, hour INTEGER NOT NULL, spans INTEGER NOT NULL, errors INTEGER NOT NULL,
  shortest INTEGER NOT NULL, longest INTEGER NOT NULL, total INTEGER NOT NULL, histogram BLOB NOT NULL,
  failures BLOB NOT NULL, PRIMARY KEY (series, hour)
) WITHOUT ROWID;
CREATE TABLE measured (id INTEGER PRIMARY KEY, key TEXT NOT NULL, label TEXT NOT NULL, UNIQUE (key, label));
CREATE TABLE measure (
  series INTEGER NOT NULL, hour INTEGER NOT NULL, measured INTEGER NOT NULL, spans INTEGER NOT NULL,
  total INTEGER NOT NULL, largest INTEGER NOT NULL, trace BLOB NOT NULL, PRIMARY KEY (series, hour, measured)
) WITHOUT ROWID;
CREATE TABLE call (
  parent INTEGER NOT NULL, child INTEGER NOT NULL, calls INTEGER NOT NULL, errors INTEGER NOT NULL,
  total INTEGER NOT NULL, PRIMARY KEY (parent, child)
) WITHOUT ROWID;
CREATE TABLE edge (
  hour INTEGER NOT NULL, parent TEXT NOT NULL, child TEXT NOT NULL, calls INTEGER NOT NULL, errors INTEGER NOT NULL,
  total INTEGER NOT NULL, histogram BLOB NOT NULL, PRIMARY KEY (hour, parent, child)
) WITHOUT ROWID;
CREATE TABLE tag (key INTEGER PRIMARY KEY);
CREATE TABLE posting (slot INTEGER PRIMARY KEY, chunks BLOB NOT NULL);
CREATE TABLE shape (series INTEGER NOT NULL, id INTEGER NOT NULL, PRIMARY KEY (series, id)) WITHOUT ROWID;
CREATE TABLE shape_tag (hash INTEGER NOT NULL, shape INTEGER NOT NULL, PRIMARY KEY (hash, shape)) WITHOUT ROWID;
CREATE TABLE batch (digest BLOB PRIMARY KEY) WITHOUT ROWID;
"""


def tag_hash(key: str, text: str) -> int:
    """32 bits of a tag. Two tags may share them: what is found has to be looked at."""
    return crc32(f"{key}\0{text}".encode("utf-8", "surrogatepass"))


def tag_key(chunk: int, hashed: int) -> int:
    """The integer in ``tag`` that says: ``chunk`` has a tag with that hash.

    The high bits are the chunk's bucket of 4,096, so that writing stays within the newest bucket's pages and a search
    takes one short range per bucket, newest first.
    """
    bucket, low = divmod(chunk, 1 << BUCKET_BITS)
    return (bucket << (_HASH_BITS + BUCKET_BITS)) | (hashed << BUCKET_BITS) | low


def tag_range(bucket: int, hashed: int) -> tuple[int, int]:
    """The first and the last integer that a tag with that hash can have for the chunks of ``bucket``."""
    first = tag_key(bucket << BUCKET_BITS, hashed)
    return first, first + (1 << BUCKET_BITS) - 1


def slot(hashed: int, bits: int) -> int:
    """Which row of ``posting`` a hash is in, in a file whose ``meta`` says it has 2**``bits`` slots."""
    return hashed >> (_HASH_BITS - bits)
