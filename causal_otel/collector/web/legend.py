"""What is drawn on the trace page by its CSS classes: what it is called, and what it means."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Literal, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Collection

    from causal_otel.causality.critical_path import Segment, Via

__all__ = ["GAP", "JOIN", "PARTS", "START", "TASK", "Entry", "entries", "path_class", "path_says"]

PARTS = {
    "receive": ("receive", "waiting for the request's body"),
    "thread-pool": ("thread pool", "waiting for a free thread"),
    "discovery": ("discovery", "asking which server to talk to"),
    "pool-wait": ("pool wait", "waiting for a connection from the pool"),
    "connect": ("connect", "opening a connection"),
    "pool-setup": ("pool setup", "the pool's hooks for a connection"),
    "lock-wait": ("lock wait", "waiting for a lock"),
    "retry-wait": ("retry wait", "a pause before another attempt"),
    "server": ("server", "the server was at work, or the network"),
    "fetch": ("fetch", "reading the results"),
    "send": ("send", "waiting for the client to read the response"),
    "loop-blocked": ("loop blocked", "the event loop stood still; where nobody knows when, it is at the end"),
    "queue-wait": ("queue wait", "lay in the queue before it started"),
    "thread-wait": ("thread wait", "waited for a thread of a pool: a job before it started, a request inside"),
}
"""The parts of a span's time."""

GAP, TASK, START, JOIN = "gap", "task", "start", "join"

_PATHS = {
    "path": ("critical path", "the end was waiting for it, and that is known"),
    "path guess": ("critical path, a guess", "of the spans below another it ended last: no span says who waited"),
    "path link": ("critical path, by a link", "a link says that what follows had to wait for it"),
    "path waiting": ("critical path, not started", "it was waited for, but lay in a queue or had not come to run"),
}
_OTHERS = {
    GAP: ("gap", "the critical path was in the span above, and nothing that is traced ran"),
    TASK: ("task", "it ran in another asyncio task than the span above it: the number, and the name if it has one"),
    START: ("task started", "a line from the span that started a task to its first span"),
    JOIN: ("task waited for", "a dotted line from a task's last span to the span that waited for it"),
}

_VIA: dict[Via, str] = {
    "end": "the path leads to it",
    "parent": "known: it has started what follows",
    "edge": "known: it was waited for",
    "sequence": "known: nothing else that could have been waited for ran meanwhile",
    "heuristic": "a guess: of the spans below another it ended last",
    "link": "by a link: what follows had to wait for it",
}


class Entry(NamedTuple):
    """A line of the legend.

    Attributes:
        group: what kind of thing it is.
        name: its CSS classes.
        label: what it is called.
        meaning: what it means.
    """

    group: Literal["part", "path", "other"]
    name: str
    label: str
    meaning: str


def entries(drawn: Collection[str]) -> tuple[Entry, ...]:
    """The lines of the legend for what was drawn, by its CSS classes."""
    return (
        *(Entry("part", name, *said) for name, said in PARTS.items() if name in drawn),
        *(Entry("other", name, *said) for name, said in _OTHERS.items() if name in drawn),
        *(Entry("path", name, *said) for name, said in _PATHS.items() if name in drawn),
    )


def path_class(segment: Segment[Any]) -> str:
    """The CSS classes of a part of the critical path."""
    if segment.waiting:
        return "path waiting"
    return {"heuristic": "path guess", "link": "path link"}.get(segment.via, "path")


def path_says(segment: Segment[Any]) -> str:
    """How it is known that the critical path is there."""
    return "it had not started" if segment.waiting else _VIA[segment.via]
