"""An instrumentor at work: it waits for its library, is applied once, and taken away again."""

from __future__ import annotations

import os
import threading
from typing import TYPE_CHECKING, Any

import wrapt

from causal_otel._internal import faults
from causal_otel._internal.log import logger
from causal_otel.instrument.instrumented import instrumented
from causal_otel.instrumentors.conflicts import conflict
from causal_otel.instrumentors.conventions import switch_on

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from types import ModuleType

    from causal_otel.instrumentors.choice import Chosen

__all__ = ["AtWork"]

_logger = logger()


class AtWork:
    """Applies an instrumentor as soon as its library is imported.

    Args:
        chosen: which one.
        providers: what its ``instrument()`` is given, whatever the user's options are.
        warn: is told what concerns all instrumentors, in a sentence.

    Attributes:
        status: what it is doing.
    """

    def __init__(self, chosen: Chosen, providers: Mapping[str, Any], warn: Callable[[str], None]) -> None:
        self._chosen = chosen
        self._providers = providers
        self._warn = warn
        self.status = chosen.status
        self._packages = {module.partition(".")[0] for module in chosen.known.modules}
        self._lock = threading.Lock()
        self._begun = False
        self._over = False
        self._instrumentor: Any = None

    def apply(self) -> None:
        """Apply it when its library is imported: at once, if that is so already, or if nobody knows of one."""
        for module in self._chosen.known.modules:
            wrapt.register_post_import_hook(self._imported, module)
        if not self._chosen.known.modules:
            self._imported(None)

    def undo(self) -> None:
        """Wait no longer, and undo it if it has been applied, and not yet been undone by somebody else."""
        self._over = True
        with self._lock:
            instrumentor, self._instrumentor = self._instrumentor, None
        if instrumentor is None:
            return
        instrumented.difference_update(self._packages)
        try:
            if instrumentor.is_instrumented_by_opentelemetry:
                instrumentor.uninstrument()
        except Exception:
            faults.report(self._site("uninstall"))

    def _imported(self, _module: ModuleType | None) -> None:
        # wrapt keeps hooks for ever and lets their exceptions fail the import.
        with self._lock:
            if self._over or self._begun:
                return
            self._begun = True
        # Not under the lock: another thread that is importing the library may wait for it here.
        try:
            problem = self._why_not() or self._instrument()
        except ImportError as error:
            self._leave("failed", f"{type(error).__name__}: {error}")
        except Exception as error:
            if type(error).__name__ == "DependencyConflictError":
                self._leave("conflict", str(error))
                return
            faults.report(self._site("instrument"))
            self._leave("failed", f"{type(error).__name__}: see the log")
        else:
            if problem:
                self._leave(*problem)
        if self._is_over():
            self.undo()

    def _is_over(self) -> bool:
        """Whether it has been undone meanwhile, by another thread."""
        return self._over

    def _why_not(self) -> tuple[str, str] | None:
        """Why it cannot be applied: the state that it is in, and a reason; None: it can."""
        found = conflict(self._chosen.distribution)
        if found:
            return "conflict", found
        variable = self._chosen.known.variable
        if variable and not os.environ.get(variable):
            return "failed", f"{variable} must be set when the process starts"
        return None

    def _instrument(self) -> tuple[str, str] | None:
        instrumentor = self._chosen.entry.load()()
        if instrumentor.is_instrumented_by_opentelemetry:
            return "foreign", "the application has applied it before install(), and it is left alone"
        warning = switch_on()
        if warning:
            self._warn(warning)
        instrumentor.instrument(**{**self._chosen.options, **self._providers, "raise_exception_on_conflict": True})
        if not instrumentor.is_instrumented_by_opentelemetry:
            return "failed", "its instrument() has done nothing"
        self._instrumentor = instrumentor
        self.status.state = "on"
        instrumented.update(self._packages)
        return None

    def _leave(self, state: str, problem: str) -> None:
        self.status.because(state, problem)
        if state != "foreign":
            _logger.warning("%s is not traced: %s", self.status.name, problem)

    def _site(self, what: str) -> str:
        return f"instrumentor {self.status.name}: {what}"
