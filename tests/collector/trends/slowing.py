"""Two days of a shop in which some operations got slower and others faster, and what is known of each."""

from __future__ import annotations

import random
from collections import defaultdict
from typing import TYPE_CHECKING, NamedTuple

from opentelemetry.proto.trace.v1.trace_pb2 import Span

from tests.collector.spans import HOUR, MILLISECOND, span, spans_of, traces

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from opentelemetry.proto.trace.v1.trace_pb2 import TracesData

__all__ = ["Went", "slowing", "went"]

_OPERATIONS = {
    # how many calls of how many milliseconds there were the day before, and how many of how many since
    "GET /checkout": (60, 20, 45, 200),
    "GET /cart": (40, 100, 50, 140),
    "GET /orders": (30, 80, 30, 80),
    "GET /search": (200, 300, 25, 60),
    "GET /returns": (0, 0, 30, 900),
    "GET /report": (5, 10, 40, 700),
    "GET /export": (40, 10, 5, 800),
}


class Went(NamedTuple):
    """Durations of an operation's calls in nanoseconds, in order: of the day before, and since."""

    before: list[int]
    since: list[int]

    @property
    def change(self) -> float | None:
        """p95 as a multiple of that before; None: there are fewer than twenty calls, or were."""
        if min(map(len, self)) < 20:
            return None
        return _p95(self.since) / _p95(self.before)


def slowing(now: int) -> Iterator[TracesData]:
    """The requests, each a trace."""
    chance = random.Random(7)
    number = 0
    for name, (before, length_before, since, length) in _OPERATIONS.items():
        for count, typical, first, last in ((before, length_before, 44, 26), (since, length, 23, 1)):
            for _ in range(count):
                number += 1
                yield traces(
                    span(
                        name, trace=number, id=number, start=now - round(chance.uniform(last, first) * HOUR),
                        duration=round(typical * chance.uniform(0.6, 1.2) * MILLISECOND), kind=Span.SPAN_KIND_SERVER,
                    ),
                    service="shop",
                )  # fmt: skip


def went(messages: Iterable[TracesData], now: int) -> dict[str, Went]:
    """How each operation went, by its name, of the spans themselves."""
    found: defaultdict[str, Went] = defaultdict(lambda: Went([], []))
    for message in messages:
        for each in spans_of(message):
            side = found[each.name].since if each.start_time_unix_nano > now - 24 * HOUR else found[each.name].before
            side.append(each.end_time_unix_nano - each.start_time_unix_nano)
    for name in found:
        for side in found[name]:
            side.sort()
    return dict(found)


def _p95(durations: list[int]) -> int:
    return durations[min(len(durations) - 1, int(0.95 * len(durations)))]
