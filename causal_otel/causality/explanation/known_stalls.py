"""The stalls that are known when a trace is explained: its own, and those of other traces of the same processes."""

from __future__ import annotations

from collections import defaultdict
from typing import TYPE_CHECKING

from causal_otel.causality.explanation.categories import LOOP_BLOCKED, Category
from causal_otel.causality.spans.parts import measured
from causal_otel.causality.spans.stalls import Stall, Stalls, stalled_by, stalls_of
from causal_otel.causality.spans.targets import named
from causal_otel.names import CAUSAL_LOOP_BLOCKED

if TYPE_CHECKING:
    from collections.abc import Iterable

    from causal_otel.causality.spans import Span, Trace

__all__ = ["KnownStalls"]

_SLACK = 5_000_000
"""Nanoseconds by which a stall may be longer than what its victim says of it: clocks are read at different moments."""


class KnownStalls:
    """The stalls that are known, of a trace and of others beside it, by their processes.

    Args:
        trace: the trace to explain.
        others: traces of the same time.
    """

    def __init__(self, trace: Trace[Span], others: Iterable[Trace[Span]] = ()) -> None:
        self.trace = trace
        self.own = stalls_of(trace)
        self._processes: dict[tuple[str, int], tuple[str, object]] = {}  # by service and resource, which is kept alive
        found: defaultdict[str, list[Stall]] = defaultdict(list)
        for stall in self.own:
            found[self.process_of(stall.span)].append(stall)
        for other in others:
            if other.trace_id != trace.trace_id:
                for stall in stalls_of(other):
                    found[self.process_of(stall.span)].append(stall)
        self._by_process = {process: Stalls(each) for process, each in found.items()}

    def process_of(self, span: Span) -> str:
        """What tells the process of a span from others, as far as its resource does."""
        key = span.service, id(span.resource)
        known = self._processes.get(key)
        if known is None:  # spans of one process mostly share the mapping
            said = sorted(span.resource.items(), key=lambda each: each[0])
            known = self._processes[key] = f"{span.service} {said}", span.resource
        return known[0]

    def of(self, span: Span) -> Stalls | None:
        """Those that a span has suffered; None: none that is known.

        A process of the same resource may be another one, whose stalls are longer than what the span says of its own.
        """
        stalls = self._by_process.get(self.process_of(span)) if self._by_process else None
        if stalls is None:
            return None
        said, seen = measured(span.attributes, CAUSAL_LOOP_BLOCKED), stalls.between(span.start, span.end)
        return stalls if seen <= said + max(_SLACK, said // 10) else None

    def category(self, stall: Stall) -> Category:
        """Whose fault it was."""
        root = None if stall.trace is self.trace else stall.trace.root
        where = "" if root is None else f" in {named(root.name)}, trace {stall.trace.trace_id}"
        return Category(LOOP_BLOCKED, f"by {stalled_by(stall.span)}", where)
