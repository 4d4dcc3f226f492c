"""One stall of an event loop: what was seen while it was stuck, and the records that are made of it.

A stall is one turn of the loop that took too long. Mostly that is one callback, a step of one task. Where several
callbacks of one turn took too long, each is a record of its own; where none of them did, they are one record together.
"""

from __future__ import annotations

from collections import defaultdict
from itertools import pairwise
from typing import TYPE_CHECKING, Any, NamedTuple

from opentelemetry.context import Context

from causal_otel import names
from causal_otel.causality import gc_pauses
from causal_otel.causality.stacks import Place, formatted, is_ours, is_own, place
from causal_otel.causality.thread_times import Reading, shares

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from types import FrameType

    from causal_otel.causality.turns import Turn

__all__ = ["NOTHING", "Record", "Sample", "Seen", "Stall", "looked_at"]

_FRAMES = 50
"""How many of the innermost frames are told."""
_DEEP = 10_000
"""How many are looked through for one of the user's own."""
_SAMPLES = 500
_SEEN = 0.16
"""How long who is seen first must have been seen, as a share of the time before, for that to have been its own."""
_LEAST = 1_000_000
"""Parts of a stall's time below a millisecond are not told, as everywhere."""
_DEBUGGERS = frozenset(
    (
        *("bdb", "pdb", "ipdb", "pudb", "remote_pdb", "rpdb", "web_pdb", "wdb"),
        *("pydevd", "_pydevd_bundle", "_pydevd_sys_monitoring", "debugpy", "IPython"),
    )
)
"""Packages in which somebody stops a program, or types it."""


NOTHING = Context()
"""What is current where nothing is."""


class Sample(NamedTuple):
    """What a loop's thread did at a moment while it was stuck.

    Args:
        at: the moment for which it was to be looked at, by ``perf_counter_ns()``. Code in C that holds the GIL lets
            nobody look before it is done; then it is what ran at that moment.
        reading: what the thread had spent when it was looked at.
        owner: the callback that ran, compared by identity; or the task, where the loop does not tell the callback.
        task: the name of the task that ran; empty: it was none.
        context: what was current there.
        place: the user's deepest own frame, or the deepest of all; None: there was no Python code.
        stack: code and line of the innermost frames, the innermost first.
    """

    at: int
    reading: Reading | None
    owner: object
    task: str
    context: Context
    place: Place | None
    stack: tuple[Place, ...]


class Record(NamedTuple):
    """What is recorded of a stall.

    Args:
        start: by ``perf_counter_ns()``.
        end: likewise.
        context: what was current, where the parent is to be found.
        frame: what blocked, as text; empty: it is not known.
        attributes: of the span.
    """

    start: int
    end: int
    context: Context
    frame: str
    attributes: dict[str, Any]


class Seen(NamedTuple):
    """What a callback's frames say.

    Args:
        place: the user's deepest own frame, or the deepest of all; None: there was no Python code.
        stack: the innermost frames, the innermost first.
        debugged: whether somebody is debugging there.
    """

    place: Place | None
    stack: tuple[Place, ...]
    debugged: bool


def looked_at(turn: Turn) -> Seen:
    """Look at the frames of the callback that runs in ``turn``."""
    frame: FrameType | None = turn.inside
    own = deepest = None
    stack: list[Place] = []
    debugged = False
    for _ in range(_DEEP):
        if frame is None or frame is turn.outside:
            break
        if len(stack) < _FRAMES and (stack or not is_ours(frame.f_code)):
            stack.append(place(frame))
        module = frame.f_globals.get("__name__")
        if type(module) is str and module.partition(".")[0] in _DEBUGGERS:
            debugged = True
        if own is None and is_own(frame.f_code):
            own = place(frame)
        if deepest is None and stack and not frame.f_code.co_filename.startswith("<frozen "):  # Python's own import
            deepest = place(frame)
        frame = frame.f_back
    return Seen(own or deepest or (stack[0] if stack else None), tuple(stack), debugged)


