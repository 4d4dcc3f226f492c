"""The critical path by its definition, a unit of time after the other, looking through all spans each time.

It is as slow as it is plain: decision record 0080 in code. It shares nothing with what it tests.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from typing import TYPE_CHECKING, Literal, TypeVar

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from tests.causality.traces import PlainSpan, PlainTrace

__all__ = ["Oracle"]

F = TypeVar("F", bound="Callable[..., object]")

_AFTER = ("chord-header", "retry", "redelivery", "chain", "callback", "errback")

Task = tuple[str, int]
"""Its local root's name, and its number."""


@dataclass(frozen=True)
class Place:
    """Where the path is: in a span, in a task between its spans, or between the roots."""

    span: PlainSpan | None = None
    task: Task | None = None


@dataclass(frozen=True)
class Thing:
    """What was waited for at a place, and when it was over."""

    place: Place
    over: int
    rank: int
    start: int
    order: int

    @property
    def key(self) -> tuple[int, int, int, int]:
        """What was over last is first."""
        return -self.over, self.rank, self.start, self.order


def _once(method: F) -> F:
    return cache(method)  # type: ignore[return-value] # the same signature


class Oracle:
    """The path of one trace."""

    def __init__(self, trace: PlainTrace, until: Literal["answer", "end"]) -> None:
        self.trace, self.until = trace, until
        self.shown = [span for span in trace.spans if not self.hidden(span)]

    # -- the walk ---------------------------------------------------------------------------------------------------

    def owners(self, root: PlainSpan | None = None) -> list[str]:
        """Whose each unit of time is, from the first: ``NAME``, or ``until NAME``."""
        whole = root is None and self.until == "end"
        root = root or self.trace.root
        if root is None or (root.untimed and not whole):
            return []
        if whole:
            floor = min((span.start + span.skew for span in self.shown), default=0)
            at = max((span.end + span.skew for span in self.shown), default=0)
            place = Place()
        else:
            floor, at, place = self.start(root), self.over(root) if self.until == "end" else self.end(root), Place(root)
        above = set() if whole else {Place(), *map(Place, self.above(root))}
        found: list[str] = []
        taken: set[tuple[Place, Thing]] = set()
        left: set[Place] = set()
        came = {place: at}
        following = None
        while at > floor:
            while place in left:
                place = self.up(place)
            if place in above:
                place = Place(root)
            thing = self.last(place, at, came.get(place) == at, taken, left)
            owner = place.span or (self.home(place.task) if place.task else None)
            if thing is not None and thing.over >= at:
                taken.add((place, thing))
                place = thing.place
                came[place] = at
            elif owner is None and (thing is not None or place.task is None):
                assert following is not None
                found.append(f"until {following.name}")
                at -= 1
            elif owner is not None and (thing is not None or (place.span is not None and at > self.start(owner))):
                waiting = at > self.end(owner) and following is not None
                found.append(f"until {following.name}" if waiting and following else owner.name)
                at -= 1
            else:
                left.add(place)
                if place.span is None:
                    continue
                following = place.span
                before = self.before(place.span)
                if before is None or Place(before) in left:
                    continue
                while at > max(floor, self.end(before)):
                    found.append(f"until {following.name}")
                    at -= 1
                place = Place(before)
                came[place] = at
        return found[::-1]

    def last(
        self, place: Place, at: int, came: bool, taken: set[tuple[Place, Thing]], left: set[Place]
    ) -> Thing | None:
        """What was over last, by then, of what was waited for at the place; or still ran, if that counts."""
        running = came or self.beside(place)
        things = self.things(place)
        if running and place.span is not None and at > self.end(place.span):
            things = [*self.outlasting(place.span), *things]
        for thing in things:
            over = thing.over <= at or (running and thing.start < at)
            if over and thing.place not in left and (place, thing) not in taken:
                return thing
        return None

    def up(self, place: Place) -> Place:
        """Where the path goes when nothing is left."""
        if place.span is not None:
            return self.around(place.span)
        assert place.task is not None
        home, waiter = self.home(place.task), self.waiter(place.task)
        if home is None:
            return Place()
        if waiter is not None and self.home(waiter) is home and self.is_between(waiter, self.task_start(place.task)):
            return Place(task=waiter)
        return Place(home)

    # -- what was waited for ----------------------------------------------------------------------------------------

    def beside(self, place: Place) -> bool:
        """Whether what still runs counts at the place."""
        return place == Place() or (self.until == "end" and place.span is not None and not self.known(place.span))

    @_once
    def things(self, place: Place) -> list[Thing]:
        """What was waited for at the place."""
        return sorted((*self._spans(place), *self._tasks(place)), key=lambda thing: thing.key)

    def _spans(self, place: Place) -> Iterator[Thing]:
        for span in self.shown:
            parent = self.parent(span)
            if self.around(span) != place:
                continue
            called = parent is not None and self.called(span) and (span.kind, parent.kind) == ("server", "client")
            if parent is not None and self.called(span) and (span.kind, parent.kind) == ("consumer", "producer"):
                continue
            if (
                self.until == "answer"
                and place.span is not None
                and not called
                and (span.detached or self.end(span) > self.end(place.span))
            ):
                continue
            over = self.over(span) if parent is None else self.end(span)
            yield Thing(Place(span), over, 0, self.start(span), span.index)

    def _tasks(self, place: Place) -> Iterator[Thing]:
        for order, task in enumerate(self.tasks()):
            if self.main(task):
                continue
            end, waiter = self.task_end(task), self.waiter(task)
            if waiter is not None:
                if self.task_start(task) < end and self.waits_in(waiter, end) == place:
                    yield Thing(Place(task=task), end, 1, end, order)
            elif self.fate(task) == "unknown":
                home, spans = self.home(task), self.spans(task)
                detached = bool(spans) and spans[0].detached and self.until == "answer"
                if home is not None and Place(home) == place and end <= self.end(home) and not detached:
                    yield Thing(Place(task=task), end, 2, end, order)

    def outlasting(self, span: PlainSpan) -> list[Thing]:
        """What goes on below the span after its end."""
        if self.until == "answer":
            return []
        things = (
            Thing(Place(each), self.over(each), 0, self.start(each), each.index)
            for each in self.shown
            if self.parent(each) is span and self.over(each) > self.end(span)
        )
        return sorted(things, key=lambda thing: thing.key)

    def waits_in(self, waiter: Task, at: int) -> Place | None:
        """Where the task was then: in its innermost span that is no driver's call, or between its spans."""
        its = [span for span in self.spans(waiter) if span.kind not in ("client", "producer")]
        inside = [span for span in its if self.start(span) < at <= self.end(span)]
        if inside:
            return Place(inside[-1])
        return None if self.main(waiter) else Place(task=waiter)

    # -- spans ------------------------------------------------------------------------------------------------------

    def hidden(self, span: PlainSpan) -> bool:
        return span.untimed or (span.open_only and span.parent is not None)

    def above(self, span: PlainSpan) -> Iterator[PlainSpan]:
        """What is above the span and shown, from its parent on."""
        parent = span.parent
        while parent is not None:
            if not self.hidden(parent):
                yield parent
            parent = parent.parent

    def parent(self, span: PlainSpan) -> PlainSpan | None:
        return next(self.above(span), None)

    @_once
    def start(self, span: PlainSpan) -> int:
        return max(span.start + span.skew, *(each.start + each.skew for each in (span, *self.above(span))))

    @_once
    def end(self, span: PlainSpan) -> int:
        return max(self.start(span), span.start + span.skew, span.end + span.skew)

    @_once
    def over(self, span: PlainSpan) -> int:
        return max(self.end(each) for each in (span, *self.shown) if each is span or span in self.above(each))

    @_once
    def around(self, span: PlainSpan) -> Place:
        """Where the span was started from."""
        parent = self.parent(span)
        if parent is None:
            return Place()
        if self.called(span) or not self.known(span):
            return Place(parent)
        inside = self.inside(span)
        return Place(task=self.task(span)) if inside is None else Place(inside)

    def inside(self, span: PlainSpan) -> PlainSpan | None:
        """The nearest span above it in the same task."""
        return next((each for each in self.above(span) if self.task(each) == self.task(span)), None)

    # -- tasks ------------------------------------------------------------------------------------------------------

    def called(self, span: PlainSpan) -> bool:
        """Whether it is the first that is shown of its process's part of the trace, in that one's own task."""
        return self.main(self.task(span)) and self.inside(span) is None

    def served(self, span: PlainSpan) -> bool:
        return span.parent is None or span.local_root

    @_once
    def task(self, span: PlainSpan) -> Task:
        number, at = span.task, span
        while not self.served(at):
            assert at.parent is not None
            at = at.parent
            number = at.task if number is None else number
        return at.name, 1 if number is None else number

    def main(self, task: Task) -> bool:
        root = self.trace.span(task[0])
        assert root is not None
        return self.task(root) == task

    @_once
    def known(self, span: PlainSpan) -> bool:
        return any(
            each.task is not None or each.waiter is not None or each.unawaited
            for each in self.trace.spans
            if self.task(each)[0] == self.task(span)[0]
        )

    @_once
    def tasks(self) -> list[Task]:
        """Those that have spans, and those that only others have seen."""
        found = dict.fromkeys(self.task(span) for span in self.trace.spans)
        for task in list(found):
            said = None if self.main(task) else self.said(task)
            if said is not None and said.waiter is not None:
                found[task[0], said.waiter] = None
        return list(found)

    def spans(self, task: Task) -> list[PlainSpan]:
        return [span for span in self.shown if self.task(span) == task]

    def said(self, task: Task) -> PlainSpan | None:
        """The last of its spans that says whether somebody waited."""
        saying = (span for span in self.spans(task) if span.waiter is not None or span.unawaited)
        return max(saying, key=self.end, default=None)

    def _said_waiter(self, task: Task) -> Task | None:
        said = None if self.main(task) else self.said(task)
        return None if said is None or said.waiter in (None, task[1]) else (task[0], said.waiter or 0)

    @_once
    def waiter(self, task: Task) -> Task | None:
        """Who waited for it; nobody, if that goes in a circle."""
        found = at = self._said_waiter(task)
        for _ in self.tasks():
            if at == task:
                return None
            at = None if at is None else self._said_waiter(at)
        return found

    def fate(self, task: Task) -> str:
        said = self.said(task)
        if said is not None and said.waiter is None:
            return "unawaited"
        return "unknown" if self.waiter(task) is None else "awaited"

    @_once
    def tops(self, task: Task) -> list[PlainSpan]:
        return sorted((span for span in self.spans(task) if self.inside(span) is None), key=self.start)

    @_once
    def home(self, task: Task) -> PlainSpan | None:
        """The span that was current when it was started."""
        if self.main(task):
            return None
        tops = self.tops(task)
        if tops:
            return self.parent(tops[0])
        seen = (each for each in self.tasks() if self._said_waiter(each) == task)
        return next((self.home(each) for each in seen if self.tops(each)), None)

    def task_start(self, task: Task) -> int:
        tops = self.tops(task)
        return self.start(tops[0]) if tops else 0

    @_once
    def task_end(self, task: Task) -> int:
        waited = (self.task_end(each) for each in self.tasks() if self.waiter(each) == task and not self.main(task))
        return max((*(self.end(span) for span in self.spans(task)), *waited), default=0)

    def is_between(self, task: Task, at: int) -> bool:
        return not self.main(task) and not any(self.start(top) < at < self.end(top) for top in self.tops(task))

    # -- links ------------------------------------------------------------------------------------------------------

    def links(self, span: PlainSpan) -> Iterator[tuple[str | None, PlainSpan]]:
        """Roles and targets of those that lead anywhere."""
        for link in span.links:
            target = self.trace.span(link.span_id) if link.trace_id == self.trace.trace_id else None
            if target is not None and target is not span and not self.hidden(target):
                yield link.attributes.get("causal.link"), target

    def last_attempt(self, span: PlainSpan) -> PlainSpan:
        retried = {target: each for each in self.shown for role, target in self.links(each) if role == "retry"}
        last = span
        for _ in self.shown:
            last = retried.get(last, last)
        return span if last in retried else last

    def before(self, span: PlainSpan) -> PlainSpan | None:
        """What had to be over before the span could start, or has started its trace."""
        parent, start = self.parent(span), self.start(span)
        linked = [span, *(each for each in self.shown if span.kind == "producer" and self.parent(each) is span)]
        after = [
            (role, self.last_attempt(target) if role == "chord-header" else target)
            for each in linked
            for role, target in self.links(each)
            if role in _AFTER
        ]
        over = [
            target
            for role, target in after
            if not any(each is span or each in self.above(span) for its, each in after if its == role)
            and self.start(target) <= start
        ]
        best = max(over, key=lambda target: min(self.end(target), start), default=None)
        if best is not None and (parent is None or self.start(parent) < min(self.end(best), start)):
            return best
        if parent is not None:
            return None
        started = [
            target
            for role, target in self.links(span)
            if (role in ("detached", "reschedule", "sender") or (role is None and span.kind == "consumer"))
            and self.start(target) <= start
        ]
        return max(started, key=lambda target: min(self.end(target), start), default=None)
