"""The export's own counts as OpenTelemetry metrics, under the names of the semantic conventions for SDKs.

All but one are observable: they read the plain counters of the worker when a reader of the user's asks, and cost
nothing at any other time. How long attempts took is recorded then, too. The sending thread never enters a meter
provider: if a process forks meanwhile, its child has a lock of the SDK's that nobody releases, and spans would wait
behind it for ever.

Instruments are made with the API alone, so they come to life with the first real ``MeterProvider``, be it set before or
after ``install()``. Since the API has no way to remove an instrument, they are made once in a process, and observe
whatever is installed.
"""

from __future__ import annotations

import threading
import weakref
from collections import deque
from collections.abc import Callable, Iterable, Mapping
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from opentelemetry import metrics
from opentelemetry.metrics import CallbackOptions, Observation

from causal_otel._internal import process
from causal_otel._version import __version__
from causal_otel.names import (
    CAUSAL_EXPORTER_LAST_SUCCESS_TIMESTAMP,
    CAUSAL_EXPORTER_SPAN_RECOVERED,
    CAUSAL_EXPORTER_SPAN_SPOOLED,
    CAUSAL_EXPORTER_SPOOL_DAMAGED,
    CAUSAL_EXPORTER_SPOOL_SIZE,
    ERROR_TYPE,
    HTTP_RESPONSE_STATUS_CODE,
    OTEL_COMPONENT_NAME,
    OTEL_COMPONENT_TYPE,
    OTEL_SDK_EXPORTER_OPERATION_DURATION,
    OTEL_SDK_EXPORTER_SPAN_EXPORTED,
    OTEL_SDK_EXPORTER_SPAN_INFLIGHT,
    OTEL_SDK_PROCESSOR_SPAN_PROCESSED,
    OTEL_SDK_PROCESSOR_SPAN_QUEUE_CAPACITY,
    OTEL_SDK_PROCESSOR_SPAN_QUEUE_SIZE,
    OTEL_SDK_SPAN_LIVE,
    OTEL_SDK_SPAN_STARTED,
    RPC_RESPONSE_STATUS_CODE,
    SCHEMA_URL,
    SERVER_ADDRESS,
    SERVER_PORT,
)

if TYPE_CHECKING:
    from causal_otel.engine.counts import SpanCounts
    from causal_otel.export.worker import Worker
    from causal_otel.transports.transport import Outcome

__all__ = ["Telemetry", "measures"]

_PROCESSOR = {
    OTEL_COMPONENT_TYPE: "batching_span_processor",
    OTEL_COMPONENT_NAME: "batching_span_processor/0",
}
_PROCESSOR_ERRORS = {"queue_full": "queue_full", "shutdown": "already_shutdown", "encoding": "encoding"}
_EXPORTER_ERRORS = ("export_failed", "refused", "too_large", "rejected", "spool_full")


_MOST_ATTEMPTS = 1024
"""Attempts that may wait for a reader; of more, the latest."""


def measures(provider: object) -> bool:
    """Whether a meter provider is more than the API's own, which measures nothing."""
    return not type(provider).__module__.startswith("opentelemetry.metrics")


class Telemetry:
    """The metrics of one worker.

    Args:
        component: the exporter's ``otel.component.type``.
        url: where it sends to.

    Attributes:
        engine: where to look for the provider's counts, which are others in a forked child; None: nowhere.
    """

    def __init__(self, component: str, url: str) -> None:
        parts = urlsplit(url)
        self.exporter: dict[str, Any] = {OTEL_COMPONENT_TYPE: component, OTEL_COMPONENT_NAME: f"{component}/0"}
        if parts.hostname:
            self.exporter[SERVER_ADDRESS] = parts.hostname
            self.exporter[SERVER_PORT] = parts.port or (443 if parts.scheme == "https" else 80)
        self.engine: Callable[[], SpanCounts] | None = None
        self._http = component == "otlp_http_span_exporter"
        self._worker: Callable[[], Worker | None] = lambda: None
        self._attempts: deque[tuple[float, dict[str, Any]]] = deque(maxlen=_MOST_ATTEMPTS)
        process.at_fork(in_child=self._forked)

    @property
    def worker(self) -> Worker | None:
        """What is observed."""
        return self._worker()

    def watch(self, worker: Worker) -> None:
        """Observe ``worker`` from now on, instead of any other."""
        global _watched
        self._worker = weakref.ref(worker)
        _watched = self
        _make_instruments()

    def unwatch(self) -> None:
        """Observe it no more."""
        global _watched
        if _watched is self:
            _watched = None

    def attempt(self, seconds: float, outcome: Outcome) -> None:
        """Note an attempt to send: ``otel.sdk.exporter.operation.duration``."""
        if not measures(metrics.get_meter_provider()):
            return
        attributes = dict(self.exporter)
        if self._http:
            if outcome.kind.isdecimal():
                attributes[HTTP_RESPONSE_STATUS_CODE] = int(outcome.kind)
            elif outcome.kind in ("", "rejected"):
                attributes[HTTP_RESPONSE_STATUS_CODE] = 200
        else:
            attributes[RPC_RESPONSE_STATUS_CODE] = outcome.kind if outcome.kind not in ("", "rejected") else "OK"
        if outcome.kind:
            attributes[ERROR_TYPE] = outcome.kind
        self._attempts.append((seconds, attributes))

    def record_attempts(self) -> None:
        """Tell of those that no reader has been told of yet."""
        attempts = self._attempts
        while attempts and _duration is not None:
            _duration.record(*attempts.popleft())

    def _forked(self) -> None:
        self._attempts.clear()  # its parent tells of them


_watched: Telemetry | None = None
_duration: metrics.Histogram | None = None
_making = threading.Lock()


