"""Executors and pools of threads: a job is in the trace of whoever has given it to them, and leaves nothing behind."""

from __future__ import annotations

import asyncio
import functools
import gc
import pickle
import threading
import weakref
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from contextvars import ContextVar
from multiprocessing.pool import ThreadPool
from typing import TYPE_CHECKING, Any

import pytest
import uvloop
import wrapt
from opentelemetry import baggage, context, trace

import causal_otel
from causal_otel.engine.context import attach
from causal_otel.patches.threads import ThreadsOptions
from tests.patches import pool_jobs
from tests.recording import Recording, recording
from tests.span_relations import assert_span, traceparent

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

PATCHES = ["threads"]


def work(*arguments: Any, **keywords: Any) -> tuple[Any, ...]:
    """A job: its span is called ``work``."""
    with causal_otel.span("work"):
        return (*arguments, *keywords.items())


def current() -> Any:
    """What is current, as another library sees it."""
    return context.get_current()


@contextmanager
def _executor() -> Iterator[Any]:
    with ThreadPoolExecutor(1) as executor:
        yield lambda job: executor.submit(job).result()


@contextmanager
def _executor_map() -> Iterator[Any]:
    with ThreadPoolExecutor(1) as executor:
        yield lambda job: next(executor.map(lambda _: job(), [1]))


@contextmanager
def _loop(run: Callable[[Any], Any]) -> Iterator[Any]:
    async def call(job: Any) -> Any:
        return await asyncio.get_running_loop().run_in_executor(None, job)

    yield lambda job: run(call(job))


@contextmanager
def _to_thread() -> Iterator[Any]:
    yield lambda job: asyncio.run(asyncio.to_thread(job))


@contextmanager
def _pool(ask: Callable[[ThreadPool, Any], Any]) -> Iterator[Any]:
    with ThreadPool(1) as pool:
        yield lambda job: ask(pool, job)
        pool.close()
        pool.join()


def _one(job: Any) -> Any:
    return lambda _: job()


WAYS: dict[str, Any] = {
    "submit": _executor,
    "map": _executor_map,
    "run_in_executor": functools.partial(_loop, asyncio.run),
    "run_in_executor of uvloop": functools.partial(_loop, uvloop.run),
    "to_thread": _to_thread,
    "ThreadPool.apply": functools.partial(_pool, lambda pool, job: pool.apply(job)),
    "ThreadPool.apply_async": functools.partial(_pool, lambda pool, job: pool.apply_async(func=job).get()),
    "ThreadPool.map": functools.partial(_pool, lambda pool, job: pool.map(_one(job), [1])[0]),
    "ThreadPool.map_async": functools.partial(_pool, lambda pool, job: pool.map_async(_one(job), [1]).get()[0]),
    "ThreadPool.starmap": functools.partial(_pool, lambda pool, job: pool.starmap(_one(job), [(1,)])[0]),
    "ThreadPool.starmap_async": functools.partial(
        _pool, lambda pool, job: pool.starmap_async(_one(job), [(1,)]).get()[0]
    ),
    "ThreadPool.imap": functools.partial(_pool, lambda pool, job: next(pool.imap(_one(job), [1]))),
    "ThreadPool.imap_unordered": functools.partial(_pool, lambda pool, job: next(pool.imap_unordered(_one(job), [1]))),
}


@pytest.fixture(params=WAYS)
def way(request: pytest.FixtureRequest) -> Iterator[Any]:
    """Gives a job to threads, and its result back: in one thread, which goes on until the test is over."""
    with WAYS[request.param]() as ask:
        yield ask


def test_a_job_is_in_the_trace_of_whoever_asked(recorded: Recording, way: Any) -> None:
    """Its span is a child of the span that was current, inside it, and its result comes back."""
    with causal_otel.span("root") as root:
        assert way(functools.partial(work, 1, two=2)) == (1, ("two", 2))
    assert_span(recorded.only("work"), root)


def test_only_the_context_of_tracing_is_carried(way: Any) -> None:
    """Baggage comes along; a variable of the application's own only where whoever hands on the job copies them all."""
    variable: ContextVar[str] = ContextVar("variable", default="unset")
    with recording(PATCHES):
        activation = attach(baggage.set_baggage("tenant", "acme"))
        variable.set("of the caller")
        found = way(lambda: (baggage.get_baggage("tenant"), variable.get()))
        activation.end()
    assert found[0] == "acme"
    assert found[1] in ("unset", "of the caller")


