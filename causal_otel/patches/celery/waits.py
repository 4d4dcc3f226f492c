"""Where a task waited before its attempt: in the broker, and in a worker that had received it and was busy."""

from __future__ import annotations

import functools
import time
from datetime import datetime
from typing import TYPE_CHECKING, Any

from causal_otel import names
from causal_otel._internal import faults

if TYPE_CHECKING:
    from collections.abc import Callable

    from celery import Celery

    from causal_otel.instrument.tracing import Tracing

__all__ = ["RECEIVED", "waits", "wrap_request"]

RECEIVED = "causal-received"
"""The key in a request's dict of when the worker's main process has received the message, in Unix seconds.

It goes to the process that executes the task with the rest of the dict, and no further: whoever executes takes it out.
"""


def wrap_request(tracing: Tracing[Any], original: Callable[..., None]) -> Callable[..., None]:
    """``celery.worker.request.Request.__init__``: a message has been received."""

    @functools.wraps(original)
    def init(self: Any, /, *args: Any, **kwargs: Any) -> None:
        original(self, *args, **kwargs)
        if tracing.active:
            try:
                self.request_dict[RECEIVED] = time.time()
            except Exception:
                faults.report("celery: the receipt of a message")

    return init


def waits(app: Celery, eta: Any, published: Any, received: Any, started: float) -> dict[str, float]:
    """How long a task waited that could have run already, in seconds: ``causal.queue.wait``, ``causal.prefetch.wait``.

    The wait in the worker is between two times of one machine. The wait in the broker is between those of two, whose
    clocks may differ: what comes out negative counts as nothing, so that the whole is never less than the known part.

    Args:
        app: whose time zone an eta without one is in.
        eta: when it was due, as the message says it; None: at once.
        published: when it was sent, in Unix seconds; no number: the sender is not ours.
        received: when the worker got it, likewise; no number: the worker's main process is not ours.
        started: when the attempt began.
    """
    due = 0.0
    if eta:
        try:
            at = datetime.fromisoformat(str(eta))
        except ValueError:
            return {}
        due = (at if at.tzinfo else at.replace(tzinfo=app.timezone)).timestamp()
    ready = max(due, published) if isinstance(published, int | float) else None
    if not isinstance(received, int | float):
        return {} if ready is None else {names.CAUSAL_QUEUE_WAIT: max(0.0, started - ready)}
    held = max(0.0, started - max(due, received))
    if ready is None:
        return {names.CAUSAL_PREFETCH_WAIT: held}
    return {names.CAUSAL_QUEUE_WAIT: max(0.0, received - ready) + held, names.CAUSAL_PREFETCH_WAIT: held}
