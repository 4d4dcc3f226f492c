"""Where a task waited before its attempt: in the broker, and in a worker that had received it and was busy."""

from __future__ import annotations

import functools
import time
from datetime import datetime
from typing import TYPE_CHECKING, Any

from causal_otel import names
from causal_otel._internal import faults

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from celery import Celery

    from causal_otel.instrument.tracing import Tracing

__all__ = ["RECEIVED", "receipt", "waits", "wrap_request"]

RECEIVED = "causal-received"
"""The key in a request's ``delivery_info`` of when the worker's main process has received the message, in Unix seconds.

It goes to the process that executes the task with the rest of the request, and no further: whoever executes takes it
out. It is not in the request itself, because Celery copies that, and Python copies a dict from which something was
removed entry by entry.
"""

_NUMBERS = int, float


def wrap_request(tracing: Tracing[Any], original: Callable[..., Any]) -> Callable[..., Any]:
    """``celery.worker.request.Request.__init__``: a message has been received."""

    @functools.wraps(original)
    def init(self: Any, /, *args: Any, **kwargs: Any) -> Any:
        result = original(self, *args, **kwargs)
        if tracing.active:
            try:
                request = self.request_dict
                request["delivery_info"] = {
                    **request["delivery_info"],
                    RECEIVED: time.time(),
                }  # inspect() shows the other
            except Exception:
                faults.report("celery: the receipt of a message")
        return result

    return init


def receipt(request: Mapping[str, Any]) -> Any:
    """When the worker's main process has received the message of a request; None: nobody knows."""
    delivery = request.get("delivery_info")
    return delivery.get(RECEIVED) if delivery else None


def waits(app: Celery | None, eta: Any, published: Any, received: Any, started: float) -> dict[str, float]:
    """How long a task waited that could have run already, in seconds: ``causal.queue.wait``, ``causal.prefetch.wait``.

    The wait in the worker is between two times of one machine. The wait in the broker is between those of two, whose
    clocks may differ: what comes out negative counts as nothing, so that the whole is never less than the known part.

    Args:
        app: whose time zone an eta without one is in; None: there is no eta.
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
        due = (at if at.tzinfo else at.replace(tzinfo=app.timezone if app else None)).timestamp()
    ready = None
    if isinstance(published, _NUMBERS):
        ready = max(due, published)
    if not isinstance(received, _NUMBERS):
        return {} if ready is None else {names.CAUSAL_QUEUE_WAIT: max(0.0, started - ready)}
    held = started - (max(received, due))
    if held < 0:
        held = 0.0
    if ready is None:
        return {names.CAUSAL_PREFETCH_WAIT: held}
    waited = held + received - ready if received > ready else held
    return {names.CAUSAL_QUEUE_WAIT: waited, names.CAUSAL_PREFETCH_WAIT: held}
