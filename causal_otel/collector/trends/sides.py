"""The two sides of a comparison, read: before and after a moment, or two versions of a service."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from causal_otel.collector.trends.callers import callees, callers
from causal_otel.collector.trends.changes import Change, Side, changes
from causal_otel.collector.trends.rates import rates
from causal_otel.collector.trends.time_parts import KEYS, time_parts
from causal_otel.collector.trends.window import DAY, HOUR, passed

if TYPE_CHECKING:
    from causal_otel.collector.figures import Selected, Sums
    from causal_otel.collector.trends.window import Window

__all__ = ["around", "between_versions", "days_around"]

Days = tuple[int, int]


def between_versions(reader: Sums, selected: Selected, window: Window, before: str, after: str) -> Change:
    """What changed from one version to another, both in the whole of ``window``.

    Calls a second are of the hours or days in which there were calls of the version.
    """
    return changes(_of_version(reader, selected, window, before), _of_version(reader, selected, window, after))


def _of_version(reader: Sums, selected: Selected, window: Window, version: str) -> Side:
    selected = replace(selected, version=version)
    seen = {each.start for each in reader.series(selected, window.start, window.last, window.step)}
    seconds = sum(each.seconds for each in window.bins if each.start in seen)
    days = window.start // DAY * DAY, window.last // DAY * DAY + DAY
    return _side(reader, selected, window.start, window.end, days, seconds)


def around(reader: Sums, selected: Selected, window: Window, moment: int) -> Change:
    """What changed from the part of ``window`` before a moment to the part after it, to the hour or the minute.

    Callers and callees, which are counted by the day, are those of the days of :func:`days_around`; without such days
    there are none.
    """
    width = min(window.width, HOUR)
    moment = moment // width * width
    first, second = days_around(window, moment) or (None, None)
    seconds = passed(window.start, moment, window.now), passed(moment, window.end, window.now)
    return changes(
        _side(reader, selected, window.start, moment, first, seconds[0]),
        _side(reader, selected, moment, window.end, second, seconds[1]),
    )


def days_around(window: Window, moment: int) -> tuple[Days, Days] | None:
    """The UTC days of ``window`` that are wholly before a moment and those wholly after it; None if one has none."""
    start, end = window.start // DAY * DAY, -(-window.end // DAY) * DAY
    before, after = moment // DAY * DAY, -(-moment // DAY) * DAY
    return ((start, before), (after, end)) if start < before and after < end else None


def _side(reader: Sums, selected: Selected, start: int, end: int, days: Days | None, seconds: float) -> Side:
    found = rates(reader.series(selected, start, end - 1, "all") if start < end else ())
    told = reader.measures(selected, start, end - 1, "all", KEYS) if start < end else ()
    time = time_parts(told, found.total)
    if days is None:
        return Side(found, time, (), (), 0, seconds)
    first, last = days[0], days[1] - 1
    counted = found if (start, end) == days else rates(reader.series(selected, first, last, "all"))
    return Side(
        found,
        time,
        callers(reader, selected, first, last),
        callees(reader, selected, first, last),
        counted.calls,
        seconds,
    )
