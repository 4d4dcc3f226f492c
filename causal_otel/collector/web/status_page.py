"""The status page: what is kept, how fast it grows, what was refused or lost, and what the collector runs with."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from datetime import date, timedelta
from typing import TYPE_CHECKING, Any

from starlette.routing import Route

from causal_otel.collector.web.axis import AxisLabel
from causal_otel.collector.web.forms import SearchForm
from causal_otel.collector.web.templating import count, page, size

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from starlette.requests import Request
    from starlette.responses import Response

__all__ = ["Bar", "VolumeChart", "routes", "volume_chart"]

WIDTH, HEIGHT = 1200, 220
LEFT, RIGHT, TOP, BOTTOM = 56, 4, 12, 24

_DAYS = 60
_WIDEST_SLOT = 48
_COUNTERS: dict[str, tuple[str, Callable[[Any], str]]] = {
    "spans": ("Spans kept since the start", count),
    "traces": ("Traces that they are of", count),
    "logs": ("Log records kept", count),
    "logs_rejected": ("Log records refused, as they name no trace", count),
    "rejected": ("Spans refused, as their ids are not valid", count),
    "expired": ("Spans that started before the days that are kept: a wrong clock", count),
    "future": ("Spans that start over an hour from now: a wrong clock", count),
    "requests": ("Requests kept", count),
    "resent": ("Requests sent again and not kept twice", count),
    "refused": ("Requests that the disk did not take", count),
    "queue_requests": ("Requests that wait", count),
    "queue_bytes": ("Size of what waits", size),
    "queue_limit_bytes": ("Size that may wait", size),
    "deleted_days": ("Days deleted by retention", count),
    "deleted_bytes": ("Size deleted by retention", size),
    "early_days": ("Of these days, before their time", count),
    "compactions": ("Days compacted", count),
    "compacting": ("Being compacted", lambda day: day or "none"),
}
"""What is shown of :class:`causal_otel.collector.store.counters.Counters` and the queue: its name here, and how."""

_PROBLEMS = ("rejected", "expired", "future", "refused", "early_days")


@dataclass(frozen=True, slots=True)
class Bar:
    """A day of the chart: its place, and what it holds."""

    x: float
    y: float
    width: float
    height: float
    day: Mapping[str, Any]
    address: str


@dataclass(frozen=True, slots=True)
class VolumeChart:
    """Spans by day, in the units of its ``viewBox``."""

    bars: tuple[Bar, ...]
    days: tuple[AxisLabel, ...]
    counts: tuple[AxisLabel, ...]
    width: int = WIDTH
    height: int = HEIGHT
    left: int = LEFT
    right: int = WIDTH - RIGHT
    bottom: int = HEIGHT - BOTTOM


def routes(status: Callable[[], dict[str, Any]]) -> list[Route]:
    """``/status``, over the document of :func:`causal_otel.collector.status.collect`."""

    def show(request: Request) -> Response:  # not async: it is called from a thread
        document = status()
        context = {
            "status": document,
            "chart": volume_chart(document["store"]["days"]),
            "counters": _counters(document["writer"]),
        }
        return page(request, "status.html", context)

    return [Route("/status", show)]


def volume_chart(days: Sequence[Mapping[str, Any]]) -> VolumeChart | None:
    """Lay out the last sixty days, with gaps where a day holds nothing; None if none does."""
    by_date = {date.fromisoformat(day["day"]): day for day in days if day["spans"]}
    if not by_date:
        return None
    last = max(by_date)
    first = max(min(by_date), last - timedelta(days=_DAYS - 1))
    slots = (last - first).days + 1
    slot = min(_WIDEST_SLOT, (WIDTH - LEFT - RIGHT) / slots)
    top = _round_up(max(day["spans"] for day in by_date.values()))
    full = HEIGHT - TOP - BOTTOM

    def place(day: date) -> float:
        return LEFT + ((day - first).days + 0.5) * slot

    bars = []
    for day, entry in sorted(by_date.items()):
        if day < first:
            continue
        height = max(1.5, entry["spans"] / top * full)
        form = SearchForm(start=f"{day}T00:00", end=f"{day}T23:59:59.999999")
        bars.append(
            Bar(
                x=round(place(day) - slot * 0.38, 1),
                y=round(HEIGHT - BOTTOM - height, 1),
                width=round(slot * 0.76, 1),
                height=round(height, 1),
                day=entry,
                address=form.address(),
            )
        )
    every = math.ceil(52 / slot)
    return VolumeChart(
        bars=tuple(bars),
        days=tuple(
            AxisLabel(round(place(day), 1), f"{day:%b %d}")
            for day in (last - timedelta(days=back) for back in range(0, slots, every))
        ),
        counts=tuple(AxisLabel(round(HEIGHT - BOTTOM - share * full, 1), _short(top * share)) for share in (0, 0.5, 1)),
    )


def _round_up(value: int) -> int:
    """The least of 1, 2, 4, 6, 8 and 10 times a power of ten that is not below ``value``."""
    power: int = 10 ** (len(str(value)) - 1)
    return next(factor * power for factor in (1, 2, 4, 6, 8, 10) if factor * power >= value)


def _short(number: float) -> str:
    for each, unit in ((10**9, "G"), (10**6, "M"), (10**3, "k")):
        if number >= each:
            return f"{number / each:g} {unit}"
    return f"{number:g}"


def _counters(counters: Mapping[str, Any]) -> list[tuple[str, str, bool]]:
    """What the writer counts: what it is called, the value, and whether it tells of a problem."""
    rows = []
    for name, (label, written) in _COUNTERS.items():
        value = counters.get(name)
        if value is not None:
            rows.append((label, written(value), bool(value) and name in _PROBLEMS))
    return rows
