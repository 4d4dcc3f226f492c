"""Metrics on their way out through OpenTelemetry's SDK: a reader of ours, an official exporter, a thread.

The reader adds what our cells hold to what the SDK has collected: our own counts (``export/telemetry.py``) and the
instruments of the user's. The SDK's periodic reader is not used: it takes an exporter that is ready, whose import would
make ``install()`` ten times slower, and its thread exports what a forked child has inherited from its parent.
"""

from __future__ import annotations

import threading
import time
import uuid
from typing import TYPE_CHECKING, Any

from opentelemetry.sdk import metrics as sdk
from opentelemetry.sdk.metrics import export
from opentelemetry.sdk.metrics.export import AggregationTemporality as Temporality
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.util.instrumentation import InstrumentationScope

from causal_otel._internal import faults, process
from causal_otel._internal.fork_lock import ForkLock
from causal_otel._version import __version__
from causal_otel.engine import context
from causal_otel.names import SCHEMA_URL, SERVICE_INSTANCE_ID

if TYPE_CHECKING:
    from collections.abc import Callable

    from causal_otel.metrics.cells import Cells, Family

__all__ = ["Reader", "temporalities"]

_SCOPE = InstrumentationScope("causal_otel", __version__, SCHEMA_URL)


def temporalities(preference: str) -> dict[type, Temporality]:
    """What OpenTelemetry's word for a preference means: of each kind of instrument, what its points count."""
    delta: set[type] = set()
    if preference in ("delta", "lowmemory"):
        delta = {sdk.Counter, sdk.Histogram}
    if preference == "delta":
        delta.add(sdk.ObservableCounter)
    return dict.fromkeys(delta, Temporality.DELTA)


