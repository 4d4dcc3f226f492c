"""What a span has to do with another one, and how long it took."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from opentelemetry.sdk.trace import ReadableSpan

__all__ = ["assert_inside", "nanoseconds"]


def nanoseconds(span: ReadableSpan) -> int:
    """A span's duration."""
    assert span.start_time is not None, f"{span.name} has not begun"
    assert span.end_time is not None, f"{span.name} has not ended"
    return span.end_time - span.start_time


def assert_inside(outer: Any, *spans: ReadableSpan) -> None:
    """Assert that ``spans`` are children of ``outer``, that they began after it and that they ended before it."""
    for span in spans:
        assert span.parent == outer.get_span_context(), f"{span.name} is no child of {outer.name}"
        assert nanoseconds(span) >= 0
        assert outer.start_time <= span.start_time, f"{span.name} began before {outer.name}"
        assert span.end_time <= outer.end_time, f"{span.name} ended after {outer.name}"
