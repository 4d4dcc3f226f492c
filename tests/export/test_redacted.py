"""Redaction where it happens: in the encoder, once; in what processors, exporters and logs read."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from opentelemetry import baggage
from opentelemetry.processor.baggage import ALLOW_ALL_BAGGAGE_KEYS, BaggageSpanProcessor
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import ReadableSpan, Span, SpanLimits, SpanProcessor
from opentelemetry.sdk.trace import TracerProvider as SdkTracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from opentelemetry.trace import Link, SpanContext, SpanKind, StatusCode

from causal_otel.engine.context import attach
from causal_otel.engine.provider import TracerProvider
from causal_otel.engine.tracer import Tracer
from causal_otel.export.encoder import Encoder
from causal_otel.export.privacy import Policy
from causal_otel.export.worker import Worker
from causal_otel.transports.transport import Outcome, Verdict

JWT = "eyJhbGciOiJub25lIn0.eyJzdWIiOiJhbm4ifQ.c2lnbmF0dXJl"


class _Counting:
    """A policy that counts how often it is asked."""

    def __init__(self) -> None:
        self.policy = Policy()
        self.asked = 0

    def value(self, key: str, value: Any) -> Any:
        self.asked += 1
        return self.policy.value(key, value)

    def text(self, text: str) -> str:
        return self.policy.text(text)


def test_encoder_asks_once() -> None:
    """What repeats is looked at once; what is hidden is counted each time."""
    exporter = InMemorySpanExporter()
    provider = TracerProvider(resource=Resource({}))
    provider.add_span_processor(SimpleSpanProcessor(exporter))
    tracer = provider.get_tracer("t")
    for _ in range(5):
        tracer.start_span("s", attributes={"a": "x" * 20, "n": 7, "f": 1.5, "password": "hunter2"}).end()
    counting = _Counting()
    encoder = Encoder(redaction=counting)
    ((body, _),) = encoder.encode(exporter.get_finished_spans())
    assert counting.asked == 3 + 5
    assert counting.policy.counts() == {"key": 5}
    assert b"hunter2" not in body


def test_shared_attributes_are_counted_each_time() -> None:
    """What many leaves share is known as a whole only where there is nothing to hide in it."""
    provider = TracerProvider(resource=Resource({}))
    spans: list[Any] = []
    provider.core.deliver = spans.append
    tracer = provider.get_tracer("t")
    assert isinstance(tracer, Tracer)
    attributes = {"a": "x", "password": "hunter2"}
    with tracer.start_as_current_span("root"):
        for _ in range(5):
            tracer.start_leaf("leaf", SpanKind.CLIENT, attributes).end()
    policy = Policy()
    ((body, _),) = Encoder(redaction=policy).encode(spans)
    assert policy.counts() == {"key": 5}
    assert b"hunter2" not in body


# -- every way out --------------------------------------------------------------------------------------------------

SECRET = "hunter2-planted"
DSN = f"postgresql://app:{SECRET}@db/shop"


class Kept:
    """A transport that keeps what it is given."""

    def __init__(self) -> None:
        self.bodies: list[bytes] = []

    def send(self, payload: bytes, deadline: float) -> Outcome:
        self.bodies.append(payload)
        return Outcome(Verdict.DELIVERED)

    def close(self) -> None: ...

    def abandon(self) -> None: ...


def _plant(provider: SdkTracerProvider) -> None:
    """One span with the secret in every place that a span has."""
    tracer = provider.get_tracer("t", attributes={"dsn": DSN})
    link = Link(SpanContext(1, 2, False), {"password": SECRET})
    span = tracer.start_span(f"connect {DSN}", attributes={"dsn": DSN, "n": 1}, links=[link])
    span.set_attribute("tokens", [f"token={SECRET}", "x"])
    span.add_event(f"tried {DSN}", {"token": SECRET})
    try:
        try:
            raise ValueError(DSN)
        except ValueError as error:
            raise RuntimeError(f"password={SECRET}") from error
    except RuntimeError as error:
        span.record_exception(error)
    span.set_status(StatusCode.ERROR, f"cannot connect to {DSN}")
    span.end()


@pytest.fixture(params=["ours", "the SDK's"])
def exported(request: pytest.FixtureRequest) -> Iterator[Callable[[], bytes]]:
    """What a worker has exported of the planted span, on either provider."""
    kept, resource = Kept(), Resource({"service.name": "tests", "db.dsn": DSN})
    provider = TracerProvider(resource=resource) if request.param == "ours" else SdkTracerProvider(resource=resource)
    worker = Worker(lambda: kept)
    provider.add_span_processor(worker)

    def export() -> bytes:
        _plant(provider)
        assert provider.force_flush()
        return b"".join(kept.bodies)

    yield export
    provider.shutdown()


def test_exported_bytes(exported: Callable[[], bytes]) -> None:
    """No byte of the secret leaves by a worker, on our provider or the SDK's; the harmless rest does."""
    body = exported()
    assert SECRET.encode() not in body
    request = ExportTraceServiceRequest.FromString(body)
    scope = request.resource_spans[0].scope_spans[0]
    span = scope.spans[0]
    shown = "postgresql://app:[redacted:url]@db/shop"
    assert span.name == f"connect {shown}"
    assert span.status.message == f"cannot connect to {shown}"
    assert {each.key: each.value.string_value for each in span.attributes}["dsn"] == shown
    assert [event.name for event in span.events] == [f"tried {shown}", "exception"]
    assert "RuntimeError: password=[redacted:pair]" in str(span.events[1])
    assert scope.scope.attributes[0].value.string_value == shown


