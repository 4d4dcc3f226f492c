"""Asks the collector: a test span is sent by the very transport that the application would use, and looked for again.

Of metrics and log records, where they are exported, an empty request is sent: whether it is taken tells enough.
"""

from __future__ import annotations

import os
import time
from email.utils import parsedate_to_datetime
from typing import TYPE_CHECKING, NamedTuple

from causal_otel._version import __version__
from causal_otel.destination import destination, logs_destination
from causal_otel.doctor.connection import Look, look
from causal_otel.export.select_transport import check, make_transport
from causal_otel.names import SERVICE_NAME, SERVICE_VERSION
from causal_otel.settings import SettingError
from causal_otel.transports.transport import Outcome, Verdict, without_credentials

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

    from causal_otel.settings import Settings

__all__ = ["SERVICE", "Probe", "Searched", "probes"]

SERVICE = "causal-otel-doctor"
"""The service of the test span: no service of yours has its figures changed by it."""

_SECONDS = 5.0
"""For an attempt, at the most."""


class Searched(NamedTuple):
    """What came of looking for the test span.

    Attributes:
        place: the query API that was asked; empty: none is known.
        found: whether the span is there.
        problem: why nobody knows, if so.
    """

    place: str = ""
    found: bool = False
    problem: str = ""


class Probe(NamedTuple):
    """What came of asking the collector about one signal.

    Attributes:
        signal: ``traces``, ``metrics`` or ``logs``.
        protocol: ``http/protobuf`` or ``grpc``.
        url: where it was sent, without credentials.
        outcome: of the attempt.
        proxy: the proxy that the environment names for that host, without credentials; empty: none.
        seen: what a closer look has shown; None: there was no need.
        ahead: how many seconds the collector's clock is ahead of ours; None: it does not tell.
        searched: whether the test span was found again; None: nobody has looked.
    """

    signal: str
    protocol: str
    url: str
    outcome: Outcome
    proxy: str = ""
    seen: Look | None = None
    ahead: float | None = None
    searched: Searched | None = None

    @property
    def delivered(self) -> bool:
        """Whether it was taken, whole."""
        return self.outcome.verdict is Verdict.DELIVERED and not self.outcome.rejected


def probes(settings: Settings, find: Callable[[str, bytes], Searched]) -> Iterator[Probe]:
    """Ask about every signal that is exported by OTLP.

    Args:
        settings: where to, and how.
        find: looks for a trace, given the URL that it was sent to and its id.

    Raises:
        SettingError: no transport can be made of these settings.
    """
    if settings.exporter not in ("otlp", "jaeger"):
        return
    protocol, url = destination(settings)
    trace_id = os.urandom(16)
    sent = _sent(settings, "traces", protocol, url, _test_span(trace_id))
    yield sent._replace(searched=find(url, trace_id)) if sent.delivered else sent
    if settings.metrics_exporter == "otlp":
        place = settings.metrics_endpoint or destination(settings, "/v1/metrics")[1]
        yield _sent(settings, "metrics", protocol, place, b"")
    if settings.logs == "export":
        yield _sent(settings, "logs", protocol, logs_destination(settings, protocol, url), b"")


def _sent(settings: Settings, signal: str, protocol: str, url: str, payload: bytes) -> Probe:
    check(settings, protocol)
    try:
        transport = make_transport(settings, protocol, url, signal)
    except Exception as error:  # such as a file of certificates that holds none
        raise SettingError(f"no connection to {without_credentials(url)} can be made: {error}") from error
    seconds = min(_SECONDS, settings.timeout)
    try:
        outcome = transport.send(payload, time.monotonic() + seconds)
        ahead, proxy = _ahead(transport.date), transport.proxy
    finally:
        transport.close()
    made = Probe(signal, protocol, without_credentials(url), outcome, proxy, ahead=ahead)
    if made.delivered:
        return made
    return made._replace(seen=look(url, settings))


def _ahead(date: str) -> float | None:
    """How much later than ours a clock is that a header Date tells, which has whole seconds."""
    try:
        told = parsedate_to_datetime(date).timestamp()
    except (ValueError, OverflowError, TypeError):
        return None
    now = time.time()
    return 0.0 if told <= now <= told + 1 else told - now + (1 if told < now else 0)


def _test_span(trace_id: bytes) -> bytes:
    """A request with one span, of an eventless millisecond."""
    from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
    from opentelemetry.proto.trace.v1.trace_pb2 import Span

    request = ExportTraceServiceRequest()
    group = request.resource_spans.add()
    told: Mapping[str, str] = {SERVICE_NAME: SERVICE, SERVICE_VERSION: __version__}
    for key, value in told.items():
        group.resource.attributes.add(key=key).value.string_value = value
    scope = group.scope_spans.add()
    scope.scope.name = "causal_otel.doctor"
    now = time.time_ns()
    scope.spans.add(
        trace_id=trace_id,
        span_id=os.urandom(8),
        name="test span",
        kind=Span.SPAN_KIND_INTERNAL,
        start_time_unix_nano=now - 1_000_000,
        end_time_unix_nano=now,
    )
    return bytes(request.SerializeToString())
