"""The search form: what an address says, as a query; and a form as an address."""

from __future__ import annotations

import re
from dataclasses import asdict, dataclass, fields, replace
from typing import TYPE_CHECKING, TypeVar
from urllib.parse import urlencode

from causal_otel.collector import query_line, units
from causal_otel.collector.attributes import KINDS
from causal_otel.collector.log_words import read_words
from causal_otel.collector.query import Cursor, Query

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

__all__ = ["LIMIT", "LOOKBACKS", "NO_SYSTEM", "SORTS", "FormError", "Place", "SearchForm", "lookback"]

LIMIT = 500
"""Traces that one page shows at most."""

LOOKBACKS: dict[str, tuple[str, int]] = {
    name: (label, seconds * 10**9)
    for name, label, seconds in (
        ("5m", "Last 5 minutes", 300),
        ("15m", "Last 15 minutes", 900),
        ("1h", "Last hour", 3600),
        ("6h", "Last 6 hours", 6 * 3600),
        ("24h", "Last 24 hours", 24 * 3600),
        ("2d", "Last 2 days", 2 * 86400),
        ("7d", "Last 7 days", 7 * 86400),
        ("30d", "Last 30 days", 30 * 86400),
    )
}
"""What an address calls each look-back, what the page calls it, and its nanoseconds; ascending."""

NO_SYSTEM = "none"
"""The system of spans that have none, as the form has it."""

SORTS: dict[str, str] = {
    "newest": "Newest",
    "oldest": "Oldest",
    "longest": "Longest",
    "spans": "Most spans",
    "errors": "Most errors",
}
"""The orders of the traces found: what an address and what the page calls each."""

_Value = TypeVar("_Value")
_PLACE = re.compile(r"([0-9]{1,9})-([0-9]{1,20})-([0-9]{1,20})-([0-9a-f]{32})", re.ASCII)


class FormError(ValueError):
    """Fields cannot be understood; ``fields`` says for each what it takes."""

    def __init__(self, fields: Mapping[str, str]) -> None:
        super().__init__("; ".join(f"{name}: {message}" for name, message in fields.items()))
        self.fields = fields


@dataclass(frozen=True, slots=True)
class Place:
    """Where a page begins or ends in the list of all traces found, as an address has it.

    Attributes:
        shown: how many traces are before it; only told, as more may have arrived.
        cursor: the trace that it is after or before.
    """

    shown: int
    cursor: Cursor

    @classmethod
    def read(cls, text: str) -> Place | None:
        """The place that an address names; None: it names none."""
        match = _PLACE.fullmatch(text)
        if match is None:
            return None
        shown, size, start, trace_id = match.groups()
        return cls(int(shown), Cursor(int(size), int(start), bytes.fromhex(trace_id)))

    def __str__(self) -> str:
        return f"{self.shown}-{self.cursor.size}-{self.cursor.start}-{self.cursor.trace_id.hex()}"


