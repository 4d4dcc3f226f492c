"""Which tags a span is indexed by: their hashes.

A search for a tag that is not indexed reads every chunk of the time asked for.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any
from zlib import crc32

from opentelemetry.proto.common.v1.common_pb2 import KeyValue

from causal_otel.collector.attributes import plain, text
from causal_otel.collector.store import measures
from causal_otel.collector.store.schema import tag_hash
from causal_otel.collector.systems import KEYS, named
from causal_otel.names import DB_QUERY_TEXT, EXCEPTION_STACKTRACE, URL_FULL, URL_QUERY

if TYPE_CHECKING:
    from collections.abc import Iterable

__all__ = ["NOT_INDEXED", "TagHashes", "hashes", "indexed", "link_hash", "resource_hash"]

NOT_INDEXED = -1
"""In place of the hash of a tag that is not indexed."""

_LONGEST = 256
_KEYS = frozenset({DB_QUERY_TEXT, EXCEPTION_STACKTRACE, URL_FULL, URL_QUERY})
_RAW_KEYS = frozenset(key.encode() for key in _KEYS)
_MEASURED_KEYS = frozenset(key.encode() for key in measures.KEYS)
_TOLD_KEYS = frozenset(key.encode() for key in (*KEYS, *measures.KEYS, *measures.LABEL_KEYS))
_SYSTEM_KEYS = frozenset(key.encode() for key in KEYS)
_SYSTEMS = 4096
"""Of spans with the same attributes of systems, that are remembered."""
_BYTE = 0x80
"""A protobuf length below it is one byte."""


def indexed(key: str, text: str) -> bool:
    """Whether the chunks that have a span with this tag can be found in the index.

    Long values are not indexed, nor are values that hardly anybody searches for as a whole. The kind and the status of
    a span can be searched for as tags, but are in columns: the index only has attributes of the same names.
    """
    return key not in _KEYS and len(text.encode("utf-8", "surrogatepass")) <= _LONGEST


def resource_hash(resource: int) -> int:
    """The hash that a chunk is indexed by in place of all the attributes of the resource with that id."""
    return tag_hash("\0resource", str(resource))


def link_hash(trace_id: bytes) -> int:
    """The hash that the chunks are indexed by that have a span with a link to that trace, from another one."""
    return tag_hash("\0link", trace_id.hex())


class TagHashes(dict[bytes, int]):
    """The hashes of serialized attributes, by what they hash; made as they are asked for.

    Args:
        size: how many to remember.

    Attributes:
        of_measures: the hashes of those that are summed up: whoever has none of them need not look further.
    """

    def __init__(self, size: int = 1 << 16) -> None:
        super().__init__()
        self._size = size
        self.of_measures: set[int] = set()
        self._of_systems: set[bytes] = set()
        self._systems: dict[tuple[int, frozenset[bytes]], str] = {}
        self._told: dict[bytes, tuple[str, Any]] = {}

    def make_room(self) -> None:
        """Forget all, if there is too much. Not in the midst of a span, whose system would be forgotten by half."""
        if len(self) >= self._size:
            self.clear()
            self._told.clear()
            self._of_systems.clear()
            self._systems.clear()
            self.of_measures.clear()

    def system(self, attributes: Iterable[bytes], kind: int) -> str:
        """The system of a span, see :func:`~causal_otel.collector.systems.named`.

        Args:
            attributes: serialized; the hash of each was asked for before.
            kind: the span's kind, as OTLP numbers it.
        """
        # Of those that tell it there are few, and again and again the same.
        telling = frozenset(self._of_systems.intersection(attributes))
        system = self._systems.get((kind, telling))
        if system is None:
            if len(self._systems) >= _SYSTEMS:
                self._systems.clear()
            system = self._systems[kind, telling] = named(self.told(telling), kind)
        return system

    def told(self, attributes: Iterable[bytes]) -> dict[str, Any]:
        """The plain values of those attributes that tell a span's system, and of what is summed up.

        Args:
            attributes: serialized; the hash of each was asked for before.
        """
        return dict(self._told[raw] for raw in attributes if raw in self._told)

    def __missing__(self, raw: bytes) -> int:
        hashed = _short_string(raw)
        if hashed is None:
            hashed = _decoded(raw)
        self[raw] = hashed
        # key = 1: a string, with a length of one byte.
        if len(raw) > 2 and raw[0] == 0x0A and (key := raw[2 : 2 + raw[1]]) in _TOLD_KEYS:
            pair = KeyValue.FromString(raw)
            self._told[raw] = pair.key, plain(pair.value)
            if key in _SYSTEM_KEYS:
                self._of_systems.add(raw)
            elif key in _MEASURED_KEYS and hashed != NOT_INDEXED:
                self.of_measures.add(hashed)
        return hashed


def hashes(pairs: Iterable[tuple[str, str]]) -> set[int]:
    """The hashes of those tags that are indexed."""
    return {tag_hash(key, value) for key, value in pairs if indexed(key, value)}


def _decoded(raw: bytes) -> int:
    pair = KeyValue.FromString(raw)
    value = text(plain(pair.value))
    return tag_hash(pair.key, value) if indexed(pair.key, value) else NOT_INDEXED


def _short_string(raw: bytes) -> int | None:
    """The hash of an attribute with a short string, without decoding it; None for any other."""
    # key = 1: a string; value = 2: a message; in it, string_value = 1: a string. Each with a length of one byte.
    size = len(raw)
    if size < 6 or raw[0] != 0x0A or (end := raw[1] + 2) + 4 > size or raw[1] >= _BYTE:
        return None
    if raw[end : end + 1] != b"\x12" or raw[end + 1] >= _BYTE or raw[end + 1] + end + 2 != size:
        return None
    if raw[end + 2] != 0x0A or raw[end + 3] >= _BYTE or raw[end + 3] + end + 4 != size:
        return None
    key = raw[2:end]
    if key in _RAW_KEYS:
        return NOT_INDEXED
    return crc32(b"%b\0%b" % (key, raw[end + 4 :]))
