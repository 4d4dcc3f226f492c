"""What the time of a trace consists of: the pieces of its critical path, added up by category."""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from causal_otel._internal.durations import format_duration
from causal_otel.causality.explanation.categories import LOOP_BLOCKED
from causal_otel.names import CAUSAL_POOL_SIZE, CAUSAL_POOL_WAITING

if TYPE_CHECKING:
    from collections.abc import Iterable

    from causal_otel.causality.explanation.categories import Category
    from causal_otel.causality.explanation.pieces import Piece
    from causal_otel.causality.spans import Span

__all__ = ["Phase", "Share", "percent", "phase_of", "pool_state"]


@dataclass(frozen=True, slots=True)
class Share:
    """A part of a time that was spent on one thing.

    Attributes:
        kind: a stable word for programs, such as ``pool_wait``.
        category: what it was, without what differs from trace to trace: ``waiting for a PostgreSQL connection``.
        label: the same with what is known of this one: ``... (pool 1 of 1 in use, 4 waiting)``.
        nanoseconds: how long.
        share: of the whole time, 0 to 1.
    """

    kind: str
    category: str
    label: str
    nanoseconds: int
    share: float

    def document(self) -> dict[str, Any]:
        """It as JSON has it."""
        return {
            "kind": self.kind,
            "category": self.category,
            "label": self.label,
            "seconds": self.nanoseconds / 1e9,
            "share": round(self.share, 4),
        }


@dataclass(frozen=True, slots=True)
class Phase:
    """A time of a trace, from one moment to another, and what it consists of.

    Attributes:
        start: Unix time in nanoseconds.
        end: likewise.
        shares: longest first; they add up to it.
    """

    start: int
    end: int
    shares: tuple[Share, ...] = ()

    @property
    def nanoseconds(self) -> int:
        """How long it is."""
        return self.end - self.start


def phase_of(pieces: Iterable[Piece]) -> Phase:
    """The time of these pieces, which follow each other without a gap."""
    lengths: defaultdict[Category, int] = defaultdict(int)
    spans: defaultdict[Category, dict[int, Span]] = defaultdict(dict)
    start = end = 0
    for piece in pieces:
        start = piece.start if not lengths else min(start, piece.start)
        end = max(end, piece.end)
        lengths[piece.category] += piece.duration
        spans[piece.category][piece.span.index] = piece.span
    whole = max(1, sum(lengths.values()))
    shares = [
        Share(
            category.kind,
            category.general,
            _label(category, length, spans[category].values()),
            length,
            length / whole,
        )
        for category, length in lengths.items()
        if length
    ]
    shares.sort(key=lambda share: (-share.nanoseconds, share.kind, share.label))
    return Phase(start, end, tuple(shares))


def percent(share: float) -> str:
    """A share for people: ``41 %``."""
    return f"{100 * share:.0f} %" if share >= 0.005 or not share else "<1 %"


def pool_state(spans: Iterable[Span]) -> str:
    """Such as ``pool 1 of 1 in use, 4 waiting``: the worst that those who waited have seen; empty: nothing is known."""
    seen = [
        (_count(span, CAUSAL_POOL_WAITING), _count(span, CAUSAL_POOL_SIZE))
        for span in spans
        if CAUSAL_POOL_SIZE in span.attributes or CAUSAL_POOL_WAITING in span.attributes
    ]
    waiting, size = max(seen, default=(0, 0))
    said = [f"pool {size} of {size} in use"] if size else []
    return ", ".join(said + ([f"{waiting} waiting"] if waiting else []))


def _count(span: Span, key: str) -> int:
    value = span.attributes.get(key)
    return value if isinstance(value, int) and not isinstance(value, bool) and value > 0 else 0


def _label(category: Category, length: int, spans: Iterable[Span]) -> str:
    if category.kind == LOOP_BLOCKED:
        return f"loop blocked {format_duration(length)} {category.label}{category.detail}"
    state = pool_state(spans) if category.kind == "pool_wait" else ""
    return f"{category.text} ({state})" if state else category.text
