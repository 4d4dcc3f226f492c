"""OpenTelemetry's instrumentors as in a process where none of them has been applied yet."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from opentelemetry.instrumentation._semconv import _OpenTelemetrySemanticConventionStability as Stability


@pytest.fixture(autouse=True)
def conventions_unread() -> Iterator[None]:
    """Which conventions they follow is read once in a process, which another test may have had done before."""
    before = Stability._initialized, Stability._OTEL_SEMCONV_STABILITY_SIGNAL_MAPPING
    Stability._initialized, Stability._OTEL_SEMCONV_STABILITY_SIGNAL_MAPPING = False, {}
    yield
    Stability._initialized, Stability._OTEL_SEMCONV_STABILITY_SIGNAL_MAPPING = before
