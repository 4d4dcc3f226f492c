"""The tag index of a closed day: which chunks have a tag, by slots of tag hashes.

A slot is a run of groups: a hash's low 32 bits plus one, how many chunks, and their ids, each less the one before. Tags
that few chunks have share the group 0, which says less and takes less; what is found has to be looked at anyway.
"""

from __future__ import annotations

from itertools import accumulate
from typing import TYPE_CHECKING

from causal_otel.collector.store import varint

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

__all__ = ["encode", "find"]

_RARE = 0
_FEW = 3
"""Chunks up to which a tag is in the group of the rare ones."""


def encode(tags: Mapping[int, Sequence[int]]) -> bytes:
    """The blob of a slot: hashes, and for each the ids of its chunks, ascending."""
    values: list[int] = []
    rare: set[int] = set()
    for hashed, chunks in tags.items():
        if len(chunks) <= _FEW:
            rare.update(chunks)
        else:
            values += (hashed + 1, len(chunks), *_deltas(chunks))
    if rare:
        values += (_RARE, len(rare), *_deltas(sorted(rare)))
    return varint.encode(values)


def find(blob: bytes, hashed: int) -> list[int]:
    """The ids, ascending, of all chunks that have a tag with that hash, and perhaps a few that do not."""
    values = varint.decode(blob)
    found: set[int] = set()
    position = 0
    while position < len(values):
        group, count = values[position : position + 2]
        position += 2
        if group in (_RARE, hashed + 1):
            found.update(accumulate(values[position : position + count]))
        position += count
    return sorted(found)


def _deltas(ascending: Sequence[int]) -> list[int]:
    return [later - earlier for earlier, later in zip((0, *ascending), ascending, strict=False)]
