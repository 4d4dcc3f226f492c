"""What a thread pool made a job wait: on the first span of the job, whoever makes that, and on no other."""

from __future__ import annotations

import asyncio
import functools
import threading
from concurrent.futures import ThreadPoolExecutor
from multiprocessing.pool import ThreadPool
from typing import TYPE_CHECKING, Any

import httpx
import pytest
import uvloop
from opentelemetry.sdk.trace import TracerProvider as SdkProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

import causal_otel
from causal_otel.engine.thread_waits import waits
from tests.recording import Recording, recording
from tests.slow_machine import assert_at_least, assert_below
from tests.span_relations import PARTS, assert_span, attributes
from tests.waiting import pause

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from opentelemetry.sdk.trace import ReadableSpan

PATCHES = ["threads", "httpx"]
WAIT = "causal.threadpool.wait"
PLANTED = 0.3


def occupy(occupied: threading.Event) -> None:
    """The job that the others wait for."""
    occupied.set()
    pause(PLANTED)


def work() -> None:
    """A job with three spans, two of which begin inside the first."""
    with causal_otel.span("first"), causal_otel.span("second"):
        pass
    with causal_otel.span("third"):
        pass


def assert_waited(span: ReadableSpan, parent: Any) -> None:
    """The planted wait is told, at least four fifths of it, and lies before the span."""
    found = assert_span(span, parent)
    assert_at_least(0.8 * PLANTED, found[WAIT])
    assert not (set(PARTS) - {WAIT}) & found.keys()
    assert span.start_time is not None
    assert_at_least(0.8 * PLANTED, (span.start_time - parent.start_time) / 1e9)


async def _full(executor: ThreadPoolExecutor | None, job: Callable[[], Any]) -> Any:
    """Give a job to a pool of one thread, which is occupied."""
    loop, occupied = asyncio.get_running_loop(), threading.Event()
    if executor is None:
        loop.set_default_executor(ThreadPoolExecutor(1))
    before = loop.run_in_executor(executor, occupy, occupied)
    occupied.wait(60)
    after: Awaitable[Any] = asyncio.to_thread(job) if executor is None else loop.run_in_executor(executor, job)
    await asyncio.gather(before, after)


def _run_in_executor(run: Callable[[Any], Any], job: Callable[[], Any]) -> None:
    with ThreadPoolExecutor(1) as executor:
        run(_full(executor, job))


def _submit(job: Callable[[], Any]) -> None:
    occupied = threading.Event()
    with ThreadPoolExecutor(1) as executor:
        executor.submit(occupy, occupied)
        occupied.wait(60)
        executor.submit(job).result()


def _apply_async(job: Callable[[], Any]) -> None:
    occupied = threading.Event()
    with ThreadPool(1) as pool:
        pool.apply_async(occupy, (occupied,))
        occupied.wait(60)
        pool.apply_async(job).get()
        pool.close()
        pool.join()


WAYS: dict[str, Callable[[Callable[[], Any]], None]] = {
    "submit": _submit,
    "run_in_executor": functools.partial(_run_in_executor, asyncio.run),
    "run_in_executor of uvloop": functools.partial(_run_in_executor, uvloop.run),
    "to_thread": lambda job: asyncio.run(_full(None, job)),
    "ThreadPool.apply_async": _apply_async,
}


@pytest.fixture(params=WAYS)
def way(request: pytest.FixtureRequest) -> Callable[[Callable[[], Any]], None]:
    """Gives a job to a pool that is full for 300 ms."""
    return WAYS[request.param]


def test_a_full_pool_is_found_on_the_first_span(recorded: Recording, way: Callable[[Callable[[], Any]], None]) -> None:
    """The first span of the job tells nearly all of the wait; the spans after it, and those around it, tell none."""
    with causal_otel.span("root") as root:
        way(work)
    assert_waited(recorded.only("first"), root)
    for name in ("second", "third", "root"):
        assert WAIT not in attributes(recorded.only(name))
    assert not waits


