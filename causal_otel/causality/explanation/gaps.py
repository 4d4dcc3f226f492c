"""Gaps: where the critical path is in a span's own time, and nothing that is traced ran."""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass
from typing import TYPE_CHECKING

from causal_otel._internal.durations import format_duration
from causal_otel.causality.critical_path.segments import Stretch
from causal_otel.causality.spans.parts import begin

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from causal_otel.causality.explanation.pieces import Piece
    from causal_otel.causality.explanation.scene import Scene
    from causal_otel.causality.spans import Span

__all__ = ["Gap", "gaps"]

_LEAST = 1_000_000
_LEAST_SHARE = 0.03
"""Of the time to the answer, or of that from then on: so there are not many, however long a trace is."""

_LABELS = {
    "untraced": "waiting, nothing traced",
    "computing": "computing, nothing traced",
    "garbage_collection": "garbage collection",
    "ready_wait": "waiting for its turn on the event loop",
    "unawaited_task": "in a task that nobody awaited, nothing traced",
    "own_code": "own code, nothing traced",
}
"""What a gap is called after the longest of what is known of it. Of the last two nothing has been measured."""

_WORDS = {
    "untraced": "waiting",
    "computing": "computing",
    "garbage_collection": "garbage collection",
    "ready_wait": "waiting for its turn on the event loop",
    "unawaited_task": "in a task that nobody awaited",
    "own_code": "computing or waiting",
}


@dataclass(frozen=True, slots=True)
class Gap(Stretch):
    """A gap.

    Attributes:
        span: the span in whose own time it lies.
        start: Unix time in nanoseconds, by the clock of the critical path.
        end: likewise.
        kinds: what it was spent on, longest first: a stable word for programs, and nanoseconds. How much of each there
            was is known, when it was is not.
    """

    span: Span
    start: int
    end: int
    kinds: tuple[tuple[str, int], ...]

    @property
    def label(self) -> str:
        """What it is called: ``waiting, nothing traced``."""
        return _LABELS[self.kinds[0][0]]

    @property
    def details(self) -> str:
        """What it was spent on: ``waiting 380 ms, computing 20 ms``."""
        return ", ".join(f"{_WORDS[kind]} {format_duration(length)}" for kind, length in self.kinds)


def gaps(scene: Scene) -> list[Gap]:
    """Those that are worth to be shown, in the order of the path: a few dozen at the most."""
    found: list[Gap] = []
    for pieces in (scene.path, scene.path_afterwards):
        for run in _runs(pieces):
            start, end = run[0].start, run[-1].end
            if end - start >= _LEAST and scene.share(end - start, start) >= _LEAST_SHARE:
                found.append(Gap(run[0].span, start, end, _kinds(run)))
    return found


def _runs(pieces: Sequence[Piece]) -> Iterator[list[Piece]]:
    """Pieces of one span's own time that follow each other. A wait before the span has started is not its time."""
    run: list[Piece] = []
    for piece in pieces:
        inside = piece.category.kind in _LABELS and piece.end > begin(piece.span)
        if run and not (inside and piece.span is run[-1].span and piece.start == run[-1].end):
            yield run
            run = []
        if inside:
            run.append(piece)
    if run:
        yield run


def _kinds(run: Sequence[Piece]) -> tuple[tuple[str, int], ...]:
    lengths: defaultdict[str, int] = defaultdict(int)
    for piece in run:
        lengths[piece.category.kind] += piece.duration
    return tuple(sorted(lengths.items(), key=lambda each: (-each[1], each[0])))
