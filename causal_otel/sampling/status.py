"""What sampling says of itself, for :func:`causal_otel.status`."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import NamedTuple

__all__ = ["KeepingStatus", "SamplingStatus"]


class SamplingStatus(NamedTuple):
    """By what traces are sampled in this process.

    Attributes:
        source: where that comes from: a sampler's name, a file or a URL.
        rules: in words, in order; the last one is about everything else.
        changed: when the source was last taken at its word, as Unix time in seconds; None: not yet.
        problem: why the rules may not be what the source says now; empty: they are.
        warnings: what was left out of what the source says.
    """

    source: str
    rules: tuple[str, ...]
    changed: float | None = None
    problem: str = ""
    warnings: tuple[str, ...] = ()

    def __str__(self) -> str:
        notes = [f" (problem: {self.problem})" if self.problem else "", *(f" (warning: {w})" for w in self.warnings)]
        return f"{'; '.join(self.rules)}, by {self.source}{''.join(notes)}"


class KeepingStatus(NamedTuple):
    """What has become of the traces of this process that were not sampled.

    Attributes:
        held: traces held back now.
        held_bytes: their size, about.
        kept: traces that something was wrong with, or that somebody asked for: exported.
        evicted: what the limits have cost, by their names: ``traces`` that were not held, ``spans`` that are missing,
            and traces that let go of what they held for their ``size`` or ``age``.
    """

    held: int
    held_bytes: int
    kept: int
    evicted: Mapping[str, int] = MappingProxyType({})

    def __str__(self) -> str:
        lost = "".join(f", {count} over the limit of {name}" for name, count in self.evicted.items())
        return f"{self.kept} kept, {self.held} held back ({self.held_bytes} bytes){lost}"
