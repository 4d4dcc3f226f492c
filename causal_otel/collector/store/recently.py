"""What came last, by its key: as much as fits into memory."""

from __future__ import annotations

from typing import TYPE_CHECKING, Generic, TypeVar

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from causal_otel.collector.store.incoming import Piece

__all__ = ["RecentTraces", "Recently"]

_Value = TypeVar("_Value")


class Recently(Generic[_Value]):
    """A dict of what came last: at least ``size`` entries, never twice as many."""

    def __init__(self, size: int) -> None:
        self._size = size
        self._new: dict[bytes, _Value] = {}
        self._old: dict[bytes, _Value] = {}

    def get(self, key: bytes) -> _Value | None:
        """What there is for a key, if it was put not too long ago."""
        value = self._new.get(key)
        return self._old.get(key) if value is None else value

    def pop(self, key: bytes) -> _Value | None:
        """The same, and forget it."""
        value = self._new.pop(key, None)
        return self._old.pop(key, None) if value is None else value

    def put(self, key: bytes, value: _Value) -> None:
        """Remember it."""
        if len(self._new) >= self._size:
            self._old, self._new = self._new, {}
        self._new[key] = value


class RecentTraces:
    """Finds the traces that parts of come for several days.

    Args:
        size: how many traces to remember, at the least.
    """

    def __init__(self, size: int = 20_000) -> None:
        self._days: Recently[tuple[int, ...]] = Recently(size)
        self.size = size
        self.met = 0
        """How many traces were none of those that it remembered."""

    def remember(self, day: int, trace_ids: Iterable[bytes]) -> None:
        """Parts of these traces are in that day's file, which another process may have written."""
        for trace_id in trace_ids:
            known = self._days.get(trace_id) or ()
            if day not in known:
                self._days.put(trace_id, (*known, day))

    def elsewhere(self, by_day: Mapping[int, Iterable[Piece]]) -> dict[int, set[bytes]]:
        """The ids of those traces that parts of are in other days' files, by every day that has a part."""
        found: dict[int, set[bytes]] = {}
        for day, pieces in by_day.items():
            for piece in pieces:
                known = self._days.get(piece.trace_id)
                if known is None:
                    self.met += 1
                    self._days.put(piece.trace_id, (day,))
                elif day not in known:
                    self._days.put(piece.trace_id, (*known, day))
                    for each in (*known, day):
                        found.setdefault(each, set()).add(piece.trace_id)
        return found
