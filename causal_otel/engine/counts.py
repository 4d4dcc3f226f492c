"""How many spans were started and are live, by the attributes of OpenTelemetry's SDK metrics."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING

from causal_otel.names import OTEL_SPAN_PARENT_ORIGIN, OTEL_SPAN_SAMPLING_RESULT

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

__all__ = ["SpanCounts"]

_SAMPLED, _RECORDED = "RECORD_AND_SAMPLE", "RECORD_ONLY"


class SpanCounts:
    """The counts of one provider in one process: plain integers, because a lock would cost each span too much.

    A block or a patched call in a trace that is not sampled starts nothing, and is not counted. The spans of a buffered
    trace count as RECORD_ONLY, also if the trace is promoted later.

    Attributes:
        fast: sampled spans started on the fast path, without asking the sampler for each.
        fast_roots: those of them that have no parent.
        dropped_roots: roots that are not sampled.
        ended: sampled spans that have ended.
        others: spans started any other way, by parent's origin (``none``, ``local``, ``remote``) and sampling result.
        ended_unsampled: the same of those that are recorded only.
    """

    __slots__ = ("dropped_roots", "ended", "ended_unsampled", "fast", "fast_roots", "others")

    def __init__(self) -> None:
        self.fast = self.fast_roots = self.dropped_roots = self.ended = self.ended_unsampled = 0
        self.others: Counter[tuple[str, str]] = Counter()

    def record_only(self, origin: str) -> None:
        """Move one span from ``fast`` to RECORD_ONLY, because its trace is being buffered."""
        self.fast -= 1
        self.others[origin, _RECORDED] += 1

    def started(self) -> Iterator[tuple[int, Mapping[str, str]]]:
        """``otel.sdk.span.started``."""
        counts = Counter(self.others)
        counts["local", _SAMPLED] += self.fast - self.fast_roots
        counts["none", _SAMPLED] += self.fast_roots
        counts["none", "DROP"] += self.dropped_roots
        for (origin, result), count in counts.items():
            if count:
                yield count, {OTEL_SPAN_PARENT_ORIGIN: origin, OTEL_SPAN_SAMPLING_RESULT: result}

    def live(self) -> Iterator[tuple[int, Mapping[str, str]]]:
        """``otel.sdk.span.live``."""
        started: Counter[str] = Counter({_SAMPLED: self.fast})
        for (_, result), count in self.others.items():
            started[result] += count
        yield max(0, started[_SAMPLED] - self.ended), {OTEL_SPAN_SAMPLING_RESULT: _SAMPLED}
        if started[_RECORDED]:
            yield max(0, started[_RECORDED] - self.ended_unsampled), {OTEL_SPAN_SAMPLING_RESULT: _RECORDED}
