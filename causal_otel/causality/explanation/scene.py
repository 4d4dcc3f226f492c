"""What the findings look at: a trace, its critical path in pieces, and what is known of the traces beside it."""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import cached_property
from typing import TYPE_CHECKING

from causal_otel.causality.critical_path import Until, critical_path
from causal_otel.causality.explanation.blocked import without_stalls
from causal_otel.causality.explanation.categories import Namer
from causal_otel.causality.explanation.known_stalls import KnownStalls
from causal_otel.causality.explanation.own_time import told_apart
from causal_otel.causality.explanation.pieces import Piece, before, laid_out
from causal_otel.causality.explanation.shares import Phase, phase_of
from causal_otel.causality.spans.parts import end

if TYPE_CHECKING:
    from collections.abc import Sequence

    from causal_otel.causality.critical_path import Segment
    from causal_otel.causality.spans import Span, Trace

__all__ = ["Scene"]

_WORTH_TELLING = 0.1
"""Of the time to the answer: how long work must go on after it to be told."""


@dataclass
class Scene:
    """A trace, and where its time went.

    Args:
        trace: what is explained.
        root: whose time; default: the trace's root.
        others: traces of the same time, which may have held what this one waited for.
        paths: critical paths that are known already, of the same trace and root.
    """

    trace: Trace[Span]
    root: Span | None = None
    others: Sequence[Trace[Span]] = ()
    paths: dict[Until, Sequence[Segment[Span]]] = field(default_factory=dict)
    namer: Namer = field(init=False)
    stalls: KnownStalls = field(init=False)

    def __post_init__(self) -> None:
        self.others = sorted(
            (other for other in self.others if other.trace_id != self.trace.trace_id), key=lambda each: each.trace_id
        )
        self.root = self.root or self.trace.root
        self.namer = Namer(self.root.service if self.root else "", self.find)
        self.stalls = KnownStalls(self.trace, self.others)

    @cached_property
    def spans(self) -> Sequence[Span]:
        """The spans that findings are looked for in: the root and all below it, if it is not the trace's."""
        if self.root is None or self.root is self.trace.root:
            return self.trace.spans
        below = {self.root.index}
        for span in self.trace.spans:  # parents before their children
            if span.parent is not None and span.parent.index in below:
                below.add(span.index)
        return [span for span in self.trace.spans if span.index in below]

    @cached_property
    def caused(self) -> list[Span]:
        """The records of the stalls that these spans have caused."""
        here = {span.index for span in self.spans}
        return [stall.span for stall in self.stalls.own if stall.span.index in here]

    @cached_property
    def path(self) -> list[Piece]:
        """The pieces of the critical path to the answer, with what the root waited for before it started."""
        if self.root is None:
            return []
        return sorted(
            (*before(self.root, self.namer), *self._pieces("answer")), key=lambda piece: (piece.start, piece.end)
        )

    @cached_property
    def answer(self) -> Phase:
        """The time to the answer."""
        return phase_of(self.path)

    @cached_property
    def path_afterwards(self) -> list[Piece]:
        """The pieces of the critical path to the end of all work, from the answer on; none if that is not long."""
        if self.root is None or self.root is not self.trace.root:
            return []
        answered = end(self.root)
        rest = max(map(end, self.trace.spans)) - answered
        if rest <= _WORTH_TELLING * self.answer.nanoseconds:
            return []
        pieces = [piece for piece in self._pieces("end") if piece.end > answered]
        for piece in pieces:
            piece.start = max(piece.start, answered)
        return pieces

    @cached_property
    def afterwards(self) -> Phase | None:
        """The time from the answer to the end of all work, if it is worth telling."""
        return phase_of(self.path_afterwards) if self.path_afterwards else None

    def segments(self, until: Until) -> Sequence[Segment[Span]]:
        """The critical path to the answer, or that of the whole trace to the end of all work."""
        if until not in self.paths:
            self.paths[until] = critical_path(self.trace, self.root if until == "answer" else None, until)
        return self.paths[until]

    def pieces(self, until: Until) -> list[Piece]:
        """Those of the critical path to the answer, or of that of the whole trace to the end of all work."""
        return self.path if until == "answer" else self._pieces("end")

    def share(self, nanoseconds: int, at: int) -> float:
        """How much of the time to the answer it is, or if it began later, of the time from then on."""
        late = self.afterwards is not None and at >= self.afterwards.start
        whole = self.afterwards if late and self.afterwards is not None else self.answer
        return min(1.0, nanoseconds / max(1, whole.nanoseconds))

    def find(self, trace_id: str, span_id: str) -> Span | None:
        """A span of this trace or of those beside it, if it is there."""
        for trace in (self.trace, *self.others):
            if trace.trace_id == trace_id:
                return trace.span(span_id)
        return None

    def _pieces(self, until: Until) -> list[Piece]:
        path = laid_out(self.trace, self.segments(until), self.namer, self.stalls)
        pieces = without_stalls(self.trace, path, self.stalls)
        return told_apart(self.trace, pieces, self.namer)
