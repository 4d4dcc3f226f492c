"""The end of a block: what was current before is current again, in the block's own Context and only there."""

from __future__ import annotations

import asyncio
import contextvars
import os
import subprocess
import sys
import textwrap
import threading
from contextlib import ExitStack
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from opentelemetry import baggage, trace
from opentelemetry import context as context_api
from opentelemetry.trace import INVALID_SPAN

from causal_otel.engine.context import attach, suppressed_context, with_span, without_span
from causal_otel.engine.provider import TracerProvider

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Callable, Generator, Iterator

    from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
    from opentelemetry.trace import Tracer


@pytest.fixture(autouse=True)
def _clean() -> Iterator[None]:
    """Each test has a Context of its own to spoil."""
    token = context_api.attach(context_api.Context())
    yield
    context_api.detach(token)


@pytest.fixture
def tracer(provider: TracerProvider) -> Tracer:
    return provider.get_tracer("t")


def _current() -> Any:
    return trace.get_current_span()


def _forget() -> None:
    context_api.attach(baggage.set_baggage("job", "1"))


def _traces(exporter: InMemorySpanExporter) -> dict[str, Any]:
    """By name, whether each span is a root, and its trace."""
    return {
        span.name: (span.parent is None, span.context.trace_id)
        for span in exporter.get_finished_spans()
        if span.context
    }


@pytest.mark.parametrize("where", ["loop", "thread", "task"])
def test_a_forgotten_detach_is_over_with_its_block(tracer: Tracer, exporter: InMemorySpanExporter, where: str) -> None:
    """Four jobs whose code attaches baggage and never detaches it are four traces, wherever they run."""

    def jobs() -> None:
        for number in range(4):
            with tracer.start_as_current_span(f"job {number}"):
                _forget()
                with tracer.start_as_current_span(f"step {number}"):
                    _forget()
            assert _current() is INVALID_SPAN
            assert not baggage.get_all()

    async def task() -> None:
        jobs()

    if where == "loop":
        jobs()
    elif where == "task":
        asyncio.run(task())
    else:
        thread = threading.Thread(target=jobs)
        thread.start()
        thread.join()
    found = _traces(exporter)
    assert len(found) == 8
    assert len({trace_id for _, trace_id in found.values()}) == 4
    assert [found[f"job {number}"][0] for number in range(4)] == [True] * 4


def test_whatever_is_current_at_the_end(tracer: Tracer) -> None:
    """Another span, none, or an empty context: what is current at the end of a block does not matter."""
    forgotten: list[Callable[[], Any]] = [
        lambda: context_api.attach(context_api.Context()),
        lambda: attach(without_span()),
        lambda: attach(suppressed_context()),
        lambda: attach(with_span(tracer.start_span("forgotten"))),
        lambda: tracer.start_as_current_span("never left").__enter__(),
    ]
    held = []
    with tracer.start_as_current_span("outer") as outer:
        for forget in forgotten:
            with tracer.start_as_current_span("block"):
                held.append(forget())
            assert _current() is outer
            activation = attach(with_span(tracer.start_span("activated")))
            held.append(forget())
            activation.end()
            assert _current() is outer
    assert _current() is INVALID_SPAN


def _steps(tracer: Tracer, name: str) -> Generator[Any, None, None]:
    with tracer.start_as_current_span(name) as span:
        yield span
        yield span


def test_interleaved_generators(tracer: Tracer) -> None:
    """Two generators that hold a block across a yield, in any order of their ends, leave nothing ended behind."""
    for first_ends_first in (True, False):
        first, second = _steps(tracer, "first"), _steps(tracer, "second")
        next(first), next(second), next(first), next(second)
        for steps in (first, second) if first_ends_first else (second, first):
            steps.close()
        assert _current() is INVALID_SPAN


def test_blocks_left_out_of_order(tracer: Tracer) -> None:
    """The end of an outer block ends what is inside; the inner one's own end then changes nothing any more."""
    a, b = tracer.start_as_current_span("a"), tracer.start_as_current_span("b")
    a.__enter__(), b.__enter__()
    a.__exit__(None, None, None)
    assert _current() is INVALID_SPAN
    with tracer.start_as_current_span("next") as following:
        b.__exit__(None, None, None)
        assert _current() is following
    assert _current() is INVALID_SPAN


def test_a_span_that_was_ended_by_hand_is_not_current_again(tracer: Tracer) -> None:
    """The end of a block inside goes back to the nearest span that has not ended."""
    with tracer.start_as_current_span("outer") as outer:
        with tracer.start_as_current_span("ended") as ended:
            ended.end()
            with tracer.start_as_current_span("inner"):
                pass
            assert _current() is outer
        assert _current() is outer


def test_a_generator_left_early(tracer: Tracer, exporter: InMemorySpanExporter) -> None:
    """Jobs that leave a generator in its middle, and keep it, are traces of their own."""
    kept = []
    for number in range(3):
        with tracer.start_as_current_span(f"job {number}"):
            steps = _steps(tracer, f"steps {number}")
            next(steps)
            kept.append(steps)
    found = _traces(exporter)
    assert [found[f"job {number}"][0] for number in range(3)] == [True] * 3
    with tracer.start_as_current_span("last") as last:
        kept.clear()  # their blocks are left here
        assert _current() is last


