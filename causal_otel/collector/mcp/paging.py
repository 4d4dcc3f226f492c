"""Lists a page at a time: what a cursor says, and which rows the next page has.

Nothing is kept between two calls. A cursor says how many rows were shown and which was the last, so that nothing is
repeated if rows have come before it meanwhile. It says of which call it is, and the time that the first page was about:
"the last hour" is another one a minute later.
"""

from __future__ import annotations

import hashlib
import json
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TypeVar

from causal_otel.collector.mcp.answers import MOST_BYTES, Refused, fitting, write

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

__all__ = ["Cursor", "Page", "call_of", "read_cursor"]

_Row = TypeVar("_Row")

_CURSOR = re.compile(r"([0-9]{1,9})-([0-9a-f]{8})-([0-9a-f]{8})-([0-9a-f]{1,16})-([0-9a-f]{1,16})")
_LEFT = 200
"""Bytes that the end of an answer may take."""

_AGAIN = "leave cursor out to begin again"


@dataclass(frozen=True, slots=True)
class Cursor:
    """Where a page begins.

    Attributes:
        shown: how many rows were before it.
        last: what the key of the last of them is recognised by.
        call: what the call is recognised by that it belongs to.
        start: the time that the list is about, as Unix times in nanoseconds.
        end: its end.
    """

    shown: int
    last: str
    call: str
    start: int
    end: int

    def __str__(self) -> str:
        """It as it is given to the model."""
        return f"{self.shown}-{self.last}-{self.call}-{self.start:x}-{self.end:x}"


def read_cursor(text: str, call: str) -> Cursor | None:
    """What a cursor says; None: it is empty.

    Args:
        text: as an answer has given it.
        call: what the call is recognised by, see :func:`call_of`.

    Raises:
        Refused: It is none, or one of another call.
    """
    if not text:
        return None
    match = _CURSOR.fullmatch(text.strip())
    if match is None:
        raise Refused(f"cursor: {text[:80]!r} is none: give the next_cursor of the answer before; {_AGAIN}")
    shown, last, of, start, end = match.groups()
    if of != call:
        raise Refused(f"cursor: it is one of another call: repeat all other arguments as they were; {_AGAIN}")
    return Cursor(int(shown), last, of, int(start, 16), int(end, 16))


def call_of(tool: str, arguments: Mapping[str, Any]) -> str:
    """What a call is recognised by: the tool and its arguments, but for the cursor and the size of a page."""
    said = {name: value for name, value in arguments.items() if name not in ("cursor", "limit")}
    return _short(json.dumps([tool, said], sort_keys=True))


@dataclass(frozen=True, slots=True)
class Page:
    """How a list is shown.

    Attributes:
        limit: rows at the most.
        cursor: where it begins; None: with the first row.
        call: what the call is recognised by.
        start: the time that the list is about, as Unix times in nanoseconds; 0 where it is about none.
        end: its end.
    """

    limit: int
    cursor: Cursor | None
    call: str
    start: int = 0
    end: int = 0

    def begins(self, rows: Sequence[_Row], key: Callable[[_Row], str]) -> int:
        """The place of its first row.

        Raises:
            Refused: The row that was the last one is no longer there.
        """
        if self.cursor is None or not self.cursor.shown:
            return 0
        shown, last = self.cursor.shown, self.cursor.last
        if shown <= len(rows) and _short(key(rows[shown - 1])) == last:
            return shown
        # The list has grown, or some of it is gone.
        for place in range(len(rows), 0, -1):
            if _short(key(rows[place - 1])) == last:
                return place
        raise Refused(f"cursor: the list has changed meanwhile; {_AGAIN}")

    def answer(
        self,
        head: Mapping[str, Any],
        title: str,
        rows: Sequence[_Row],
        key: Callable[[_Row], str],
        show: Callable[[_Row], dict[str, Any]],
        *,
        more: str = "",
    ) -> str:
        """The answer with this page.

        Args:
            head: what comes before the list.
            title: of the list.
            rows: all of the list.
            key: what a row is recognised by in the list.
            show: a row as the answer has it.
            more: said of how many rows are left out, where ``rows`` may not be all; empty: they are.
        """
        first = self.begins(rows, key)
        shown = [show(row) for row in rows[first : first + self.limit]]
        room = MOST_BYTES - _LEFT - len(write({**head, title: []}).encode())
        del shown[max(1, fitting(shown, room)) :]
        document = {**head, title: shown}
        after = first + len(shown)
        if left := len(rows) - after:
            cursor = Cursor(after, _short(key(rows[after - 1])), self.call, self.start, self.end)
            document["left_out"] = f"{more} {left}" if more else left
            document["next_cursor"] = str(cursor)
        return write(document)


def _short(text: str) -> str:
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()[:8]
