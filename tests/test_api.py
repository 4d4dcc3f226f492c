"""The public functions around spans of one's own."""

from __future__ import annotations

import asyncio
import inspect
from typing import TYPE_CHECKING

import pytest
from opentelemetry.trace import SpanKind, StatusCode

import causal_otel
from tests.recording import Recording, recording
from tests.span_relations import assert_inside

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterator


@pytest.fixture
def recorded() -> Iterator[Recording]:
    with recording([]) as record:
        yield record


def test_span(recorded: Recording) -> None:
    """span() makes a span of the given name, attributes and kind, current in its block."""
    with causal_otel.span("outer", {"k": 1}, kind=SpanKind.CONSUMER) as outer, causal_otel.span("inner") as here:
        assert causal_otel.current_trace_id() == format(outer.get_span_context().trace_id, "032x")
        assert causal_otel.current_span_id() == format(here.get_span_context().span_id, "016x")
    inner, found = recorded.spans
    assert (found.name, found.kind, dict(found.attributes or {})) == ("outer", SpanKind.CONSUMER, {"k": 1})
    assert (inner.name, inner.kind, found.parent) == ("inner", SpanKind.INTERNAL, None)
    assert_inside(found, inner)
    assert {span.status.status_code for span in recorded.spans} == {StatusCode.UNSET}
    assert causal_otel.current_trace_id() is None
    assert causal_otel.current_span_id() is None


def test_span_without_install_does_nothing() -> None:
    """Without install() the block simply runs."""
    with causal_otel.span("x") as span:
        assert not span.is_recording()


@pytest.mark.asyncio
async def test_traced_tells_four_kinds_apart(recorded: Recording) -> None:
    """@traced keeps functions, coroutine functions, generators and async generators what they are."""

    @causal_otel.traced
    def function() -> int:
        return 1

    @causal_otel.traced("coroutine")
    async def coroutine() -> int:
        await asyncio.sleep(0)
        return 2

    @causal_otel.traced(attributes={"k": 1})
    def generator() -> Iterator[int]:
        yield 3

    @causal_otel.traced("stream", kind=SpanKind.PRODUCER)
    async def stream() -> AsyncIterator[int]:
        yield 4

    assert inspect.iscoroutinefunction(coroutine)
    assert inspect.isgeneratorfunction(generator)
    assert inspect.isasyncgenfunction(stream)
    with causal_otel.span("root"):
        assert [function(), await coroutine(), *generator(), *[item async for item in stream()]] == [1, 2, 3, 4]
    prefix = "test_traced_tells_four_kinds_apart.<locals>."
    assert recorded.names() == [f"{prefix}function", "coroutine", f"{prefix}generator", "stream", "root"]
    assert_inside(recorded.spans[-1], *recorded.spans[:-1])
    assert {span.status.status_code for span in recorded.spans} == {StatusCode.UNSET}
    assert dict(recorded.spans[2].attributes or {}) == {"k": 1}
    assert recorded.spans[3].kind is SpanKind.PRODUCER


def test_traced_before_install() -> None:
    """A function decorated before install() is traced after it."""

    @causal_otel.traced("early")
    def early() -> None: ...

    with recording([]) as recorded:
        early()
    span = recorded.only("early")
    assert (span.parent, span.status.status_code) == (None, StatusCode.UNSET)


def test_traced_passes_exceptions(recorded: Recording) -> None:
    """The exception that leaves a traced function is the same object, and the span says so."""
    error = KeyError("k")

    @causal_otel.traced("x")
    def fails() -> None:
        raise error

    with pytest.raises(KeyError) as caught:
        fails()
    assert caught.value is error
    span = recorded.only("x")
    assert (span.status.status_code, span.parent) == (StatusCode.ERROR, None)
    assert [(event.attributes or {})["exception.type"] for event in span.events] == ["KeyError"]


def test_inject_and_extract(recorded: Recording) -> None:
    """What inject() writes, extract() reads: the other side's span is the parent's child."""
    carrier: dict[str, str] = {}
    with causal_otel.span("here") as here:
        causal_otel.inject(carrier)
    assert carrier["traceparent"].startswith(f"00-{here.get_span_context().trace_id:032x}-")
    with causal_otel.span("there", parent=causal_otel.extract(carrier)):
        assert causal_otel.current_trace_id() == format(here.get_span_context().trace_id, "032x")
    there = recorded.only("there")
    assert there.parent is not None
    assert there.parent.span_id == here.get_span_context().span_id
    assert there.parent.is_remote


@pytest.mark.parametrize("traceparent", ["", "garbage", "00-" + "0" * 32 + "-" + "0" * 16 + "-01", "\udcff"])
def test_extract_of_garbage_is_no_context(recorded: Recording, traceparent: str) -> None:
    """A malformed carrier starts a trace of its own."""
    with causal_otel.span("x", parent=causal_otel.extract({"traceparent": traceparent})):
        pass
    assert recorded.only("x").parent is None


@pytest.mark.asyncio
async def test_detached(recorded: Recording) -> None:
    """A task started in a detached block begins its own trace, linked to the request that started it."""

    async def poll() -> None:
        with causal_otel.span("poll"):
            await asyncio.sleep(0)

    with causal_otel.span("request") as request:
        with causal_otel.detached():
            assert causal_otel.current_trace_id() is None
            task = asyncio.create_task(poll())
        assert causal_otel.current_trace_id() is not None
        await task
    poller = recorded.only("poll")
    assert poller.parent is None
    assert [link.context.span_id for link in poller.links] == [request.get_span_context().span_id]
