"""``threading.Thread`` and ``Timer``: what runs in them is in the trace of whoever has started them, or in none."""

from __future__ import annotations

import asyncio
import gc
import logging.handlers
import queue
import threading
import weakref
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any

import anyio
import pytest
import trio
from opentelemetry import context

import causal_otel
from causal_otel.engine.context import attach
from causal_otel.patches.threads import ThreadsOptions
from tests.recording import Recording, recording
from tests.span_relations import assert_span

if TYPE_CHECKING:
    from collections.abc import Callable

PATCHES = ["threads"]


def work() -> None:
    """What runs in a thread."""
    with causal_otel.span("work"):
        pass


class Overriding(threading.Thread):
    """A subclass with its own ``run``."""

    def run(self) -> None:
        work()


class Deeper(Overriding):
    """One that calls that."""

    def run(self) -> None:
        super().run()


def _with_own_run() -> threading.Thread:
    thread = threading.Thread()
    thread.run = work  # type: ignore[method-assign]
    return thread


THREADS: dict[str, Callable[[], threading.Thread]] = {
    "target": lambda: threading.Thread(target=work),
    "daemon": lambda: threading.Thread(target=work, daemon=True),
    "Timer": lambda: threading.Timer(0.001, work),
    "run overridden": Overriding,
    "run overridden twice": Deeper,
    "run set on the thread": _with_own_run,
}


@pytest.mark.parametrize("kind", THREADS)
def test_a_thread_is_in_the_trace_of_whoever_starts_it(recorded: Recording, kind: str) -> None:
    """Its span is a child of the span that was current at its start, and the thread is as it was before."""
    thread = THREADS[kind]()
    before = dict(vars(thread))
    with causal_otel.span("root") as root:
        thread.start()
        thread.join()
    assert_span(recorded.only("work"), root)
    assert vars(thread).get("run") is before.get("run")


@pytest.mark.parametrize("kind", THREADS)
def test_outside_any_trace_nothing_is_touched(recorded: Recording, kind: str) -> None:
    """Where nothing is current, a thread begins a trace of its own."""
    thread = THREADS[kind]()
    thread.start()
    thread.join()
    assert_span(recorded.only("work"), None)


def test_a_thread_that_outlives_the_span_stays_in_the_trace(recorded: Recording) -> None:
    """What it does after the end of the span that started it is a child of that one still."""
    go_on = threading.Event()
    with causal_otel.span("root") as root:
        thread = threading.Thread(target=lambda: (go_on.wait(60), work()))  # type: ignore[func-returns-value]
        thread.start()
    go_on.set()
    thread.join()
    assert_span(recorded.only("work"), root.get_span_context())


def test_its_failure_reaches_the_hook(recorded: Recording, monkeypatch: pytest.MonkeyPatch) -> None:
    """What ``run`` raises is given to ``threading.excepthook``: the very object."""
    error, told = ValueError("mine"), list[Any]()
    monkeypatch.setattr(threading, "excepthook", told.append)

    def fail() -> None:
        raise error

    with causal_otel.span("root"):
        thread = threading.Thread(target=fail)
        thread.start()
        thread.join()
    assert [each.exc_value for each in told] == [error]
    told.clear()


def test_a_thread_that_cannot_start_is_as_it_was(recorded: Recording, monkeypatch: pytest.MonkeyPatch) -> None:
    """If the system refuses it, the caller gets that error, and the thread holds nothing of the trace."""
    refusal = RuntimeError("can't start new thread")

    def refuse(*_: Any, **__: Any) -> None:
        raise refusal

    name = "_start_new_thread" if hasattr(threading, "_start_new_thread") else "_start_joinable_thread"
    monkeypatch.setattr(threading, name, refuse)
    thread = threading.Thread(target=work)
    with causal_otel.span("root"), pytest.raises(RuntimeError) as raised:
        thread.start()
    assert raised.value is refusal
    assert "run" not in vars(thread)


