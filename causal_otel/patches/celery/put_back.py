"""Attempts whose process is lost before the worker's main process has heard of them: Celery makes another one.

A process of the pool says that it begins a task, and may be killed before the main process reads that, which is busy
with another process that has ended. The main process then takes the message for one that nobody has begun, and gives
it to another process. What had begun is an attempt all the same: the main process ends its span here, and the next
attempt is told from it.
"""

from __future__ import annotations

import functools
import time
from typing import TYPE_CHECKING, Any

from causal_otel._internal import faults
from causal_otel.patches.celery.identity import first_delivery
from causal_otel.patches.celery.main_process import end_lost, lost_attempt
from causal_otel.patches.celery.outcome import REQUEUED, TERMINATED
from causal_otel.patches.celery.pool_table import ATTEMPTS

if TYPE_CHECKING:
    from collections.abc import Callable

    from causal_otel.instrument.tracing import Tracing

__all__ = ["wrap_on_partial_read"]


def wrap_on_partial_read(tracing: Tracing[Any], original: Callable[..., Any]) -> Callable[..., Any]:
    """Celery asks this of every message whose process has ended while it wrote to it, or after that."""

    @functools.wraps(original)
    def on_partial_read(self: Any, /, *args: Any, **kwargs: Any) -> Any:
        unheard = None
        if tracing.active:
            try:
                unheard = _unheard(*args, **kwargs)
            except Exception:
                faults.report("celery: on_partial_read")
        result = original(self, *args, **kwargs)
        if unheard is not None:
            try:
                _end(tracing, self, *unheard)
            except Exception:
                faults.report("celery: on_partial_read")
        return result

    return on_partial_read


def _unheard(job: Any, proc: Any) -> tuple[Any, Any] | None:
    """The job and the process that has ended; None: Celery has heard of the attempt, and will call ``on_failure``."""
    return None if job._accepted else (job, proc)


def _end(tracing: Tracing[Any], pool: Any, job: Any, process: Any) -> None:
    """End the attempt, if the process had begun one.

    Args:
        tracing: the patch's handle.
        pool: the ``celery.concurrency.asynpool.AsynPool``.
        job: the pool's ``billiard.pool.ApplyResult``.
        process: the process that has ended.
    """
    from billiard.exceptions import Terminated, WorkerLostError

    request = getattr(job._error_callback, "__self__", None)  # a method of celery.worker.request.Request
    if request is None:
        return
    found = ATTEMPTS.give_up(process.pid, str(request.id))
    if found is None:
        return
    is_put_back = job in pool.outbound_buffer
    if found.open:
        kind = WorkerLostError if is_put_back else Terminated
        error = kind(
            f"The process {process.pid} ended ({process.exitcode}) before the worker had heard of the attempt."
        )
        lost = lost_attempt(tracing, request, found, error, time.time_ns())
        if lost.running is not None:
            end_lost(tracing, lost, lost.running, REQUEUED if is_put_back else TERMINATED)
    if is_put_back and (first := first_delivery(request.request_dict)) is not None:
        ATTEMPTS.put_back(first)