class _Noting(SpanProcessor):
    """A processor that reads what it can, at both ends of a span."""

    def __init__(self) -> None:
        self.read: list[str] = []

    def on_start(self, span: Span, parent_context: Any = None) -> None:
        self.on_end(span)

    def on_end(self, span: ReadableSpan) -> None:
        links, events = [dict(each.attributes or {}) for each in span.links], list(span.events)
        told = [(event.name, dict(event.attributes or {})) for event in events]
        self.read.append(repr((span.name, dict(span.attributes or {}), told, links, span.status.description)))
        self.read += [span.to_json(), repr(span)]


def test_own_processors_and_exporters() -> None:
    """They see the redacted view; inside, the attributes stay as they were set."""
    provider = TracerProvider(resource=Resource({}))
    provider.core.redaction = policy = Policy()
    noting, exporter = _Noting(), InMemorySpanExporter()
    provider.add_span_processor(noting)
    provider.add_span_processor(SimpleSpanProcessor(exporter))
    _plant(provider)
    (span,) = exporter.get_finished_spans()
    assert SECRET not in "".join(noting.read)
    assert "postgresql://app:[redacted:url]@db/shop" in noting.read[-2]
    assert dict(span.attributes or {}) == {
        "dsn": "postgresql://app:[redacted:url]@db/shop",
        "n": 1,
        "tokens": ("token=[redacted:pair]", "x"),
    }
    assert span._attributes is not None
    assert span._attributes["dsn"] == DSN
    assert policy.counts().keys() == {"url", "pair", "key"}


def test_baggage_processor() -> None:
    """Baggage that contrib's processor copies to attributes goes through the policy as well."""
    provider, exporter = TracerProvider(resource=Resource({})), InMemorySpanExporter()
    provider.core.redaction = Policy()
    provider.add_span_processor(BaggageSpanProcessor(ALLOW_ALL_BAGGAGE_KEYS))
    provider.add_span_processor(SimpleSpanProcessor(exporter))
    activation = attach(baggage.set_baggage("session-token", SECRET, baggage.set_baggage("tenant", "red")))
    provider.get_tracer("t").start_span("s").end()
    activation.end()
    (span,) = exporter.get_finished_spans()
    assert dict(span.attributes or {}) == {"tenant": "red", "session-token": "[redacted:key]"}


def test_redacted_before_it_is_cut() -> None:
    """A limit on lengths cuts what has been redacted, and does not leave the half of a secret."""
    provider, exporter = (
        TracerProvider(resource=Resource({}), span_limits=SpanLimits(max_attribute_length=20)),
        InMemorySpanExporter(),
    )
    provider.core.redaction = Policy()
    provider.add_span_processor(SimpleSpanProcessor(exporter))
    provider.get_tracer("t").start_span("s", attributes={"note": f"{JWT} and more"}).end()
    ((body, _),) = Encoder(redaction=Policy()).encode(exporter.get_finished_spans())
    (span,) = ExportTraceServiceRequest.FromString(body).resource_spans[0].scope_spans[0].spans
    (read,) = exporter.get_finished_spans()
    assert span.attributes[0].value.string_value == "[redacted:jwt] and m" == (read.attributes or {})["note"]


def test_log(caplog: pytest.LogCaptureFixture) -> None:
    """What is logged through the filter has no secrets in its message nor its traceback; other records pass as is."""
    logger = logging.getLogger("causal_otel.tests.privacy")
    found = Policy().log_filter()
    logger.addFilter(found)
    try:
        logger.warning("cannot reach %s", DSN)
        try:
            raise ValueError(DSN)
        except ValueError:
            logger.warning("failed", exc_info=True)
        logger.warning("all %d well", 3)
    finally:
        logger.removeFilter(found)
    assert SECRET not in caplog.text
    assert "cannot reach postgresql://app:[redacted:url]@db/shop" in caplog.text
    assert "ValueError: postgresql://app:[redacted:url]@db/shop" in caplog.text
    assert caplog.records[-1].args == (3,)
