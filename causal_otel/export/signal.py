"""What a worker exports: spans, or something else that OTLP carries in the same shape."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, NamedTuple

from causal_otel.export.encoder import Encoder
from causal_otel.transports import requests
from causal_otel.transports.requests import RequestKind

if TYPE_CHECKING:
    from causal_otel.engine.redaction import Redaction

__all__ = ["TRACES", "Signal"]


def _encoder(redaction: Redaction | None) -> Encoder:
    return Encoder(redaction=redaction)


class Signal(NamedTuple):
    """A kind of telemetry."""

    name: str
    """As transports call it."""
    noun: str
    """What its records are called in messages, in the plural."""
    kind: RequestKind
    """What is sent."""
    make_encoder: Callable[[Redaction | None], Encoder]


TRACES = Signal("traces", "spans", requests.TRACES, _encoder)
