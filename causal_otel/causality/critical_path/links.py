"""What the start of a span had to wait for besides the span that it was started in, as its links say."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from causal_otel.causality.critical_path.forest import NOBODY
from causal_otel.names import CAUSAL_LINK

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from causal_otel.causality.critical_path.forest import Forest
    from causal_otel.causality.spans import Trace

__all__ = ["Links"]

_HEADER, _RETRY = "chord-header", "retry"

_AFTER = frozenset((_HEADER, _RETRY, "callback", "chain", "errback", "redelivery"))
"""Roles of what had to be over, see :mod:`causal_otel.patches.celery.edges`."""

_FROM = frozenset(("detached", "reschedule", "sender"))
"""Roles of what has started a trace. So has what a consumer is linked to without a role, as the conventions have it."""


class Links:
    """The links of some traces between spans that are there; to others they lead nowhere."""

    def __init__(self, forest: Forest[Any], traces: Sequence[Trace[Any]]) -> None:
        self._forest = forest
        self._after: dict[int, list[tuple[str, int]]] = {}
        self._from: dict[int, list[int]] = {}
        retried: dict[int, int] = {}
        linked = [index for index, span in enumerate(forest.spans) if span.links and not forest.hidden[index]]
        by_id: dict[tuple[str, str], int] = {}
        if linked:
            first = [*forest.first, len(forest.spans)]
            for number, trace in enumerate(traces):
                for index in range(first[number], first[number + 1]):
                    by_id.setdefault((trace.trace_id, forest.spans[index].span_id), index)
        for index in linked:
            for link in forest.spans[index].links:
                target = by_id.get((link.trace_id, link.span_id), NOBODY)
                if target in (NOBODY, index) or forest.hidden[target]:
                    continue
                role = link.attributes.get(CAUSAL_LINK)
                if role in _AFTER:
                    self._after.setdefault(index, []).append((role, target))
                    if role == _RETRY:
                        retried[target] = index
                elif role in _FROM or (role is None and forest.spans[index].kind == "consumer"):
                    self._from.setdefault(index, []).append(target)
        last = _last_attempts(retried)
        for index, found in self._after.items():
            self._after[index] = [
                (role, last.get(target, target) if role == _HEADER else target) for role, target in found
            ]
        for index, found in list(self._after.items()):
            # A message's links are those of whoever executes it, but what sent it may have waited for the same.
            sender = forest.parent[index]
            if sender != NOBODY and forest.spans[sender].kind == "producer":
                self._after.setdefault(sender, []).extend(found)

    def before(self, index: int) -> int:
        """The span that had to be over before this one could start, or from which its trace was started.

        :data:`NOBODY`: no link tells, or what has started this span came later itself.
        """
        if not self._after and not self._from:
            return NOBODY
        parent = self._forest.parent[index]
        best, over = self._last(self._waited(index), self._forest.start[index])
        if best != NOBODY and (parent == NOBODY or self._forest.start[parent] < over):
            return best
        if parent != NOBODY:
            return NOBODY
        return self._last(self._from.get(index, ()), self._forest.start[index])[0]

    def _last(self, targets: Iterable[int], at: int) -> tuple[int, int]:
        """Which of those was over last, by then, and when; what sends a message may take some time to its end."""
        found, over = NOBODY, 0
        for target in targets:
            its = min(self._forest.end[target], at)
            if self._forest.start[target] <= at and (found == NOBODY or its > over):
                found, over = target, its
        return found, over

    def _waited(self, index: int) -> Iterator[int]:
        """What had to be over; where that is above the span by itself, the span's parent tells more."""
        found = self._after.get(index, ())
        above = {role for role, target in found if self._forest.is_above(target, index)}
        return (target for role, target in found if role not in above)


def _last_attempts(retried: dict[int, int]) -> dict[int, int]:
    """The last of all attempts that follow each of those that were tried again; itself where that leads to a circle."""
    found: dict[int, int] = {}
    for attempt in retried:
        way: dict[int, None] = {}
        at = attempt
        while at in retried and at not in found and at not in way:
            way[at] = None
            at = retried[at]
        last = found.get(at, at)
        found.update((each, each if last in retried else last) for each in way)
    return found
