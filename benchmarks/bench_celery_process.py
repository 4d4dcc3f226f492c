"""What a Celery task costs the process that sends it, and the worker that runs it: through Valkey, export included.

Every tracer has a publisher and a worker (the solo pool) of its own, each in a process of its own, and they take turns.
The CPU time is that of all threads of the process; Valkey and what is exported to are on the other core. A round ends
when the process has exported what the round has made. While its messages are being sent a worker is stopped, so that it
finds them all in the queue: waiting costs it what no tracer touches. See :mod:`benchmarks.celery_process`.
"""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING

import redis

from benchmarks.processes import answering_server, cpu_seconds, module
from benchmarks.rounds import BARE, DDTRACE, OPENTELEMETRY, OURS, added, in_turns, on_core
from causal_otel.testing import servers

if TYPE_CHECKING:
    from pytest_benchmark.fixture import BenchmarkFixture

    from benchmarks.conftest import Record, Sink

_TASKS, _ROUNDS = 300, 10
_TRACERS = (BARE, OPENTELEMETRY, DDTRACE, OURS)
_WAIT_SECONDS = 60


@dataclass(frozen=True)
class _Tracer:
    """A tracer's publisher and worker; ``published`` is what a task has cost the publisher, in each round."""

    queue: str
    client: redis.Redis
    publisher: int
    worker: int
    published: list[float]

    def run(self) -> float:
        """Send tasks and have them run; the worker's seconds of CPU for each."""
        os.kill(self.worker, signal.SIGSTOP)
        before = cpu_seconds(self.publisher)
        self.client.rpush(f"{self.queue}.ask", _TASKS)
        self.wait()
        self.published.append((cpu_seconds(self.publisher) - before) / _TASKS)
        before = cpu_seconds(self.worker)
        os.kill(self.worker, signal.SIGCONT)
        self.wait()
        return (cpu_seconds(self.worker) - before) / _TASKS

    def wait(self) -> None:
        """Wait until what was asked for is done."""
        assert self.client.blpop([f"{self.queue}.done"], timeout=_WAIT_SECONDS) is not None


@contextmanager
def _tracers(otlp: str, *, sampled: bool) -> Iterator[dict[str, _Tracer]]:
    """A publisher and a worker of each tracer, and the broker and the agent that they talk to."""
    with ExitStack() as stack:
        agent = stack.enter_context(answering_server())
        with on_core(1):
            broker = stack.enter_context(servers.valkey())
        client = stack.enter_context(redis.Redis.from_url(broker, socket_timeout=_WAIT_SECONDS))

        def start(name: str) -> _Tracer:
            arguments = (name, broker, otlp, "sampled" if sampled else "unsampled")
            publisher, worker = (
                stack.enter_context(module("celery_process", role, *arguments, agent=agent)).pid
                for role in ("publisher", "worker")
            )
            found = _Tracer(name, client, publisher, worker, [])
            found.wait()
            return found

        yield {name: start(name) for name in _TRACERS}


def _measure(benchmark: BenchmarkFixture, record: Record, sink: Sink, row: str, *, sampled: bool) -> None:
    with _tracers(sink.url, sampled=sampled) as tracers:
        record(f"celery worker{row}", in_turns(benchmark, {name: each.run for name, each in tracers.items()}, _ROUNDS))
        record(f"celery publisher{row}", added({name: each.published[1:] for name, each in tracers.items()}))
    # Of each tracer: the span around, and two of each task, of which the one that exports is another.
    sink.expect(2 * (_ROUNDS + 1) * (1 + 2 * (_TASKS + 1)) if sampled else 0)


def test_recorded(benchmark: BenchmarkFixture, record: Record, sink: Sink) -> None:
    """Every task is recorded where it is sent and where it runs."""
    _measure(benchmark, record, sink, "", sampled=True)


def test_unsampled(benchmark: BenchmarkFixture, record: Record, sink: Sink) -> None:
    """The tasks' traces are not sampled."""
    _measure(benchmark, record, sink, " unsampled", sampled=False)
