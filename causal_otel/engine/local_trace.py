"""A process's part of a trace: what all its spans have in common, kept once."""

from __future__ import annotations

from time import perf_counter_ns, time_ns
from typing import TYPE_CHECKING, Any, Protocol

from opentelemetry.trace import TraceFlags

from causal_otel.engine import thread_contexts
from causal_otel.engine.asyncio_task import running_loop, task_of

if TYPE_CHECKING:
    from opentelemetry.trace import TraceState

__all__ = ["LocalTrace", "TraceBuffer", "local_trace_of"]

_SAMPLED = TraceFlags.SAMPLED


class TraceBuffer(Protocol):
    """A :class:`~causal_otel.engine.retroactive.BufferedTrace`, as spans know it."""

    def begin(self, root: Any) -> None:
        """Say which span is the local root."""

    def take(self, span: Any) -> None:
        """Buffer an ended span, or promote the trace because of it."""

    def promote(self) -> None:
        """Make the trace a sampled one."""


class LocalTrace:
    """What spans under one local root share, as long as the sampler decides alike for them.

    Args:
        trace_id: 128 bits.
        flags: of W3C Trace Context; whether the spans are sampled is one of them.
        trace_state: of W3C Trace Context; None where there is none.
        clock: what to add to ``perf_counter_ns()`` for Unix time; default: as the clocks stand now. All spans share it,
            so that their order is right to the nanosecond, whatever is done to the wall clock meanwhile.

    Attributes:
        recorded: whether what happens under these spans is recorded: they are sampled, or buffered.
        buffered: where their ended spans wait until it is known whether the trace fails; None: they do not wait.
        task: the ``id()`` of the asyncio task in which it began, which is alive as long as the local root is open; that
            of None: there was none.
        tasks: the numbers of the asyncio tasks of its spans, once one has been asked for.
    """

    __slots__ = ("buffered", "clock", "flags", "recorded", "task", "tasks", "trace_id", "trace_state")

    def __init__(self, trace_id: int, flags: int, trace_state: TraceState | None, clock: int | None = None) -> None:
        self.recorded = flags & _SAMPLED != 0
        self.buffered: TraceBuffer | None = None
        self.trace_id = trace_id
        self.flags = flags
        self.trace_state = trace_state
        self.tasks: Any = None
        if clock is None:
            self.clock = time_ns() - perf_counter_ns()
            # Of all that is needed to tell tasks apart, this alone cannot be asked later.
            self.task = id(task_of(running_loop()))
            if thread_contexts.watching is not None:
                thread_contexts.begin_work()
        else:
            self.clock = clock
            self.task = 0


def local_trace_of(span: object) -> LocalTrace | None:
    """What a span of ours shares with the others of its trace; None: it is somebody else's span, or there is none."""
    return getattr(span, "_local_trace", None)
