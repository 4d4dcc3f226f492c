"""Figures: what can be asked of the sums that are kept, and what comes back.

:class:`Sums` is a part of :class:`~causal_otel.collector.query.TraceReader`. Sums are kept by the hour and the UTC day,
so that pages of a month need no spans.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal, NamedTuple, Protocol

if TYPE_CHECKING:
    from collections.abc import Collection

    from causal_otel.collector.store.histogram import Histogram

__all__ = [
    "FIGURES_SECONDS",
    "CallSum",
    "Dependency",
    "MeasureSum",
    "OperationStatistics",
    "Selected",
    "Series",
    "SeriesSum",
    "Step",
    "Sums",
]

FIGURES_SECONDS = 8.0
"""How long the figures of a page may take to read."""


Step = Literal["minute", "hour", "day", "all"]
"""How finely sums are told: for every hour, for every UTC day, or for the whole time; a store keeps no minutes."""


@dataclass(frozen=True, slots=True)
class OperationStatistics:
    """How an operation went over a time: counts, and durations in nanoseconds (percentiles are estimates)."""

    service: str
    operation: str
    kind: str
    system: str
    calls: int
    errors: int
    total: int
    longest: int
    p50: int
    p95: int
    p99: int
    buckets: tuple[tuple[int, int], ...]
    """Upper bound in nanoseconds and how many took at most that and more than the bound before; ascending."""


@dataclass(frozen=True, slots=True)
class Dependency:
    """How often one service called another, and how long that took, in nanoseconds (percentiles are estimates)."""

    parent: str
    child: str
    calls: int
    errors: int
    total: int = 0
    p50: int = 0
    p95: int = 0


class Series(NamedTuple):
    """What spans are told apart by: a service's operation of a kind, a system and a version.

    Attributes:
        service: the service's name.
        operation: the span's name.
        kind: as in :class:`~causal_otel.collector.query.Query`.
        system: what the span talks to, see :mod:`causal_otel.collector.systems`.
        version: the service's version; empty: it does not tell one.
        root: whether the spans have no parent.
    """

    service: str
    operation: str
    kind: str
    system: str
    version: str
    root: bool

    @property
    def entry(self) -> bool:
        """Whether the spans begin something in their service: a request, a message, or a trace."""
        return self.root or self.kind in ("server", "consumer")


@dataclass(frozen=True, slots=True)
class Selected:
    """Which series are meant: those that are like this; None is any. ``entries``: only those that begin something."""

    service: str | None = None
    operation: str | None = None
    kind: str | None = None
    system: str | None = None
    version: str | None = None
    entries: bool = False

    def includes(self, series: Series) -> bool:
        """Whether a series is meant."""
        return (
            self.service in (None, series.service)
            and self.operation in (None, series.operation)
            and self.kind in (None, series.kind)
            and self.system in (None, series.system)
            and self.version in (None, series.version)
            and (series.entry or not self.entries)
        )


@dataclass(frozen=True, slots=True)
class SeriesSum:
    """How the spans of a series went in an hour or a day.

    Attributes:
        series: which one.
        start: when the hour or the day begins, Unix time in nanoseconds; of the whole time 0.
        calls: how many spans started in it.
        errors: how many of these failed.
        total: how long all took, in nanoseconds.
        longest: how long the longest took.
        durations: of all.
        failures: of those that failed.
    """

    series: Series
    start: int
    calls: int
    errors: int
    total: int
    longest: int
    durations: Histogram
    failures: Histogram


@dataclass(frozen=True, slots=True)
class MeasureSum:
    """What the spans of a series told of themselves in an hour or a day.

    Attributes:
        series: which one.
        start: see :class:`SeriesSum`.
        key: an attribute; :data:`~causal_otel.names.ERROR_TYPE` for errors.
        label: what tells apart what one series has several of: the pool, the queue, the frame; of an error its type and
            the application's own frame, with a line break between.
        spans: how many spans told it.
        total: nanoseconds, or a count, of all together; of frames and errors, how long these spans took.
        largest: of one span.
        trace: the id of the trace that has it, 16 bytes.
    """

    series: Series
    start: int
    key: str
    label: str
    spans: int
    total: int
    largest: int
    trace: bytes


@dataclass(frozen=True, slots=True)
class CallSum:
    """How often spans of one series were parents of another's.

    Attributes:
        parent: the series of the parents.
        child: the series of their children.
        calls: how many children.
        errors: how many of these failed.
        total: how long they took together, in nanoseconds.
    """

    parent: Series
    child: Series
    calls: int
    errors: int
    total: int


class Sums(Protocol):
    """Has the figures of series."""

    @property
    def since(self) -> int:
        """Figures of what started before this Unix time in nanoseconds were not all read; 0: they were."""

    def series(self, selected: Selected, start: int, end: int, step: Step) -> list[SeriesSum]:
        """How series went between two Unix times in nanoseconds, to the hour: by series, then by time.

        Steps of days, or of the whole time, take a day of reading for each closed day, not 24 hours.
        """

    def measures(
        self, selected: Selected, start: int, end: int, step: Step, keys: Collection[str] = ()
    ) -> list[MeasureSum]:
        """What the spans of series told of themselves, likewise; only these ``keys``, if there are any."""

    def calls(self, parent: Selected, child: Selected, start: int, end: int) -> list[CallSum]:
        """Which series called which on the UTC days that the time between two Unix times in nanoseconds is in."""
