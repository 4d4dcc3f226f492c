"""What the start of a span had to wait for besides the span that it was started in, as its links say."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from causal_otel.causality.critical_path.forest import NOBODY
from causal_otel.names import CAUSAL_LINK

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

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
        for index, found in list(self._after.items()):
            self._after[index] = [
                (role, _last_attempt(target, retried) if role == _HEADER else target) for role, target in found
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
        forest = self._forest
        start, parent = forest.start[index], forest.parent[index]
        best = max(
            (target for target in self._waited(index) if forest.end[target] <= start),
            key=lambda target: forest.end[target],
            default=NOBODY,
        )
        if best != NOBODY and (parent == NOBODY or forest.start[parent] < forest.end[best]):
            return best
        if parent != NOBODY:
            return NOBODY
        return max(
            (target for target in self._from.get(index, ()) if forest.start[target] <= start),
            key=lambda target: min(forest.end[target], start),
            default=NOBODY,
        )

    def _waited(self, index: int) -> Iterator[int]:
        """What had to be over; where that is above the span by itself, the span's parent tells more."""
        found = self._after.get(index, ())
        for role in {role for role, _ in found}:
            targets = [target for each, target in found if each == role]
            if not any(self._forest.is_above(target, index) for target in targets):
                yield from targets


def _last_attempt(target: int, retried: dict[int, int]) -> int:
    """The last attempt at the task of which ``target`` is the first, even if they go in a circle."""
    for _ in range(len(retried)):
        if target not in retried:
            break
        target = retried[target]
    return target