@dataclass(frozen=True, slots=True)
class SearchForm:
    """The search form's fields as they were typed; their names are the address's parameters.

    Attributes:
        q: the query line, as :func:`~causal_otel.collector.query_line.parse` reads it.
        service: as in :class:`~causal_otel.collector.query.Query`, like the next two; empty: any.
        operation: as :func:`~causal_otel.collector.query_line.operation` reads it.
        kind: the span's kind.
        system: what the span talks to; :data:`NO_SYSTEM`: none that it tells of.
        tags: the same language as ``q``; all of both has to hold.
        lookback: a key of :data:`LOOKBACKS`; ``start`` and ``end`` win over it.
        start: as :func:`~causal_otel.collector.units.moment` reads it; empty: as far back as there are traces.
        end: likewise; empty: now.
        shortest: a duration such as ``20ms``; empty: any.
        longest: likewise.
        errors: ``1`` for only spans that failed.
        logs: words, as :func:`~causal_otel.collector.log_words.read_words` reads them; empty: any trace.
        limit: how many traces at most.
        sort: a key of :data:`SORTS`.
        after: a :class:`Place`: the page begins after it; empty: with the first trace.
        before: likewise: the page ends before it.
        outer: the time and the durations of the search that this one was narrowed down from, as an address has them.
        beside: the parameters of another search, with whose traces those of this one are to be compared; empty: none.
    """

    q: str = ""
    service: str = ""
    operation: str = ""
    kind: str = ""
    system: str = ""
    tags: str = ""
    lookback: str = "1h"
    start: str = ""
    end: str = ""
    shortest: str = ""
    longest: str = ""
    errors: str = ""
    logs: str = ""
    limit: str = "20"
    sort: str = "newest"
    after: str = ""
    before: str = ""
    outer: str = ""
    beside: str = ""

    @classmethod
    def read(cls, parameters: Mapping[str, str]) -> SearchForm:
        """The form that an address's parameters describe; what it does not name or leaves empty is as by default."""
        given = {field.name: parameters.get(field.name, "") for field in fields(cls)}
        for name in given.keys() - {"service", "operation", "system"}:  # names may begin or end with a space
            given[name] = given[name].strip()
        if given["sort"] not in SORTS:
            given["sort"] = ""
        for name in ("after", "before"):
            if Place.read(given[name]) is None:
                given[name] = ""
        return cls(**{name: value for name, value in given.items() if value})

    def address(self, **changes: str) -> str:
        """The search page's address with this form, after ``changes``; on the first page, if these do not say else."""
        changed = asdict(replace(self, **{"after": "", "before": "", **changes}))
        parameters = {field.name: changed[field.name] for field in fields(self) if changed[field.name] != field.default}
        return f"/?{urlencode(parameters)}" if parameters else "/"

    def query(self, now: int) -> Query:
        """What the form asks for.

        Args:
            now: Unix time in nanoseconds.

        Raises:
            FormError: A field cannot be understood.
        """
        mistakes: dict[str, str] = {}

        def read(name: str, reader: Callable[[str], _Value]) -> _Value | None:
            text = getattr(self, name)
            try:
                return reader(text) if text else None
            except ValueError as error:
                mistakes[name] = str(error)
                return None

        start, end = read("start", units.moment), read("end", units.moment)
        if start is None and end is None:
            back = read("lookback", lookback)
            start = None if back is None else now - back
        shortest, longest = read("shortest", units.parse_duration), read("longest", units.parse_duration)
        wanted = query_line.merged(read("q", query_line.parse), read("tags", query_line.parse))
        operation, like = read("operation", query_line.operation) or (None, None)
        logs = read("logs", read_words)
        limit, kind = read("limit", _limit), read("kind", _kind)
        if start is not None and end is not None and end < start:
            mistakes["end"] = "the end is before the start"
        if shortest is not None and longest is not None and longest < shortest:
            mistakes["longest"] = "the longest duration is below the shortest"
        if mistakes:
            raise FormError(mistakes)
        after, before = Place.read(self.after), Place.read(self.before)
        return Query(
            start=start or 0,
            end=now if end is None else end,
            service=self.service or None,
            operation=operation,
            operation_like=like,
            kind=kind,
            system="" if self.system == NO_SYSTEM else self.system or None,
            where=wanted.where,
            shortest=shortest,
            longest=longest,
            errors=self.errors in ("1", "true"),
            logs=tuple(sorted({*wanted.logs, *(logs or ())})),
            limit=limit or 0,
            sort=self.sort,
            after=None if after is None else after.cursor,
            before=None if before is None or after is not None else before.cursor,
        )


def lookback(text: str) -> int:
    """A look-back's nanoseconds.

    Raises:
        ValueError: It is not one of :data:`LOOKBACKS`.
    """
    if text == "custom":
        raise ValueError("give a start, an end or both")
    if text not in LOOKBACKS:
        raise ValueError(f"the look-back is one of {', '.join(LOOKBACKS)}")
    return LOOKBACKS[text][1]


def _limit(text: str) -> int:
    if not (text.isascii() and text.isdecimal() and len(text) < 10 and 1 <= int(text) <= LIMIT):
        raise ValueError(f"the limit is a whole number from 1 to {LIMIT}")
    return int(text)


def _kind(text: str) -> str:
    if text not in KINDS:
        raise ValueError(f"the kind is one of {', '.join(KINDS)}")
    return text
