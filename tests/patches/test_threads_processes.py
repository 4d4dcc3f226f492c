"""Pools of processes: a job takes its submitter's context along, and a child has none by itself."""

from __future__ import annotations

import functools
import multiprocessing
import os
import pickle
import subprocess
import sys
from concurrent.futures import ProcessPoolExecutor
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import pytest
from opentelemetry import baggage
from opentelemetry.context import Context

import causal_otel
from causal_otel.engine.context import attach, current
from causal_otel.patches.threads import _Job
from tests.faults.programs import environment, run
from tests.patches import pool_jobs
from tests.recording import Recording
from tests.span_relations import traceparent

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from opentelemetry.trace import Span

    from tests.services.received import ReceivedSpans

PATCHES = ["threads"]
METHODS = ["fork", "forkserver", "spawn"]


@contextmanager
def _executor(method: str) -> Iterator[Any]:
    with ProcessPoolExecutor(
        1, mp_context=multiprocessing.get_context(method), initializer=pool_jobs.initialize
    ) as executor:
        yield lambda job: executor.submit(job).result()


@contextmanager
def _executor_map(method: str) -> Iterator[Any]:
    with ProcessPoolExecutor(
        1, mp_context=multiprocessing.get_context(method), initializer=pool_jobs.initialize
    ) as executor:
        yield lambda job: next(executor.map(job, [1]))


@contextmanager
def _pool(ask: Callable[[Any, Any], Any], method: str) -> Iterator[Any]:
    with multiprocessing.get_context(method).Pool(1, initializer=pool_jobs.initialize) as pool:
        yield lambda job: ask(pool, job)
        pool.close()
        pool.join()


WAYS: dict[str, Any] = {
    "submit": _executor,
    "map": _executor_map,
    "Pool.apply": functools.partial(_pool, lambda pool, job: pool.apply(job)),
    "Pool.map": functools.partial(_pool, lambda pool, job: pool.map(job, [1, 2, 3], chunksize=2)[2]),
    "Pool.starmap": functools.partial(_pool, lambda pool, job: pool.starmap(job, [(1,)])[0]),
    "Pool.imap": functools.partial(_pool, lambda pool, job: next(pool.imap(job, [1]))),
    "Pool.imap_unordered": functools.partial(_pool, lambda pool, job: next(pool.imap_unordered(job, [1]))),
}


@contextmanager
def _in_span() -> Iterator[Span]:
    """A span, with baggage."""
    activation = attach(baggage.set_baggage("tenant", "acme"))
    with causal_otel.span("root") as root:
        yield root
    activation.end()


@pytest.mark.parametrize("method", METHODS)
def test_a_job_has_its_submitters_context_and_the_child_none(recorded: Recording, method: str) -> None:
    """A child that a span has started begins with nothing current; its jobs have the context of whoever asked."""
    with _in_span() as first, _executor(method) as ask:
        assert ask(pool_jobs.seen) == (True, {"traceparent": traceparent(first), "baggage": "tenant=acme"})
        with causal_otel.span("second") as second:
            assert ask(pool_jobs.seen)[1]["traceparent"] == traceparent(second)
        outside = attach(Context())
        assert ask(pool_jobs.nothing_current)
        outside.end()


@pytest.mark.parametrize("way", WAYS)
def test_every_way_to_give_a_job(recorded: Recording, way: str) -> None:
    """Each method of the pools hands the context on."""
    with WAYS[way]("fork") as ask, causal_otel.span("root") as root:
        pid, found = ask(pool_jobs.headers)
    assert found == {"traceparent": traceparent(root)}
    assert pid != os.getpid()


@pytest.mark.long
@pytest.mark.parametrize("method", ["forkserver", "spawn"])
@pytest.mark.parametrize("way", [way for way in WAYS if way != "submit"])
def test_every_way_to_give_a_job_to_a_new_interpreter(recorded: Recording, way: str, method: str) -> None:
    """The same to children that share nothing with this process, and have not called ``install()``."""
    with WAYS[way](method) as ask, causal_otel.span("root") as root:
        assert ask(pool_jobs.headers)[1] == {"traceparent": traceparent(root)}


def test_results_and_failures_come_back(recorded: Recording) -> None:
    """Arguments and results are the user's, and so is what a job raises."""
    with ProcessPoolExecutor(1, mp_context=multiprocessing.get_context("fork")) as executor, causal_otel.span("root"):
        assert executor.submit(pool_jobs.number, "42").result() == 42
        assert list(executor.map(pool_jobs.number, ["1", "2"], chunksize=2)) == [1, 2]
        with pytest.raises(ValueError, match="mine"):
            executor.submit(pool_jobs.fail).result()
        with pytest.raises((pickle.PicklingError, AttributeError), match=r"pickle|local object"):
            executor.submit(lambda: None).result()
        assert executor.submit(pool_jobs.number, text="7").result() == 7


def test_a_pickled_job_is_what_it_was(recorded: Recording) -> None:
    """A pickle of a job, which other executors may make too, holds the user's function and headers only."""
    with causal_otel.span("root") as root:
        job = _Job(pool_jobs.headers, current(), 1.0)
    copy = pickle.loads(pickle.dumps(job))
    assert copy()[1] == pickle.loads(pickle.dumps(copy))()[1] == {"traceparent": traceparent(root)}


def test_a_child_that_was_there_before_install() -> None:
    """A pool that was forked before ``causal_otel`` was imported and installed does its jobs in the trace."""
    done = run(
        """
        import multiprocessing, sys
        from tests.patches import pool_jobs

        pool = multiprocessing.get_context("fork").Pool(1)
        assert pool.apply(pool_jobs.number, ("1",)) == 1 and "causal_otel" not in sys.modules
        import causal_otel
        causal_otel.install(exporter="none")
        with causal_otel.span("root") as root:
            assert causal_otel.current_trace_id() in pool.apply(pool_jobs.headers)[1]["traceparent"]
        pool.close()
        pool.join()
        """,
        options=("-W", "error"),
        PYTHONPATH=os.getcwd(),
    )
    assert (done.returncode, done.stderr) == (0, "")


@pytest.mark.parametrize("method", METHODS)
def test_spans_of_children_arrive(receiver: ReceivedSpans, tmp_path: Any, method: str) -> None:
    """A program whose children install, too: their spans are exported, below the span that gave the job."""
    program = tmp_path / "program.py"
    program.write_text(
        """
import multiprocessing, sys
from concurrent.futures import ProcessPoolExecutor
import causal_otel

causal_otel.install(service_name=multiprocessing.current_process().name)

def job(number):
    with causal_otel.span(f"job {number}"):
        return number

if __name__ == "__main__":
    with causal_otel.span("root"), ProcessPoolExecutor(2, multiprocessing.get_context(sys.argv[1])) as executor:
        assert list(executor.map(job, range(4))) == [0, 1, 2, 3]
"""
    )
    done = subprocess.run(
        [sys.executable, "-W", "error", str(program), method],
        env=environment(OTLP_ENDPOINT=receiver.endpoint),
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert (done.returncode, done.stderr) == (0, "")
    spans = {span["name"]: span for span in receiver.wait_for(lambda spans: len(spans) == 5)}
    root = spans.pop("root")
    assert root["parent_span_id"] is None
    assert {(span["trace_id"], span["parent_span_id"]) for span in spans.values()} == {
        (root["trace_id"], root["span_id"])
    }
