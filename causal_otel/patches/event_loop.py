"""Event loops that are stuck: what blocked them, for how long, and why, in the trace of the task that did it.

* ``loop blocked`` (INTERNAL): a turn of asyncio's or uvloop's loop that took 50 ms or longer, with the times of that
  turn. It is a child of the span that was current in the task, or the callback, that blocked; a root, where none was.
  Callbacks that together took too long, but none of them alone, are one span with ``causal.block.callbacks``; it is a
  root where they belong to several spans.

A loop that wants to go on but cannot, because another thread does not give the GIL away (a call in C, such as that of
``json``), is told as well: then the span is that thread's work, with ``causal.block.thread`` and its frame and stack,
in the span that was current when its job was given to a pool. Linux's scheduler statistics tell it.

Nothing runs in the loop for all that. A thread, one for all loops of the process, looks from time to time since when
each loop has been in its turn, and reads the frames of its thread while it is stuck. Every span that was open on that
loop meanwhile has ``causal.loop.blocked``.

Its attributes:

* ``causal.block.frame``: file, line and function of the user's deepest own frame. Own is what is neither the standard
  library nor installed nor ours; where nothing is, it is the deepest frame of all. Of several samples it is the one
  that stands for most of the time.
* ``code.stacktrace``: that sample's stack, without source lines, from the event loop's callback on
* ``causal.block.cpu``, ``causal.block.starved``, ``causal.block.gil``, ``causal.block.wait``: where the time went. They
  add up to the span's time, and each is there from a millisecond on. ``gil`` is an estimate: not more than the thread
  did not compute, than the process's other threads have computed, and than the thread has asked for the GIL. Without
  Linux's scheduler statistics ``starved`` and ``gil`` are in ``wait``; on macOS and Windows none of them is known.
* ``causal.block.gc``: the part of ``causal.block.cpu`` in which that thread collected garbage
* ``causal.block.thread``: the name of the thread that held the GIL, where it is not the loop's own
* ``causal.task.name``: the task's name, where the program has given it one
* ``causal.block.left_out``: how many stalls before this one were not recorded, because there were more than ten a
  second, or of those without a parent more than one in five seconds

Not told: a stop in a debugger or a shell (``pdb``, ``debugpy``, ``pydevd``, IPython), a time in which the whole process
stood still (SIGSTOP, a suspended machine), loops of trio, loops with a clock of their own, as tests have them, and on
uvloop callbacks in which no Python code runs at all. A loop that never goes on again leaves no span.

Metrics: ``causal.loop.lag``, how late timers of each loop are, and ``causal.loop.stalls`` by ``causal.block.frame``.

Options: :class:`EventLoopOptions`.
"""

from __future__ import annotations

import asyncio
import functools
import sys
import threading
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from opentelemetry.trace import SpanKind

from causal_otel import names
from causal_otel._internal import faults
from causal_otel._internal.setting_types import SECONDS_OR_OFF
from causal_otel.causality.turn_clock import note_turns
from causal_otel.engine import context, thread_contexts
from causal_otel.instrument.declaration import Connect, Patch, Wrap
from causal_otel.instrument.options import Options
from causal_otel.instrument.stopwatch import unix_time

if TYPE_CHECKING:
    from asyncio import AbstractEventLoop
    from collections.abc import Callable
    from types import FrameType

    from causal_otel.causality.loop_monitor import LoopMonitor
    from causal_otel.causality.loop_monitoring import LoopMonitoring
    from causal_otel.causality.stall import Record
    from causal_otel.instrument.tracing import Tracing

__all__ = ["PATCH", "EventLoopOptions"]


@dataclass(frozen=True, kw_only=True)
class EventLoopOptions(Options):
    """The options of this patch.

    The hooks are never called, and nothing is excluded: there are no operations.

    Args:
        loop_block_threshold: seconds. A turn of an event loop that takes that long, or longer, is a span ``loop
            blocked``; 0: none is, and no loop is watched. None: what the setting ``loop_block_threshold`` says, which
            is 0.05 by default.
    """

    loop_block_threshold: float | None = None

    def mistake(self) -> str | None:
        """See :class:`~causal_otel.instrument.options.Options`."""
        found = self.loop_block_threshold
        if found is None or SECONDS_OR_OFF.accepts(found):
            return None
        return f"loop_block_threshold={found!r} is not allowed; it must be {SECONDS_OR_OFF.allowed}"


_monitoring: dict[Tracing[EventLoopOptions], LoopMonitoring] = {}
"""What watches the loops of an installation, from when the first of them runs."""
_lock = threading.Lock()