@pytest.mark.parametrize("start", ["leaf", "API", "function"])
def test_whoever_starts_the_first_span(recorded: Recording, server: str, start: str) -> None:
    """A patch's leaf span, one of a tracer and that of a decorated function tell the wait alike."""

    def leaf() -> None:
        with httpx.Client(trust_env=False) as client:
            client.get(f"{server}/echo")

    def api() -> None:
        recorded.tracer.start_span("first").end()

    jobs = {"leaf": leaf, "API": api, "function": causal_otel.traced("first")(lambda: None)}
    with causal_otel.span("root") as root:
        _submit(jobs[start])
    (found,) = (span for span in recorded.spans if span.name != "root")
    assert_at_least(0.8 * PLANTED, assert_span(found, root)[WAIT])


def test_a_provider_of_the_users_own_is_told(provider_and_spans: tuple[SdkProvider, InMemorySpanExporter]) -> None:
    """The span of another provider tells the wait, too."""
    provider, exporter = provider_and_spans
    installed = causal_otel.install(patches=["threads"], tracer_provider=provider)
    try:
        with causal_otel.span("root"):
            _submit(work)
    finally:
        installed.uninstall()
    waited = {span.name: attributes(span).get(WAIT, 0.0) for span in exporter.get_finished_spans()}
    assert_at_least(0.8 * PLANTED, waited.pop("first"))
    assert set(waited.values()) == {0.0}


@pytest.fixture
def provider_and_spans() -> Any:
    """A provider of the SDK's and where its spans are."""
    provider, exporter = SdkProvider(), InMemorySpanExporter()
    provider.add_span_processor(SimpleSpanProcessor(exporter))
    yield provider, exporter
    provider.shutdown()


def test_a_job_that_is_not_recorded_leaves_no_note(recorded: Recording) -> None:
    """A job without a span, or one that fails before it, leaves its wait to no later job of the same thread."""

    def fail() -> None:
        raise ValueError

    occupied = threading.Event()
    with ThreadPoolExecutor(1) as executor, causal_otel.span("root"):
        executor.submit(occupy, occupied)
        occupied.wait(60)
        silent, failing = executor.submit(lambda: None), executor.submit(fail)
        silent.result()
        assert isinstance(failing.exception(), ValueError)
        executor.submit(work).result()
    assert_below(0.8 * PLANTED, attributes(recorded.only("first")).get(WAIT, 0.0))
    assert not waits


def test_a_pool_that_is_free_tells_nothing(recorded: Recording) -> None:
    """A wait of less than a millisecond is no part."""
    with ThreadPoolExecutor(1) as executor, causal_otel.span("root"):
        for _ in range(100):
            executor.submit(work).result()
    assert all(attributes(span).get(WAIT, 0.001) >= 0.001 for span in recorded.spans)


def test_spans_of_other_threads_do_not_tell_it(recorded: Recording) -> None:
    """While a job that has waited is yet to start a span, others' spans are told nothing."""
    begun, go_on, occupied = threading.Event(), threading.Event(), threading.Event()

    def hesitate() -> None:
        begun.set()
        go_on.wait(60)
        work()

    with ThreadPoolExecutor(1) as executor, causal_otel.span("root") as root:
        executor.submit(occupy, occupied)
        occupied.wait(60)
        job = executor.submit(hesitate)
        begun.wait(60)
        with causal_otel.span("meanwhile"):
            go_on.set()
            job.result()
    assert WAIT not in attributes(recorded.only("meanwhile"))
    assert_waited(recorded.only("first"), root)


def test_a_job_outside_any_trace_tells_nothing() -> None:
    """Where nothing was current, nobody has looked at the clock."""
    with recording(PATCHES) as recorded:
        _submit(work)
    assert WAIT not in attributes(recorded.only("first"))