class Reader(export.MetricReader):
    """Collects and exports at an interval, when asked to, and at the end.

    Args:
        cells: what has been measured.
        make_exporter: makes the exporter, and imports what that takes; called by the thread.
        resource: what the metrics are about.
        instance: the ``service.instance.id`` that the user has given, if any. Otherwise a forked child gets one of its
            own: a back end would take the counts of two processes for those of one, which jumps.
        interval: seconds between exports.
        timeout: how long collecting may take, in seconds.
        preference: see :func:`temporalities`.

    Attributes:
        exported: how many exports went well.
        failed: how many did not.
    """

    def __init__(
        self,
        cells: Cells,
        make_exporter: Callable[[], export.MetricExporter],
        resource: Resource,
        *,
        instance: str | None = None,
        interval: float,
        timeout: float,
        preference: str,
    ) -> None:
        kinds = temporalities(preference)
        super().__init__(preferred_temporality=kinds)
        self._cells = cells
        self._make_exporter = make_exporter
        self._resource = resource
        self._instance = instance
        self._interval = interval
        self._timeout = timeout
        self._temporality = kinds.get(sdk.Histogram, Temporality.CUMULATIVE)
        self._collected: export.MetricsData | None = None
        # A child would inherit the locks that the SDK holds while it collects, and nobody there would release them.
        self._collecting = ForkLock()
        self._begin()
        process.at_fork(in_child=self._forked)

    def _begin(self) -> None:
        self.exported = self.failed = 0
        self._start = self._since = time.time_ns()
        self._exporter: export.MetricExporter | None = None
        self._state = threading.Condition()
        self._asked = self._served = 0  # how many have asked for an export, and how many of them have had it
        self._delivered = True
        self._closing = self._over = False
        self._thread: threading.Thread | None = None

    def _forked(self) -> None:
        running = self._thread is not None and not self._closing
        abandon = getattr(self._exporter, "abandon", None)
        if abandon is not None:
            abandon()
        if self._instance is None:
            self._resource = self._resource.merge(Resource({SERVICE_INSTANCE_ID: str(uuid.uuid4())}))
        self._begin()
        if running:
            self.start()

    def start(self) -> None:
        """Begin to export."""
        self._thread = threading.Thread(target=self._run, name="causal-otel-metrics", daemon=True)
        self._thread.start()

    def ask(self, *, close: bool = False) -> int:
        """Have the thread export now, and end after that if it is to ``close``.

        Returns:
            What to :meth:`wait` for.
        """
        with self._state:
            self._asked += 1
            self._closing = self._closing or close
            self._state.notify_all()
            return self._asked

    def wait(self, asked: int, deadline: float) -> bool:
        """Wait until that is done, or until ``deadline`` by ``monotonic()``.

        Returns:
            Whether all was delivered in that time.
        """
        if self._thread is None:
            return True
        with self._state:
            while self._served < asked and not self._over:
                left = deadline - time.monotonic()
                if left <= 0:
                    return False
                self._state.wait(left)
            return self._delivered

    def _run(self) -> None:
        context.attach(context.suppressed_context())
        state, ended = self._state, False
        try:
            self._exporter = self._make_exporter()  # at the end of a process it may be too late to import it
        except Exception:
            faults.report("metrics: the exporter")
        while not ended:
            with state:
                if self._served == self._asked:
                    state.wait(self._interval)
                asked, closing = self._asked, self._closing
            delivered = self._export_once()
            with state:
                # Who has asked meanwhile wants to have what this round may have passed by.
                self._served, self._delivered = asked, delivered
                self._over = ended = closing and asked == self._asked
                state.notify_all()
        if self._exporter is not None:
            try:
                self._exporter.shutdown()
            except Exception:
                faults.report("metrics: the exporter's shutdown")

    def _export_once(self) -> bool:
        """Whether there was nothing to export, or all of it was accepted."""
        try:
            if self._exporter is None:
                self._exporter = self._make_exporter()
            data = self._data()
            if data is None:
                return True
            result = self._exporter.export(data, timeout_millis=self._timeout * 1000)
        except Exception:
            faults.report("metrics: export")
            result = export.MetricExportResult.FAILURE
        well = result is export.MetricExportResult.SUCCESS
        if well:
            self.exported += 1
        else:
            self.failed += 1
        return well

    def _data(self) -> export.MetricsData | None:
        self._collected = None
        try:
            with self._collecting.held():
                self.collect(self._timeout * 1000)
        except Exception:  # somebody's callback that does not return in time, or raises what the SDK lets through
            faults.report("metrics: collection")
        collected: export.MetricsData | None = self._collected
        found = [] if collected is None else collected.resource_metrics
        scopes = {scope.scope: scope for resource in found for scope in resource.scope_metrics}
        ours = self._ours()
        if ours:
            # The official encoder knows one group of each scope: another one would replace it.
            others = scopes[_SCOPE].metrics if _SCOPE in scopes else ()
            scopes[_SCOPE] = export.ScopeMetrics(_SCOPE, [*others, *ours], SCHEMA_URL)
        if not scopes:
            return None
        resource = export.ResourceMetrics(self._resource, list(scopes.values()), self._resource.schema_url)
        return export.MetricsData([resource])

    def _receive_metrics(self, metrics_data: export.MetricsData, timeout_millis: float = 10_000, **kwargs: Any) -> None:
        self._collected = metrics_data

    def _ours(self) -> list[export.Metric]:
        now = time.time_ns()
        with self._cells.reading:
            self._cells.ask()
        metrics = [metric for family in self._cells.families() if (metric := self._metric(family, now)) is not None]
        if self._temporality is Temporality.DELTA:
            self._since = now
        return metrics

    def _metric(self, family: Family, now: int) -> export.Metric | None:
        instrument = family.instrument
        points: list[Any] = []
        histogram, since = bool(instrument.boundaries), self._since
        delta = instrument.monotonic and self._temporality is Temporality.DELTA
        start = since if delta else self._start
        with self._cells.reading:
            for cell in family.known():
                cell.fold()
                totals = cell.totals()
                if not histogram:
                    points.append(export.NumberDataPoint(cell.labels, start, now, totals.total))
                    if delta:
                        cell.reset()
                elif totals.count:
                    points.append(
                        export.HistogramDataPoint(
                            cell.labels,
                            since,
                            now,
                            totals.count,
                            totals.total,
                            totals.buckets,
                            instrument.boundaries,
                            totals.low,
                            totals.high,
                        )
                    )
                    if self._temporality is Temporality.DELTA:
                        cell.reset()
        if not points:
            return None
        data = (
            export.Histogram(points, self._temporality)
            if histogram
            else export.Sum(points, Temporality.DELTA if delta else Temporality.CUMULATIVE, instrument.monotonic)
        )
        return export.Metric(instrument.name, instrument.description, instrument.unit, data)

    def shutdown(self, timeout_millis: float = 30_000, **kwargs: Any) -> None:
        """Export what is left, and end."""
        if self._closing:
            return
        deadline = time.monotonic() + timeout_millis / 1000
        self.wait(self.ask(close=True), deadline)
