"""Which tags a span is indexed by: their hashes.

A search for a tag that is not indexed reads every chunk of the time asked for.
"""

from __future__ import annotations

from typing import TYPE_CHECKING
from zlib import crc32

from opentelemetry.proto.common.v1.common_pb2 import KeyValue

from causal_otel.collector.attributes import plain, text
from causal_otel.collector.store.schema import tag_hash
from causal_otel.collector.systems import KEYS
from causal_otel.names import DB_QUERY_TEXT, EXCEPTION_STACKTRACE, URL_FULL, URL_QUERY

if TYPE_CHECKING:
    from collections.abc import Iterable

__all__ = ["NOT_INDEXED", "TagHashes", "hashes", "indexed", "link_hash", "resource_hash"]

NOT_INDEXED = -1
"""In place of the hash of a tag that is not indexed."""

_LONGEST = 256
_KEYS = frozenset({DB_QUERY_TEXT, EXCEPTION_STACKTRACE, URL_FULL, URL_QUERY})
_RAW_KEYS = frozenset(key.encode() for key in _KEYS)
_SYSTEM_KEYS = frozenset(key.encode() for key in KEYS)
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
        of_systems: the hashes of those that tell a span's system: whoever has none of them need not look further.
    """

    def __init__(self, size: int = 1 << 16) -> None:
        super().__init__()
        self._size = size
        self.of_systems: set[int] = set()
        self._systems: dict[bytes, tuple[str, str]] = {}

    def make_room(self) -> None:
        """Forget all, if there is too much. Not in the midst of a span, whose system would be forgotten by half."""
        if len(self) >= self._size:
            self.clear()
            self._systems.clear()
            self.of_systems.clear()

    def system_values(self, attributes: Iterable[bytes]) -> dict[str, str]:
        """The values of those attributes that tell a span's system, see :func:`~causal_otel.collector.systems.named`.

        Args:
            attributes: serialized; the hash of each was asked for before.
        """
        return dict(self._systems[raw] for raw in attributes if raw in self._systems)

    def __missing__(self, raw: bytes) -> int:
        hashed = _short_string(raw)
        if hashed is None:
            hashed = _decoded(raw)
        self[raw] = hashed
        if _names_system(raw):
            pair = KeyValue.FromString(raw)
            self._systems[raw] = pair.key, text(plain(pair.value))
            self.of_systems.add(hashed)
        return hashed


def hashes(pairs: Iterable[tuple[str, str]]) -> set[int]:
    """The hashes of those tags that are indexed."""
    return {tag_hash(key, value) for key, value in pairs if indexed(key, value)}


def _names_system(raw: bytes) -> bool:
    # key = 1: a string, with a length of one byte.
    return len(raw) > 2 and raw[0] == 0x0A and raw[2 : 2 + raw[1]] in _SYSTEM_KEYS


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
