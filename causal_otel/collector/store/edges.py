"""Who called whom: from spans whose parent is another service's."""

from __future__ import annotations

from typing import TYPE_CHECKING, Generic, NamedTuple, TypeVar

from causal_otel.collector.store.days import hour_of

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from causal_otel.collector.store.incoming import Observation, Piece

__all__ = ["Calls", "Edge", "RecentSpans", "RecentTraces", "edges_of"]

Edge = tuple[int, str, str]
"""The hour in which the child starts, the parent's service and the child's."""

_Value = TypeVar("_Value")


class Calls(NamedTuple):
    """How often, and how many failed."""

    calls: int
    errors: int

    def plus(self, calls: int, errors: int) -> Calls:
        """So many more."""
        return Calls(self.calls + calls, self.errors + errors)


_NONE = Calls(0, 0)


def edges_of(observations: Iterable[Observation], services: Mapping[bytes, str]) -> dict[Edge, Calls]:
    """The calls that spans of a trace are.

    Args:
        observations: the spans.
        services: of the trace's spans by their ids.
    """
    edges: dict[Edge, Calls] = {}
    for each in observations:
        parent = services.get(each.parent_id)
        if parent is not None and parent != each.service:
            _count(edges, (hour_of(each.start), parent, each.service), each.error)
    return edges


def _count(edges: dict[Edge, Calls], edge: Edge, error: bool) -> None:
    edges[edge] = edges.get(edge, _NONE).plus(1, error)


class _Recent(Generic[_Value]):
    """A dict of what came last: at least ``size`` entries, never twice as many."""

    def __init__(self, size: int) -> None:
        self._size = size
        self._new: dict[bytes, _Value] = {}
        self._old: dict[bytes, _Value] = {}

    def get(self, key: bytes) -> _Value | None:
        value = self._new.get(key)
        return self._old.get(key) if value is None else value

    def pop(self, key: bytes) -> _Value | None:
        value = self._new.pop(key, None)
        return self._old.pop(key, None) if value is None else value

    def put(self, key: bytes, value: _Value) -> None:
        if len(self._new) >= self._size:
            self._old, self._new = self._new, {}
        self._new[key] = value


class RecentTraces:
    """Finds the traces that parts of come for several days.

    Args:
        size: how many traces to remember, at the least.
    """

    def __init__(self, size: int = 20_000) -> None:
        self._days: _Recent[tuple[int, ...]] = _Recent(size)
        self.met = 0
        """How many traces were none of those that it remembered."""

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


class RecentSpans:
    """Finds the calls among spans as they come, parents before their children or after them.

    Those whose parent came too long ago are found when the day is compacted.

    Args:
        size: how many spans to remember, and how many that wait for their parent, at the least.
    """

    def __init__(self, size: int = 50_000) -> None:
        self._services: _Recent[str] = _Recent(size)
        self._orphans: _Recent[list[tuple[int, Observation]]] = _Recent(size)

    def add(self, day: int, pieces: Iterable[Piece], found: dict[int, dict[Edge, Calls]]) -> None:
        """Count the calls that become known by ``pieces``.

        Args:
            day: the day whose file the pieces are for.
            pieces: the spans.
            found: where to count them, by the day whose file the child is in.
        """
        for piece in pieces:
            trace_id = piece.trace_id
            for each in piece.observations:
                key = trace_id + each.span_id
                self._services.put(key, each.service)
                if each.parent_id:
                    parent_key = trace_id + each.parent_id
                    parent = self._services.get(parent_key)
                    if parent is None:
                        self._wait(parent_key, day, each)
                    else:
                        _call(found, day, parent, each)
                for child_day, child in self._orphans.pop(key) or ():
                    _call(found, child_day, each.service, child)

    def _wait(self, parent: bytes, day: int, child: Observation) -> None:
        waiting = self._orphans.get(parent)
        if waiting is None:
            self._orphans.put(parent, [(day, child)])
        elif len(waiting) < 1000:  # one parent's children shall not take all the memory
            waiting.append((day, child))


def _call(found: dict[int, dict[Edge, Calls]], day: int, parent: str, child: Observation) -> None:
    if parent != child.service:
        _count(found.setdefault(day, {}), (hour_of(child.start), parent, child.service), child.error)
