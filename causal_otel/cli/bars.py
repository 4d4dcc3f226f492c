"""Bars of a trace's tree: a span on the time axis, what of it is on the critical path, and where its time went."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from causal_otel.names import (
    CAUSAL_CONNECT,
    CAUSAL_DISCOVERY,
    CAUSAL_FETCH,
    CAUSAL_LOOP_BLOCKED,
    CAUSAL_POOL_SETUP,
    CAUSAL_SERVER,
)

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from causal_otel.collector.analysis import PlacedPart

__all__ = ["GAP", "Part", "bar", "legend", "parts_of"]

# By what the left and the right half of a character are: nothing, light, heavy.
_LINES = (" ╶╺", "╴─╼", "╸╾━")
_ASCII_LINES = (" -=", "--=", "===")

_WAIT, _CONNECT, _FETCH, _BLOCKED, _BEFORE, GAP = "waiting", "connecting", "reading", "loop blocked", "before", "gap"

# What each is drawn with beside the critical path, and on it.
_SIGNS = {
    _WAIT: ("░", "▒"),
    _CONNECT: ("╌", "╍"),
    _FETCH: ("┈", "┉"),
    _BLOCKED: ("×", "╳"),
    _BEFORE: ("·", "•"),
    GAP: ("┄", "┅"),
}
_ASCII_SIGNS = {
    _WAIT: ("w", "W"),
    _CONNECT: ("c", "C"),
    _FETCH: ("f", "F"),
    _BLOCKED: ("x", "X"),
    _BEFORE: ("q", "Q"),
    GAP: (".", ":"),
}

_MEANINGS = {
    _WAIT: "waiting for a connection, a thread, a lock ...",
    _CONNECT: "connecting",
    _FETCH: "reading",
    _BLOCKED: "loop blocked",
    _BEFORE: "waiting before it started",
    GAP: "nothing traced",
}

_GROUPS = {
    CAUSAL_CONNECT: _CONNECT,
    CAUSAL_POOL_SETUP: _CONNECT,
    CAUSAL_DISCOVERY: _CONNECT,
    CAUSAL_FETCH: _FETCH,
    CAUSAL_LOOP_BLOCKED: _BLOCKED,
}


class Part(NamedTuple):
    """A stretch of a bar that is drawn with other signs: which, from when, until when."""

    group: str
    start: int
    end: int


def parts_of(placed: Iterable[PlacedPart], start: int) -> list[Part]:
    """What is special in the bar of a span whose time went there, from ``start`` on; the server's part is the line."""
    return [
        Part(_BEFORE if each.part.before else _GROUPS.get(each.part.key, _WAIT), first - start, last - start)
        for each in placed
        for first, last in each.stretches
        if each.part.key != CAUSAL_SERVER
    ]


def bar(
    times: Iterable[tuple[int, int]],
    total: int,
    width: int,
    *,
    heavy: Iterable[tuple[int, int]] | None = None,
    parts: Sequence[Part] = (),
    ascii_only: bool = False,
) -> str:
    """A line of ``width`` characters, drawn in ``times`` where ``total`` is all of it.

    It is exact to half a character, and at least that long, so that the shortest span is seen.

    Args:
        times: where it begins and ends, of a run where each of its members does.
        total: what the whole width stands for, in the same unit.
        width: in characters.
        heavy: the parts that are drawn heavy, the others light; None: all of it.
        parts: what is drawn with other signs; those too short to be seen are not.
        ascii_only: whether nothing else may be drawn with.
    """
    halves = 2 * width

    def covered(start: int, end: int, least: int = 1) -> range:
        if total <= 0:
            return range(halves)
        first = min(max(0, round(start * halves / total)), halves - 1)
        return range(first, min(max(first + least, round(end * halves / total)), halves))

    drawn = bytearray(halves)
    groups: list[str] = [""] * halves if parts else []
    for start, end in times:
        for half in covered(start, end):
            drawn[half] = 2 if heavy is None else 1
    for part in parts:
        for half in covered(part.start, part.end, 0):
            groups[half], drawn[half] = part.group, drawn[half] or (2 if heavy is None else 1)
    for stretch in heavy or ():
        for half in covered(*stretch):
            drawn[half] = 2
    lines, signs = (_ASCII_LINES, _ASCII_SIGNS) if ascii_only else (_LINES, _SIGNS)
    cells = []
    for cell in range(0, halves, 2):
        group = (groups[cell] or groups[cell + 1]) if parts else ""
        if group:
            cells.append(signs[group][max(drawn[cell], drawn[cell + 1]) - 1])
        else:
            cells.append(lines[drawn[cell]][drawn[cell + 1]])
    return "".join(cells)


def legend(drawn: Iterable[str], *, ascii_only: bool = False) -> str:
    """What the signs mean that are in these bars; empty: there are none but lines."""
    signs = _ASCII_SIGNS if ascii_only else _SIGNS
    seen = set("".join(drawn))
    return ", ".join(f"{''.join(signs[group])} {_MEANINGS[group]}" for group in signs if seen & set(signs[group]))