class Stall:
    """A turn that is taking too long.

    Args:
        key: the turn's.
        start: when it began.
        before: the readings of the thread's times until now, the first of them from before the turn; empty: this system
            does not tell them.

    Attributes:
        debugged: whether somebody is debugging there: it is no stall.
    """

    __slots__ = ("_before", "_samples", "debugged", "key", "start")

    def __init__(self, key: object, start: int, before: Sequence[Reading]) -> None:
        self.key = key
        self.start = start
        self.debugged = False
        self._before = tuple(before)
        self._samples: list[Sample] = []

    def add(self, sample: Sample) -> None:
        """Note what was seen. Of a stall without an end the first samples are kept, and the last one."""
        if len(self._samples) >= _SAMPLES:
            self._samples[-1] = sample
        else:
            self._samples.append(sample)

    def records(self, end: int, reading: Reading | None, ident: int, least: int) -> Iterator[Record]:
        """What is recorded of it.

        Args:
            end: when it ended.
            reading: what the thread has spent until then, or a little later; None: this system does not tell.
            ident: the thread's.
            least: how many nanoseconds a callback must have taken to be told by itself.
        """
        samples = self._samples
        if not samples:
            return
        readings = [*self._before, *(each.reading for each in samples), reading]
        runs: list[list[Sample]] = [[samples[0]]]
        for sample in samples[1:]:
            if sample.owner is runs[-1][-1].owner:
                runs[-1].append(sample)
            else:
                runs.append([sample])
        bounds = [self.start, *(each[0].at for each in runs[1:]), end]
        unseen = samples[0].at - self.start
        if len(runs) > 1 and bounds[1] - samples[0].at < unseen * _SEEN:
            bounds[0] = samples[0].at  # it is one of many, and others may have run before it
        found = False
        for seen, (first, last) in zip(runs, pairwise(bounds), strict=True):
            if last - first >= least:
                found = True
                yield self._record(first, last, seen, readings, ident)
        if not found:
            yield self._record(self.start, end, samples, readings, ident, callbacks=len(runs))

    def _record(
        self,
        start: int,
        end: int,
        seen: Sequence[Sample],
        readings: list[Reading | None],
        ident: int,
        callbacks: int = 1,
    ) -> Record:
        most = _most(seen, end)
        context = seen[0].context
        if callbacks > 1 and any(each.context is not context for each in seen):
            context = NOTHING  # it is nobody's trace alone
        attributes: dict[str, Any] = {}
        frame = "" if most.place is None else str(most.place)
        if frame:
            attributes[names.CAUSAL_BLOCK_FRAME] = frame
            attributes[names.CODE_STACKTRACE] = formatted(most.stack)
        if callbacks > 1:
            attributes[names.CAUSAL_BLOCK_CALLBACKS] = callbacks
        elif most.task:
            attributes[names.CAUSAL_TASK_NAME] = most.task
        known = [each for each in readings if each is not None]
        if self._before and known:
            spent = shares(known, start, end)
            parts = {
                names.CAUSAL_BLOCK_CPU: spent.cpu,
                names.CAUSAL_BLOCK_GC: min(spent.cpu, gc_pauses.of_thread(ident, start, end)),
                names.CAUSAL_BLOCK_GIL: spent.gil,
                names.CAUSAL_BLOCK_STARVED: spent.starved,
                names.CAUSAL_BLOCK_WAIT: spent.wait,
            }
            attributes |= {key: value / 1e9 for key, value in parts.items() if value is not None and value >= _LEAST}
        return Record(start, end, context, frame, attributes)


def _most(seen: Sequence[Sample], end: int) -> Sample:
    """The sample that stands for most of the time: of the function that was seen longest, the line likewise."""
    functions: defaultdict[object, int] = defaultdict(int)
    lines: defaultdict[object, int] = defaultdict(int)
    until = [*(sample.at for sample in seen[1:]), end]
    for sample, next_at in zip(seen, until, strict=True):
        functions[_function(sample)] += next_at - sample.at
        lines[_line(sample)] += next_at - sample.at
    return max(seen, key=lambda sample: (functions[_function(sample)], lines[_line(sample)]))


def _function(sample: Sample) -> object:
    # By identity: codes that are equal may be of different files.
    return None if sample.place is None else id(sample.place.code)


def _line(sample: Sample) -> object:
    return None if sample.place is None else (id(sample.place.code), sample.place.line)
