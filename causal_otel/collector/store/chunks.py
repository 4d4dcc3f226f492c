"""Chunks: the spans of one trace, as they were received, compressed.

A chunk is a list of groups: the id of a resource, the id of a scope, and spans as protobuf's ``ScopeSpans.spans``. The
tables ``resource`` and ``scope`` hold a ``ResourceSpans`` and a ``ScopeSpans`` with everything but what is inside them.
Messages that follow each other are one message to protobuf, so a trace is put together without looking at any span.

Chunks are small, so what they have in common counts: they are compressed with a part of the day's dictionary, which
may grow at its end. Two numbers before the compressed bytes tell where that part begins and how long it is.
"""

from __future__ import annotations

import zlib
from itertools import groupby
from operator import itemgetter
from typing import TYPE_CHECKING

from opentelemetry.proto.logs.v1.logs_pb2 import LogsData
from opentelemetry.proto.trace.v1.trace_pb2 import TracesData

from causal_otel.collector.store import varint
from causal_otel.collector.store.otlp_slim import RawScopeSpans

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

__all__ = ["Group", "Packer", "decompressed", "groups", "joined", "joined_logs", "merged", "raw_spans", "spans_field"]

Group = tuple[int, int, bytes]
"""The id of a resource, the id of a scope, and spans, each as a field of ``ScopeSpans``."""

_RAW_DEFLATE = -zlib.MAX_WBITS
_SCOPE_SPANS = b"\x12"
_RESOURCE_SPANS = b"\x0a"


def spans_field(spans: Iterable[bytes]) -> bytes:
    """Serialized spans as the field ``spans`` of ``ScopeSpans``."""
    field: bytes = RawScopeSpans(spans=spans).SerializeToString()
    return field


def raw_spans(field: bytes) -> list[bytes]:
    """The serialized spans in a field that :func:`spans_field` made."""
    return list(RawScopeSpans.FromString(field).spans)


class Packer:
    """Makes chunks.

    Args:
        dictionary: what is likely to occur: a part of the day's dictionary, or nothing.
        begin: where it begins in the day's dictionary.
        level: zlib's, from 1 (fast) to 9 (small).
    """

    def __init__(self, dictionary: bytes = b"", *, begin: int = 0, level: int = 1) -> None:
        self._head = varint.encode((begin, len(dictionary)))
        # Copied for each chunk: to go through the dictionary takes longer.
        self._primed = zlib.compressobj(level, zlib.DEFLATED, _RAW_DEFLATE, zdict=dictionary)

    def pack(self, content: Iterable[Group]) -> bytes:
        """A chunk of these groups."""
        parts = []
        for resource, scope, spans in content:
            parts.append(varint.encode((resource, scope, len(spans))))
            parts.append(spans)
        compressor = self._primed.copy()
        return b"".join((self._head, compressor.compress(b"".join(parts)), compressor.flush()))


def decompressed(body: bytes, dictionary: bytes = b"") -> bytes:
    """What is in a chunk, for :func:`groups`. What is in its spans is in there as it is.

    Args:
        body: what :meth:`Packer.pack` made.
        dictionary: the day's, as its ``meta`` says.

    Raises:
        ValueError: It is not a chunk, or made with a later dictionary.
    """
    try:
        begin, position = varint.read(body, 0)
        length, position = varint.read(body, position)
        part = dictionary[begin : begin + length]
        if len(part) != length:
            raise ValueError("the dictionary is too short for this chunk")
        decompressor = zlib.decompressobj(_RAW_DEFLATE, zdict=part) if part else zlib.decompressobj(_RAW_DEFLATE)
        content = decompressor.decompress(body[position:])
        if not decompressor.eof:
            raise ValueError("the chunk is cut short")
    except (IndexError, zlib.error) as error:
        raise ValueError(f"a damaged chunk: {error}") from None
    return content


def groups(content: bytes) -> Iterator[Group]:
    """The groups of a chunk.

    Args:
        content: what :func:`decompressed` found in it.

    Raises:
        ValueError: It is something else.
    """
    position = 0
    try:
        while position < len(content):
            resource, position = varint.read(content, position)
            scope, position = varint.read(content, position)
            length, position = varint.read(content, position)
            yield resource, scope, content[position : position + length]
            position += length
    except IndexError as error:
        raise ValueError(f"a damaged chunk: {error}") from None


def merged(content: Iterable[Group]) -> list[Group]:
    """The groups of several chunks of a day, with one for each resource and scope; those of a resource together."""
    found: dict[int, dict[int, list[bytes]]] = {}
    for resource, scope, spans in content:
        found.setdefault(resource, {}).setdefault(scope, []).append(spans)
    return [(resource, scope, b"".join(spans)) for resource, scopes in found.items() for scope, spans in scopes.items()]


def joined(content: Iterable[Group], resources: Mapping[int, bytes], scopes: Mapping[int, bytes]) -> TracesData:
    """The spans of a chunk with their scopes and resources.

    Args:
        content: the groups of the chunk.
        resources: the bodies of the day's table ``resource`` by their id.
        scopes: the same of ``scope``.

    Raises:
        DecodeError: The groups hold something else.
        KeyError: A resource or a scope is not known.
        ValueError: It is not a chunk.
    """
    message: TracesData = TracesData.FromString(_joined(content, resources, scopes))
    return message


def joined_logs(content: Iterable[Group], resources: Mapping[int, bytes], scopes: Mapping[int, bytes]) -> LogsData:
    """The same of log records, whose messages have the same fields around them."""
    message: LogsData = LogsData.FromString(_joined(content, resources, scopes))
    return message


def _joined(content: Iterable[Group], resources: Mapping[int, bytes], scopes: Mapping[int, bytes]) -> bytes:
    parts = []
    for resource, same in groupby(content, itemgetter(0)):
        inner = b"".join(_field(_SCOPE_SPANS, scopes[scope] + spans) for _, scope, spans in same)
        parts.append(_field(_RESOURCE_SPANS, resources[resource] + inner))
    return b"".join(parts)


def _field(tag: bytes, content: bytes) -> bytes:
    return tag + varint.encode((len(content),)) + content
