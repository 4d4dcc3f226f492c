"""Where the time of an operation goes, over many calls: at the median, among the slowest, and what could be saved."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from causal_otel._internal.durations import format_duration
from causal_otel.causality.explanation.explain import MOST_BYTES, Explanation
from causal_otel.causality.explanation.scene import Scene
from causal_otel.causality.explanation.shares import percent
from causal_otel.causality.spans.targets import named

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from causal_otel.causality.spans import Span, Trace

__all__ = ["Call", "OperationExplanation", "OperationPart", "Percentile", "call_of", "explain_operation"]

_LEAST = 0.01
_MOST_NAMED = 4
_NEAR = 0.02
"""How far from a percentile, of all calls, those may be that it is made of: one call alone says little."""


@dataclass(frozen=True, slots=True)
class Call:
    """A call of an operation, and where its time went.

    Attributes:
        trace_id: its trace.
        span_id: its span.
        nanoseconds: how long it took, with what it waited for before it began.
        parts: nanoseconds of each category of its critical path, by kind and category.
    """

    trace_id: str
    span_id: str
    nanoseconds: int
    parts: dict[tuple[str, str], int]


@dataclass(frozen=True, slots=True)
class Percentile:
    """How long calls take at a percentile, and a part of that.

    Attributes:
        nanoseconds: the part's time, on the average of the calls near the percentile.
        share: of these calls' time, 0 to 1.
        without: what the percentile would be if the part took no time, in nanoseconds.
    """

    nanoseconds: int
    share: float
    without: int

    def document(self) -> dict[str, Any]:
        """It as JSON has it."""
        return {
            "seconds": self.nanoseconds / 1e9,
            "share": round(self.share, 4),
            "without_seconds": self.without / 1e9,
        }


@dataclass(frozen=True, slots=True)
class OperationPart:
    """A category of an operation's time."""

    kind: str
    category: str
    p50: Percentile
    p95: Percentile


@dataclass(frozen=True, slots=True)
class OperationExplanation:
    """Where the time of an operation goes.

    Attributes:
        service: whose it is.
        operation: its name.
        calls: how many were looked at.
        p50: half of them took at most this, in nanoseconds.
        p95: 95 % of them did.
        parts: what it consists of, by what could be saved of the p95.
        typical: the call at the p50.
        slow: the call at the p95.
        example: why that one took as long as it did, if it was asked.
    """

    service: str
    operation: str
    calls: int
    p50: int
    p95: int
    parts: tuple[OperationPart, ...]
    typical: Call
    slow: Call
    example: Explanation | None = None

    @property
    def sentence(self) -> str:
        """The most important in a sentence."""
        times = f"p50 {format_duration(self.p50)}: {_named((part.category, part.p50) for part in self.parts)}"
        times += f"; p95 {format_duration(self.p95)}: {_named((part.category, part.p95) for part in self.parts)}"
        calls = f"{self.calls} call{'' if self.calls == 1 else 's'}"
        return f"{named(self.service)}: {named(self.operation)}, {calls}: {times}"

    def text(self) -> str:
        """The sentence, a table, and the example; at most 2,000 bytes, without a line end."""
        rows = [
            ("", "p50", "", "without", "p95", "", "without"),
            *(
                (
                    part.category,
                    *(
                        said
                        for each in (part.p50, part.p95)
                        for said in (
                            format_duration(each.nanoseconds),
                            percent(each.share),
                            format_duration(each.without),
                        )
                    ),
                )
                for part in self.parts
            ),
        ]
        head = [self.sentence, "", *_columns(rows)]
        tail = ["", f"At the p95, trace {self.slow.trace_id}"]
        if self.example is not None:
            tail[-1] += f": {self.example.sentence}"
        while len("\n".join((*head, *tail)).encode()) > MOST_BYTES and len(head) > 3:
            del head[-1]  # what saves least
        for finding in self.example.findings if self.example is not None else ():
            if len("\n".join((*head, *tail, finding.text())).encode()) <= MOST_BYTES:
                tail.append(finding.text())
        return "\n".join((*head, *tail))

    def document(self) -> dict[str, Any]:
        """The same for programs, as JSON has it. Times are seconds."""
        return {
            "service": self.service,
            "operation": self.operation,
            "sentence": self.sentence,
            "calls": self.calls,
            "p50_seconds": self.p50 / 1e9,
            "p95_seconds": self.p95 / 1e9,
            "parts": [
                {
                    "kind": part.kind,
                    "category": part.category,
                    "p50": part.p50.document(),
                    "p95": part.p95.document(),
                }
                for part in self.parts
            ],
            "p50_trace_id": self.typical.trace_id,
            "p95_trace_id": self.slow.trace_id,
            "example": None if self.example is None else self.example.document(),
        }


def call_of(trace: Trace[Span], span: Span) -> Call:
    """A call, from its span and the trace that it is in."""
    phase = Scene(trace, span).answer
    parts: dict[tuple[str, str], int] = {}
    for share in phase.shares:
        key = share.kind, share.category
        parts[key] = parts.get(key, 0) + share.nanoseconds
    return Call(trace.trace_id, span.span_id, phase.nanoseconds, parts)


def explain_operation(service: str, operation: str, calls: Iterable[Call]) -> OperationExplanation:
    """Where the time goes of an operation of which there is at least one call.

    What would be saved is exact for these calls: each is taken without the part, and the percentile is that of what is
    left. So a part that only the slowest have saves nothing at the p50.

    Raises:
        ValueError: There is no call.
    """
    ranked = sorted(calls, key=lambda call: (call.nanoseconds, call.trace_id, call.span_id))
    if not ranked:
        raise ValueError("an operation without calls has no time")
    typical, slow = (ranked[_rank(len(ranked), share)] for share in (0.5, 0.95))
    parts = []
    for key in sorted({key for call in ranked for key in call.parts}):
        without = sorted(call.nanoseconds - call.parts.get(key, 0) for call in ranked)
        p50, p95 = (_percentile(ranked, without, key, share) for share in (0.5, 0.95))
        if max(p50.share, p95.share) >= _LEAST:
            parts.append(OperationPart(*key, p50, p95))
    parts.sort(key=lambda part: (part.p95.without, part.p50.without, part.category, part.kind))
    return OperationExplanation(
        service, operation, len(ranked), typical.nanoseconds, slow.nanoseconds, tuple(parts), typical, slow
    )


def _rank(number: int, share: float) -> int:
    """The place of a percentile among so many, the nearest rank."""
    return max(0, -(-number * round(share * 100) // 100) - 1)


def _percentile(ranked: Sequence[Call], without: Sequence[int], key: tuple[str, str], share: float) -> Percentile:
    place, near = _rank(len(ranked), share), round(_NEAR * len(ranked))
    some = ranked[max(0, place - near) : place + near + 1]
    spent, whole = sum(call.parts.get(key, 0) for call in some), sum(call.nanoseconds for call in some)
    return Percentile(spent // len(some), spent / max(1, whole), without[place])


def _named(parts: Iterable[tuple[str, Percentile]]) -> str:
    longest = sorted(parts, key=lambda each: (-each[1].share, each[0]))
    said = [f"{percent(each.share)} {category}" for category, each in longest[:_MOST_NAMED] if each.share >= _LEAST]
    return ", ".join(said) or "nothing took any time"


def _columns(rows: Sequence[Sequence[str]]) -> Iterator[str]:
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
    for row in rows:
        first, *others = (
            cell.ljust(wide) if not column else cell.rjust(wide)
            for column, (cell, wide) in enumerate(zip(row, widths, strict=True))
        )
        yield "  ".join((first, *others)).rstrip()
