"""What the spans of a test have cost, reckoned from what such spans cost on this machine."""

from __future__ import annotations

import time
from functools import cache
from typing import TYPE_CHECKING, Any

from opentelemetry.sdk.trace.sampling import ALWAYS_ON
from opentelemetry.trace import SpanKind

from causal_otel._internal.durations import format_duration
from causal_otel.engine.provider import TracerProvider
from causal_otel.export.encoder import Encoder

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from causal_otel.testing.recorder import Scope

__all__ = ["overhead"]

_ROUNDS = 5
_SPANS = 200


def overhead(scope: Scope, records: Sequence[tuple[Any, Any]], percent: float) -> str:
    """What is too much about it; empty: nothing.

    Args:
        scope: the test.
        records: its spans.
        percent: of the CPU time that the process has used since the test began, all threads together.
    """
    used = time.process_time_ns() - scope.cpu
    if not records:
        return ""
    each = _making() + _encoding([span for span, _ in records])
    cost = each * len(records)
    if cost <= used * percent / 100:
        return ""
    return (
        f"{len(records)} spans at {format_duration(round(each))} cost {format_duration(round(cost))}, "
        f"{100 * cost / max(1, used):.1f} % of the {format_duration(used)} of CPU time that the test has used, "
        f"at most {percent:g} % allowed"
    )


@cache
def _making() -> float:
    """Nanoseconds that a span with seven attributes costs, from its start until it has ended."""
    provider = TracerProvider(ALWAYS_ON)
    tracer = provider.get_tracer("overhead")
    attributes = {f"attribute.{number}": f"value {number}" for number in range(7)}

    def make() -> None:
        with tracer.start_as_current_span("root"):
            for _ in range(_SPANS):
                with tracer.start_as_current_span("child", kind=SpanKind.CLIENT, attributes=attributes):
                    pass

    try:
        return _least(make) / _SPANS
    finally:
        provider.shutdown()


def _encoding(spans: Sequence[Any]) -> float:
    """Nanoseconds that encoding one of these spans costs, on average."""
    some = spans[:_SPANS]

    def encode() -> None:
        list(Encoder().encode(some))

    return _least(encode) / len(some)


def _least(work: Callable[[], None]) -> int:
    """The least CPU time of this thread that some rounds have taken: whatever else runs only adds to it."""
    found = []
    for _ in range(_ROUNDS):
        began = time.thread_time_ns()
        work()
        found.append(time.thread_time_ns() - began)
    return min(found)
