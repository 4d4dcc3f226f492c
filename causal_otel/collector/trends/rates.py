"""How often something was called, how often it failed, and how long it took: in every bin, and in all."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from causal_otel.collector.store.histogram import Histogram

if TYPE_CHECKING:
    from collections.abc import Iterable

    from causal_otel.collector.figures import SeriesSum
    from causal_otel.collector.trends.window import Bin, Window

__all__ = ["Rates", "rates", "rates_of_bins"]


@dataclass(frozen=True, slots=True)
class Rates:
    """How calls went.

    Attributes:
        calls: how many.
        errors: how many of these failed.
        total: nanoseconds of all together.
        longest: nanoseconds of the longest.
        durations: of all.
    """

    calls: int
    errors: int
    total: int
    longest: int
    durations: Histogram

    @property
    def failing(self) -> float:
        """The share that failed."""
        return self.errors / self.calls if self.calls else 0.0

    @property
    def mean(self) -> int:
        """Nanoseconds that a call took on average."""
        return self.total // self.calls if self.calls else 0

    def quantile(self, share: float) -> int:
        """Nanoseconds that about ``share`` of the calls took at most; see :meth:`Histogram.quantile`."""
        return min(self.durations.quantile(share), self.longest)

    def per_second(self, seconds: float) -> float:
        """Calls a second, if there were this many seconds."""
        return self.calls / seconds if seconds > 0 else 0.0


def rates(sums: Iterable[SeriesSum]) -> Rates:
    """All of ``sums`` together."""
    calls = errors = total = longest = 0
    durations = Histogram()
    for each in sums:
        calls += each.calls
        errors += each.errors
        total += each.total
        longest = max(longest, each.longest)
        durations.merge([each.durations])
    return Rates(calls, errors, total, longest, durations)


def rates_of_bins(sums: Iterable[SeriesSum], window: Window) -> list[tuple[Bin, Rates]]:
    """Those of each bin of ``window``, which ``sums`` are by the steps of; bins without calls are there as well."""
    by_start: dict[int, list[SeriesSum]] = {}
    for each in sums:
        by_start.setdefault(each.start, []).append(each)
    return [(each, rates(by_start.get(each.start, ()))) for each in window.bins]
