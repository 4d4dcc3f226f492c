"""Log records to OTLP bytes, equal after decoding to what the official exporter sends for the same record.

Field numbers: ``opentelemetry/proto/logs/v1/logs.proto``.
"""

from __future__ import annotations

import struct
from typing import TYPE_CHECKING, Any, NamedTuple

from causal_otel.export.attributes import AttributeEncoder, any_value, field, optional, text, varint
from causal_otel.export.encoder import Encoder
from causal_otel.export.signal import Signal
from causal_otel.transports.requests import LOGS

if TYPE_CHECKING:
    from opentelemetry.sdk.resources import Resource
    from opentelemetry.sdk.util.instrumentation import InstrumentationScope

    from causal_otel.engine.redaction import Redaction

__all__ = ["LogItem", "LogRecordEncoder", "logs_signal", "severity"]

_fixed64 = struct.Struct("<Q").pack
_fixed32 = struct.Struct("<I").pack


class LogItem(NamedTuple):
    """A log record on its way; nobody can change it."""

    resource: Resource
    instrumentation_scope: InstrumentationScope
    end_time: int
    """When it was logged, in Unix nanoseconds; called as a span's, by which a worker tells a parent process's."""
    observed: int
    """When we saw it, likewise."""
    trace_id: bytes
    span_id: bytes
    flags: int
    severity_number: int
    severity_text: str
    body: Any
    attributes: dict[str, Any]


def severity(level: int) -> int:
    """OpenTelemetry's severity number of a level of ``logging``: 9 for INFO (20), 10 for 21, 12 for 23 and above."""
    if level < 10:
        return 0
    tens, units = divmod(min(level, 53), 10)
    return 4 * tens + 1 + min(units, 3)


class LogRecordEncoder:
    """Encodes the single log record. For one thread.

    Args:
        redaction: takes secrets out of the body and the attributes; None: they stay.
        max_attributes: the most of them; None: no limit.
        max_length: of an attribute's text, in characters; None: no limit.
    """

    def __init__(
        self, redaction: Redaction | None = None, max_attributes: int | None = None, max_length: int | None = None
    ) -> None:
        self._redaction = redaction
        self._max_attributes = max_attributes
        self._attributes = AttributeEncoder(b"\x32", raw=True, max_length=max_length, redaction=redaction)

    def encode(self, item: LogItem) -> bytes:
        """The field of ``ScopeLogs`` with the record."""
        attributes, dropped = self._attributes.encode(item.attributes, self._max_attributes)
        body = item.body
        if self._redaction is not None:
            body = self._redaction.text(body) if isinstance(body, str) else self._redaction.value("body", body)
        parts = [
            b"\x09" + _fixed64(item.end_time),
            b"\x10" + varint(item.severity_number) if item.severity_number else b"",
            optional(b"\x1a", item.severity_text),
            field(b"\x2a", field(b"\x0a", text(body)) if isinstance(body, str) else any_value(body)),
            attributes,
            b"\x38" + varint(dropped) if dropped else b"",
            b"\x45" + _fixed32(item.flags) if item.flags else b"",
            field(b"\x4a", item.trace_id) if item.trace_id else b"",
            field(b"\x52", item.span_id) if item.span_id else b"",
            b"\x59" + _fixed64(item.observed),
        ]
        return field(b"\x12", b"".join(parts))


def logs_signal(max_attributes: int | None = None, max_length: int | None = None) -> Signal:
    """The signal for a worker that exports :class:`LogItem` objects, with the limits of :class:`LogRecordEncoder`."""

    def make_encoder(redaction: Redaction | None) -> Encoder:
        return Encoder(redaction=redaction, other=LogRecordEncoder(redaction, max_attributes, max_length).encode)

    return Signal("logs", "log records", LOGS, make_encoder)
