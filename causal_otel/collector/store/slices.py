"""Long work in slices, between which the writer writes."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, TypeVar

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

__all__ = ["for_a_slice", "slices"]

_SLICE_SECONDS = 0.02

_Item = TypeVar("_Item")


def slices(items: Sequence[_Item]) -> Iterator[Iterator[_Item]]:
    """Some of ``items`` at a time: as many as are taken in a slice's time."""
    position = 0

    def rest() -> Iterator[_Item]:
        nonlocal position
        while position < len(items):
            position += 1
            yield items[position - 1]

    while position < len(items):
        yield for_a_slice(rest())


def for_a_slice(items: Iterator[_Item]) -> Iterator[_Item]:
    """The next of ``items``: as many as are taken in a slice's time. Those after them stay in it."""
    end = time.monotonic() + _SLICE_SECONDS
    for item in items:
        yield item
        if time.monotonic() >= end:
            return
