"""Encoded batches that are not accounted for: those that wait, and those taken from there to be sent."""

from __future__ import annotations

from collections import deque
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable

__all__ = ["Backlog", "Batch"]

_OVERHEAD_BYTES = 300
"""What a batch occupies besides its payload, about."""


class Batch:
    """An encoded request, how many spans are in it, and the position of the first one (see the ledger)."""

    __slots__ = ("first", "payload", "spans")

    def __init__(self, payload: bytes, spans: int, first: int) -> None:
        self.payload, self.spans, self.first = payload, spans, first

    @property
    def size(self) -> int:
        """How many bytes of memory it occupies, about."""
        return len(self.payload) + _OVERHEAD_BYTES


class Backlog:
    """Batches in the order in which they came. Everything is called with the ledger's lock.

    Args:
        max_bytes: how much may wait.
    """

    def __init__(self, max_bytes: int) -> None:
        self._max_bytes = max_bytes
        self._waiting: deque[Batch] = deque()
        self._bytes = 0
        self._open: list[Batch] = []

    def __len__(self) -> int:
        return len(self._waiting)

    @property
    def overflows(self) -> bool:
        """Whether more waits than may."""
        return self._bytes > self._max_bytes and bool(self._waiting)

    def put(self, batches: Iterable[Batch]) -> None:
        """Append them."""
        for batch in batches:
            self._waiting.append(batch)
            self._bytes += batch.size

    def take(self) -> Batch:
        """The oldest one: it is open from now on, until it is settled."""
        batch = self._waiting.popleft()
        self._bytes -= batch.size
        self._open.append(batch)
        return batch

    def settle(self, batch: Batch) -> None:
        """It is accounted for."""
        if batch in self._open:
            self._open.remove(batch)

    def put_back(self, batch: Batch, *parts: Batch) -> None:
        """What was taken, or ``parts`` in its place, are the first to be taken again."""
        self.settle(batch)
        for part in reversed(parts or (batch,)):
            self._waiting.appendleft(part)
            self._bytes += part.size

    def clear(self) -> list[Batch]:
        """All of them, oldest first; none waits any more."""
        batches = [*self._open, *self._waiting]
        self._waiting.clear()
        self._bytes = 0
        return batches

    def floor(self) -> int | None:
        """The position of the oldest span; None: there is none."""
        positions = [batch.first for batch in self._open]
        if self._waiting:
            positions.append(self._waiting[0].first)
        return min(positions, default=None)

    def spans(self) -> int:
        """How many spans are in all of them."""
        return sum(batch.spans for batch in (*self._open, *self._waiting))
