"""Children that ``multiprocessing`` and Celery's ``billiard`` fork begin without a current span, and without baggage.

A process pool forks its workers when the first work is submitted, often inside a request. The workers would inherit
that request's span, and add the work of all later requests to its trace. Their jobs bring a context of their own: see
``causal_otel/patches/threads.py``. After a bare ``os.fork()`` the span stays current: the child goes on with what the
parent was doing.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import wrapt
from opentelemetry.context import Context

from causal_otel._internal import faults
from causal_otel.engine.context import variable

if TYPE_CHECKING:
    from types import ModuleType

__all__ = ["Children"]

_MODULES = ("multiprocessing.util", "billiard.util")


class Children:
    """Clears what is current there, until :meth:`forget`. Keep it: ``multiprocessing`` only has a weak reference."""

    def __init__(self) -> None:
        self._active = variable is not None
        for module in _MODULES:
            wrapt.register_post_import_hook(self._imported, module)

    def forget(self) -> None:
        """Clear nothing from now on."""
        self._active = False

    def _imported(self, util: ModuleType) -> None:
        try:
            if self._active:
                util.register_after_fork(self, Children._begin)
        except Exception:
            faults.report("children of multiprocessing")

    def _begin(self) -> None:
        if self._active and variable is not None:
            variable.set(Context())