@pytest.mark.asyncio
async def test_an_async_generator_closed_by_the_loop(tracer: Tracer) -> None:
    """The block of an async generator that the loop closes in another task changes nothing there, nor here."""
    seen = []

    async def stream() -> AsyncGenerator[int, None]:
        with tracer.start_as_current_span("stream"):
            try:
                yield 1
                yield 2
            finally:
                seen.append(_current())

    async def close(steps: AsyncGenerator[int, None], outer: Any) -> None:
        assert _current() is outer
        await steps.aclose()
        seen.append(_current())

    with tracer.start_as_current_span("outer") as outer:
        steps = stream()
        context = contextvars.copy_context()
        await anext(steps)
        await asyncio.create_task(close(steps, outer), context=context)
        assert seen == [outer, outer]
        with tracer.start_as_current_span("after"):
            pass
    assert _current() is INVALID_SPAN


@pytest.mark.asyncio
async def test_tasks_go_on_in_the_trace_of_the_request_that_started_them(
    tracer: Tracer, exporter: InMemorySpanExporter
) -> None:
    """A task's second block is in the request's trace as its first is, though the request has ended meanwhile."""
    over = asyncio.Event()

    async def task() -> None:
        await over.wait()
        for number in range(3):
            with tracer.start_as_current_span(f"step {number}"):
                _forget()

    with tracer.start_as_current_span("request"):
        running = asyncio.create_task(task())
    over.set()
    await running
    assert len({trace_id for _, trace_id in _traces(exporter).values()}) == 1


def test_a_foreign_context_is_left_alone(tracer: Tracer) -> None:
    """A block that is left inside ``copy_context().run()`` changes neither Context, and raises nothing."""
    block = tracer.start_as_current_span("block")
    span = block.__enter__()
    inside = contextvars.copy_context()
    inside.run(block.__exit__, None, None, None)
    assert inside.run(_current) is span
    assert _current() is span
    assert not span.is_recording()


@pytest.mark.parametrize("kind", ["function", "coroutine", "generator", "async generator"])
def test_decorated_functions_forget_too(tracer: Tracer, kind: str) -> None:
    """A forgotten detach in a decorated function of any kind is over with its call, or its step."""
    decorate = tracer.start_as_current_span("decorated")

    async def run() -> None:
        if kind == "function":

            @decorate
            def function() -> None:
                _forget()

            function()
        elif kind == "coroutine":

            @decorate
            async def coroutine() -> None:
                _forget()

            await coroutine()
        elif kind == "generator":

            @decorate
            def generator() -> Generator[int, None, None]:
                _forget()
                yield 1
                assert _current() is not outer
                _forget()

            for _ in generator():
                assert _current() is outer
        else:

            @decorate
            async def stream() -> AsyncGenerator[int, None]:
                _forget()
                yield 1
                _forget()

            async for _ in stream():
                assert _current() is outer
        assert _current() is outer

    with tracer.start_as_current_span("outer") as outer:
        asyncio.run(run())
    assert _current() is INVALID_SPAN


def test_exit_stack(tracer: Tracer) -> None:
    """Blocks on an ExitStack end from the inside out, whatever was forgotten inside."""
    with ExitStack() as stack:
        spans = [stack.enter_context(tracer.start_as_current_span(str(number))) for number in range(5)]
        assert _current() is spans[-1]
        _forget()
    assert _current() is INVALID_SPAN


@given(st.lists(st.sampled_from(["enter", "exit inner", "exit outer", "forget", "end"]), max_size=25))
def test_any_order(steps: list[str]) -> None:
    """In any order of beginnings, ends and forgotten attachments, an ended span is never made current by an end."""
    tracer = TracerProvider().get_tracer("t")

    def run() -> None:
        blocks: list[tuple[Any, Any]] = []
        for step in steps:
            if step == "enter":
                block = tracer.start_as_current_span("b")
                blocks.append((block, block.__enter__()))
            elif step == "forget":
                _forget()
            elif step == "end" and blocks:
                blocks[-1][1].end()
            elif blocks and step.startswith("exit"):
                place = -1 if step == "exit inner" else 0
                block, _ = blocks.pop(place)
                block.__exit__(None, None, None)
                if step == "exit outer":
                    assert _current() is INVALID_SPAN
                    blocks.clear()  # they are over; nobody leaves them any more
                assert _current() is INVALID_SPAN or _current().is_recording()
        for block, _ in reversed(blocks):
            block.__exit__(None, None, None)
        assert _current() is INVALID_SPAN

    contextvars.Context().run(run)


def test_children_of_multiprocessing_start_without_a_span() -> None:
    """A worker that a process pool forks inside a request carries none of its trace; a bare fork carries it on."""
    code = """
        import multiprocessing, os, causal_otel
        from concurrent.futures import ProcessPoolExecutor

        causal_otel.install(exporter="none", patches=[])
        with causal_otel.span("request 0"):
            with ProcessPoolExecutor(1, mp_context=multiprocessing.get_context("fork")) as pool:
                print(pool.submit(causal_otel.current_trace_id).result(30))
            reading, writing = os.pipe()
            if not os.fork():
                os.write(writing, (causal_otel.current_trace_id() or "none").encode())
                os._exit(0)
            os.wait()
            print(os.read(reading, 100).decode() == causal_otel.current_trace_id())
    """
    done = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(code)],
        env={"PATH": os.environ["PATH"]},
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert (done.returncode, done.stdout.split()) == (0, ["None", "True"]), done.stderr