def _watches(tracing: Tracing[EventLoopOptions]) -> bool:
    """Whether any loop is to be watched."""
    return bool(tracing.options.loop_block_threshold)


def _attach(
    tracing: Tracing[EventLoopOptions], loop: AbstractEventLoop, caller: FrameType | None = None
) -> LoopMonitor | None:
    """See :meth:`~causal_otel.causality.loop_monitoring.LoopMonitoring.attach`. What watches is made with the first."""
    if not tracing.active:
        return None
    monitoring = _monitoring.get(tracing)
    if monitoring is None:
        monitoring = _begin(tracing)
    return monitoring.attach(loop, caller)


def _begin(tracing: Tracing[EventLoopOptions]) -> LoopMonitoring:
    from causal_otel.causality import loop_monitoring  # a program without loops needs none of it

    emit = functools.partial(_emit, tracing)
    with _lock:
        found = _monitoring.get(tracing)
        if found is None:
            found = loop_monitoring.LoopMonitoring(tracing.options.loop_block_threshold or 0.0, emit, tracing.loops)
            _monitoring[tracing] = found
    return found


def _watch(tracing: Tracing[EventLoopOptions]) -> Callable[[], None]:
    """Watch the loop that runs in this thread, if one does: it has begun before it could be seen."""
    loop = asyncio._get_running_loop()
    note_no_more = None
    if loop is not None and _watches(tracing):
        _attach(tracing, loop)
        note_no_more = note_turns(loop)

    def end() -> None:
        if note_no_more is not None:
            note_no_more()
        monitoring = _monitoring.pop(tracing, None)
        if monitoring is not None:
            monitoring.close()

    return end


def _run_forever(tracing: Tracing[EventLoopOptions], original: Callable[..., Any]) -> Callable[..., Any]:
    if not _watches(tracing):
        return original

    @functools.wraps(original)
    def run_forever(loop: AbstractEventLoop) -> Any:
        monitor = _attach(tracing, loop, sys._getframe())
        note_no_more = note_turns(loop)
        before = thread_contexts.begin_loop(loop)
        try:
            return original(loop)
        finally:
            thread_contexts.end(before)
            note_no_more()
            if monitor is not None:
                monitor.detach()
                del monitor  # it knows this frame

    return run_forever


def _close(tracing: Tracing[EventLoopOptions], original: Callable[..., Any]) -> Callable[..., Any]:
    if not _watches(tracing):
        return original

    @functools.wraps(original)
    def close(loop: AbstractEventLoop) -> Any:
        try:
            monitoring = _monitoring.get(tracing)
            if monitoring is not None:
                monitoring.closes(loop)
        except Exception:
            faults.report("event_loop: a loop that is closed")
        return original(loop)

    return close


def _emit(tracing: Tracing[EventLoopOptions], record: Record) -> None:
    """Record a stall as a span that is over already."""
    if not tracing.active or context.is_suppressed(record.context):
        return
    parent = context.current_span(record.context)
    start, end = unix_time(parent, record.start), unix_time(parent, record.end)
    # A span that begins or ends in the same turn has all but a small part of it: the stall's span lies inside.
    began, ended, part = getattr(parent, "start_time", None), getattr(parent, "end_time", None), (end - start) // 5
    if isinstance(began, int) and start < began <= start + part:
        start = began
    if isinstance(ended, int) and end - part <= ended < end:
        end = ended
    tracing.start(_NAME, SpanKind.INTERNAL, record.attributes, record.context, start).end(end)


_NAME = "loop blocked"

PATCH = Patch(
    name="event_loop",
    versions={},
    options=EventLoopOptions,
    targets=(
        Connect("asyncio.base_events", _watch),
        Wrap("asyncio.base_events", "BaseEventLoop.run_forever", _run_forever),
        Wrap("uvloop", "Loop.run_forever", _run_forever, optional=True),
        Wrap("uvloop", "Loop.close", _close, optional=True),
    ),
    records=(
        names.CAUSAL_BLOCK_FRAME,
        names.CODE_STACKTRACE,
        names.CAUSAL_BLOCK_CPU,
        names.CAUSAL_BLOCK_GC,
        names.CAUSAL_BLOCK_STARVED,
        names.CAUSAL_BLOCK_GIL,
        names.CAUSAL_BLOCK_WAIT,
        names.CAUSAL_BLOCK_THREAD,
        names.CAUSAL_BLOCK_CALLBACKS,
        names.CAUSAL_BLOCK_LEFT_OUT,
        names.CAUSAL_TASK_NAME,
    ),
    never=("source lines, arguments and local variables of what runs in a loop",),
    loops=True,
)
