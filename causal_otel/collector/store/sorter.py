"""Sorts the tags of a whole day in little memory: by parts of the range of hashes, each in a file of its own."""

from __future__ import annotations

import tempfile
from array import array
from itertools import groupby
from typing import IO, TYPE_CHECKING

from causal_otel.collector.store import postings
from causal_otel.collector.store.schema import slot

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from pathlib import Path

__all__ = ["PostingSorter"]

_PARTS_BITS = 6
_HASH_BITS = 32
_BUFFERED = 1 << 15
"""Entries of a part in memory: 256 KiB."""
_PER_SLOT = 32
"""Entries that a slot shall have on average: its row costs as much as a few of them."""
_MOST_SLOT_BITS = 22


class PostingSorter:
    """Takes hashes chunk by chunk, and gives them back slot by slot.

    Args:
        directory: where to put files without a name.
    """

    def __init__(self, directory: Path) -> None:
        self._directory = directory
        self._buffered = [array("Q") for _ in range(1 << _PARTS_BITS)]
        self._files: list[IO[bytes] | None] = [None] * (1 << _PARTS_BITS)
        self._spilled = 0

    def add(self, chunk: int, hashes: Iterable[int]) -> None:
        """Note the hashes of a chunk's tags; chunks come in ascending order."""
        buffered = self._buffered
        for hashed in hashes:
            part = buffered[hashed >> (_HASH_BITS - _PARTS_BITS)]
            part.append(hashed << 32 | chunk)
            if len(part) >= _BUFFERED:
                self._spill(hashed >> (_HASH_BITS - _PARTS_BITS))

    def slot_bits(self) -> int:
        """How many slots there should be, as a power of two."""
        return min(_MOST_SLOT_BITS, max(_PARTS_BITS, (self._entries() // _PER_SLOT).bit_length()))

    def _entries(self) -> int:
        """How many hashes there are in all."""
        return self._spilled + sum(map(len, self._buffered))

    def parts(self, bits: int) -> Iterator[list[tuple[int, bytes]]]:
        """The rows of ``posting``, in ascending order, some at a time.

        Args:
            bits: there are 2**``bits`` slots, at least as many as :meth:`slot_bits` ever says.
        """
        for part, buffered in enumerate(self._buffered):
            entries = array("Q")
            file = self._files[part]
            if file is not None:
                file.seek(0)
                entries.frombytes(file.read())
                file.close()
                self._files[part] = None
            entries.extend(buffered)
            del buffered[:]
            rows = []
            for number, of_slot in groupby(sorted(entries), lambda entry: slot(entry >> 32, bits)):
                tags = {
                    hashed: [entry & 0xFFFFFFFF for entry in of_tag]
                    for hashed, of_tag in groupby(of_slot, lambda entry: entry >> 32)
                }
                rows.append((number, postings.encode(tags)))
            yield rows

    def close(self) -> None:
        """Delete the files."""
        for file in self._files:
            if file is not None:
                file.close()

    def _spill(self, part: int) -> None:
        file = self._files[part]
        if file is None:
            file = self._files[part] = tempfile.TemporaryFile(dir=self._directory)  # noqa: SIM115
        self._buffered[part].tofile(file)
        self._spilled += len(self._buffered[part])
        del self._buffered[part][:]
