"""A worker of Celery that loses a process before it has read what that began. A worker imports it with ``-I``.

Its main process is held up where it has given ``tests.lost_unheard`` to a process: it kills the other process of the
pool, and that one once it is to look after the first. So Celery finds the second one dead whose word it has not read.
"""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from celery.concurrency.asynpool import AsynPool
from celery.concurrency.prefork import TaskPool

from causal_otel.installation import installation
from tests.patches.celery_app import app

__all__ = ["INCLUDE"]

INCLUDE = ("-I", "tests.patches.celery_put_back")
PATIENCE = 30.0
HANGS = 5.0
"""Seconds, in which the process is killed."""


def wait(what: str, condition: Callable[[], bool]) -> None:
    """Wait until ``condition`` holds."""
    deadline = time.monotonic() + PATIENCE
    while not condition():
        assert time.monotonic() < deadline, what
        time.sleep(0.01)


@app.task(name="tests.lost_unheard")
def lost_unheard() -> int:
    """Hangs at the first attempt, once it has said that it has begun; the second one returns its process id."""
    begun = _begun()
    if not begun.exists():
        installed = installation()
        assert installed is not None
        installed.flush(10)  # of what this process has ended before
        begun.write_text(str(os.getpid()))
        time.sleep(HANGS)
    return os.getpid()


def _begun() -> Path:
    return Path(os.environ["TESTS_BEGUN"])


class _Pool(AsynPool):
    """See the module."""

    _pool: list[Any]
    _victim: Any = None

    def WorkerProcess(self, worker: Any) -> Any:
        process = super().WorkerProcess(worker)
        send = process.send_job_offset

        def send_job_offset(message: memoryview, offset: int) -> int:
            sent: int = send(message, offset)
            if lost_unheard.name.encode() in bytes(message) and not _begun().exists():
                self.on_job_written(process)
            return sent

        process.send_job_offset = send_job_offset
        return process

    def on_job_written(self, process: Any) -> None:
        """Kill another process of the pool, and look after the pool, as Celery does from time to time."""
        wait("the task has begun", _begun().exists)
        self._victim = process
        self._pool.sort(key=lambda each: each is process)  # the last one is looked at first
        os.kill(self._pool[0].pid, signal.SIGKILL)
        wait("a process is dead", lambda: not self._pool[0]._is_alive())
        self.maintain_pool()

    def process_flush_queues(self, proc: Any) -> None:
        """Read what a dead process had written; meanwhile the other one dies."""
        super().process_flush_queues(proc)
        victim, self._victim = self._victim, None
        if victim is not None:
            os.kill(victim.pid, signal.SIGKILL)
            wait("the other process is dead", lambda: not victim._is_alive())


TaskPool.Pool = _Pool
