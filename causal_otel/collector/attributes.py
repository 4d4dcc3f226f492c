"""OTLP attribute values as text and as plain values, and the tags that a span is searched by."""

from __future__ import annotations

import base64
import json
import math
from typing import TYPE_CHECKING, Any

from opentelemetry.proto.trace.v1.trace_pb2 import Span, Status

from causal_otel.names import (
    OTEL_SCOPE_NAME,
    OTEL_SCOPE_VERSION,
    OTEL_STATUS_CODE,
    OTEL_STATUS_DESCRIPTION,
    SERVICE_NAME,
    SPAN_KIND,
    W3C_TRACESTATE,
)

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Iterator

    from opentelemetry.proto.common.v1.common_pb2 import AnyValue, InstrumentationScope, KeyValue
    from opentelemetry.proto.resource.v1.resource_pb2 import Resource

__all__ = [
    "KINDS",
    "MISSING_SERVICE",
    "kind_name",
    "plain",
    "plain_dict",
    "scope_tags",
    "service_name",
    "span_tags",
    "tags",
    "text",
]

MISSING_SERVICE = "missing-service-name"
"""What a resource without ``service.name`` is called, as Jaeger calls it."""

KINDS = ("unspecified", "internal", "server", "client", "producer", "consumer")
"""The span kinds by their OTLP number."""


def kind_name(span: Span) -> str:
    """The span's kind as queries name it; one that OTLP does not know is ``unspecified``."""
    return KINDS[span.kind] if 0 <= span.kind < len(KINDS) else KINDS[0]


def plain(value: AnyValue) -> Any:
    """``value`` as str, bool, int, float, bytes, list, dict or None."""
    kind = value.WhichOneof("value")
    if kind is None:
        return None
    if kind == "array_value":
        return [plain(item) for item in value.array_value.values]
    if kind == "kvlist_value":
        return plain_dict(value.kvlist_value.values)
    return getattr(value, kind)


def plain_dict(pairs: Iterable[KeyValue]) -> dict[str, Any]:
    """Attributes as a dict of what :func:`plain` makes of them; the last of several with one key counts."""
    return {pair.key: plain(pair.value) for pair in pairs}


def text(value: Any) -> str:
    """A plain value as it is written, shown and compared in a search.

    A string is itself; ``true``, ``false``; numbers in decimal, a whole float without its ``.0``; bytes in Base64;
    lists and dicts as compact JSON; None is empty.
    """
    if isinstance(value, str):
        return value
    if value is None:
        return ""
    if isinstance(value, bytes):
        return base64.b64encode(value).decode()
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, int):
        return str(value)
    if isinstance(value, float):
        return _number(value)
    return json.dumps(_jsonable(value), ensure_ascii=False, separators=(",", ":"))


def _number(value: float) -> str:
    if not math.isfinite(value):
        return "NaN" if math.isnan(value) else "Infinity" if value > 0 else "-Infinity"
    return str(int(value)) if value.is_integer() and abs(value) < 1e15 else repr(value)


def _jsonable(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _jsonable(item) for key, item in value.items()}
    if isinstance(value, list):
        return [_jsonable(item) for item in value]
    if isinstance(value, bytes):
        return text(value)
    if isinstance(value, float):
        return text(value) if not math.isfinite(value) else int(value) if text(value).lstrip("-").isdigit() else value
    return value


def service_name(resource: Resource) -> str:
    """The resource's ``service.name``, or :data:`MISSING_SERVICE`."""
    for pair in resource.attributes:
        if pair.key == SERVICE_NAME:
            return text(plain(pair.value)) or MISSING_SERVICE
    return MISSING_SERVICE


def tags(span: Span, scope: InstrumentationScope, keys: Collection[str] | None = None) -> Iterator[tuple[str, str]]:
    """What ``span`` can be found by besides its resource's attributes: every key with its value as text.

    Its attributes, its events' names (``event``) and attributes, and what Jaeger makes tags of: ``span.kind``,
    ``error``, ``otel.status_code``, ``otel.status_description``, ``otel.scope.name``, ``otel.scope.version``,
    ``w3c.tracestate``.

    Args:
        span: the span.
        scope: its instrumentation.
        keys: leave out attributes with other keys than these, to save the time; None: all.
    """
    for pair in span.attributes:
        if keys is None or pair.key in keys:
            yield pair.key, text(plain(pair.value))
    for event in span.events:
        yield "event", event.name
        for pair in event.attributes:
            if keys is None or pair.key in keys:
                yield pair.key, text(plain(pair.value))
    yield from scope_tags(scope)
    for key, value in span_tags(span):
        yield key, text(value)


def scope_tags(scope: InstrumentationScope) -> Iterator[tuple[str, str]]:
    """What Jaeger makes tags of in a span's instrumentation scope."""
    if scope.name:
        yield OTEL_SCOPE_NAME, scope.name
    if scope.version:
        yield OTEL_SCOPE_VERSION, scope.version


def span_tags(span: Span) -> Iterator[tuple[str, str | bool]]:
    """What Jaeger makes tags of in a span, besides its attributes and events."""
    if 0 < span.kind < len(KINDS):
        yield SPAN_KIND, KINDS[span.kind]
    if span.status.code == Status.STATUS_CODE_ERROR:
        yield OTEL_STATUS_CODE, "ERROR"
        yield "error", True
    elif span.status.code == Status.STATUS_CODE_OK:
        yield OTEL_STATUS_CODE, "OK"
    if span.status.message:
        yield OTEL_STATUS_DESCRIPTION, span.status.message
    if span.trace_state:
        yield W3C_TRACESTATE, span.trace_state
