"""What a critical path consists of."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from typing import TYPE_CHECKING, Generic, Literal

from causal_otel.causality.spans import SpanT

if TYPE_CHECKING:
    from collections.abc import Iterable

    from causal_otel.causality.spans import Span

__all__ = ["Segment", "Stretch", "Until", "Via", "time_on_path"]

Until = Literal["answer", "end"]
"""What is waited for: the end of the root, which is when a request is answered, or the end of all work in the trace."""

Via = Literal["end", "parent", "edge", "sequence", "heuristic", "link"]
"""How the path, followed from its end, first came to a span.

=============  ======================================================================================================
``end``        it is what the path leads to: the span that was asked about, or the last of all work and what is above it
``parent``     it has started what follows on the path, as the span above it
``edge``       it is known to have been waited for: it ran in the same task as what follows, in a task that was waited
               for, or as the server's side of a call
``sequence``   nothing else that is below the same span, and could have been waited for, ran meanwhile
``heuristic``  a guess, or below one: of the spans below another it ended last before, or was at work when nothing
               else was
``link``       a link says that what follows had to wait for it
=============  ======================================================================================================
"""


class Stretch:
    """A time of a span, by the clock of the critical path."""

    __slots__ = ()
    span: Span
    start: int
    end: int

    @property
    def duration(self) -> int:
        """Nanoseconds from start to end."""
        return self.end - self.start

    @property
    def local_start(self) -> int:
        """``start`` by the clock of its span: where to draw it beside the span's own times."""
        return self.start - self.span.skew

    @property
    def local_end(self) -> int:
        """``end`` by the clock of its span."""
        return self.end - self.span.skew


@dataclass(frozen=True, slots=True)
class Segment(Stretch, Generic[SpanT]):
    """A time, in Unix nanoseconds, in which ``span`` itself held up the end; if ``waiting``, by not having started.

    All of a path are by one clock: a span's ``skew`` is added to its own times.

    Attributes:
        span: who held it up.
        start: from when.
        end: until when, later than ``start``.
        waiting: whether the span had not started yet: it lay in a queue, or its task had not come to run.
        via: how the path came to the span.
    """

    span: SpanT
    start: int
    end: int
    waiting: bool = False
    via: Via = "end"


def time_on_path(segments: Iterable[Segment[SpanT]]) -> dict[SpanT, int]:
    """Nanoseconds that each span holds up the end; those on the path only."""
    times: Counter[SpanT] = Counter()
    for segment in segments:
        times[segment.span] += segment.duration
    return dict(times)
