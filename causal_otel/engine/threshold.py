"""Consistent probability sampling: the 56-bit arithmetic, and its place in ``tracestate``.

A trace's randomness is the last 56 bits of its id, or ``rv`` of the ``ot`` member of its ``tracestate``. A sampler that
keeps a share rejects what lies below its threshold, and writes the threshold as ``th``, so that whoever counts spans
knows how many each of them stands for. All services decide by the same randomness: what a low share keeps, a higher one
keeps as well.

OpenTelemetry specification: ``trace/tracestate-probability-sampling``, ``trace/tracestate-handling``.
"""

from __future__ import annotations

import re
from typing import NamedTuple

from opentelemetry.trace import TraceState

__all__ = ["ALL", "NONE", "Member", "member", "randomness", "threshold", "with_threshold"]

_BITS = 56
_DIGITS = _BITS // 4
_MASK = (1 << _BITS) - 1
_KEY = "ot"
_LONGEST = 256  # characters of the member, by the specification

ALL = 0
"""The threshold that rejects nothing."""
NONE = 1 << _BITS
"""The threshold that rejects everything; it has no ``th``."""

_TH = re.compile(r"[0-9a-f]{1,14}").fullmatch
_RV = re.compile(r"[0-9a-f]{14}").fullmatch


class Member(NamedTuple):
    """What the ``ot`` member says. Malformed fields count as absent."""

    threshold: int | None = None
    randomness: int | None = None
    others: tuple[str, ...] = ()
    """Fields that are not ours, as they came."""


def threshold(share: float) -> int:
    """The threshold that keeps ``share`` of all traces (0 to 1), precise to one in 2**56."""
    return NONE - round(share * NONE)


def randomness(trace_id: int, state: TraceState | None = None) -> int:
    """The trace's 56 random bits."""
    if state:
        found = member(state).randomness
        if found is not None:
            return found
    return trace_id & _MASK


def member(state: TraceState | None) -> Member:
    """What the trace state says of sampling."""
    text = state.get(_KEY) if state else None
    if not text or len(text) > _LONGEST:
        return Member()
    th = rv = None
    others = []
    for item in text.split(";"):
        key, _, value = item.partition(":")
        if key == "th":
            th = int(value.ljust(_DIGITS, "0"), 16) if _TH(value) else None
        elif key == "rv":
            rv = int(value, 16) if _RV(value) else None
        elif item:
            others.append(item)
    return Member(th, rv, tuple(others))


def with_threshold(state: TraceState | None, value: int | None) -> TraceState | None:
    """The trace state with another ``th``; None: without one. Everything else in it stays."""
    known = member(state)
    fields = [] if value is None or value >= NONE else [f"th:{_text(value)}"]
    if known.randomness is not None:
        fields.append(f"rv:{known.randomness:0{_DIGITS}x}")
    written = ";".join([*fields, *known.others])
    others = [(key, text) for key, text in (state or {}).items() if key != _KEY]
    if not written:
        return TraceState(others) if others else None
    return TraceState([(_KEY, written), *others])  # the one changed last stands first (W3C Trace Context)


def _text(value: int) -> str:
    return f"{value:0{_DIGITS}x}".rstrip("0") or "0"