def _make_instruments() -> None:
    """Make all instruments, the first time."""
    global _duration
    with _making:
        if _duration is None:
            _duration = _make(metrics.get_meter("causal_otel", __version__, schema_url=SCHEMA_URL))


def _make(meter: metrics.Meter) -> metrics.Histogram:
    """Make all instruments; returns the one that is not observable."""
    counter, gauge, level = (
        meter.create_observable_counter,
        meter.create_observable_gauge,
        meter.create_observable_up_down_counter,
    )
    queued = _reads(lambda worker: worker.counts().queued, _of_processor)
    capacity = _reads(lambda worker: worker.counts().capacity, _of_processor)
    in_flight = _reads(lambda worker: worker.counts().in_flight)
    spooled = _reads(lambda worker: worker.counts().spooled)
    recovered = _reads(lambda worker: worker.counts().recovered)
    spool_size = _reads(lambda worker: worker.status().spooled_bytes)
    last_success = _reads(lambda worker: worker.counts().last_success)
    counter(OTEL_SDK_SPAN_STARTED, [_observed(_started)], "{span}", "Spans started.")
    level(OTEL_SDK_SPAN_LIVE, [_observed(_live)], "{span}", "Recording spans that have not ended.")
    level(OTEL_SDK_PROCESSOR_SPAN_QUEUE_SIZE, [_observed(queued)], "{span}", "Spans that wait to be exported.")
    level(OTEL_SDK_PROCESSOR_SPAN_QUEUE_CAPACITY, [_observed(capacity)], "{span}", "How many spans may wait.")
    counter(
        OTEL_SDK_PROCESSOR_SPAN_PROCESSED,
        [_observed(_processed)],
        "{span}",
        "Spans handed to the exporter, or lost before.",
    )
    level(OTEL_SDK_EXPORTER_SPAN_INFLIGHT, [_observed(in_flight)], "{span}", "Spans being sent.")
    counter(OTEL_SDK_EXPORTER_SPAN_EXPORTED, [_observed(_exported)], "{span}", "Spans delivered, or lost on the way.")
    counter(CAUSAL_EXPORTER_SPAN_SPOOLED, [_observed(spooled)], "{span}", "Spans put into the spool.")
    counter(CAUSAL_EXPORTER_SPAN_RECOVERED, [_observed(recovered)], "{span}", "Spans sent from the spool.")
    counter(
        CAUSAL_EXPORTER_SPOOL_DAMAGED,
        [_observed(_damaged)],
        "{batch}",
        "Batches in the spool that were unfit to be sent.",
    )
    level(CAUSAL_EXPORTER_SPOOL_SIZE, [_observed(spool_size)], "By", "What is in the spool.")
    gauge(
        CAUSAL_EXPORTER_LAST_SUCCESS_TIMESTAMP,
        [_observed(last_success)],
        "s",
        "When the back end last took something.",
    )
    return meter.create_histogram(
        OTEL_SDK_EXPORTER_OPERATION_DURATION, "s", "How long attempts to export took, one by one."
    )


# -- what is observed -------------------------------------------------------------------------------------------------

_Points = Iterable[tuple[float, Mapping[str, Any]]]
"""What an instrument observes: values, each with its attributes."""
_Read = Callable[["Telemetry", "Worker"], _Points]


def _observed(read: _Read) -> Callable[[CallbackOptions], Iterable[Observation]]:
    """The callback of an instrument that reads the worker in use; without a worker it observes nothing."""

    def callback(_: CallbackOptions) -> Iterable[Observation]:
        telemetry = _watched
        worker = None if telemetry is None else telemetry.worker
        if telemetry is not None and worker is not None:
            for value, attributes in read(telemetry, worker):
                yield Observation(value, attributes)

    return callback


def _of_exporter(telemetry: Telemetry) -> Mapping[str, Any]:
    return telemetry.exporter


def _of_processor(_: Telemetry) -> Mapping[str, Any]:
    return _PROCESSOR


def _reads(
    value: Callable[[Worker], float | None], attributes: Callable[[Telemetry], Mapping[str, Any]] = _of_exporter
) -> _Read:
    """Reads one value of the worker; nothing if that is None."""

    def read(telemetry: Telemetry, worker: Worker) -> _Points:
        found = value(worker)
        return () if found is None else [(found, attributes(telemetry))]

    return read


def _started(telemetry: Telemetry, _: Worker) -> _Points:
    telemetry.record_attempts()
    return () if telemetry.engine is None else telemetry.engine().started()


def _live(telemetry: Telemetry, _: Worker) -> _Points:
    return () if telemetry.engine is None else telemetry.engine().live()


def _processed(_: Telemetry, worker: Worker) -> _Points:
    counts = worker.counts()
    lost = sum(counts.dropped.get(reason, 0) for reason in _EXPORTER_ERRORS if reason != "spool_full")
    yield counts.exported + counts.spooled + lost, _PROCESSOR
    for reason, error_type in _PROCESSOR_ERRORS.items():
        if count := counts.dropped.get(reason, 0):
            yield count, {**_PROCESSOR, ERROR_TYPE: error_type}


def _exported(telemetry: Telemetry, worker: Worker) -> _Points:
    counts = worker.counts()
    yield counts.exported + counts.recovered, telemetry.exporter
    for reason in _EXPORTER_ERRORS:
        if count := counts.dropped.get(reason, 0):
            yield count, {**telemetry.exporter, ERROR_TYPE: reason}


def _damaged(telemetry: Telemetry, worker: Worker) -> _Points:
    for reason, count in worker.counts().damaged.items():
        yield count, {**telemetry.exporter, ERROR_TYPE: reason}
