"""What code did in its own time: computing, collecting garbage, waiting for its turn, or for what is not traced."""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from causal_otel.causality.explanation.parts import measured
from causal_otel.causality.explanation.stalls import is_stall
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
    """What is known of a local root's own time, in nanoseconds."""

    root: Span
    collecting: int
    ready: int
    computing: int
    known: bool
    own: int = 0


def told_apart(trace: Trace[Span], pieces: Sequence[Piece], namer: Namer) -> list[Piece]:
    """The pieces, with those of own code divided as the local root of each says.

    A local root knows how long its thread computed in all, not when: so each of its pieces has the same share of it.
    What its stalls have taken of it is theirs. Where nothing was measured, own code remains.
    """
    found = _measurements(trace)
    if not found:
        return list(pieces)
    for piece in pieces:
        if piece.category.kind == _OWN and (root := found.get(piece.span.index)) is not None:
            root.own += piece.duration
    divided: list[Piece] = []
    for piece in pieces:
        root = found.get(piece.span.index) if piece.category.kind == _OWN else None
        divided += [piece] if root is None else _divided(piece, root, namer)
    return divided


def _measurements(trace: Trace[Span]) -> dict[int, _Measured]:
    """What the local root of each span says, by the span's index; without those of which it says nothing."""
    roots: dict[int, _Measured] = {}
    stalls: defaultdict[int, list[Span]] = defaultdict(list)
    for span in trace.spans:  # parents before their children
        if span.local_root or span.parent is None:
            measurement = _of_root(span)
        else:
            measurement = roots.get(span.parent.index)
        if measurement is not None:
            roots[span.index] = measurement
            if is_stall(span):
                stalls[measurement.root.index].append(span)
    for index, spans in stalls.items():
        collected = sum(measured(span.attributes, CAUSAL_BLOCK_GC) for span in spans)
        computed = sum(measured(span.attributes, CAUSAL_BLOCK_CPU) for span in spans)
        roots[index].collecting = max(0, roots[index].collecting - collected)
        roots[index].computing = max(0, roots[index].computing - (computed - collected))
    return roots


def _of_root(span: Span) -> _Measured | None:
    computed, collected, ready = (
        measured(span.attributes, key) for key in (CAUSAL_CPU, CAUSAL_GC, CAUSAL_LOOP_READY_WAIT)
    )
    if not (computed or collected or ready):
        return None
    return _Measured(span, collected, ready, max(0, computed - collected), known=computed > 0)


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
