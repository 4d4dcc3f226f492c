"""What the pages of an operation and of a service show of figures over time: charts, their table, what changed."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from typing import TYPE_CHECKING

from causal_otel.collector.store.measures import CALLED
from causal_otel.collector.trends.rates import Rates, rates, rates_of_bins
from causal_otel.collector.trends.time_parts import OWN, TimePart, TimeParts, part_of, time_parts_of_bins
from causal_otel.collector.units import format_duration
from causal_otel.collector.web.charts import TimeChart, count_ticks, duration_ticks, time_chart
from causal_otel.collector.web.templating import count, plural, share, utc
from causal_otel.names import (
    CAUSAL_CONNECT,
    CAUSAL_DISCOVERY,
    CAUSAL_FETCH,
    CAUSAL_LOCK_WAIT,
    CAUSAL_LOOP_BLOCKED,
    CAUSAL_POOL_SETUP,
    CAUSAL_POOL_WAIT,
    CAUSAL_RECEIVE,
    CAUSAL_RETRY_WAIT,
    CAUSAL_SEND,
    CAUSAL_SERVER,
    CAUSAL_THREADPOOL_WAIT,
)

if TYPE_CHECKING:
    from collections.abc import Sequence

    from causal_otel.collector.figures import MeasureSum, SeriesSum
    from causal_otel.collector.trends.changes import Change
    from causal_otel.collector.trends.window import Bin, Window

__all__ = ["PartView", "Trend", "rate", "says_of_change", "trend"]

_COLOURS = {
    CAUSAL_SERVER: 0,
    CAUSAL_POOL_WAIT: 1,
    CAUSAL_CONNECT: 3,
    CAUSAL_FETCH: 9,
    CAUSAL_LOCK_WAIT: 8,
    CAUSAL_RETRY_WAIT: 12,
    CAUSAL_RECEIVE: 7,
    CAUSAL_SEND: 11,
    CAUSAL_THREADPOOL_WAIT: 6,
    CAUSAL_LOOP_BLOCKED: 5,
    CAUSAL_POOL_SETUP: 15,
    CAUSAL_DISCOVERY: 14,
}
"""The colour of each part."""

_OF_CALLS = (4, 2, 10, 14, 15, 7, 11, 9)
"""Those of calls, of the system with the most time first."""

_MOST_PARTS = 9
_NOTHING = 10_000
"""A part of which the time is so many times as long is left out."""

_LONG_TIMES = ((1.0, "s"), (60.0, "min"), (3600.0, "h"), (86400.0, "d"))


@dataclass(frozen=True, slots=True)
class PartView:
    """A part of the time in all of the window.

    Attributes:
        label: what it is called.
        look: its CSS class.
        mean: nanoseconds of it in a call on average.
        share: of the time of the calls.
        largest: nanoseconds of it in one span; 0 if that is not known.
        trace: of which trace that is, as hexadecimal.
        means: of each bin.
    """

    label: str
    look: str
    mean: int
    share: float
    largest: int
    trace: str
    means: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class Trend:
    """How calls went over a time.

    Attributes:
        whole: in all of it.
        bins: in each of its hours or days.
        parts: where their time went, in the order in which it happens.
        before: what passed before they began: what it is called, nanoseconds for a call.
        scaled: in how many bins parts that went on at the same time had to be scaled down.
        calls: the chart of calls and errors.
        durations: that of quantiles.
        time: that of the parts.
    """

    whole: Rates
    bins: list[tuple[Bin, Rates]]
    parts: tuple[PartView, ...]
    before: tuple[tuple[str, int], ...]
    scaled: int
    calls: TimeChart
    durations: TimeChart
    time: TimeChart


def trend(
    window: Window, sums: Sequence[SeriesSum], measures: Sequence[MeasureSum], moment: int | None = None
) -> Trend:
    """How the calls went that ``sums`` and ``measures`` tell of by the steps of ``window``."""
    bins = rates_of_bins(sums, window)
    whole = rates(sums)
    by_bin = time_parts_of_bins(measures, [each.total for _, each in bins], window)
    parts = tuple(_parts(bins, by_bin, measures, whole))
    before: Counter[str] = Counter()
    for each in by_bin:
        before.update(each.before)
    says = [_says(each, found) for each, found in bins]
    told = [
        f"{says[place]}. "
        + ", ".join(f"{part.label} {format_duration(part.means[place])}" for part in parts if part.means[place])
        for place in range(len(bins))
    ]
    return Trend(
        whole,
        bins,
        parts,
        tuple((label, total // max(1, whole.calls)) for label, total in sorted(before.items())),
        sum(each.scaled < 1.0 for each in by_bin),
        time_chart(
            window,
            count_ticks(max((found.calls for _, found in bins), default=0)),
            says,
            stacks=[(("failed", found.errors), ("calls", found.calls - found.errors)) for _, found in bins],
            moment=moment,
        ),
        time_chart(
            window,
            duration_ticks(max((found.quantile(0.99) for _, found in bins), default=0)),
            says,
            lines={
                name: [found.quantile(part) if found.calls else None for _, found in bins]
                for name, part in (("p99", 0.99), ("p95", 0.95), ("p50", 0.5))
            },
            moment=moment,
        ),
        time_chart(
            window,
            duration_ticks(max((found.mean for _, found in bins), default=0)),
            told,
            stacks=[[(part.look, part.means[place]) for part in parts] for place in range(len(bins))],
            moment=moment,
        ),
    )


def _parts(
    bins: Sequence[tuple[Bin, Rates]], by_bin: Sequence[TimeParts], measures: Sequence[MeasureSum], whole: Rates
) -> list[PartView]:
    """The largest parts, and the others together."""
    totals: Counter[TimePart] = Counter()
    for each in by_bin:
        totals.update(each.parts)
    # What integers lose in the parts of a span is a nanosecond here and there.
    for part in [part for part, total in totals.items() if total * _NOTHING < whole.total]:
        del totals[part]
    shown = {part for part, _ in totals.most_common(_MOST_PARTS if len(totals) > _MOST_PARTS + 1 else None)}
    looks = _looks([part for part, _ in totals.most_common() if part in shown])
    order = sorted(totals, key=lambda part: part.order)
    calls = max(1, whole.calls)

    def view(label: str, look: str, some: Sequence[TimePart]) -> PartView:
        total = sum(totals[part] for part in some)
        largest, trace = max(
            ((each.largest, each.trace.hex()) for each in measures if len(some) == 1 and part_of(each) == some[0]),
            default=(0, ""),
        )
        means = tuple(
            sum(each.parts.get(part, 0) for part in some) // max(1, found.calls)
            for each, (_, found) in zip(by_bin, bins, strict=True)
        )
        return PartView(label, look, total // calls, total / max(1, whole.total), largest, trace, means)

    found = [view(part.label, looks[part], [part]) for part in order if part in shown]
    if others := [part for part in order if part not in shown]:
        found.append(view(f"{len(others)} others", "rest", others))
    return found


def _looks(parts: Sequence[TimePart]) -> dict[TimePart, str]:
    calls = [part for part in parts if part.key == CALLED]
    of_calls = {part: _OF_CALLS[place % len(_OF_CALLS)] for place, part in enumerate(calls)}
    return {part: "own" if part == OWN else f"s{of_calls.get(part, _COLOURS.get(part.key, 12))}" for part in parts}


def _says(each: Bin, found: Rates) -> str:
    said = f"{utc(each.start, '%b %d %H:%M')}: {plural(found.calls, 'call')}"
    if found.calls:
        said += f", {rate(found.per_second(each.seconds))}, {share(found.failing)} failed"
        said += f", p50 {format_duration(found.quantile(0.5))}, p95 {format_duration(found.quantile(0.95))}"
        said += f", p99 {format_duration(found.quantile(0.99))}"
    return said if each.over else f"{said} (it is not over)"


def rate(per_second: float) -> str:
    """Calls a second in a unit in which it is a number that a person reads: ``12 /min``."""
    for seconds, unit in _LONG_TIMES:
        number = per_second * seconds
        if number >= 0.995 or unit == "d":
            break
    return f"{count(round(number)) if number >= 99.5 else f'{number:.3g}'}/{unit}"


def says_of_change(change: Change, before: str, after: str) -> str:
    """What changed, in a sentence; empty if one side has no calls.

    Args:
        change: all that changed.
        before: what its first side is called, with a verb: ``1.4.1 took``.
        after: the other, likewise.
    """
    one, other = change.before.rates, change.after.rates
    if not (one.calls and other.calls):
        return ""
    said = f"{before} {format_duration(one.mean)} on average, {after} {format_duration(other.mean)}"
    if not change.difference:
        return f"{said}."
    said += f": {format_duration(abs(change.difference))} {'more' if change.difference > 0 else 'less'}"
    most = [part for part in change.parts[:2] if part.share >= 0.2]
    if not most:
        return f"{said}."
    return f"{said}. {' and '.join(f'{share(part.share)} of that is {part.part.label}' for part in most)}."
