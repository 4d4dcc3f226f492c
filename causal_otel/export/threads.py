"""The export's threads of one process: started once, by whoever comes first, without waiting for them."""

from __future__ import annotations

import _thread
import threading
import time
from typing import TYPE_CHECKING, Protocol

from causal_otel._internal import faults
from causal_otel.engine.context import suppress

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = ["Heartbeat", "Threads"]

_BEGIN_SECONDS = 1.0


class Heartbeat(Protocol):
    """What the encoding thread does besides."""

    def beat(self) -> float:
        """Called again and again; returns in how many seconds to call it again, at the latest. Raises nothing."""

    def remove(self) -> None:
        """Called when the process ends."""


class Threads:
    """Runs functions, each on a daemon thread of its own, from :meth:`begin` on.

    At its end Python starts no threads: since 3.13 from the moment when the non-daemon ones have ended, 3.12.0 and
    3.12.1 from the end of the main module. A short program gets there while its first span's threads are being
    started, so there may be all of them, some or none. What has no thread is run by whoever needs it done:
    :meth:`run`. Nothing is ever run twice at a time: one takes a function out of a dict to run it, which is a single
    step under the GIL.

    Args:
        bodies: what to run, by name.
    """

    def __init__(self, **bodies: Callable[[], None]) -> None:
        self._untaken = bodies
        self._settled = threading.Event()  # every thread has been started, or was refused
        self._unbegun = [True]  # whoever pops it starts the threads

    @property
    def begun(self) -> bool:
        """Whether :meth:`begin` has been called."""
        return not self._unbegun

    def begin(self) -> bool:
        """Start the threads, on a thread of its own; False: that has been done.

        ``Thread.start()`` waits until its thread has the GIL, which may take several milliseconds: too long for the end
        of a span. ``_thread.start_new_thread()`` does not wait.

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
            self._settled.set()
            raise
        return True

    def lacking(self) -> bool:
        """Whether something has no thread, and gets none; waits a second at the most for threads being started."""
        return self._settled.wait(_BEGIN_SECONDS) and bool(self._untaken)

    def run(self, name: str, deadline: float) -> None:
        """Run that function here, unless it has a thread.

        Args:
            name: the function's.
            deadline: until when to wait for threads being started, in monotonic time; a second at the most.
        """
        self._settled.wait(max(0.0, min(_BEGIN_SECONDS, deadline - time.monotonic())))
        body = self._untaken.pop(name, None)
        if body is not None:
            self._run(name, body)

    def _start(self) -> None:
        refused: list[tuple[str, Callable[[], None]]] = []
        for name in tuple(self._untaken):
            body = self._untaken.pop(name, None)
            if body is None:  # it was not waited for any longer
                continue
            try:
                threading.Thread(target=self._run, args=(name, body), name=f"causal-otel-{name}", daemon=True).start()
            except RuntimeError:  # the process is ending
                refused.append((name, body))
        here = refused.pop() if refused else None  # this thread is one, too
        self._untaken.update(refused)
        self._settled.set()
        if here is not None:
            self._run(*here)

    def _run(self, name: str, body: Callable[[], None]) -> None:
        try:
            with suppress():
                body()
        except Exception:
            faults.report("export: thread")
            self._untaken[name] = body  # whoever needs it done may try again
