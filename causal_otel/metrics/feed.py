"""Metrics for a ``MeterProvider`` of the user's own: its histograms are told what the cells hold when it collects.

A histogram of the SDK takes several microseconds to be told of one measurement, which is why operations do not do it.
Where many operations are measured between two collections, a thread does part of it before: their measurements would
need memory until then, and telling of them all at once would keep other threads waiting.
"""

from __future__ import annotations

import contextlib
import threading
import time
import weakref
from typing import TYPE_CHECKING

from opentelemetry.metrics import CallbackOptions, Observation

from causal_otel._internal import faults, process
from causal_otel._internal.fork_lock import ForkLock
from causal_otel._version import __version__
from causal_otel.names import SCHEMA_URL

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from opentelemetry.metrics import Histogram, MeterProvider

    from causal_otel.instrument.measured import Instrument
    from causal_otel.metrics.cells import Cell, Cells

__all__ = ["Feed"]

_SLICE = 64
"""Measurements that are told of before other threads get their turn."""


class Feed:
    """Hands what is measured to the instruments of ``provider``, until it is closed.

    Args:
        provider: the user's own.
        cells: what is measured.
        levels: the counters that there may be: a provider cannot be given new ones while it collects.
    """

    destination = "your meter provider"

    def __init__(self, provider: MeterProvider, cells: Cells, levels: Iterable[Instrument | None]) -> None:
        self._cells = cells
        self._provider = provider
        self._instruments = _instruments(provider)
        self._instruments.feed = self
        for level in levels:
            if level is not None:
                self._instruments.observe(level)
        cells.grown = self._grown
        self._closed = False
        # A child would inherit the locks that the SDK holds while it is told, and nobody there would release them.
        self._telling = ForkLock()
        self._begin()
        process.at_fork(in_child=self._forked)

    def _begin(self) -> None:
        # A lock used as a bell: locked is silent. To ring it takes a single step and never waits, so that it may be
        # done in a garbage collection, which ends abandoned operations.
        self._bell = threading.Lock()
        self._bell.acquire()
        self._thread: threading.Thread | None = None

    def _forked(self) -> None:
        running = self._thread is not None and not self._closed
        self._begin()
        if running:
            self.start()

    def meters(self) -> MeterProvider | None:
        """The user's provider."""
        return self._provider

    def start(self) -> None:
        """Begin to look after cells in which much waits."""
        self._thread = threading.Thread(target=self._run, name="causal-otel-metrics", daemon=True)
        self._thread.start()

    def _grown(self, cell: Cell) -> None:
        if cell.family.instrument.boundaries:
            self._ring()
        else:
            self._cells.fold(cell)

    def _ring(self) -> None:
        with contextlib.suppress(RuntimeError):  # it rings already
            self._bell.release()

    def _run(self) -> None:
        while True:
            self._bell.acquire()
            if self._closed:
                return
            self.tell(patiently=True)

    def tell(self, *, patiently: bool = False) -> None:
        """Tell the histograms of all that waits.

        Args:
            patiently: give other threads their turn in between.
        """
        with self._telling.held(), self._cells.reading:
            for family in self._cells.families():
                if not family.instrument.boundaries:
                    continue
                for cell in family.known():
                    values = cell.take()
                    if not values:
                        continue
                    try:
                        record = self._instruments.histogram(family.instrument).record
                        for number, value in enumerate(values):
                            record(value, cell.labels)
                            if patiently and number % _SLICE == 0:
                                time.sleep(0)
                    except Exception:
                        faults.report("metrics: your meter provider")

    def levels(self, instrument: Instrument) -> list[Observation]:
        """What a counter has come to."""
        observations = []
        with self._cells.reading:
            self._cells.ask()
            for cell in self._cells.family(instrument).known():
                cell.fold()
                observations.append(Observation(cell.totals().total, cell.labels))
        return observations

    def begin_flush(self) -> Callable[[float], bool]:
        """Nothing: the provider collects when its readers like."""
        return lambda deadline: True

    def flush_with(self, action: Callable[[], object]) -> None:
        """Only ``action()``: the provider's readers collect once more when it is shut down."""
        action()

    def close(self) -> None:
        """Tell of what is left."""
        self.tell()
        self._closed = True
        self._ring()
        if self._instruments.feed is self:
            self._instruments.feed = None

    def __str__(self) -> str:
        return f"to {self.destination}"


class _Instruments:
    """What a provider has, made once: the API has no way to remove an instrument."""

    def __init__(self, provider: MeterProvider) -> None:
        self.feed: Feed | None = None
        self._meter = provider.get_meter("causal_otel", __version__, SCHEMA_URL)
        self._histograms: dict[Instrument, Histogram] = {}
        self._observed: set[Instrument] = set()

    def histogram(self, instrument: Instrument) -> Histogram:
        found = self._histograms.get(instrument)
        if found is None:
            found = self._histograms[instrument] = self._meter.create_histogram(
                instrument.name,
                instrument.unit,
                instrument.description,
                explicit_bucket_boundaries_advisory=instrument.boundaries,
            )
        return found

    def observe(self, instrument: Instrument) -> None:
        """Make a counter. When it is collected, so are the histograms, which are told first."""
        if instrument in self._observed:
            return
        self._observed.add(instrument)

        def observed(_: CallbackOptions) -> Iterable[Observation]:
            feed = self.feed
            if feed is None:
                return []
            feed.tell()
            return feed.levels(instrument)

        make = self._meter.create_observable_up_down_counter
        if instrument.monotonic:
            make = self._meter.create_observable_counter  # type: ignore[assignment]
        make(instrument.name, [observed], instrument.unit, instrument.description)


_known: list[tuple[weakref.ref[MeterProvider], _Instruments]] = []
"""By identity: Logfire's provider is a dataclass, and so not hashable."""


def _instruments(provider: MeterProvider) -> _Instruments:
    for known, instruments in _known:
        if known() is provider:
            return instruments
    made = _Instruments(provider)
    _known[:] = [pair for pair in _known if pair[0]() is not None] + [(weakref.ref(provider), made)]
    return made