def test_a_thread_keeps_nothing_of_a_job(recorded: Recording, way: Any) -> None:
    """After a job, even one that leaves something attached, what a job outside any trace sees is empty."""

    def careless() -> None:
        context.attach(trace.set_span_in_context(trace.NonRecordingSpan(trace.get_current_span().get_span_context())))

    with causal_otel.span("root"):
        way(careless)
    assert way(current) == {}


def test_outside_any_trace_nothing_is_touched(monkeypatch: pytest.MonkeyPatch) -> None:
    """Where nothing is current, the executor is given the very function of the user."""
    given, submit = [], ThreadPoolExecutor.submit

    def spy(executor: ThreadPoolExecutor, fn: Any, /, *args: Any, **kwargs: Any) -> Future[Any]:
        given.append(fn)
        return submit(executor, fn, *args, **kwargs)

    monkeypatch.setattr(ThreadPoolExecutor, "submit", spy)
    with recording(PATCHES), ThreadPoolExecutor(1) as executor:
        executor.submit(work).result()
        with causal_otel.span("root"):
            executor.submit(work).result()
    assert given[0] is work
    assert given[1] is not work


def test_an_idle_thread_keeps_no_span_alive(recorded: Recording) -> None:
    """Neither a thread that is idle, nor a future, nor a failure that somebody keeps holds the span of a job."""

    def fail() -> None:
        raise ValueError("kept")

    class Marker:
        pass

    with ThreadPoolExecutor(1) as executor:
        marker = Marker()
        kept = weakref.ref(marker)
        activation = attach(context.set_value("marker", marker))
        done, failed = executor.submit(current), executor.submit(fail)
        assert done.result()["marker"] is marker
        assert isinstance(failed.exception(), ValueError)
        done = executor.submit(len, ())
        activation.end()
        assert done.result() == 0
        del activation, marker
        executor.submit(len, ()).result()  # its thread has let go of the item before this one
        gc.collect()
        assert kept() is None
        assert failed.exception() is not None


def test_an_exception_is_the_same_object(recorded: Recording, way: Any) -> None:
    """What a job raises reaches whoever asked: the very object, and the job is called once."""
    error, calls = ValueError("mine"), []

    def fail() -> None:
        calls.append(1)
        raise error

    with causal_otel.span("root"), pytest.raises(ValueError, match="mine") as raised:
        way(fail)
    assert raised.value is error
    assert calls == [1]


def test_executors_inside_executors(recorded: Recording) -> None:
    """A job that gives a job to another executor is that one's parent."""

    def outer(inner: ThreadPoolExecutor) -> None:
        with causal_otel.span("outer"):
            inner.submit(work).result()

    with ThreadPoolExecutor(1) as first, ThreadPoolExecutor(1) as second, causal_otel.span("root") as root:
        first.submit(outer, second).result()
    assert_span(recorded.only("outer"), root)
    assert_span(recorded.only("work"), recorded.only("outer"))


def test_concurrent_submitters_do_not_mix(recorded: Recording) -> None:
    """Of eight threads that share an executor of three, each finds its own trace in its jobs."""

    def submitter(executor: ThreadPoolExecutor, number: int) -> set[str | None]:
        with causal_otel.span(f"submitter {number}"):
            jobs = [executor.submit(causal_otel.current_trace_id) for _ in range(50)]
            assert {job.result() for job in jobs} == {causal_otel.current_trace_id()}
            return {job.result() for job in jobs}

    with ThreadPoolExecutor(3) as shared, ThreadPoolExecutor(8) as submitters:
        found = list(submitters.map(submitter, [shared] * 8, range(8)))
    assert len(set.union(*found)) == 8


def test_a_cancelled_job_is_not_called(recorded: Recording) -> None:
    """A job that is cancelled while it waits, or by ``shutdown``, does not run; callbacks of its future do."""
    started, go_on = threading.Event(), threading.Event()

    def hold() -> bool:
        started.set()
        return go_on.wait(60)

    executor = ThreadPoolExecutor(1)
    told: list[Future[Any]] = []
    with causal_otel.span("root"):
        running = executor.submit(hold)
        started.wait(60)
        cancelled, dropped = executor.submit(work), executor.submit(work)
        cancelled.add_done_callback(told.append)
        assert cancelled.cancel()
        executor.shutdown(wait=False, cancel_futures=True)
        go_on.set()
        executor.shutdown()
        assert running.result()
    assert dropped.cancelled()
    assert told == [cancelled]
    assert recorded.names() == ["root"]
    with pytest.raises(RuntimeError, match="cannot schedule new futures after shutdown"), causal_otel.span("late"):
        executor.submit(work)


