"""Traces of plain objects, written in a line: the other implementation of the protocol than the collector's.

A span is ``NAME<PARENT START-END`` and what else is to be said of it, a trace is spans with ``|`` between them:

    main 0-10 | foo1<main 0-4 #2 | foo3<main 6-10 #2>1 | foo2<main 0-5 #3>1

``#2`` is the number of its task, ``>1`` that of the task that waited for it, ``!`` says that nobody did. A kind
(``client``) is a word, a service stands behind ``@``, its clock's skew behind ``~``, a link is ``ROLE:TARGET``, where
``:TARGET`` has no role and ``ROLE:TARGET/TRACE`` leads to another trace. ``detached``, ``open``, ``untimed`` and
``remote`` are flags; a span is a local root if it is ``remote``, has another service than its parent or has none.

A path is ``foo1 0-4, main 4-6, foo3 6-10``. Behind a name ``?`` says that it was guessed, ``&`` that a link led there,
and ``until`` before it that it had not started.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from causal_otel.causality.critical_path import Segment

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from causal_otel.causality.spans import Event, Span, Trace

__all__ = ["PlainLink", "PlainSpan", "PlainTrace", "path", "plain_trace", "trace"]

_TASK = re.compile(r"(?:#(\d+))?(?:>(\d+))?(!)?")
_KINDS = ("internal", "server", "client", "producer", "consumer")
_SIGNS = {"heuristic": "?", "link": "&"}


@dataclass(frozen=True, eq=False, slots=True)
class PlainLink:
    trace_id: str
    span_id: str
    attributes: dict[str, Any]


@dataclass(frozen=True, slots=True)
class _Scope:
    name: str = "tests"


@dataclass(eq=False, slots=True)
class PlainSpan:
    """A span; its name is its id."""

    name: str
    start: int
    end: int
    parent: PlainSpan | None = None
    service: str = "api"
    kind: str = "internal"
    skew: int = 0
    task: int | None = None
    waiter: int | None = None
    unawaited: bool = False
    detached: bool = False
    open_only: bool = False
    untimed: bool = False
    local_root: bool = False
    links: list[PlainLink] = field(default_factory=list)
    children: list[PlainSpan] = field(default_factory=list)
    index: int = 0
    error: bool = False
    status_message: str = ""
    system: str = ""
    attributes: dict[str, Any] = field(default_factory=dict)
    resource: dict[str, Any] = field(default_factory=dict)
    events: tuple[Event, ...] = ()
    scope: _Scope = _Scope()

    def __repr__(self) -> str:
        return f"<{self.name} {self.start}-{self.end}>"

    @property
    def span_id(self) -> str:
        return self.name

    @property
    def duration(self) -> int:
        return self.end - self.start


@dataclass(frozen=True, eq=False)
class PlainTrace:
    trace_id: str
    spans: tuple[PlainSpan, ...]
    roots: tuple[PlainSpan, ...]

    def __repr__(self) -> str:
        return " | ".join(map(_written, self.spans))

    def _repr_pretty_(self, printer: Any, cycle: bool) -> None:
        """For Hypothesis."""
        printer.text(repr(self))

    @property
    def root(self) -> PlainSpan | None:
        return self.roots[0] if self.roots else None

    @property
    def start(self) -> int:
        return min(span.start for span in self.spans)

    @property
    def end(self) -> int:
        return max(span.end for span in self.spans)

    def span(self, span_id: str) -> PlainSpan | None:
        return next((span for span in self.spans if span.span_id == span_id), None)


def plain_trace(spans: Iterable[PlainSpan], trace_id: str = "t") -> PlainTrace:
    """The trace of those spans, whose parents are set and nothing else: children, places and local roots are found."""
    by_start = sorted(spans, key=lambda span: (span.start, -span.end))
    for span in by_start:
        parent = span.parent
        if parent is not None:
            parent.children.append(span)
        if parent is None or parent.service != span.service:
            span.local_root = True
    roots = [span for span in by_start if span.parent is None]
    ordered: list[PlainSpan] = []
    left = roots[::-1]
    while left:
        span = left.pop()
        span.index = len(ordered)
        ordered.append(span)
        left.extend(reversed(span.children))
    return PlainTrace(trace_id, tuple(ordered), tuple(roots))


def trace(text: str, trace_id: str = "t") -> PlainTrace:
    """The trace that ``text`` tells of."""
    spans: dict[str, PlainSpan] = {}
    parents: dict[str, str] = {}
    for each in text.split("|"):
        (name, _, parent), times, *words = each.split()[0].partition("<"), each.split()[1], *each.split()[2:]
        start, end = re.fullmatch(r"(-?\d+)-(-?\d+)", times).groups()  # type: ignore[union-attr]
        span = spans[name] = PlainSpan(name, int(start), int(end))
        parents[name] = parent
        for word in words:
            _say(span, word, trace_id)
    for name, parent in parents.items():
        spans[name].parent = spans.get(parent)
    return plain_trace(spans.values(), trace_id)


def _say(span: PlainSpan, word: str, trace_id: str) -> None:
    if word in _KINDS:
        span.kind = word
    elif word in ("detached", "untimed"):
        setattr(span, word, True)
    elif word in ("open", "remote"):
        setattr(span, {"open": "open_only", "remote": "local_root"}[word], True)
    elif word[0] == "@":
        span.service = word[1:]
    elif word[0] == "~":
        span.skew = int(word[1:])
    elif ":" in word:
        role, _, target = word.partition(":")
        target, _, other = target.partition("/")
        span.links.append(PlainLink(other or trace_id, target, {"causal.link": role} if role else {}))
    else:
        said = _TASK.fullmatch(word)
        assert said is not None, word
        span.task, span.waiter = (None if number is None else int(number) for number in said.groups()[:2])
        span.unawaited = said[3] is not None


def _written(span: PlainSpan) -> str:
    place = span.name if span.parent is None else f"{span.name}<{span.parent.name}"
    task = f"{f'#{span.task}' if span.task else ''}{f'>{span.waiter}' if span.waiter else ''}"
    flags = {"detached": span.detached, "open": span.open_only, "untimed": span.untimed, "remote": span.local_root}
    words = [place, f"{span.start}-{span.end}", span.kind, f"@{span.service}", f"~{span.skew}"]
    words += [f"{task}{'!' if span.unawaited else ''}", *(word for word, said in flags.items() if said)]
    words += [f"{link.attributes.get('causal.link', '')}:{link.span_id}/{link.trace_id}" for link in span.links]
    return " ".join(words)


def path(segments: Sequence[Segment[Any]]) -> str:
    """How those segments are written."""
    return ", ".join(
        f"{'until ' if each.waiting else ''}{each.span.name}{_SIGNS.get(each.via, '')} {each.start}-{each.end}"
        for each in segments
    )


def _satisfies(made: PlainTrace, span: PlainSpan) -> tuple[Trace[PlainSpan], Span]:
    """For the type checker: these are what the protocols ask for."""
    return made, span
