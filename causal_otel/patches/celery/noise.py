"""What Celery does on its own account is not recorded: broker, events, control, results.

Most of it goes through clients that the transport and the result backend have made for themselves, and their driver's
patch knows whose these are (:mod:`causal_otel.instrument.bookkeeping`). So nothing is done here while anything is sent,
executed or waited for, and a callback in the middle of it is traced as ever. SQLAlchemy's sessions have no owner that
could be told: there the methods that use them, which call nothing of the user's, are suppressed.
"""

from __future__ import annotations

import functools
from typing import TYPE_CHECKING, Any

from causal_otel.engine.context import in_trace, suppressed_context
from causal_otel.instrument.bookkeeping import BROKER, RESULT_BACKEND, silent
from causal_otel.instrument.calls import Inside, suppressed, traced_call
from causal_otel.instrument.declaration import Connect, Wrap

if TYPE_CHECKING:
    from collections.abc import Callable

    from causal_otel.instrument.calls import Args, Kwargs
    from causal_otel.instrument.declaration import Target
    from causal_otel.instrument.tracing import Tracing
    from causal_otel.patches.celery.options import CeleryOptions

__all__ = ["TARGETS"]


def _silence(tracing: Tracing[CeleryOptions]) -> Callable[[], None]:
    """Want nothing recorded of the clients of the broker, and of the result backend's."""
    owners = {BROKER} if tracing.options.result_backend else {BROKER, RESULT_BACKEND}
    silent.update(owners)
    return functools.partial(silent.difference_update, owners)


def _begin_storage(tracing: Tracing[CeleryOptions], backend: Any, args: Args, kwargs: Kwargs) -> Inside | None:
    """A method of a result backend. What it does begins no trace in any case."""
    if tracing.options.result_backend and in_trace():
        return None
    return Inside(suppressed_context())


_storage = traced_call(_begin_storage)

_STORAGE = (
    "_delete_group",
    "_forget",
    "_get_task_meta_for",
    "_restore_group",
    "_save_group",
    "_store_result",
    "cleanup",
)
_SINCE_5_7 = ("_create_tables", "task_result_exists")
_QUEUE = ("_get", "_new_queue", "_purge", "_put", "_size")

TARGETS: tuple[Target, ...] = (
    Connect("celery.app.base", _silence),
    *(Wrap("celery.backends.database", f"DatabaseBackend.{method}", _storage) for method in _STORAGE),
    *(Wrap("celery.backends.database", f"DatabaseBackend.{method}", _storage, optional=True) for method in _SINCE_5_7),
    *(Wrap("kombu.transport.sqlalchemy", f"Channel.{method}", suppressed) for method in _QUEUE),
)
"""Where that is."""
