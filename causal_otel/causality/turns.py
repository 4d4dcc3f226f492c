"""Since when an event loop has been in its current turn, read by another thread, at no cost to the loop.

A turn is what a loop does between two waits for I/O: it runs all callbacks that are ready, a step of a task each. Both
kinds of loop note when a turn begins, for their own timers:

* asyncio: ``BaseEventLoop._run_once`` keeps it in its local variable ``end_time``, which is unset while the loop waits.
* uvloop: libuv keeps it in its loop, and tells it by its public function ``uv_now``. A call of ``loop.time()`` or
  ``call_later()`` renews it, so a turn may be taken for a shorter one, never for a longer one.

Frames of another thread are read under the GIL, which keeps it from going on for some milliseconds. That is long enough
for what is told, but nothing may break where it is not: a loop may be closed by its thread while it is looked at.
"""

from __future__ import annotations

import functools
import sys
import threading
import time
import weakref
from asyncio.base_events import BaseEventLoop
from contextvars import Context
from time import perf_counter_ns
from typing import TYPE_CHECKING, Any, NamedTuple, Protocol

from causal_otel._internal import faults, process

if TYPE_CHECKING:
    from asyncio import AbstractEventLoop
    from collections.abc import Callable
    from types import FrameType

__all__ = ["Turn", "Turns", "libuv_age", "turns_of"]

_MS = 1_000_000


class Turn(NamedTuple):
    """The turn that a loop is in.

    Args:
        key: differs from that of any other turn.
        start: when it began, by ``perf_counter_ns()``; not before that.
        handle: the callback that runs, as ``asyncio.Handle``; None: it is not known, but there is one.
        inside: the innermost frame of the thread.
        outside: the frame below those of the callback. It may be the same: then there is no Python code in it. None:
            all frames of the thread are the callback's.
    """

    key: object
    start: int
    handle: Any
    inside: FrameType
    outside: FrameType | None


class Turns(Protocol):
    """Tells the turns of a loop."""

    def __call__(self, frame: FrameType | None) -> Turn | None:
        """The turn in which ``frame`` is the innermost of the loop's thread; None: the loop waits, or does not run."""

    def end(self) -> None:
        """Tell none any more: the loop is about to be closed. When this has returned, nothing of it is read."""


class AsyncioTurns:
    """The turns of a loop that has asyncio's ``_run_once``.

    Args:
        loop: which one.
    """

    def __init__(self, loop: AbstractEventLoop) -> None:
        self._loop = loop

    def __call__(self, frame: FrameType | None) -> Turn | None:
        """See :class:`Turns`."""
        if frame is None:
            return None
        inside, caller = frame, frame.f_back
        if frame.f_code.co_name == "select" and caller is not None and caller.f_code.co_name == "_run_once":
            return None  # it waits, as nearly always
        while frame is not None:
            if frame.f_code.co_name == "_run_once":
                values = frame.f_locals
                if values.get("self") is self._loop:
                    began = values.get("end_time")
                    if began is None:
                        return None
                    start = perf_counter_ns() - int((time.monotonic() - began) * 1e9)
                    return Turn(began, start, values.get("handle"), inside, frame)
            frame = frame.f_back
        return None

    def end(self) -> None:
        """See :class:`Turns`. Nothing is read but frames."""


class LibuvTurns:
    """The turns of uvloop's loops.

    Where libuv counts them is freed when the loop is closed: that is never read after :meth:`end`.

    Args:
        loop: which one. It is kept alive: its memory is read.
        caller: the frame that is about to run the loop; None: the loop runs already.
        libuv: what knows them.
    """

    def __init__(self, loop: AbstractEventLoop, caller: FrameType | None, libuv: _Libuv) -> None:
        self._loop = loop
        self._libuv = libuv
        self._pointer = libuv.pointer(loop)
        self._outside = caller
        self._in_first_turn = True
        self._ended = False
        self._process = process.token
        # In one thread it may be asked for twice: what is finalised while it is read may close the loop.
        self._reading = threading.RLock()
        loop.call_soon(self._note_outside, context=Context())

    def _note_outside(self) -> None:
        """In the loop's first turn: which frame has called into it. There may be some between the caller's and that."""
        self._outside = sys._getframe().f_back
        self._in_first_turn = False

    def __call__(self, frame: FrameType | None) -> Turn | None:
        """See :class:`Turns`."""
        outside = self._outside
        if frame is None or outside is None:
            return None
        if frame is outside and not self._in_first_turn:
            return None  # or a callback without Python code, which cannot be told from a loop that waits
        if self._process is not process.token:
            return None  # a fork inside the loop, while somebody may have been reading
        start = perf_counter_ns() - max(0, self._libuv.age(self._pointer))
        with self._reading:
            if self._ended:
                return None
            return Turn(self._libuv.count(self._pointer), start, None, frame, outside)

    def end(self) -> None:
        """See :class:`Turns`."""
        if self._process is process.token:
            with self._reading:
                self._ended = True


