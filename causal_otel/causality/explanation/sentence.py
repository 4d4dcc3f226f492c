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


def sentence(answer: Phase, afterwards: Phase | None, asides: Iterable[str] = ()) -> str:
    """Such as ``603 ms: 50 % PostgreSQL, 41 % waiting for a PostgreSQL connection (pool 1 of 1 in use), 9 % own code``.

    Args:
        answer: the time to the answer.
        afterwards: the time from then on to the end of all work; None: there is none worth telling.
        asides: what happened beside the critical path and matters nevertheless.
    """
    text = f"{format_duration(answer.nanoseconds)}: {_shares(answer.shares) or 'nothing took any time'}"
    if afterwards is not None:
        rest = format_duration(afterwards.nanoseconds)
        text += f"; then {rest} until the end of all work: {_shares(afterwards.shares)}"
    return "; ".join((text, *asides))


def told(shares: Sequence[Share]) -> tuple[Sequence[Share], Sequence[Share]]:
    """Those that are worth to be named, and the others."""
    named = [share for share in shares[:_MOST] if share.share >= _LEAST] or shares[:1]
    return named, shares[len(named) :]


def _shares(shares: Sequence[Share]) -> str:
    named, others = told(shares)
    said = [f"{percent(share.share)} {share.label}" for share in named]
    rest = sum(share.share for share in others)
    if rest >= _LEAST:
        said.append(f"{percent(rest)} other")
    return ", ".join(said)
