"""Which spans of a trace are shown: those of a service, a kind or a duration may be hidden, and what is not looked at.

A span that is hidden takes nothing with it: what is below it moves up to the nearest span above that is shown.
"""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from causal_otel.collector.attributes import KINDS
from causal_otel.collector.units import parse_duration

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator, Mapping, Sequence

    from causal_otel.collector.analysis import SpanView, TraceView

__all__ = ["NO_SYSTEM", "Narrowed", "Narrowing", "Window", "narrowed"]

NO_SYSTEM = "none"
"""What spans without a system have in its place in an address, as in a search."""

_ONLY = ("service", "operation", "kind", "system")
_MOST_SERVICES = 200
_LONGEST_NAME = 500
_LONGEST_OFFSET = 10**19


@dataclass(frozen=True, slots=True)
class Window:
    """A part of a trace's time: nanoseconds from its start, ``end`` behind ``start``."""

    start: int
    end: int

    @classmethod
    def parse(cls, parameters: Mapping[str, str]) -> Window | None:
        """Read ``from`` and ``to`` of an address; None: there is none, or it makes no sense."""
        start, end = (parameters.get(name, "") for name in ("from", "to"))
        if not (start.isdecimal() and end.isdecimal() and start.isascii() and end.isascii()):
            return None
        if len(start) > 20 or len(end) > 20 or not int(start) < int(end) < _LONGEST_OFFSET:
            return None
        return cls(int(start), int(end))

    @property
    def length(self) -> int:
        """How long it is, in nanoseconds."""
        return self.end - self.start


@dataclass(frozen=True, slots=True)
class Narrowing:
    """What is hidden, and what alone is shown.

    Attributes:
        services: those that are hidden.
        kinds: those that are hidden.
        shortest: the duration below which spans are hidden, as it was written; empty: none.
        only: service, operation, kind and system of the spans that alone are shown, those that are given.
    """

    services: tuple[str, ...] = ()
    kinds: tuple[str, ...] = ()
    shortest: str = ""
    only: tuple[tuple[str, str], ...] = ()

    @classmethod
    def parse(cls, parameters: Mapping[str, str], services: Sequence[str]) -> Narrowing:
        """Read an address, in which ``hide`` may be given several times: ``services``."""
        shortest = parameters.get("shortest", "").strip()[:40]
        try:
            shortest = shortest if parse_duration(shortest) > 0 else ""
        except ValueError:
            shortest = ""
        kinds = parameters.get("hide-kind", "").split(",")
        return cls(
            services=tuple(dict.fromkeys(each[:_LONGEST_NAME] for each in services if each))[:_MOST_SERVICES],
            kinds=tuple(each for each in KINDS if each in kinds),
            shortest=shortest,
            only=tuple((name, parameters[name]) for name in _ONLY if name in parameters),
        )

    def fields(self) -> Iterator[tuple[str, str]]:
        """The parameters that say it."""
        yield from self.only
        for service in self.services:
            yield "hide", service
        if self.kinds:
            yield "hide-kind", ",".join(self.kinds)
        if self.shortest:
            yield "shortest", self.shortest

    def __bool__(self) -> bool:
        return bool(self.services or self.kinds or self.shortest or self.only)

    def switched(self, *, service: str = "", kind: str = "") -> Narrowing:
        """This, with a service or a kind hidden that was not, or shown that was."""
        return replace(
            self,
            services=_switched(self.services, service) if service else self.services,
            kinds=tuple(each for each in KINDS if each in _switched(self.kinds, kind)) if kind else self.kinds,
        )

    def shows(self, span: SpanView) -> bool:
        """Whether it shows a span."""
        if span.service in self.services or (self.kinds and span.kind in self.kinds):
            return False
        if self.shortest and span.duration < parse_duration(self.shortest):
            return False
        for name, wanted in self.only:
            if name == "service":
                same = span.service == wanted
            elif name == "operation":
                same = span.name == wanted
            elif name == "kind":
                same = span.kind == wanted
            else:
                same = (span.system or NO_SYSTEM) == wanted
            if not same:
                return False
        return True


@dataclass(frozen=True, slots=True)
class Narrowed:
    """What is left of a trace, by its spans' indexes.

    Attributes:
        children: of each span those that are shown below it, if there are any; those below none are at -1.
        shown: whether each span is.
        above: of each span the nearest one above it that is shown; -1: none.
        hidden: how many spans are hidden.
        outside: how many others are not in the window.
    """

    children: Mapping[int, list[int]]
    shown: Sequence[bool]
    above: list[int]
    hidden: int
    outside: int


def narrowed(trace: TraceView, narrowing: Narrowing, window: Window | None, always: Collection[int] = ()) -> Narrowed:
    """Leave out what is not to be shown.

    Args:
        trace: the trace.
        narrowing: what is hidden.
        window: what lies outside of it is hidden as well; None: nothing does.
        always: spans that are shown in any case, by their index.
    """
    spans = trace.spans
    if not narrowing and window is None:
        return _all(trace)
    shown = [True] * len(spans)
    hidden = outside = 0
    start, end = (trace.start + window.start, trace.start + window.end) if window else (0, 0)
    for index, span in enumerate(spans):
        if index in always:
            continue
        if narrowing and not narrowing.shows(span):
            shown[index] = False
            hidden += 1
        elif window is not None and (span.end < start or span.start > end):
            shown[index] = False
            outside += 1
    children: defaultdict[int, list[int]] = defaultdict(list)
    above = [-1] * len(spans)
    for index, span in enumerate(spans):  # parents before their children
        parent = span.parent
        if parent is not None:
            at = parent.index
            above[index] = at if shown[at] else above[at]
        if shown[index]:
            children[above[index]].append(index)
    return Narrowed(children, shown, above, hidden, outside)


def _all(trace: TraceView) -> Narrowed:
    """All of it."""
    children = {span.index: [child.index for child in span.children] for span in trace.spans if span.children}
    children[-1] = [span.index for span in trace.roots]
    above = [-1 if span.parent is None else span.parent.index for span in trace.spans]
    return Narrowed(children, [True] * len(above), above, 0, 0)


def _switched(values: tuple[str, ...], value: str) -> tuple[str, ...]:
    return tuple(each for each in values if each != value) if value in values else (*values, value)