class _Libuv:
    """libuv as it is built into uvloop: what it exports for everybody."""

    def __init__(self) -> None:
        import ctypes

        from uvloop import loop as built

        loop: Any = built
        library = ctypes.PyDLL(loop.__file__)  # keeps the GIL: no thread switch between two readings
        self._now = library.uv_now
        self._clock = library.uv_hrtime
        self._now.argtypes = (ctypes.c_void_p,)
        self._now.restype = self._clock.restype = ctypes.c_uint64
        self._clock.argtypes = ()
        self._metrics = (ctypes.c_uint64 * 16)()  # uv_metrics_t: the first of them counts the turns
        self._info = getattr(library, "uv_metrics_info", None)  # not in libuv before 1.45 (uvloop 0.18)
        if self._info is not None:
            self._info.argtypes = (ctypes.c_void_p, ctypes.c_void_p)
        self._capsule = loop.libuv_get_loop_t_ptr
        self._open = ctypes.pythonapi.PyCapsule_GetPointer
        self._open.argtypes = (ctypes.py_object, ctypes.c_char_p)
        self._open.restype = ctypes.c_void_p

    def pointer(self, loop: AbstractEventLoop) -> int:
        """Where libuv's part of ``loop`` is in memory."""
        found: int = self._open(self._capsule(loop), None)
        return found

    def age(self, pointer: int) -> int:
        """For how many nanoseconds at least its turn has been going on, or a few less than none. It may be closed."""
        began: int = self._now(pointer)
        age: int = self._clock() - (began + 1) * _MS
        return age

    def count(self, pointer: int) -> int:
        """The number of its turn, or what stands for it. It must not be closed."""
        if self._info is None:
            began: int = self._now(pointer)
            return began
        self._info(pointer, self._metrics)
        return self._metrics[0]


def turns_of(loop: AbstractEventLoop, caller: FrameType | None) -> Turns | None:
    """What tells the turns of ``loop``; None: it is of a kind that does not tell, or has a clock of its own.

    Args:
        loop: which one.
        caller: the frame that is about to run the loop; None: the loop runs already, in this thread.
    """
    if isinstance(loop, BaseEventLoop):
        # A loop whose time is made up, as tests have it, is not stuck when time passes.
        return AsyncioTurns(loop) if type(loop).time is BaseEventLoop.time else None
    if _is_uvloops(loop):
        libuv = _libuv()
        return None if libuv is None else LibuvTurns(loop, caller, libuv)
    return None


def _is_uvloops(loop: AbstractEventLoop) -> bool:
    return any(base.__module__ == "uvloop" for base in type(loop).__mro__)


def libuv_age(loop: AbstractEventLoop) -> Callable[[], int] | None:
    """Tells for how many nanoseconds, at least, ``loop`` has been in its turn; None: it is not uvloop's, or cannot."""
    libuv = _libuv() if _is_uvloops(loop) else None
    if libuv is None:
        return None
    known, pointer, alive = libuv, libuv.pointer(loop), weakref.ref(loop)

    def age() -> int:
        kept = alive()  # its memory is read
        return 0 if kept is None else max(0, known.age(pointer))

    return age


@functools.cache
def _libuv() -> _Libuv | None:
    try:
        return _Libuv()
    except Exception:  # built without these functions, or Python without ctypes
        faults.report("event_loop: uvloop")
        return None
