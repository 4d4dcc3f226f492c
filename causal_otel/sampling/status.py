"""What sampling says of itself, for :func:`causal_otel.status`."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import NamedTuple

__all__ = ["BufferStatus", "SamplingStatus"]


class SamplingStatus(NamedTuple):
    """By which rules traces are sampled in this process.

    Attributes:
        source: where that comes from: a sampler's name, a file or a URL.
        rules: in words, in order; the last one is about everything else.
        changed: when rules were last taken from the source, as Unix time in seconds; None: not yet.
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


class BufferStatus(NamedTuple):
    """The traces of this process that are not sampled, which are buffered until it is known whether they fail.

    Attributes:
        buffered: traces in the buffer now.
        buffered_bytes: their size, about.
        promoted: traces that failed, took long or were asked for, and so were exported after all.
        evicted: what the limits have cost, by their names: ``traces`` that found no room, ``spans`` that are missing,
            and traces that were emptied because of their ``size`` or ``age``.
    """

    buffered: int
    buffered_bytes: int
    promoted: int
    evicted: Mapping[str, int] = MappingProxyType({})

    def __str__(self) -> str:
        lost = "".join(f", {count} over the limit of {name}" for name, count in self.evicted.items())
        return f"{self.promoted} exported after all, {self.buffered} buffered ({self.buffered_bytes} bytes){lost}"
