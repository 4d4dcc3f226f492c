"""A patch waits for its driver. Until that is imported, not even the patch's own module is."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING, Any

import wrapt

from causal_otel._internal import faults
from causal_otel._internal.log import logger
from causal_otel.engine.foreign import NoTracer
from causal_otel.instrument.applying import Applied
from causal_otel.instrument.declaration import PatchStatus
from causal_otel.instrument.registry import BrokenPatch

if TYPE_CHECKING:
    from collections.abc import Callable
    from types import ModuleType

    from causal_otel.instrument.declaration import Patch
    from causal_otel.instrument.registry import Registered
    from causal_otel.instrument.tracing import Tracing

__all__ = ["DeferredPatch"]

_logger = logger()


class DeferredPatch:
    """Applies a patch as soon as its driver is imported.

    Args:
        registered: which one.
        tracing: makes the handle that the patch works with.
    """

    def __init__(self, registered: Registered, tracing: Callable[[Patch], Tracing[Any]]) -> None:
        self._registered = registered
        self._status = PatchStatus(registered.name, "waiting")
        self._tracing = tracing
        self._applied: Applied | None = None
        self._over = False
        self._lock = threading.Lock()

    @property
    def status(self) -> PatchStatus:
        """What the patch is doing."""
        return self._status if self._applied is None else self._applied.status

    def apply(self) -> None:
        """Apply the patch when its driver is imported: at once, if it is already."""
        for module in self._registered.modules:
            wrapt.register_post_import_hook(self._imported, module)

    def undo(self) -> None:
        """Wait no longer, and put everything back that was patched."""
        with self._lock:
            self._over = True
        if self._applied is not None:
            self._applied.undo()

    def _imported(self, module: ModuleType) -> None:
        # wrapt keeps hooks for ever and lets their exceptions fail the import.
        try:
            # Not under the lock: another thread that is importing the same module may wait for the lock here.
            patch = None if self._over else self._registered.load()
            with self._lock:
                if patch is None or self._over:
                    return
                before = self._applied
                applied = self._applied = before or Applied(patch, self._tracing(patch))
            if before is None:
                applied.apply(module, self._registered.modules)
            else:
                applied.arrived(module)
        except (BrokenPatch, NoTracer) as problem:
            self._failed(str(problem))
            _logger.warning("%s is not traced: %s", self._status.name, problem, exc_info=problem.__cause__)
        except Exception:
            self._failed("see the log")
            faults.report(f"{self._status.name}: patching")

    def _failed(self, problem: str) -> None:
        self._status.state = "failed"
        self._status.problems.append(problem)
