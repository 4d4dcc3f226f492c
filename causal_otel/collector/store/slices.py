"""Long work in slices, between which the writer writes."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, TypeVar

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

__all__ = ["slices"]

_SLICE_SECONDS = 0.02

_Item = TypeVar("_Item")


def slices(items: Sequence[_Item]) -> Iterator[Iterator[_Item]]:
    """Some of ``items`` at a time: as many as are taken in a slice's time."""
    position = 0

    def some() -> Iterator[_Item]:
        nonlocal position
        end = time.monotonic() + _SLICE_SECONDS
        while position < len(items):
            position += 1
            yield items[position - 1]
            if time.monotonic() >= end:
                return

    while position < len(items):
        yield some()
