"""Children that ``multiprocessing`` and Celery's ``billiard`` fork begin without a current span.

A process pool starts its workers when the first work is submitted, inside some request. They live on, and what later
requests have them do is none of that one's. A bare ``os.fork()`` goes on with what the parent was doing.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import wrapt

from causal_otel._internal import faults
from causal_otel.engine.context import incoming, variable

if TYPE_CHECKING:
    from types import ModuleType

__all__ = ["Children"]

_MODULES = ("multiprocessing.util", "billiard.util")


class Children:
    """Has them begin so, until :meth:`forget`. Its maker keeps it: ``multiprocessing`` holds it by a weak reference."""

    def __init__(self) -> None:
        self._active = variable is not None
        for module in _MODULES:
            wrapt.register_post_import_hook(self._arrived, module)

    def forget(self) -> None:
        """Leave them alone from now on."""
        self._active = False

    def _arrived(self, util: ModuleType) -> None:
        try:
            if self._active:
                util.register_after_fork(self, Children._begin)
        except Exception:
            faults.report("children of multiprocessing")

    def _begin(self) -> None:
        if self._active and variable is not None:
            variable.set(incoming())
