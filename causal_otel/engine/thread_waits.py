"""What a job waited until a thread was free for it, told by the first span that is started there.

The wait is over before any span of the job begins, and whoever has seen it cannot know which span that will be. So it
is noted for the thread. All ways to start a span look whether there is any note at all: a dict that is empty, but
for the moments in which a pool that is full goes on.
"""

from __future__ import annotations

from _thread import get_ident
from typing import TYPE_CHECKING

from causal_otel._internal import faults, process
from causal_otel.names import CAUSAL_THREADPOOL_WAIT

if TYPE_CHECKING:
    from opentelemetry.trace import Span

__all__ = ["forget_thread_wait", "take_thread_wait", "waited_for_thread", "waits"]

waits: dict[int, float] = {}
"""Seconds by the thread whose job has waited, until a span takes them. Each step is one operation on a dict."""


def waited_for_thread(seconds: float) -> None:
    """Note, in the thread that is about to run a job, how long the job has waited for it.

    Do so if it is worth a part of a span's time: ``LEAST`` of ``causal_otel/instrument/parts.py``. Call
    :func:`forget_thread_wait` when the job is over, whatever has come of it.
    """
    waits[get_ident()] = seconds


def forget_thread_wait() -> None:
    """The job of this thread is over, and has perhaps started no span."""
    if waits:
        waits.pop(get_ident(), None)


def take_thread_wait(span: Span) -> None:
    """Record on ``span``, which has been started just now, what this thread's job has waited, if nobody has yet.

    Never raises. Ask first whether there are any :data:`waits`.
    """
    seconds = waits.pop(get_ident(), None)
    if seconds is not None:
        try:
            span.set_attribute(CAUSAL_THREADPOOL_WAIT, seconds)
        except Exception:  # of a provider that is not ours
            faults.report("your tracer provider: Span.set_attribute")


process.at_fork(in_child=waits.clear)