def test_starting_twice_is_refused_as_ever(recorded: Recording) -> None:
    """The second start raises what it always has, and one without ``Thread.__init__`` too."""
    thread = threading.Thread(target=work)
    with causal_otel.span("root"):
        thread.start()
        thread.join()
        with pytest.raises(RuntimeError, match="threads can only be started once"):
            thread.start()
        with pytest.raises(RuntimeError, match=r"thread\.__init__\(\) not called"):
            object.__new__(threading.Thread).start()
    assert recorded.names() == ["work", "root"]


def test_a_thread_that_is_over_keeps_nothing_alive(recorded: Recording) -> None:
    """The thread object, which somebody may keep, does not hold what was current."""

    class Marker:
        pass

    marker = Marker()
    kept = weakref.ref(marker)
    activation = attach(context.set_value("marker", marker))
    thread = threading.Thread(target=work)
    thread.start()
    thread.join()
    activation.end()
    del activation, marker
    gc.collect()
    assert kept() is None


class TestServingEverybody:
    """Threads that somebody's first use starts, and that then work for all."""

    def test_of_an_executor(self, recorded: Recording) -> None:
        """A thread of a pool that was started in a trace runs jobs of no trace outside that."""
        with ThreadPoolExecutor(1) as executor:
            with causal_otel.span("root"):
                executor.submit(len, ()).result()
            executor.submit(work).result()
        assert_span(recorded.only("work"), None)

    def test_of_anyio_and_trio(self, recorded: Recording) -> None:
        """Their threads carry the context of each job by themselves, and none of the job that has started them."""

        async def twice() -> None:
            with causal_otel.span("root"):
                await anyio.to_thread.run_sync(work)
            await anyio.to_thread.run_sync(work)

        async def twice_by_trio() -> None:
            with causal_otel.span("root"):
                await trio.to_thread.run_sync(work)
            await trio.to_thread.run_sync(work)

        runs: tuple[Callable[[], None], ...] = (lambda: anyio.run(twice), lambda: trio.run(twice_by_trio))
        for run in runs:
            run()
            first, root, second = recorded.spans
            assert_span(first, root)
            assert_span(second, None)
            recorded.clear()

    def test_of_a_log_queue(self, recorded: Recording) -> None:
        """The thread of ``QueueListener`` is in no trace."""
        seen: list[Any] = []

        class Handler(logging.Handler):
            def emit(self, record: logging.LogRecord) -> None:
                seen.append(dict(context.get_current()))

        records: queue.Queue[Any] = queue.Queue()
        listener = logging.handlers.QueueListener(records, Handler())
        with causal_otel.span("root"):
            listener.start()
        records.put(logging.makeLogRecord({"msg": "x"}))
        listener.stop()
        assert seen == [{}]

    def test_those_that_are_excluded(self) -> None:
        """Patterns of names tell which others begin without the trace: Python names them after their function."""

        def poll() -> None:
            work()

        with recording({"threads": ThreadsOptions(excluded=("*(poll)", "keeper-*"))}) as recorded:
            with causal_otel.span("root") as root:
                for each in (
                    threading.Thread(target=poll),
                    threading.Thread(target=work, name="keeper-1"),
                    threading.Thread(target=work),
                ):
                    each.start()
                    each.join()
            first, second, third, _ = recorded.spans
            assert_span(first, None)
            assert_span(second, None)
            assert_span(third, root)

    def test_one_that_is_detached(self, recorded: Recording) -> None:
        """A thread that is started in ``detached()`` begins traces of its own, linked to the one that was left."""
        with causal_otel.span("root") as root, causal_otel.detached():
            thread = threading.Thread(target=work)
            thread.start()
            thread.join()
        found = recorded.only("work")
        assert_span(found, None)
        assert [link.context for link in found.links] == [root.get_span_context()]


def test_a_loop_in_a_thread(recorded: Recording) -> None:
    """Tasks of an event loop that runs in a thread, and what other threads hand to it, have the right parents."""

    async def task() -> None:
        work()

    loop = asyncio.new_event_loop()
    thread = threading.Thread(target=loop.run_forever)
    with causal_otel.span("starter"):
        thread.start()
    with causal_otel.span("root") as root:
        asyncio.run_coroutine_threadsafe(task(), loop).result()
    loop.call_soon_threadsafe(loop.stop)
    thread.join()
    loop.close()
    assert_span(recorded.only("work"), root)
