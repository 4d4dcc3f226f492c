"""Ended spans to requests of OTLP: grouped by resource and scope, and split below a size.

A span is encoded by :mod:`causal_otel.export.span_encoder`, a resource or scope once and then remembered. Field
numbers: ``opentelemetry/proto/trace/v1/trace.proto`` and ``collector/trace/v1/trace_service.proto``.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from causal_otel._internal import faults
from causal_otel.export.attributes import AttributeEncoder, field, optional, varint
from causal_otel.export.span_encoder import OWN, SpanEncoder

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

    from opentelemetry.sdk.resources import Resource
    from opentelemetry.sdk.trace import ReadableSpan
    from opentelemetry.sdk.util.instrumentation import InstrumentationScope

    from causal_otel.engine.redaction import Redaction
    from causal_otel.engine.tracer import Tracer
    from causal_otel.transports.transport import Request

__all__ = ["Batch", "Encoder", "encoded_resource"]


_MAX_REQUEST_BYTES = 4_000_000
"""Just below the 4 MiB that a gRPC server takes by default."""
_HEADERS = 64
_FRAME = 6
"""How many bytes the tag and the length of an enclosing message take at most."""


class Encoder:
    """Encodes spans, ours and anybody's, into requests. For one thread.

    Its caches are bounded to a few MiB in all, and seldom reach one.

    Args:
        max_request_bytes: how large a request may be. A span that alone is larger goes alone.
        redaction: takes secrets out of all that is text; None: they stay.
        other: encodes what is no span of ours; default: a span of another provider's.

    Attributes:
        spans: encodes the single span.
        other: what was given, or its default.
        skipped: how many spans had no encoding and were left out; why is logged once (``faults``).
    """

    def __init__(
        self,
        max_request_bytes: int = _MAX_REQUEST_BYTES,
        redaction: Redaction | None = None,
        other: Callable[[Any], bytes] | None = None,
    ) -> None:
        self.max_request_bytes = max_request_bytes
        self.spans = SpanEncoder(redaction)
        self.other = other or self.spans.other_span
        self._redaction = redaction
        self.skipped = 0
        self._headers: dict[int, tuple[object, bytes]] = {}

    def encode(self, spans: Iterable[ReadableSpan]) -> Iterator[Request]:
        """All ``spans`` in as few requests as their size allows, grouped by resource and scope."""
        batch = self.batch()
        batch.add(spans)
        yield from batch.finish()

    def batch(self) -> Batch:
        """An empty batch, to be filled in slices."""
        return Batch(self)

    def _header(self, described: Any, encode: Callable[[Any, Redaction | None], bytes]) -> bytes:
        """What stands before the spans of a resource or scope; cached by identity, because hashing it is slow."""
        found = self._headers.get(id(described))
        if found is None:
            if len(self._headers) >= _HEADERS:
                self._headers.clear()
            found = self._headers[id(described)] = described, encode(described, self._redaction)
        return found[1]

    def resource_header(self, resource: Resource) -> bytes:
        """The fields of ``ResourceSpans`` other than the spans."""
        return self._header(resource, _resource)

    def scope_header(self, scope: InstrumentationScope | None) -> bytes:
        """The fields of ``ScopeSpans`` other than the spans."""
        return self._header(scope, _scope)


class Batch:
    """Spans on their way into requests. Made by :meth:`Encoder.batch`; for one thread.

    Filled in slices, so that the thread can let others run between them::

        batch = encoder.batch()
        while waiting:
            batch.add(waiting.popleft() for _ in range(min(32, len(waiting))))
            time.sleep(0)
        for body, count in batch.finish():
            ...
    """

    def __init__(self, encoder: Encoder) -> None:
        self._encoder = encoder
        self._requests: list[Request] = []
        self._begin()

    def _begin(self) -> None:
        self._size = 0
        self._count = 0
        # Resource -> scope -> spans, all encoded: what has the same bytes is the same.
        self._resources: dict[bytes, dict[bytes, list[bytes]]] = {}
        # The same lists by tracer, or by the ids of resource and scope, which are stored too, so that no id is reused.
        self._lists: dict[Any, tuple[list[bytes], object]] = {}

    def add(self, spans: Iterable[ReadableSpan]) -> None:
        """Encode ``spans``; one that cannot be is skipped (:attr:`Encoder.skipped`). Never raises."""
        encoder = self._encoder
        encode_own, encode_other = encoder.spans.own_span, encoder.other
        most = encoder.max_request_bytes
        tracer: Tracer | None = None  # that of the span before, if it was one of ours
        into: list[bytes] = []
        for span in spans:
            try:
                if type(span) in OWN:
                    encoded = encode_own(span)  # type: ignore[arg-type]
                    if span._tracer is not tracer:  # type: ignore[attr-defined]
                        into = self._list(span)
                        tracer = span._tracer  # type: ignore[attr-defined]
                else:
                    encoded = encode_other(span)
                    tracer = None
                    into = self._list(span)
                self._size += len(encoded)
                if self._size > most and self._count:
                    self._close()
                    into = self._list(span)
                    self._size += len(encoded)
            except Exception:
                faults.report("export: span")
                encoder.skipped += 1
            else:
                into.append(encoded)
                self._count += 1

    def finish(self) -> list[Request]:
        """The requests with all that was added; the batch is empty again."""
        if self._count:
            self._close()
        requests, self._requests = self._requests, []
        return requests

    def _list(self, span: ReadableSpan) -> list[bytes]:
        """Where the span belongs."""
        key: Any
        if type(span) in OWN:
            key = span._tracer  # type: ignore[attr-defined]
            found = self._lists.get(key)
            if found is not None:
                return found[0]
            resource, scope = span.resource, span.instrumentation_scope
        else:
            resource, scope = span.resource, span.instrumentation_scope
            key = (id(resource), id(scope))
            found = self._lists.get(key)
            if found is not None:
                return found[0]
        resource_header, scope_header = self._encoder.resource_header(resource), self._encoder.scope_header(scope)
        scopes = self._resources.get(resource_header)
        if scopes is None:
            scopes = self._resources[resource_header] = {}
            self._size += len(resource_header) + _FRAME
        into = scopes.get(scope_header)
        if into is None:
            into = scopes[scope_header] = []
            self._size += len(scope_header) + _FRAME
        self._lists[key] = into, (resource, scope)
        return into

    def _close(self) -> None:
        """Make a request of what there is, with a single join, because each join copies everything."""
        parts: list[bytes] = []
        for resource_header, scopes in self._resources.items():
            inner: list[bytes] = []
            size = len(resource_header)
            for scope_header, spans in scopes.items():
                if spans:  # empty, if the span that it was made for went into the next request
                    frame = b"\x12" + varint(len(scope_header) + sum(map(len, spans)))
                    inner += (frame, scope_header, *spans)
            if inner:
                size += sum(map(len, inner))
                parts += (b"\x0a" + varint(size), resource_header, *inner)
        self._requests.append((b"".join(parts), self._count))
        self._begin()


def encoded_resource(resource: Resource, redaction: Redaction | None = None) -> bytes:
    """The ``Resource`` message."""
    attributes, _ = AttributeEncoder(b"\x0a", redaction=redaction).encode(resource.attributes)
    return attributes


def _resource(resource: Resource, redaction: Redaction | None) -> bytes:
    return field(b"\x0a", encoded_resource(resource, redaction)) + optional(b"\x1a", resource.schema_url)


def _scope(scope: InstrumentationScope | None, redaction: Redaction | None) -> bytes:
    if not scope:
        return b"\x0a\x00"
    attributes, _ = AttributeEncoder(b"\x1a", redaction=redaction).encode(scope.attributes)
    content = optional(b"\x0a", scope.name) + optional(b"\x12", scope.version) + attributes
    return field(b"\x0a", content) + optional(b"\x1a", scope.schema_url)
