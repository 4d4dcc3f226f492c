"""The one sentence that says where the time of a trace went."""

from __future__ import annotations

from typing import TYPE_CHECKING

from causal_otel._internal.durations import format_duration
from causal_otel.causality.explanation.shares import percent

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from causal_otel.causality.explanation.shares import Phase, Share

__all__ = ["sentence", "told"]

_MOST = 6
"""Shares that are named; the rest is added up."""

_LEAST = 0.01
_MOST_BYTES = 800


def sentence(answer: Phase, afterwards: Phase | None, asides: Iterable[str] = ()) -> str:
    """Such as ``603 ms: 50 % PostgreSQL, 41 % waiting for a PostgreSQL connection (pool 1 of 1 in use), 9 % own code``.

    Args:
        answer: the time to the answer.
        afterwards: the time from then on to the end of all work; None: there is none worth telling.
        asides: what happened beside the critical path and matters nevertheless.
    """
    told = list(asides)
    text = ""
    for most in range(_MOST, 0, -1):
        text = "; ".join((_told(answer, afterwards, most), *told))
        if len(text.encode()) <= _MOST_BYTES:
            break
    return text


def _told(answer: Phase, afterwards: Phase | None, most: int) -> str:
    text = f"{format_duration(answer.nanoseconds)}: {_shares(answer.shares, most) or 'nothing took any time'}"
    if afterwards is not None:
        rest = format_duration(afterwards.nanoseconds)
        text += f"; then {rest} until the end of all work: {_shares(afterwards.shares, most)}"
    return text


def told(shares: Sequence[Share], most: int = _MOST) -> tuple[Sequence[Share], Sequence[Share]]:
    """Those that are worth to be named, ``most`` of them, and the others."""
    named = [share for share in shares[:most] if share.share >= _LEAST] or shares[:1]
    return named, shares[len(named) :]


def _shares(shares: Sequence[Share], most: int) -> str:
    named, others = told(shares, most)
    said = [f"{percent(share.share)} {share.label}" for share in named]
    rest = sum(share.share for share in others)
    if rest >= _LEAST:
        said.append(f"{percent(rest)} other")
    return ", ".join(said)
