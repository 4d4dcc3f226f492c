"""Random programs of asyncio that write down, beside their spans, who has waited for whom: their path is known."""

from __future__ import annotations

import asyncio
import random
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from hypothesis import strategies as st

from tests.causality.recorder import Recorder
from tests.causality.virtual_time import run

if TYPE_CHECKING:
    from tests.causality.traces import PlainSpan, PlainTrace

__all__ = ["PROGRAMS", "Ledger", "carried_out"]

_MICROSECOND = 1e-6

# A program is a list of steps, and a step a tuple: its kind, and what that needs.
_SLEEPS = st.tuples(st.just("sleep"), st.integers(1, 3))
_AWAITS = st.tuples(st.just("await"), st.integers(0, 2))


def _steps(depth: int) -> st.SearchStrategy[Any]:
    if not depth:
        return _SLEEPS
    inner = _steps(depth - 1)
    several = st.lists(_task(inner), min_size=1, max_size=3)
    return st.one_of(
        _SLEEPS,
        _AWAITS,
        st.tuples(st.just("call"), st.lists(inner, min_size=1, max_size=3)),
        st.tuples(st.sampled_from(("gather", "group")), several),
        st.tuples(st.sampled_from(("start", "start", "forget")), _task(inner)),
    )


def _task(steps: st.SearchStrategy[Any]) -> st.SearchStrategy[list[Any]]:
    """What a task does.

    It begins and ends in a span, since nobody sees what it does outside. Nor is it seen whether a task was started by
    another between its spans, unless that waits for it: so each is started in a span.
    """
    call = st.tuples(st.just("call"), st.lists(steps, min_size=1, max_size=2))
    middle = steps.map(lambda step: ("call", [step]) if step[0] in ("start", "forget") else step)
    return st.builds(
        lambda first, middle, last: [first, *middle, last],
        call,
        st.lists(middle, max_size=2),
        call,
    )


PROGRAMS = st.lists(_steps(2), min_size=1, max_size=4)
"""Programs for :func:`carried_out`."""


@dataclass(eq=False)
class _Did:
    """What a task did, as it was: for each stretch of time its span, and the task at whose end it went on."""

    started_by: _Did | None = None
    start: int = 0
    stretches: list[tuple[int, int, PlainSpan | None, _Did | None]] = field(default_factory=list)
    """From, to, the innermost span, and the task that was waited for and ended last; None: time passed by itself."""
    end: int = 0


class Ledger:
    """Who did what when, and what was waited for."""

    def __init__(self) -> None:
        self.recorder = Recorder(unit=_MICROSECOND)
        self.of: dict[PlainSpan, _Did] = {}
        self.main = _Did()
        self._random = random.Random(0)
        self._calls = 0
        self._tasks: set[asyncio.Task[None]] = set()

    def path(self, last: PlainSpan) -> list[tuple[str, int, int]]:
        """The true path to the end of that span: names of spans, and times."""
        did: _Did | None = self.of[last]
        at = last.end
        found: list[tuple[str, int, int]] = []
        path = set()
        while did is not None:
            path.add(did)
            stretch = next((each for each in reversed(did.stretches) if each[0] < at and each[1] <= at), None)
            if stretch is None:
                did = did.started_by
                continue
            start, _, span, waited = stretch
            if waited is not None:
                assert waited.end == at
                did = waited
                continue
            assert span is not None
            over = max(start, min(at, span.end))  # what a task does after that, it does on the way to its next span
            if over < at:
                _add(found, self._next(path, at).name, over, at)
            if start < over:
                _add(found, span.name, start, over)
            at = start
        return found[::-1]

    def _next(self, path: set[_Did], at: int) -> PlainSpan:
        """The next span of those tasks from then on, none that is within another of its task."""
        its = (span for span, did in self.of.items() if did in path and span.start >= at)
        return min(
            (span for span in its if span.parent is None or self.of[span.parent] is not self.of[span]),
            key=lambda span: span.start,
        )

    async def do(self, did: _Did, steps: list[Any]) -> None:
        """Carry out those steps as that task."""
        started: list[tuple[_Did, asyncio.Task[None]]] = []
        for kind, what in steps:
            begun = self.recorder.now()
            waited: list[_Did] = []
            match kind:
                case "sleep":  # no two ways through a program take equally long
                    await asyncio.sleep(what + _MICROSECOND * self._random.randrange(100_000))
                case "call":
                    self._calls += 1
                    with self.recorder.span(f"{self._calls}") as span:
                        self.of[span] = did
                        await self.do(did, what)
                    continue
                case "gather":
                    waited = [_Did(did) for _ in what]
                    await asyncio.gather(*(self._task(each, steps) for each, steps in zip(waited, what, strict=True)))
                case "group":
                    waited = [_Did(did) for _ in what]
                    async with asyncio.TaskGroup() as group:
                        for each, steps_of_it in zip(waited, what, strict=True):
                            group.create_task(self._task(each, steps_of_it))
                case "start" | "forget":
                    made = _Did(did)
                    task = asyncio.create_task(self._task(made, what))
                    self._tasks.add(task)
                    if kind == "start":
                        started.append((made, task))
                case "await" if what < len(started):
                    waited = [started[what][0]]
                    await started[what][1]
            if begun < self.recorder.now():
                last = max(waited, key=lambda each: each.end, default=None)
                did.stretches.append((begun, self.recorder.now(), self.recorder.current.get(), last))

    async def _task(self, did: _Did, steps: list[Any]) -> None:
        did.start = self.recorder.now()
        await self.do(did, steps)
        did.end = self.recorder.now()

    async def everything(self, program: list[Any]) -> None:
        """Carry the program out, and what it has forgotten."""
        with self.recorder.span("main") as span:
            self.of[span] = self.main
            await self._task(self.main, [*program, ("sleep", 1)])
        await asyncio.sleep(10_000)


def _add(found: list[tuple[str, int, int]], name: str, start: int, end: int) -> None:
    if found and found[-1][0] == name:
        end = found.pop()[2]
    found.append((name, start, end))


def carried_out(program: list[Any]) -> tuple[PlainTrace, Ledger]:
    """The trace of the program, and what it has written down."""
    ledger = Ledger()
    run(ledger.everything(program))
    return ledger.recorder.trace(), ledger
