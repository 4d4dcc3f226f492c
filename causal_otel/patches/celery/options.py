"""The options of the patch for Celery."""

from __future__ import annotations

from dataclasses import dataclass

from causal_otel.instrument.options import Options

__all__ = ["CeleryOptions"]


@dataclass(frozen=True, kw_only=True)
class CeleryOptions(Options):
    """The options of the patch for Celery.

    Where a task is sent, the hooks are called with the span, the application, and the positional and keyword arguments
    of its ``send_task()``, which begin with the task's name; ``response_hook`` with the ``AsyncResult`` as well, or the
    exception. Where one is executed, they are called with the span, the task and its request
    (``celery.app.task.Context``), which tells of the message; ``response_hook`` with what the task has returned or
    raised as well, ``Retry``, ``Ignore`` and ``Reject`` included. Where the main process ends an execution, it calls
    both, one after the other, with the error that says why.

    Args:
        excluded: names of tasks, such as ``reports.*``, in any case: neither sent nor executed in a trace that is
            recorded.
        result_backend: whether what the result backend does inside a span is recorded by the patch of its driver:
            storing a result, asking for one, counting the parts of a chord.
        flush_timeout: how long a worker process that leaves may take to export its last spans, in seconds.
    """

    result_backend: bool = False
    flush_timeout: float = 2.0
