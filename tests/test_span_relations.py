"""What asserts of spans in other tests finds each way in which a span can be wrong."""

from __future__ import annotations

from typing import Any

import pytest
from opentelemetry.sdk.trace import ReadableSpan
from opentelemetry.trace import SpanContext, SpanKind, Status, StatusCode

from tests.recording import Recording, recording
from tests.span_relations import assert_children, assert_span, seconds


def ended(recorded: Recording, *, outlives: bool = False, failed: bool = False, **told: Any) -> list[ReadableSpan]:
    """A span and its parent, which have ended."""
    tracer = recorded.tracer
    with tracer.start_as_current_span("parent"):
        attributes = {key.replace("_", "."): value for key, value in told.items()}
        child = tracer.start_span("child", kind=SpanKind.CLIENT, attributes=attributes)
        if failed:
            child.set_status(Status(StatusCode.ERROR))
        if not outlives:
            child.end()
    if outlives:
        child.end()
    spans = {span.name: span for span in recorded.spans}
    return [spans["child"], spans["parent"]]


def test_a_span_that_is_right() -> None:
    """A span whose outcome, parent and duration are as expected passes, and its attributes come back."""
    with recording([]) as recorded:
        child, parent = ended(recorded, failed=True, error_type="ValueError")
        found = assert_span(child, parent, error="Value*", within=seconds(parent))
    assert found == {"error.type": "ValueError"}
    with recording([]) as recorded:
        child, parent = ended(recorded)
        assert_span(child, parent)
        assert_span(child, parent.get_span_context())
        assert_children([child, parent], "child", "parent")


@pytest.mark.parametrize(
    ("made", "expected"),
    [
        ({}, {"error": "ValueError"}),
        ({}, {"cancelled": True}),
        ({}, {"abandoned": True}),
        ({}, {"lasts": 60.0}),
        ({}, {"within": 0.0}),
        ({"failed": True, "error_type": "ValueError"}, {}),
        ({"failed": True, "error_type": "ValueError"}, {"error": "KeyError"}),
        ({"failed": True}, {"error": "*"}),
        ({"error_type": "ValueError"}, {}),
        ({"causal_cancelled": True}, {}),
        ({"causal_abandoned": True}, {}),
        ({"failed": True, "error_type": "ValueError", "causal_cancelled": True}, {"error": "*", "cancelled": True}),
        ({"outlives": True}, {}),
    ],
)
def test_a_span_that_is_wrong(made: dict[str, Any], expected: dict[str, Any]) -> None:
    """Another outcome, a contradiction, another duration, and an end after the parent's are each found."""
    with recording([]) as recorded:
        child, parent = ended(recorded, **made)
        with pytest.raises(AssertionError):
            assert_span(child, parent, **expected)


def test_a_span_of_another_parent() -> None:
    """A span that is a root, or the child of another span, is found."""
    with recording([]) as recorded:
        child, parent = ended(recorded)
        identity = parent.context
        for wrong in (None, child, SpanContext(identity.trace_id, 7, False), SpanContext(7, identity.span_id, False)):
            with pytest.raises(AssertionError):
                assert_span(child, wrong)
        with pytest.raises(AssertionError):
            assert_span(parent, child)
