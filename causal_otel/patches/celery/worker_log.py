"""One line in the log of a worker, and of beat, that says what is traced there and where its spans go.

It reads ``causal_otel: tracing worker to http://collector:4318/v1/traces: celery, redis``.

Whoever looks for missing traces reads the worker's log first. The line is written by the main process when the worker
is ready: by then what the application imports is imported, and a patch that is still waiting for its driver does not
trace anything.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from causal_otel._internal import faults
from causal_otel._internal.log import logger
from causal_otel.instrument.applying import at_work
from causal_otel.instrument.declaration import Connect
from causal_otel.patches.celery.receivers import connected

if TYPE_CHECKING:
    from collections.abc import Callable

    from causal_otel.instrument.tracing import Tracing

__all__ = ["TARGET"]

_logger = logger()


def _connect(tracing: Tracing[Any]) -> Callable[[], None]:
    in_worker = False  # whose beat, if it has one, starts in this process or in a fork of it

    def init(**_: Any) -> None:
        nonlocal in_worker
        in_worker = True

    def ready(**_: Any) -> None:
        try:
            _logger.info("tracing %s: %s", tracing.about, ", ".join(sorted(at_work)))
        except Exception:
            faults.report("celery: the worker's line")

    def beat(**_: Any) -> None:
        if not in_worker:
            ready()

    return connected({"celeryd_init": init, "worker_ready": ready, "beat_init": beat}, "line")


TARGET = Connect("celery.signals", _connect)
"""Where it is said."""
