"""The handle of a patch: what it knows before an operation is described."""

from __future__ import annotations

from typing import Any

import pytest
from opentelemetry.sdk import trace as sdk
from opentelemetry.sdk.trace.sampling import ALWAYS_OFF, ParentBased, Sampler, TraceIdRatioBased

from causal_otel.engine.provider import TracerProvider
from causal_otel.engine.retroactive import Buffer
from causal_otel.instrument.options import Options
from causal_otel.instrument.tracing import Tracing


def _tracing(provider: Any, **options: Any) -> Tracing[Any]:
    return Tracing(provider.get_tracer("tests"), Options(**options), lambda timeout: True)


@pytest.mark.parametrize(
    ("sampler", "drops"),
    [(ParentBased(TraceIdRatioBased(0.5)), True), (ALWAYS_OFF, True), (TraceIdRatioBased(0.5), False)],
    ids=["by its parent", "always off", "each span"],
)
def test_drops_unsampled(sampler: Sampler, drops: bool) -> None:
    """Nothing is left of an operation in a trace that is not sampled, unless the sampler is asked of every span."""
    assert _tracing(TracerProvider(sampler)).drops_unsampled() is drops


def test_somebody_wants_what_is_not_sampled() -> None:
    """A buffer for errors, a hook, and a provider of the user's: each may want to know of what is not sampled."""
    buffering = TracerProvider()
    assert _tracing(buffering).drops_unsampled()
    buffering.set_buffer(Buffer(lambda span: None))
    assert not _tracing(buffering).drops_unsampled()
    assert not _tracing(TracerProvider(), request_hook=lambda *objects: None).drops_unsampled()
    assert not _tracing(sdk.TracerProvider()).drops_unsampled()
