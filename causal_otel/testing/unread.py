"""A test's spans as they were recorded, for assertions that count: neither encoded nor redacted, in no tree of a trace.

Reading a trace as a collector has it costs several times as much, and a test that passes seldom needs it. Where too
much is counted here, the traces are read, and what is counted there decides.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from causal_otel.collector.attributes import KINDS
from causal_otel.collector.systems import named
from causal_otel.export.span_encoder import OWN

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from causal_otel.causality.spans import Scope
    from causal_otel.engine.span import Span

__all__ = ["UnreadSpan", "unread"]


class UnreadSpan:
    """A span of ours: what :class:`~causal_otel.causality.spans.CallSpan` wants to know."""

    __slots__ = ("attributes", "children", "kind", "number", "parent", "span")

    def __init__(self, span: Span) -> None:
        self.span = span
        self.number: int = span._kind._value_ + 1  # OTLP's, which begins with "unspecified"
        self.kind = KINDS[self.number]
        self.attributes: Mapping[str, Any] = span._attributes or {}
        self.parent: UnreadSpan | None = None
        self.children: list[UnreadSpan] = []

    @property
    def name(self) -> str:
        """Its name, redacted: budgets and messages have it."""
        return self.span.name

    @property
    def span_id(self) -> str:
        """Its id in hexadecimal."""
        return self.span.span_id().hex()

    @property
    def start(self) -> int:
        """When it started, by the clock that all of them share."""
        return self.span._start

    @property
    def end(self) -> int:
        """When it ended."""
        return self.span._end

    @property
    def duration(self) -> int:
        """Nanoseconds between the two."""
        return self.span._end - self.span._start

    @property
    def system(self) -> str:
        """What it talks to."""
        return named(self.attributes, self.number)

    @property
    def scope(self) -> Scope:
        """What recorded it."""
        return self.span.instrumentation_scope


def unread(spans: Sequence[Any]) -> list[UnreadSpan] | None:
    """The spans with their parents; None: they have to be read to know these.

    Args:
        spans: as they were recorded. Those of another provider's, several of one id, and a parent that began after
            its child are for those who read whole traces.
    """
    by_id: dict[bytes, UnreadSpan] = {}
    for span in spans:
        if type(span) not in OWN:
            return None
        by_id[span.span_id()] = UnreadSpan(span)
    if len(by_id) < len(spans):
        return None
    for made in by_id.values():
        parent_id = made.span.parent_id()
        parent = by_id.get(parent_id) if parent_id else None
        if parent is not None:
            if parent.span._start > made.span._start:
                return None
            made.parent = parent
            parent.children.append(made)
    return list(by_id.values())