def test_an_initializer_is_in_no_trace(recorded: Recording) -> None:
    """What prepares a thread of an executor, which is started by somebody's first job, is not in that one's trace."""
    seen: list[Any] = []
    with ThreadPoolExecutor(1, initializer=lambda: seen.append(dict(current()))) as executor, causal_otel.span("root"):
        executor.submit(work).result()
    assert seen == [{}]


class _Counting(ThreadPoolExecutor):
    """A subclass that has its own ``submit``."""

    submitted: list[Any]

    def submit(self, fn: Any, /, *args: Any, **kwargs: Any) -> Future[Any]:
        self.submitted = [*getattr(self, "submitted", []), fn]
        return super().submit(fn, *args, **kwargs)


def test_a_subclass_with_its_own_submit(recorded: Recording) -> None:
    """It sees the user's function, and the job is in the trace."""
    with _Counting(1) as executor, causal_otel.span("root") as root:
        executor.submit(work).result()
        assert executor.submitted == [work]
    assert_span(recorded.only("work"), root)


class _Pickling(ThreadPoolExecutor):
    """Pickles what it is given, as that of Python 3.14 for interpreters does in its ``submit``."""


def test_a_subclass_that_pickles_jobs(monkeypatch: pytest.MonkeyPatch) -> None:
    """What it is given can be pickled, and has the context as headers then."""
    submit = ThreadPoolExecutor.submit

    def pickling(executor: ThreadPoolExecutor, fn: Any, /, *args: Any, **kwargs: Any) -> Future[Any]:
        fn, args, kwargs = pickle.loads(pickle.dumps((fn, args, kwargs)))
        return submit(executor, fn, *args, **kwargs)

    monkeypatch.setattr(ThreadPoolExecutor, "submit", pickling)
    with recording(PATCHES), _Pickling(1) as executor, causal_otel.span("root") as root:
        assert executor.submit(pool_jobs.headers).result()[1] == {"traceparent": traceparent(root)}


def test_beside_somebody_elses_wrapper(monkeypatch: pytest.MonkeyPatch) -> None:
    """Over a wrapper that another tool has left in the class, and below one that comes later, jobs are carried once."""
    calls: list[str] = []

    def around(wrapped: Any, instance: Any, args: Any, kwargs: Any) -> Any:
        calls.append("theirs")
        return wrapped(*args, **kwargs)

    monkeypatch.setattr(ThreadPoolExecutor, "submit", wrapt.FunctionWrapper(vars(ThreadPoolExecutor)["submit"], around))
    with recording(PATCHES) as recorded, ThreadPoolExecutor(1) as executor, causal_otel.span("root") as root:
        executor.submit(work).result()
    assert calls == ["theirs"]
    assert_span(recorded.only("work"), root)


class TestOptOut:
    def test_by_default_it_is_on(self) -> None:
        """Without ``patches``, jobs are in the trace."""
        with recording(None) as recorded, ThreadPoolExecutor(1) as executor, causal_otel.span("root") as root:
            executor.submit(work).result()
        assert_span(recorded.only("work"), root)

    @pytest.mark.parametrize("patches", [{"threads": False}, []])
    def test_it_can_be_left_out(self, patches: Any) -> None:
        """``patches={"threads": False}``, or names without it: a job begins a trace of its own."""
        before = vars(ThreadPoolExecutor)["submit"]
        with recording(patches) as recorded, ThreadPoolExecutor(1) as executor:
            assert vars(ThreadPoolExecutor)["submit"] is before
            with causal_otel.span("root"):
                executor.submit(work).result()
        assert_span(recorded.only("work"), None)

    def test_uninstalled_functions_are_the_same_and_late_wrappers_do_nothing(self) -> None:
        """After ``uninstall()`` everything is what it was, and one of ours that somebody has kept carries nothing."""
        before = vars(ThreadPoolExecutor)["submit"], vars(threading.Thread)["start"], vars(ThreadPool.__base__)["map"]
        with recording(PATCHES) as recorded:
            kept = vars(ThreadPoolExecutor)["submit"]
            tracer = recorded.tracer
        after = vars(ThreadPoolExecutor)["submit"], vars(threading.Thread)["start"], vars(ThreadPool.__base__)["map"]
        assert after == before
        with ThreadPoolExecutor(1) as executor, tracer.start_as_current_span("root"):
            assert kept(executor, current).result() == {}

    def test_status_tells(self) -> None:
        """``status()`` has it on, with no version: it is of the standard library."""
        with recording({"threads": ThreadsOptions()}):
            (found,) = (patch for patch in causal_otel.status().patches if patch.name == "threads")
            assert str(found) == "threads: on"
