"""Regular expressions whose search takes time in proportion to the text, whatever the expression.

Python's ``re`` goes back and tries again: ``(a+)+$`` takes minutes for thirty characters, and who may search could stop
the collector with it. Here all ways through the expression are followed at once (Thompson's construction), and the sets
of places that were met are remembered, so that a character mostly costs one look into a dict.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = ["Pattern"]

_LONGEST = 500
_DEEPEST = 50
_MOST_KNOWN = 20_000
"""Steps that a pattern remembers before it forgets them all."""

_CLASSES: dict[str, Callable[[str], bool]] = {
    "d": str.isdigit,
    "w": lambda char: char.isalnum() or char == "_",
    "s": str.isspace,
}
_REPEATS = ("*", "+", "?")
_CONTROLS = {"n": "\n", "r": "\r", "t": "\t"}


@dataclass(frozen=True)
class _Chars:
    """Characters: those in one of some ranges or of some classes, or all the others."""

    ranges: tuple[tuple[str, str], ...] = ()
    classes: str = ""
    negated: bool = False

    def has(self, char: str) -> bool:
        """Whether it is one of them, in capitals or not."""
        return any(map(self._has, {char, char.lower(), char.upper()})) is not self.negated

    def _has(self, char: str) -> bool:
        return any(first <= char <= last for first, last in self.ranges) or any(
            _CLASSES[name.lower()](char) is name.islower() for name in self.classes
        )


_ANY = _Chars(negated=True)


@dataclass
class _Node:
    """A place in the expression: a character to read, an end of the text to be at, or neither.

    Attributes:
        reads: what leads on; None: nothing need be read.
        at: ``^`` or ``$``, where the text must begin or end here.
        to: the places that follow.
    """

    reads: _Chars | None = None
    at: str = ""
    to: list[int] = field(default_factory=list)


@dataclass
class _State:
    """The places where a search may be."""

    nodes: frozenset[int]
    found: bool
    after: dict[str, _State] = field(default_factory=dict)


class Pattern:
    r"""A regular expression that may be found anywhere in a text; capitals or not are the same.

    It has ``. * + ? | ( ) [ ] ^ $`` and the escapes ``\d \w \s \D \W \S \n \r \t``; a backslash before any sign takes
    its meaning from it. ``.`` is also a line's end, ``$`` only the end of the text.

    Args:
        source: the expression.

    Raises:
        ValueError: It is none, or has something else; the message says what.
    """

    def __init__(self, source: str) -> None:
        if len(source) > _LONGEST:
            raise ValueError(f"a regular expression has at most {_LONGEST} characters; this one has {len(source)}")
        self._nodes = [_Node()]  # the first is the end
        self._start = _Parser(source, self._nodes).parse()
        self._forget()

    def _forget(self) -> None:
        self._states: dict[frozenset[int], _State] = {}
        self._known = 0
        self._first = self._state({self._start}, begins=True)

    def found_in(self, text: str) -> bool:
        """Whether some part of ``text`` is as the expression says."""
        state = self._first
        for char in text:
            if state.found:
                return True
            state = state.after.get(char) or self._step(state, char)
        return state.found or 0 in self._closed(state.nodes, begins=not text, ends=True)

    def _step(self, state: _State, char: str) -> _State:
        if self._known >= _MOST_KNOWN:
            self._forget()
        self._known += 1
        after = {self._start}
        for number in state.nodes:
            node = self._nodes[number]
            if node.reads is not None and node.reads.has(char):
                after.update(node.to)
        state.after[char] = following = self._state(after, begins=False)
        return following

    def _state(self, nodes: set[int], *, begins: bool) -> _State:
        closed = self._closed(nodes, begins=begins)
        known = self._states.get(closed)
        if known is None:
            known = self._states[closed] = _State(closed, 0 in closed)
        return known

    def _closed(self, nodes: set[int] | frozenset[int], *, begins: bool, ends: bool = False) -> frozenset[int]:
        """All places that lead from ``nodes`` on without reading."""
        found: set[int] = set()
        left = list(nodes)
        while left:
            number = left.pop()
            if number in found:
                continue
            found.add(number)
            node = self._nodes[number]
            if node.reads is None and (not node.at or (begins if node.at == "^" else ends)):
                left += node.to
        return frozenset(found)


class _Parser:
    """Reads an expression and writes its places, from the last to the first."""

    def __init__(self, source: str, nodes: list[_Node]) -> None:
        self._source = source
        self._at = 0
        self._depth = 0
        self._nodes = nodes

    def parse(self) -> int:
        """The number of the place where it starts."""
        parts = self._alternatives()
        if self._at < len(self._source):
            raise ValueError("a ) has no ( before it")
        return self._write(parts, 0)

    # An expression is read as nested tuples: ("|", ...), ("", ...) for one after the other, ("*", x), ("+", x),
    # ("?", x), a _Chars, "^" or "$".

    def _alternatives(self) -> object:
        found = [self._sequence()]
        while self._take("|"):
            found.append(self._sequence())
        return ("|", *found)

    def _sequence(self) -> object:
        found: list[object] = []
        while self._at < len(self._source) and self._source[self._at] not in "|)":
            char = self._source[self._at]
            if char in _REPEATS:
                raise ValueError(f"there is nothing before the {char} to be repeated")
            part = self._one()
            following = self._source[self._at : self._at + 1]
            if following in _REPEATS:
                self._at += 1
                part = (following, part)
                self._take("?")  # as few as may be: whether there is any is the same
                if self._source[self._at : self._at + 1] in _REPEATS:
                    raise ValueError(f"there is something to be repeated twice before {self._source[self._at]}")
            elif following == "{":
                raise ValueError(r"repetitions as in {2,3} are not supported; write \{ for the sign")
            found.append(part)
        return ("", *found)

    def _one(self) -> object:
        char = self._next()
        if char == "(":
            return self._group()
        if char == "[":
            return self._set()
        if char in "^$":
            return char
        if char == ".":
            return _ANY
        if char == "\\":
            return self._escape()
        return _Chars(((char, char),))

    def _group(self) -> object:
        if self._take("?") and not self._take(":"):
            raise ValueError("groups that begin with (? are not supported")
        self._depth += 1
        if self._depth > _DEEPEST:
            raise ValueError(f"groups are nested more than {_DEEPEST} deep")
        inner = self._alternatives()
        self._depth -= 1
        if not self._take(")"):
            raise ValueError("a ( has no ) after it")
        return inner

    def _set(self) -> _Chars:
        negated = self._take("^")
        ranges: list[tuple[str, str]] = []
        classes = ""
        first = True
        while first or not self._take("]"):
            if self._at == len(self._source):
                raise ValueError("a [ has no ] after it")
            first = False
            chars = self._set_item()
            classes += chars.classes
            if self._source[self._at : self._at + 1] == "-" and self._source[self._at + 1 : self._at + 2] not in (
                "]",
                "",
            ):
                self._at += 1
                last = self._set_item()
                if chars.classes or last.classes or last.ranges < chars.ranges:
                    raise ValueError("a range in [ ] goes from a character to a later one")
                chars = _Chars(((chars.ranges[0][0], last.ranges[0][0]),))
            ranges += chars.ranges
        return _Chars(tuple(ranges), classes, negated)

    def _set_item(self) -> _Chars:
        char = self._next()
        return self._escape() if char == "\\" else _Chars(((char, char),))

    def _escape(self) -> _Chars:
        if self._at == len(self._source):
            raise ValueError("nothing follows the \\ at the end")
        char = self._next()
        if char.lower() in _CLASSES:
            return _Chars(classes=char)
        if char in _CONTROLS:
            char = _CONTROLS[char]
        elif char.isalnum():
            raise ValueError(f"\\{char} is not supported")
        return _Chars(((char, char),))

    def _take(self, char: str) -> bool:
        taken = self._source[self._at : self._at + 1] == char
        self._at += taken
        return taken

    def _next(self) -> str:
        self._at += 1
        return self._source[self._at - 1]

    def _write(self, part: object, to: int) -> int:
        """Write the places of a part that leads on to ``to``; returns where it starts."""
        if isinstance(part, _Chars):
            return self._add(_Node(reads=part, to=[to]))
        if isinstance(part, str):
            return self._add(_Node(at=part, to=[to]))
        assert isinstance(part, tuple)
        what, *inner = part
        if what == "":
            for each in reversed(inner):
                to = self._write(each, to)
            return to
        if what == "|":
            return self._add(_Node(to=[self._write(each, to) for each in inner]))
        choice = _Node()
        number = self._add(choice)
        start = self._write(inner[0], to if what == "?" else number)
        choice.to = [start, to]
        return start if what == "+" else number

    def _add(self, node: _Node) -> int:
        self._nodes.append(node)
        return len(self._nodes) - 1
