"""The critical path that the explanation rests on, behind one import."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Literal, Protocol, cast

from causal_otel.collector.analysis.critical_path import critical_path as _critical_path

if TYPE_CHECKING:
    from collections.abc import Sequence

    from causal_otel.causality.spans import Span, Trace

__all__ = ["Segment", "Until", "critical_path"]

Until = Literal["answer", "end"]


class Segment(Protocol):
    """A time in which ``span`` itself held up the end; if ``waiting``, by not having started."""

    @property
    def span(self) -> Span:
        """Which one."""

    @property
    def start(self) -> int:
        """From when, Unix time in nanoseconds."""

    @property
    def end(self) -> int:
        """Until when."""

    @property
    def duration(self) -> int:
        """Nanoseconds from start to end."""

    @property
    def waiting(self) -> bool:
        """Whether it had not started."""


def critical_path(trace: Trace[Span], root: Span | None, until: Until) -> Sequence[Segment]:
    """The segments of the path, in order; see the function of that name."""
    return _critical_path(cast("Any", trace), cast("Any", root), until)
