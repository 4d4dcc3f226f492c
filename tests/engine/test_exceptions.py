"""What is kept of an exception, and what is not."""

from __future__ import annotations

import gc
import weakref

import pytest
from opentelemetry.sdk.trace import ReadableSpan

from causal_otel.engine.exceptions import capture
from causal_otel.engine.provider import TracerProvider


class Held:
    """Something that a local variable holds."""


def _fail(depth: int) -> None:
    if depth:
        _fail(depth - 1)
    raise ValueError("deep down")


def _caught(depth: int = 0) -> ValueError:
    try:
        _fail(depth)
    except ValueError as error:
        return error
    raise AssertionError


def test_type_message_and_places() -> None:
    """The attributes name the class, the message and the places, the innermost last, without a line of source."""
    attributes = capture(_caught()).attributes()
    assert (attributes["exception.type"], attributes["exception.message"]) == ("ValueError", "deep down")
    stack = attributes["exception.stacktrace"]
    assert stack.startswith("Traceback (most recent call last):\n")
    assert stack.endswith("in _fail\nValueError: deep down\n")
    assert "raise" not in stack


def test_innermost_frames_are_kept() -> None:
    """Of a deep traceback the fifty innermost frames are kept."""
    stack = capture(_caught(200)).attributes()["exception.stacktrace"]
    assert stack.count("in _fail") == 50


def test_causes_and_contexts() -> None:
    """What came before is told first, as cause or as context, unless it was suppressed."""

    def raised(how: str) -> str:
        try:
            try:
                raise KeyError("first")
            except KeyError as first:
                if how == "cause":
                    raise ValueError("second") from first
                if how == "none":
                    raise ValueError("second") from None
                raise ValueError("second")  # noqa: B904
        except ValueError as error:
            return str(capture(error).attributes()["exception.stacktrace"])

    assert "KeyError: 'first'\n\nThe above exception was the direct cause of" in raised("cause")
    assert "KeyError: 'first'\n\nDuring handling of the above exception" in raised("context")
    assert "first" not in raised("none")


def test_endless_chains_end() -> None:
    """Exceptions that are each other's cause are each told once."""
    first, second = ValueError("first"), ValueError("second")
    first.__cause__, second.__cause__ = second, first
    assert capture(first).attributes()["exception.stacktrace"].count("ValueError") == 2


def test_nothing_of_the_failed_code_is_kept_alive(provider: TracerProvider) -> None:
    """A span that recorded an exception keeps neither the exception nor its frames' variables."""
    kept: list[weakref.ref[Held]] = []

    def fail() -> None:
        held = Held()
        kept.append(weakref.ref(held))
        raise ValueError("x")

    with pytest.raises(ValueError, match="x"), provider.get_tracer("t").start_as_current_span("x") as span:
        fail()
    gc.collect()
    assert kept[0]() is None
    assert isinstance(span, ReadableSpan)
    assert (span.events[0].attributes or {})["exception.message"] == "x"
