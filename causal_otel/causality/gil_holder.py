"""Which thread held the GIL while no other one could run, and what it did.

A call in C that does not give the GIL away, such as that of ``json`` or of a regular expression, stops all threads. The
thread that watches is one of them. When it goes on, the call is just over and its frames are still there: a thread that
is asked for the GIL gives it away right after such a call. Which thread that was, its CPU time says.
"""

from __future__ import annotations

import functools
import sys
import threading
import time
from contextvars import Context
from typing import TYPE_CHECKING, Any, NamedTuple

from causal_otel import names
from causal_otel.causality.stacks import Place, formatted
from causal_otel.causality.stall import NOTHING, Record, looked_at
from causal_otel.causality.turns import Turn
from causal_otel.engine import context

if TYPE_CHECKING:
    from types import FrameType

    from opentelemetry.context import Context as OtelContext

__all__ = ["GilHolders", "Holder", "held_up"]

_LEAST = 10_000_000
"""Nanoseconds. A call that holds the GIL and computes less waits for something, and nobody can know in which thread."""


class Holder(NamedTuple):
    """The thread that has held the GIL.

    Args:
        ident: its ``threading.get_ident()``.
        thread: its name.
        place: the user's deepest own frame, or the deepest of all.
        stack: code and line of its innermost frames, the innermost first.
        context: what was current when its job was given to it; nothing, where that is not known.
    """

    ident: int
    thread: str
    place: Place | None
    stack: tuple[Place, ...]
    context: OtelContext


class GilHolders:
    """Knows what each thread had computed some time ago. On Linux only."""

    def __init__(self) -> None:
        self._before: dict[int, int] = {}
        self._all = 0
        self.note()

    def note(self) -> None:
        """Note what each thread has computed until now. Do so every second or so."""
        self._before = {ident: _computed(thread) for ident, thread in _threads().items()}
        self._all = time.process_time_ns()

    def found(self) -> Holder | None:
        """The thread that has computed most since; None: none has computed as much as the others together."""
        frames = sys._current_frames()
        own = threading.get_ident()
        del frames[own]  # or this frame would hold itself, and those of all threads with it
        threads = _threads()
        computed = {
            ident: _computed(threads[ident]) - self._before.get(ident, 0) for ident in frames if ident in threads
        }
        ident = max(computed, key=lambda each: computed[each], default=own)
        if ident == own or computed[ident] < max(_LEAST, (time.process_time_ns() - self._all) // 2):
            return None
        frame = frames[ident]
        seen = looked_at(Turn(None, 0, None, frame, None))
        return Holder(ident, threads[ident].name, seen.place, seen.stack, _context_of_job(frame))


def held_up(start: int, end: int, holder: Holder | None) -> Record:
    """What is recorded of a loop that could not go on, because another thread held the GIL; None: it is not known."""
    attributes: dict[str, Any] = {names.CAUSAL_BLOCK_GIL: (end - start) / 1e9}
    if holder is None:
        return Record(start, end, NOTHING, "", attributes)
    frame = "" if holder.place is None else str(holder.place)
    if frame:
        attributes |= {names.CAUSAL_BLOCK_FRAME: frame, names.CODE_STACKTRACE: formatted(holder.stack)}
    if holder.thread:
        attributes[names.CAUSAL_BLOCK_THREAD] = holder.thread
    return Record(start, end, holder.context, frame, attributes)


def _threads() -> dict[int, threading.Thread]:
    """All that Python has started, or has been asked about by themselves."""
    return {thread.ident: thread for thread in threading.enumerate() if thread.ident is not None}


def _computed(thread: threading.Thread) -> int:
    """The CPU time of a thread; 0: it has ended.

    ``pthread_getcpuclockid()`` would read the memory of a thread that may be gone by now. Linux knows a thread's clock
    by its number (``MAKE_THREAD_CPUCLOCK``), and says so where there is none.
    """
    number = thread.native_id
    try:
        return 0 if number is None else time.clock_gettime_ns((~number << 3) | 6)
    except OSError:
        return 0


def _context_of_job(frame: FrameType | None) -> OtelContext:
    """What is current in the job of a pool's thread, read by another thread; or was, when the job was given to it."""
    while frame is not None:
        if frame.f_code.co_name in ("run", "_run"):
            module = frame.f_globals.get("__name__")
            found: Any = None
            if module == "causal_otel.patches.threads":
                return frame.f_locals.get("context") or NOTHING
            if module == "anyio._backends._asyncio":
                found = frame.f_locals.get("context")
            elif module == "concurrent.futures.thread":  # asyncio.to_thread
                job = getattr(frame.f_locals.get("self"), "fn", None)
                found = getattr(job.func, "__self__", None) if isinstance(job, functools.partial) else None
            if isinstance(found, Context) and context.variable is not None:
                return found.get(context.variable, NOTHING)
        frame = frame.f_back
    return NOTHING
