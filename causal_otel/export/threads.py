"""The export's threads of one process: started once, by whoever comes first, without waiting for them."""

from __future__ import annotations

import _thread
import threading
from typing import TYPE_CHECKING

from causal_otel.engine import faults
from causal_otel.engine.context import suppression

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = ["Threads"]

_BEGIN_SECONDS = 1.0


class Threads:
    """Runs functions, each on a daemon thread of its own, from :meth:`begin` on.

    Args:
        bodies: what to run, by name.
    """

    def __init__(self, **bodies: Callable[[], None]) -> None:
        self._bodies = bodies
        self._running: dict[str, threading.Thread] = {}
        self._ready = threading.Event()
        self._unbegun = [True]  # whoever pops it starts the threads

    @property
    def begun(self) -> bool:
        """Whether :meth:`begin` has been called."""
        return not self._unbegun

    def begin(self) -> bool:
        """Start the threads, from a bare one; False: that has been done.

        ``Thread.start()`` waits until its thread has got the GIL, which may take several milliseconds, and ending a
        span waits for nothing.

        Raises:
            RuntimeError: the process is ending, and starts no threads any more.
        """
        if not self._unbegun:
            return False
        try:
            self._unbegun.pop()
        except IndexError:  # somebody else was faster
            return False
        try:
            _thread.start_new_thread(self._start, ())
        except RuntimeError:
            self._ready.set()
            raise
        return True

    def alive(self, *names: str) -> bool:
        """Whether those threads are running; waits for them to be started, a second at the most."""
        self._ready.wait(_BEGIN_SECONDS)
        return all(name in self._running and self._running[name].is_alive() for name in names)

    def _start(self) -> None:
        try:
            running = {
                name: threading.Thread(target=self._run, args=(body,), name=f"causal-otel-{name}", daemon=True)
                for name, body in self._bodies.items()
            }
            for thread in running.values():
                thread.start()
            self._running = running
        except RuntimeError:  # the process is ending
            pass
        finally:
            self._ready.set()

    def _run(self, body: Callable[[], None]) -> None:
        try:
            with suppression():
                body()
        except Exception:
            faults.report("export: thread")
