"""The tag index of a closed day: which chunks have a tag, by slots of tag hashes.

A slot is a sequence of groups. A group has a hash plus one, the number of chunks, the number of bytes that follow, and
the ids of the chunks, each as its difference to the one before. Rare tags share group 0, which takes less space but
does not tell them apart; a search reads each chunk that it finds anyway.
"""

from __future__ import annotations

from itertools import accumulate
from typing import TYPE_CHECKING

from causal_otel.collector.store import varint

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

__all__ = ["count", "encode", "find"]

_RARE = 0
_FEW = 3
"""Chunks up to which a tag is in the group of the rare ones."""


def encode(tags: Mapping[int, Sequence[int]]) -> bytes:
    """The blob of a slot: hashes, and for each the ids of its chunks, ascending."""
    groups: list[bytes] = []
    rare: set[int] = set()
    for hashed, chunks in tags.items():
        if len(chunks) <= _FEW:
            rare.update(chunks)
        else:
            groups.append(_group(hashed + 1, chunks))
    if rare:
        groups.append(_group(_RARE, sorted(rare)))
    return b"".join(groups)


def count(blob: bytes, hashed: int) -> int:
    """How many :func:`find` finds, at the most."""
    return sum(number for number, _, _ in _groups(blob, hashed))


def find(blob: bytes, hashed: int) -> list[int]:
    """The ids of all chunks that have a tag with that hash, and perhaps a few that do not; some may come twice."""
    found: list[int] = []
    for _, begin, end in _groups(blob, hashed):
        found += accumulate(varint.decode(blob[begin:end]))
    return found


def _groups(blob: bytes, hashed: int) -> Iterator[tuple[int, int, int]]:
    """Those of a hash: how many chunks, and where their ids begin and end."""
    position = 0
    while position < len(blob):
        group, position = varint.read(blob, position)
        number, position = varint.read(blob, position)
        length, position = varint.read(blob, position)
        if group in (_RARE, hashed + 1):
            yield number, position, position + length
        position += length


def _group(key: int, ascending: Sequence[int]) -> bytes:
    deltas = varint.encode(later - earlier for earlier, later in zip((0, *ascending), ascending, strict=False))
    return varint.encode((key, len(ascending), len(deltas))) + deltas
