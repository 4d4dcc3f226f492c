"""What redaction adds to encoding a span: the policy on and off, in turns. ``python -m benchmarks.bench_privacy``."""

from __future__ import annotations

import gc
from typing import TYPE_CHECKING

from opentelemetry.sdk.resources import Resource

from benchmarks.bench_encode import SPANS, WORKLOADS, _repeating, _spans, _timed
from benchmarks.rounds import BARE, OURS
from causal_otel.engine.provider import TracerProvider
from causal_otel.export.encoder import Encoder
from causal_otel.export.privacy import Policy

if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

    from benchmarks.conftest import Record

ROUNDS = 60


def compare(attributes: Callable[[int], dict[str, Any]]) -> tuple[float, float]:
    """Microseconds a span: without the policy, and with it."""
    resource = Resource({"service.name": "benchmark"})
    own, warm = (
        _spans(TracerProvider(resource=resource), attributes),
        _spans(TracerProvider(resource=resource), _repeating),
    )
    repeat = attributes is _repeating
    kept = {redaction: Encoder(redaction=redaction) for redaction in (None, Policy())}
    found: dict[Policy | None, list[float]] = {redaction: [] for redaction in kept}

    def encode(redaction: Policy | None) -> float:
        encoder = kept[redaction]
        if not repeat:  # a new one, to which the values are new
            encoder = Encoder(redaction=None if redaction is None else Policy())
            list(encoder.encode(warm))
        return _timed(lambda: list(encoder.encode(own)))

    for redaction in kept:
        encode(redaction)
    gc.collect()
    for _ in range(ROUNDS):
        for redaction, values in found.items():
            values.append(encode(redaction))
    without, with_policy = (min(values) for values in found.values())
    return without, with_policy


def test_redaction(record: Record) -> None:
    """A child span with seven attributes, five strings and two numbers."""
    for row, attributes in zip(("redaction", "redaction new"), WORKLOADS.values(), strict=True):
        without, with_policy = compare(attributes)
        record(row, {BARE: without / 1e6, OURS: (with_policy - without) / 1e6})


if __name__ == "__main__":
    for name, attributes in WORKLOADS.items():
        without, with_policy = compare(attributes)
        print(f"{name:28} {without:6.2f} µs a span, redaction {with_policy - without:+.2f} µs  ({SPANS} spans)")
