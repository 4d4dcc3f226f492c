"""What code ran in a span's own time is told by the span, wherever it ran; and nothing else is."""

from __future__ import annotations

import asyncio
import sys
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from types import SimpleNamespace

import pytest
from opentelemetry.trace import use_span

from causal_otel._internal import faults
from causal_otel.engine import thread_contexts
from causal_otel.names import CAUSAL_PROFILE, CAUSAL_PROFILE_PERIOD, CAUSAL_PROFILE_SAMPLES
from causal_otel.profiling import sampler as module
from tests.causality.loops import LOOPS, run
from tests.engine.forking import forked
from tests.profiling.profiled import Profiling, profiling
from tests.waiting import wait_until


@pytest.fixture
def profiled() -> Iterator[Profiling]:
    """Profiled spans, with the patches of threads and loops."""
    with profiling() as found:
        yield found


@pytest.mark.parametrize("kind", LOOPS)
class TestOnALoop:
    """Spans of asyncio tasks, on each kind of loop."""

    def test_the_hot_function_of_a_task(self, profiled: Profiling, kind: str) -> None:
        """A span's profile names the function that computed in it, and begins where the task does."""

        async def main() -> None:
            with profiled.tracer.start_as_current_span("work"):
                await asyncio.sleep(0)
                profiled.burn()

        run(kind, main())
        profiled.assert_hot("work")
        assert {frames[0].partition(" ")[2] for frames, _ in profiled.profile("work")} == {"main()"}

    def test_an_await_is_not_seen(self, profiled: Profiling, kind: str) -> None:
        """What runs while a span awaits is not the span's: not another task's work, and not the loop's."""

        async def other() -> None:
            with profiled.tracer.start_as_current_span("other"):
                profiled.burn()

        async def main() -> None:
            task = asyncio.create_task(other())
            with profiled.tracer.start_as_current_span("awaits"):
                await task

        run(kind, main())
        profiled.assert_hot("other")
        assert CAUSAL_PROFILE not in profiled.told("awaits")

    def test_what_a_child_computes_is_its_own(self, profiled: Profiling, kind: str) -> None:
        """Samples are the innermost span's: a parent's profile has what ran outside of its children."""

        async def main() -> None:
            with profiled.tracer.start_as_current_span("parent"):
                profiled.look()
                with profiled.tracer.start_as_current_span("child"):
                    profiled.burn(20)

        run(kind, main())
        profiled.assert_hot("child")
        assert not [frames for frames, _ in profiled.profile("parent") if "Profiling.burn()" in str(frames)]

    def test_functions_in_threads(self, profiled: Profiling, kind: str) -> None:
        """A function that ``asyncio.to_thread`` runs in a copy of the context is seen there, in the span it starts."""

        def job() -> None:
            with profiled.tracer.start_as_current_span("in a thread"):
                profiled.burn()

        async def main() -> None:
            with profiled.tracer.start_as_current_span("awaits"):
                await asyncio.to_thread(job)

        run(kind, main())
        profiled.assert_hot("in a thread")
        assert not [frames for frames, _ in profiled.profile("awaits") if "burn()" in str(frames)]

    def test_a_loop_inside_of_synchronous_work(self, profiled: Profiling, kind: str) -> None:
        """A synchronous task that runs a loop, as Celery's do, is seen before it, inside of it and after it."""

        async def main() -> None:
            with profiled.tracer.start_as_current_span("inside"):
                profiled.burn()

        with profiled.tracer.start_as_current_span("outside"):
            run(kind, main())
            profiled.burn()
        profiled.assert_hot("inside")
        profiled.assert_hot("outside")


def test_a_thread_that_begins_a_trace(profiled: Profiling) -> None:
    """A thread without a loop, as that of a WSGI server, is seen in the trace it begins."""

    def serve() -> None:
        with profiled.tracer.start_as_current_span("request"):
            profiled.burn()

    thread = threading.Thread(target=serve)
    thread.start()
    thread.join()
    profiled.assert_hot("request")
    told = profiled.told("request")
    assert told[CAUSAL_PROFILE_PERIOD] == pytest.approx(1 / 200)
    assert told[CAUSAL_PROFILE_SAMPLES] >= sum(count for _, count in profiled.profile("request"))


def test_a_job_of_a_pool(profiled: Profiling) -> None:
    """A job is seen in the span of whoever asked for it, as is who waits; once it is over, its thread is not."""
    with ThreadPoolExecutor(1) as pool, profiled.tracer.start_as_current_span("asks"):
        future = pool.submit(profiled.burn)
        future.result()
        assert set(thread_contexts.known) <= {threading.get_ident()}
    outermost = {frames[0].partition(" ")[2] for frames, _ in profiled.profile("asks")}
    assert outermost == {"Profiling.burn()", "test_a_job_of_a_pool()"}


