"""Which operations got slower: how each went in a time, beside how it went in the time before."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

from causal_otel.collector.figures import OperationStatistics

if TYPE_CHECKING:
    from collections.abc import Iterable

    from causal_otel.collector.trends.periods import Period

    class Statistics(Protocol):
        """The part of a reader that counts calls."""

        @property
        def since(self) -> int: ...

        def statistics(self, start: int, end: int, service: str | None = None) -> list[OperationStatistics]: ...


__all__ = ["FEWEST", "NOTABLE", "Compared", "change_text", "compared"]

FEWEST = 20
"""Calls from which on p95 says more than the longest call does."""

NOTABLE = 1.2
"""How many times as long, or as short, calls take before it is worth a colour: percentiles are right to a tenth."""

_FIELDS = tuple(OperationStatistics.__dataclass_fields__)


@dataclass(frozen=True, slots=True)
class Compared(OperationStatistics):
    """How an operation went over a time, and in the time before.

    Attributes:
        calls_before: how many calls there were; None: nothing is known of the time before.
        p95_before: nanoseconds that 95 % of them took at most; None likewise.
    """

    calls_before: int | None
    p95_before: int | None

    @property
    def change(self) -> float | None:
        """How many times as long p95 is as it was; None: that cannot be told, of fewer than :data:`FEWEST` calls."""
        if min(self.calls, self.calls_before or 0) < FEWEST:
            return None
        return max(1, self.p95) / max(1, self.p95_before or 0)

    @property
    def is_new(self) -> bool:
        """Whether it was not called before."""
        return self.calls_before == 0


def compared(
    reader: Statistics, found: Iterable[OperationStatistics], period: Period, service: str | None
) -> list[Compared]:
    """Put beside each operation how it went in the time before, which is as long.

    Args:
        reader: what has counted.
        found: how operations went in ``period``.
        period: the time.
        service: only its operations were counted; None: all.
    """
    before = period.before
    known = {_key(each): each for each in reader.statistics(before.start, before.end, service)}
    told = bool(known) and reader.since <= before.start

    def beside(each: OperationStatistics) -> Compared:
        figures = {name: getattr(each, name) for name in _FIELDS}
        if not told:
            return Compared(**figures, calls_before=None, p95_before=None)
        earlier = known.get(_key(each))
        calls, p95 = (earlier.calls, earlier.p95) if earlier else (0, 0)
        return Compared(**figures, calls_before=calls, p95_before=p95)

    return [beside(each) for each in found]


def change_text(change: float) -> str:
    """So many times as long: ``×6.1``."""
    return f"×{change:.0f}" if change >= 9.95 else f"×{change:.2g}"


def _key(each: OperationStatistics) -> tuple[str, str, str, str]:
    return each.service, each.operation, each.kind, each.system
