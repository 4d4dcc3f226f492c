"""What changed from one time to another, or from one version to another: figures, parts of the time, calls."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from causal_otel.collector.trends.time_parts import OWN, TimePart

if TYPE_CHECKING:
    from collections.abc import Sequence

    from causal_otel.collector.trends.callers import Called, Other
    from causal_otel.collector.trends.rates import Rates
    from causal_otel.collector.trends.time_parts import TimeParts

__all__ = ["CallChange", "Change", "PartChange", "Side", "changes"]


@dataclass(frozen=True, slots=True)
class Side:
    """One of the two that are compared.

    Attributes:
        rates: how its calls went.
        time: where their time went.
        callers: who called it.
        callees: what it called.
        counted: calls on the days that callers and callees were counted on.
        seconds: how long it went on, for calls a second.
    """

    rates: Rates
    time: TimeParts
    callers: Sequence[Called]
    callees: Sequence[Called]
    counted: int
    seconds: float

    def means(self) -> dict[TimePart, int]:
        """Nanoseconds of each part in a call on average; they add up to the mean duration of a call."""
        calls = self.rates.calls
        if not calls:
            return {}
        found = {part: spent // calls for part, spent in self.time.parts.items()}
        rest = max(found, key=lambda part: found[part]) if found and OWN not in found else OWN
        found[rest] = found.get(rest, 0) + self.rates.mean - sum(found.values())
        return found


@dataclass(frozen=True, slots=True)
class PartChange:
    """How a part of the mean duration changed.

    Attributes:
        part: which.
        before: nanoseconds of it in a call on average.
        after: the same, afterwards.
        share: of the difference of the mean durations, which it explains; below 0 if it went the other way.
    """

    part: TimePart
    before: int
    after: int
    share: float

    @property
    def difference(self) -> int:
        """Nanoseconds more than before."""
        return self.after - self.before


@dataclass(frozen=True, slots=True)
class CallChange:
    """How calls to or from another operation changed; None: there were none."""

    other: Other
    before: Called | None
    after: Called | None
    each_before: float
    """Of callees, calls for each call of the operation; of callers, their share of its calls."""
    each_after: float
    time_before: int
    """Nanoseconds for each call of the operation."""
    time_after: int

    @property
    def difference(self) -> int:
        """Nanoseconds more than before, for each call of the operation."""
        return self.time_after - self.time_before


@dataclass(frozen=True, slots=True)
class Change:
    """All that changed.

    Attributes:
        before: the side that is compared with.
        after: the other.
        parts: of the mean duration, what explains most of the difference first. Their differences add up to it.
        callers: who called it, whose share changed most first.
        callees: what it called, whose time changed most first.
    """

    before: Side
    after: Side
    parts: tuple[PartChange, ...]
    callers: tuple[CallChange, ...]
    callees: tuple[CallChange, ...]

    @property
    def difference(self) -> int:
        """Nanoseconds by which a call takes longer on average."""
        return self.after.rates.mean - self.before.rates.mean


def changes(before: Side, after: Side) -> Change:
    """What changed between two sides. A side without calls has no parts."""
    callers = _calls(before.callers, after.callers, before, after)
    callees = _calls(before.callees, after.callees, before, after)
    return Change(
        before,
        after,
        tuple(_parts(before, after)),
        tuple(sorted(callers, key=lambda each: (-abs(each.each_after - each.each_before), each.other))),
        tuple(sorted(callees, key=lambda each: (-abs(each.difference), each.other))),
    )


def _parts(before: Side, after: Side) -> list[PartChange]:
    one, other = before.means(), after.means()
    difference = after.rates.mean - before.rates.mean
    found = []
    for part in {**one, **other}:
        was, now = one.get(part, 0), other.get(part, 0)
        if was or now:
            found.append(PartChange(part, was, now, (now - was) / difference if difference else 0.0))
    direction = -1 if difference < 0 else 1
    return sorted(found, key=lambda each: (-direction * each.difference, each.part))


def _calls(one: Sequence[Called], other: Sequence[Called], before: Side, after: Side) -> list[CallChange]:
    was, now = ({each.other: each for each in called} for called in (one, other))
    calls_before, calls_after = (max(1, side.counted) for side in (before, after))

    def change(key: Other) -> CallChange:
        first, second = was.get(key), now.get(key)
        return CallChange(
            key,
            first,
            second,
            first.calls / calls_before if first else 0.0,
            second.calls / calls_after if second else 0.0,
            first.total // calls_before if first else 0,
            second.total // calls_after if second else 0,
        )

    return [change(key) for key in {**was, **now}]