def test_a_wait_in_a_thread_is_seen(profiled: Profiling) -> None:
    """A call that blocks its thread is seen where it was called."""
    over = threading.Event()

    def wait() -> None:
        wait_until(lambda: profiled.sampler.samples > 9)
        over.set()

    with profiled.tracer.start_as_current_span("blocks"):
        waiter = threading.Thread(target=wait)
        waiter.start()
        over.wait(60)
        waiter.join()
    frames = {frame for stack, _ in profiled.profile("blocks") for frame in stack}
    assert any(frame.startswith("threading.py:") and frame.endswith(" Event.wait()") for frame in frames)


def test_nothing_is_seen_without_a_span(profiled: Profiling) -> None:
    """Where no span is open, or only one that has ended, no stack is read."""
    with profiled.tracer.start_as_current_span("begins"):
        pass
    profiled.look()
    span = profiled.tracer.start_span("ended")
    span.end()
    with use_span(span):
        profiled.look()
    assert profiled.sampler.samples == 0


def test_secrets_do_not_leave(profiled: Profiling) -> None:
    """A profile has files, lines and functions: no folder outside of a package, no source line and no value."""

    def check(password: str) -> None:
        assert password
        profiled.burn()

    with profiled.tracer.start_as_current_span("login"):
        check("hunter2-planted")
    text = profiled.told("login")[CAUSAL_PROFILE]
    assert "hunter2" not in text
    assert "password" not in text
    assert str(Path(__file__).parents[2]) not in text
    assert "profiling/test_sampler.py:" in text


def test_a_forked_child_is_profiled(profiled: Profiling) -> None:
    """The thread is there in a child as soon as that begins a trace, and the parent's spans are not the child's."""
    with profiled.tracer.start_as_current_span("parent"):
        profiled.burn(1)

    def child() -> str:
        known = len(thread_contexts.known)
        before = profiled.sampler.samples
        with profiled.tracer.start_as_current_span("in the child"):
            profiled.burn()
        seen = profiled.profile("in the child")
        return f"{known} {profiled.sampler.samples - before >= 12} {bool(seen)}"

    assert forked(child) == "0 True True"


def test_it_dozes_and_wakes(profiled: Profiling, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where nothing was to be seen for a while, it looks once a second, until the next trace begins."""
    monkeypatch.setattr(module, "_LINGER", 0)
    monkeypatch.setattr(module, "_DOZE", 60.0)
    with profiled.tracer.start_as_current_span("first"):
        profiled.burn(1)
    wait_until(lambda: profiled.sampler._dozes)
    looks = profiled.sampler.looks
    with profiled.tracer.start_as_current_span("second"):
        profiled.burn()
    assert profiled.sampler.looks > looks
    profiled.assert_hot("second")


def test_it_ends() -> None:
    """When it is closed, its thread ends and nothing is noted any more."""
    with profiling() as profiled:
        with profiled.tracer.start_as_current_span("work"):
            profiled.burn(1)
        thread = profiled.sampler._thread
        assert thread is not None
    thread.join(60)
    assert not thread.is_alive()
    assert thread_contexts.watching is None
    assert not thread_contexts.known


def test_a_failure_is_contained(monkeypatch: pytest.MonkeyPatch) -> None:
    """What fails in a look is counted, the work goes on, and so do the looks."""

    def fail(*_: object) -> None:
        raise RuntimeError("planted")

    monkeypatch.setattr(module, "stack_of", fail)
    site, before = "profiling: sampler", faults.counts()
    with profiling(failing=True) as profiled:
        with profiled.tracer.start_as_current_span("work"):
            profiled.look()
        assert CAUSAL_PROFILE not in profiled.told("work")
    assert faults.counts()[site] > before.get(site, 0)


@pytest.mark.parametrize(
    ("module_name", "attribute", "why"),
    [("gevent.monkey", "saved", "gevent"), ("eventlet.patcher", "already_patched", "eventlet")],
)
def test_greenlets_are_refused(monkeypatch: pytest.MonkeyPatch, module_name: str, attribute: str, why: str) -> None:
    """Where greenlets stand in for threads, nothing is profiled, and it is said why."""
    monkeypatch.setitem(sys.modules, module_name, SimpleNamespace(**{attribute: {"thread": True}}))
    assert why in (module.unavailable() or "")


def test_a_free_threaded_build_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    """Where there is no GIL, nothing is profiled."""
    assert module.unavailable() is None
    monkeypatch.setattr(sys, "_is_gil_enabled", lambda: False, raising=False)
    assert "free-threaded" in (module.unavailable() or "")
