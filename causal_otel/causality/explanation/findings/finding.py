"""A finding, and what those who look for one have in common."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from causal_otel.causality.spans.parts import begin
from causal_otel.causality.spans.targets import is_http, named, target

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from causal_otel.causality.explanation.scene import Scene
    from causal_otel.causality.spans import Span

__all__ = ["MOST_IDS", "Finding", "alike", "call", "finding", "times"]

MOST_IDS = 20
"""Ids of spans that a finding lists; how many there are it says besides."""

_SHOWN_IDS = 2


@dataclass(frozen=True, slots=True)
class Finding:
    """Something about a trace that may be the reason for its time.

    Attributes:
        kind: a stable word for programs, such as ``n_plus_one``.
        sentence: for people.
        nanoseconds: how long it took, or how much could be saved.
        share: that, of the time to the answer, 0 to 1; of what came after it: of the time from then on.
        span_ids: of the spans that it is about, the first :data:`MOST_IDS`.
        spans: how many these are.
        failure: whether it says that something went wrong, which comes before all else.
    """

    kind: str
    sentence: str
    nanoseconds: int
    share: float
    span_ids: tuple[str, ...]
    spans: int
    failure: bool = False

    def text(self) -> str:
        """The line."""
        ids = " ".join(self.span_ids[:_SHOWN_IDS])
        more = f" +{self.spans - _SHOWN_IDS}" if self.spans > _SHOWN_IDS else ""
        return f"- {self.sentence} [{ids}{more}]"

    def document(self) -> dict[str, Any]:
        """It as JSON has it."""
        return {
            "kind": self.kind,
            "sentence": self.sentence,
            "seconds": self.nanoseconds / 1e9,
            "share": round(self.share, 4),
            "span_ids": list(self.span_ids),
            "spans": self.spans,
        }


def finding(
    scene: Scene, kind: str, sentence: str, nanoseconds: int, spans: Sequence[Span], *, failure: bool = False
) -> Finding:
    """A finding about ``spans``, of which there is at least one, in their order."""
    share = scene.share(nanoseconds, begin(spans[0]))
    ids = tuple(span.span_id for span in spans[:MOST_IDS])
    return Finding(kind, sentence, nanoseconds, share, ids, len(spans), failure)


def call(span: Span) -> str:
    """How a call is told of: ``SELECT items``, ``GET to api.example.com``."""
    return f"{named(span.name)} to {target(span)}" if span.kind == "client" and is_http(span) else named(span.name)


def alike(spans: Iterable[Span]) -> list[list[Span]]:
    """Spans with those that are told of by the same words, longest first; in the order of the first of each."""
    groups: dict[str, list[Span]] = {}
    for span in spans:
        groups.setdefault(call(span), []).append(span)
    for group in groups.values():
        group.sort(key=lambda each: (-each.duration, each.start, each.span_id))
    return list(groups.values())


def times(spans: Sequence[Span]) -> str:
    """How many there are, if it is not one: `` ×3``."""
    return f" ×{len(spans)}" if len(spans) > 1 else ""
