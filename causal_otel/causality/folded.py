"""A profile as text: each stack on a line, its frames from the outermost on, and how often it was seen.

``shop/api.py:31 order();shop/prices.py:12 total() 17``. This is the "folded" or "collapsed" form that flame graph tools
read (``flamegraph.pl``, speedscope, inferno). Times are not in it: a sample stands for the time between two looks.
"""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

__all__ = ["folded", "hottest", "stacks"]

_SEPARATOR = ";"
_LONGEST_READ = 100_000
"""Characters of anybody's text."""


def folded(seen: Mapping[str, int], longest: int) -> str:
    """The text, the stacks that were seen most often first.

    Args:
        seen: how often each stack was seen, by its frames, joined already.
        longest: how many characters the text may have. Stacks that do not fit are left out.
    """
    lines: list[str] = []
    left = longest
    for stack, count in sorted(seen.items(), key=lambda each: (-each[1], each[0])):
        line = f"{stack} {count}"
        if len(line) < left:
            lines.append(line)
            left -= len(line) + 1
    return "\n".join(lines)


def stacks(text: str) -> list[tuple[tuple[str, ...], int]]:
    """What a profile says: the frames of each stack, the outermost first, and how often it was seen.

    Args:
        text: anybody's. Lines that are none of a profile, such as a last one that was cut, are left out.
    """
    found = []
    for line in text[:_LONGEST_READ].splitlines():
        stack, _, count = line.rpartition(" ")
        if stack and count.isascii() and count.isdecimal() and len(count) < 10 and int(count):
            found.append((tuple(stack.split(_SEPARATOR)), int(count)))
    return found


def hottest(profile: Iterable[tuple[tuple[str, ...], int]]) -> list[tuple[str, int]]:
    """The frames that ran themselves, and called nothing of Python, when they were seen; the most frequent first."""
    found: Counter[str] = Counter()
    for frames, count in profile:
        found[frames[-1]] += count
    return sorted(found.items(), key=lambda each: (-each[1], each[0]))
