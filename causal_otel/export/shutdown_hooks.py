"""The ways in which a process ends, and how to be called in each of them.

* ``return``, ``sys.exit()``, an exception, Ctrl-C: ``atexit``.
* A child of ``multiprocessing``: before Python 3.13 it leaves by ``os._exit()`` and runs the finalizers of
  ``multiprocessing.util`` only; since then it runs ``atexit`` too, but forgets what was registered before it began.
  It clears both registries while it starts, so registering waits for the first span that ends there.
* A child of ``billiard``, Celery's own ``multiprocessing``: it runs the finalizers of ``billiard.util`` only. So ends
  the beat that a worker embeds (``celery worker -B``). A process of a pool calls ``os._exit()`` before that, and runs
  its ``on_exit`` only.
* SIGTERM with nobody handling it: the kernel ends the process at once, unless there is a handler: :class:`Termination`.
* SIGTERM of uvicorn, alone, with workers or below gunicorn: it shuts down, puts the handler back that was there before
  it began, which may have been before ``install()``, and raises the signal again: :class:`ServerShutdown`. Other
  servers (hypercorn, gunicorn's own workers) return or raise ``SystemExit``.
* ``os._exit()``, SIGKILL: nothing can be done.
"""

from __future__ import annotations

import asyncio
import atexit
import functools
import os
import signal
import sys
import threading
from typing import TYPE_CHECKING, Any

import wrapt

from causal_otel._internal import faults
from causal_otel._internal.binding import bindable

if TYPE_CHECKING:
    from collections.abc import Callable
    from types import FrameType, ModuleType

__all__ = ["ServerShutdown", "Termination", "register", "register_in_child", "unregister"]


def register(action: Callable[[], None]) -> None:
    """Call ``action`` when this process ends normally."""
    atexit.register(action)


def register_in_child(action: Callable[[], None]) -> None:
    """The same, again, if this is a child of ``multiprocessing`` or of ``billiard``."""
    _register_in_billiard(action)
    process, util = sys.modules.get("multiprocessing.process"), sys.modules.get("multiprocessing.util")
    if process is None or util is None or process.parent_process() is None:
        return
    util.Finalize(None, action, exitpriority=0)
    atexit.unregister(action)
    atexit.register(action)


def _register_in_billiard(action: Callable[[], None]) -> None:
    process, util = sys.modules.get("billiard.process"), sys.modules.get("billiard.util")
    if process is None or util is None:
        return
    this = process.current_process()
    if getattr(this, "_parent_pid", None) in (None, os.getpid()):
        return  # the main process, which has no parent, or one that was forked by other means

    def export() -> None:
        try:
            action()
        except Exception:
            faults.report("export: end of a child of billiard")

    util.Finalize(None, functools.partial(_undisturbed, export), exitpriority=0)
    worker = getattr(this, "_target", None)
    on_exit: Callable[[int, int], None] | None = getattr(worker, "on_exit", None)
    if on_exit is None:
        return

    def on_exit_(pid: int, exitcode: int) -> None:
        def end() -> None:
            try:
                on_exit(pid, exitcode)
            finally:
                export()

        _undisturbed(end)

    worker.on_exit = on_exit_  # type: ignore[union-attr]


def _undisturbed(action: Callable[[], None]) -> None:
    """Call ``action`` in a process that is ending, where a second SIGTERM must not end it at once.

    Billiard's handler of the first one has put the default back. A service manager that signals a whole group of
    processes (systemd does) makes two of them: its own, and that of the worker's main process.
    """
    if threading.current_thread() is not threading.main_thread():
        action()
        return
    handler = signal.signal(signal.SIGTERM, signal.SIG_IGN)
    try:
        action()
    finally:
        if handler is not None:  # one that was not set from Python
            signal.signal(signal.SIGTERM, handler)


def unregister(action: Callable[[], None]) -> None:
    """Do not call it any more."""
    atexit.unregister(action)


class Termination:
    """Lets ``action`` run before SIGTERM ends the process, which then ends as it would have: with status -15.

    Only where nobody handles the signal: never over a handler of the user's or of a server's, which would be called
    no more, and only from the main thread, since Python allows no other. A server that puts the former handler back
    and raises the signal again when it has shut down, as uvicorn does, calls ours then.

    Args:
        action: is to take a bounded time.
    """

    def __init__(self, action: Callable[[], None]) -> None:
        self._action = action
        self._handler = self._handle  # one object, to know it again
        self.placed = False
        if threading.current_thread() is threading.main_thread() and _current() is signal.SIG_DFL:
            signal.signal(signal.SIGTERM, self._handler)
            self.placed = True

    def _handle(self, number: int, frame: FrameType | None) -> None:
        try:
            self._action()
        except Exception:
            faults.report("export: SIGTERM")
        finally:
            signal.signal(number, signal.SIG_DFL)
            os.kill(os.getpid(), number)

    def remove(self) -> None:
        """Put the default back, if ours is still there; off the main thread it stays, and only ends the process."""
        if self.placed and threading.current_thread() is threading.main_thread() and _current() is self._handler:
            signal.signal(signal.SIGTERM, signal.SIG_DFL)
            self.placed = False


class ServerShutdown:
    """Lets ``action`` run when uvicorn has shut down, before it raises the signal again that made it do so.

    Nothing tells what that signal will do: it may end the process at once, or be the user's to handle. So the process
    may live on after ``action``.

    Args:
        action: is to take a bounded time; runs on a thread of its own, since the event loop still runs.
    """

    def __init__(self, action: Callable[[], object]) -> None:
        self._action: Callable[[], object] | None = action
        self._undo: Callable[[], None] | None = None
        wrapt.register_post_import_hook(self._imported, "uvicorn.server")

    def _imported(self, module: ModuleType) -> None:
        server: Any = getattr(module, "Server", None)
        original = vars(server).get("shutdown") if server is not None else None
        if self._action is None or original is None:
            return
        call = bindable(server, "shutdown", original)

        @functools.wraps(call)
        async def shutdown(*args: Any, **kwargs: Any) -> Any:
            result = await call(*args, **kwargs)
            if self._action is not None:
                try:
                    await asyncio.to_thread(self._action)
                except Exception:
                    faults.report("export: server's shutdown")
            return result

        def undo() -> None:
            if vars(server).get("shutdown") is shutdown:  # else somebody wrapped around it
                server.shutdown = original

        server.shutdown = shutdown
        self._undo = undo

    def remove(self) -> None:
        """Put back what stood there."""
        self._action = None
        if self._undo is not None:
            self._undo()
            self._undo = None


def _current() -> object:
    return signal.getsignal(signal.SIGTERM)
