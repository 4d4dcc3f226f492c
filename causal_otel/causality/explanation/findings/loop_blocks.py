"""Event loops that stood still: by this trace, at the cost of others as well, or by others, at its cost."""

from __future__ import annotations

from collections import defaultdict
from typing import TYPE_CHECKING

from causal_otel._internal.durations import format_duration
from causal_otel.causality.explanation.categories import LOOP_BLOCKED
from causal_otel.causality.explanation.findings.finding import Finding, call, finding
from causal_otel.causality.spans.stalls import is_stall, stalled_by

if TYPE_CHECKING:
    from collections.abc import Iterator

    from causal_otel.causality.explanation.pieces import Piece
    from causal_otel.causality.explanation.scene import Scene
    from causal_otel.causality.spans import Span

__all__ = ["find"]

_LEAST_SHARE = 0.01


def find(scene: Scene) -> Iterator[Finding]:
    """One for each place in the code of this trace, and one for each culprit elsewhere."""
    yield from _caused(scene)
    yield from _suffered(scene)


def _caused(scene: Scene) -> Iterator[Finding]:
    places: defaultdict[str, list[Span]] = defaultdict(list)
    for stall in scene.caused:
        places[stalled_by(stall)].append(stall)
    for place, spans in places.items():
        spent = sum(span.duration for span in spans)
        times = f" {len(spans)} times" if len(spans) > 1 else ""
        said = f"{place} blocked the event loop{times} for {format_duration(spent)}: nothing else ran on it meanwhile"
        yield finding(scene, "loop_block_caused", said, spent, spans)


def _suffered(scene: Scene) -> Iterator[Finding]:
    caused = {scene.stalls.category(stall) for stall in scene.stalls.own}
    culprits: defaultdict[str, list[Piece]] = defaultdict(list)
    for piece in (*scene.path, *scene.path_afterwards):
        if piece.category.kind == LOOP_BLOCKED and piece.category not in caused and not is_stall(piece.span):
            culprits[piece.category.label + piece.category.detail].append(piece)
    for label, pieces in culprits.items():
        spent = sum(piece.duration for piece in pieces)
        if scene.share(spent, pieces[0].start) < _LEAST_SHARE:
            continue
        spans = list({piece.span.index: piece.span for piece in pieces}.values())
        longest = max(pieces, key=lambda piece: (piece.duration, -piece.start)).span
        said = f"the event loop was blocked {label} for {format_duration(spent)} during {call(longest)}"
        yield finding(scene, "loop_block_suffered", said, spent, spans)
