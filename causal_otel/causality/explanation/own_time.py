"""What code did in its own time: computing, collecting garbage, waiting for its turn, or for what is not traced."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from causal_otel.causality.spans.parts import measured
from causal_otel.causality.spans.stalls import stalls_of
from causal_otel.names import CAUSAL_BLOCK_CPU, CAUSAL_BLOCK_GC, CAUSAL_CPU, CAUSAL_GC, CAUSAL_LOOP_READY_WAIT

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from causal_otel.causality.explanation.categories import Category, Namer
    from causal_otel.causality.explanation.pieces import Piece
    from causal_otel.causality.spans import Span, Trace

__all__ = ["told_apart"]

_OWN = "own_code"


@dataclass(slots=True)
class _Measured:
    """What a span says of its own time, and of that of the spans below it that say nothing; in nanoseconds."""

    collecting: int
    ready: int
    computing: int
    known: bool
    own: int = 0


def told_apart(trace: Trace[Span], pieces: Sequence[Piece], namer: Namer) -> list[Piece]:
    """The pieces, with those of own code divided as the local root of each, or another span above it, says.

    It knows how long its thread computed in all, not when: so each of its pieces has the same share of it. What stalls
    have taken of it is theirs. Where nothing was measured, own code remains.
    """
    known = _Known()
    own = [piece for piece in pieces if piece.category.kind == _OWN]
    for piece in own:
        if (root := known.of(piece.span)) is not None:
            root.own += piece.duration
    if not any(known.of(piece.span) for piece in own):
        return list(pieces)
    for stall in stalls_of(trace):
        if (root := known.of(stall.span)) is not None:
            collected = measured(stall.span.attributes, CAUSAL_BLOCK_GC)
            root.collecting = max(0, root.collecting - collected)
            computed = measured(stall.span.attributes, CAUSAL_BLOCK_CPU) - collected
            root.computing = max(0, root.computing - computed)
    divided: list[Piece] = []
    for piece in pieces:
        root = known.of(piece.span) if piece.category.kind == _OWN else None
        divided += [piece] if root is None else _divided(piece, root, namer)
    return divided


class _Known:
    """What is known of each span's own time: by itself, or by the next above it in its process that says anything."""

    def __init__(self) -> None:
        self._by_span: dict[int, _Measured | None] = {}

    def of(self, span: Span) -> _Measured | None:
        """What is known of a span's; None: nothing."""
        way: list[int] = []
        at: Span | None = span
        found: _Measured | None = None
        while at is not None and at.index not in self._by_span:
            way.append(at.index)
            found = _of_root(at)
            if found is not None or at.local_root or at.task is not None:  # other tasks compute for themselves
                break
            at = at.parent
        else:
            found = None if at is None else self._by_span[at.index]
        self._by_span.update(dict.fromkeys(way, found))
        return found


def _of_root(span: Span) -> _Measured | None:
    computed, collected, ready = (
        measured(span.attributes, key) for key in (CAUSAL_CPU, CAUSAL_GC, CAUSAL_LOOP_READY_WAIT)
    )
    if not (computed or collected or ready):
        return None
    return _Measured(collected, ready, max(0, computed - collected), known=computed > 0)


def _divided(piece: Piece, root: _Measured, namer: Namer) -> Iterator[Piece]:
    left, at = root.own, piece.start
    shares: list[tuple[Callable[[Span], Category], int]] = [
        (namer.collecting, root.collecting),
        (namer.ready, root.ready),
        (namer.computing, root.computing),
        (namer.untraced if root.known else namer.own, root.own),
    ]
    for name, whole in shares:
        length = min(left, whole)
        left -= length
        end = piece.end if not left else min(piece.end, at + piece.duration * length // root.own)
        if at < end:
            yield replace(piece, start=at, end=end, category=name(piece.span))
        at = max(at, end)
