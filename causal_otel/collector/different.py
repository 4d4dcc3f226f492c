"""What is different in a part of what a search finds: values whose share there is most unlike their share in the rest.

Both are sampled, a span of each trace, evenly over the time. A value is of an attribute (of the span, of its resource,
of its events) or of a field; of an attribute with many numbers it is "this or more".
"""

from __future__ import annotations

import math
import time
from collections import Counter
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, NamedTuple

from causal_otel.collector.attributes import kind_name as kind_of
from causal_otel.collector.attributes import plain, scope_tags, service_name, text
from causal_otel.collector.conditions import number
from causal_otel.collector.expressions import Compare, Field
from causal_otel.collector.heat import with_roots
from causal_otel.collector.matching import matched, span_duration, status_name
from causal_otel.collector.systems import system_of
from causal_otel.names import OTEL_STATUS_DESCRIPTION

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from opentelemetry.proto.trace.v1.trace_pb2 import TracesData

    from causal_otel.collector.expressions import Expression
    from causal_otel.collector.matching import Matched
    from causal_otel.collector.query import Query, TraceReader

__all__ = ["SAMPLED", "Difference", "Differences", "differences", "unlike"]

SAMPLED = 500
"""Spans of the part, and of the rest, at most."""
_SLICES = 10
_ORDER = (0, 5, 2, 7, 4, 9, 1, 6, 3, 8)
"""Of the slices: those after each other are far from each other."""
_OF_A_SLICE = SAMPLED // _SLICES
_BESIDE = 10
"""Traces that may have been found in another slice already."""
_AT_ONCE = 25
"""Traces that are read between two looks at the clock."""
_MOST = 40
_MOST_OF_A_KEY = 4
_LEAST = 0.05
"""A smaller difference of the shares is not told."""
_SURE = 2.5
"""Nor one that is less than so many standard errors: chance alone makes such ones."""
_NEARLY_UNIQUE = 0.6
"""A key with so many values, as a share of the spans that have it, is an id."""
_FEW = 12
"""Up to so many values are told apart, though they may be numbers."""
_LONGEST = 200
"""Characters of a value."""


class Key(NamedTuple):
    """What a value is of: an attribute, or a field as in :data:`~causal_otel.collector.expressions.FIELDS`."""

    name: str
    is_field: bool = False


@dataclass(frozen=True, slots=True)
class Difference:
    """A value whose share is unlike.

    Attributes:
        key: what it is of.
        operator: ``=``, or ``>=`` of numbers.
        value: as a search compares it.
        inside: the share of those in the part that have it.
        outside: the share of the rest.
        condition: what a search asks for to find them.
    """

    key: str
    operator: str
    value: str
    inside: float
    outside: float
    condition: Expression

    @property
    def difference(self) -> float:
        """How much larger the share in the part is."""
        return self.inside - self.outside


@dataclass(frozen=True, slots=True)
class Differences:
    """What was found.

    Attributes:
        rows: the greatest difference first.
        inside: how many spans of the part were looked at.
        outside: how many of the rest.
        complete: False if the time was over before so many were read as there may be, or as are enough.
    """

    rows: tuple[Difference, ...]
    inside: int
    outside: int
    complete: bool


def differences(reader: TraceReader, part: Query, whole: Query, *, seconds: float = 1.0) -> Differences:
    """Compare a part of what a search finds with the rest.

    Args:
        reader: where to search.
        part: the same search within a shorter time, or within other limits of the duration.
        whole: the search.
        seconds: about how long it may take.
    """
    end = time.monotonic() + seconds
    whole, _ = with_roots(whole)
    part = replace(part, where=whole.where)
    inside, outside = _Sample(reader, part, None, end), _Sample(reader, whole, part, end)
    # In turns, so that both are sampled when the time is over.
    for at in _ORDER:
        inside.read(at, _OF_A_SLICE)
        outside.read(at, _OF_A_SLICE)
    # Those slices that have more make up for those that have little.
    for at in _ORDER:
        inside.read(at, SAMPLED)
        outside.read(at, SAMPLED)
    rows = unlike(inside.spans, outside.spans)
    return Differences(tuple(rows), len(inside.spans), len(outside.spans), inside.complete and outside.complete)


class _Sample:
    """Spans that a query finds, one of each trace, of ten slices of its time.

    Args:
        reader: where to search.
        query: what for.
        without: not those in this part.
        end: when to stop, on the monotonic clock.

    Attributes:
        spans: what each has.
        complete: whether there was time for all.
    """

    def __init__(self, reader: TraceReader, query: Query, without: Query | None, end: float) -> None:
        self.spans: list[dict[Key, set[str]]] = []
        self.complete = True
        self._reader = reader
        self._query = replace(query, sort="newest", after=None, before=None)
        self._without = without
        self._end = end
        self._seen: set[bytes] = set()
        self._exhausted: set[int] = set()
        self._taken: Counter[int] = Counter()
        """Traces that were looked at, by the slice."""

    def read(self, slice: int, count: int) -> None:
        """Add spans of a slice, so many at the most."""
        count = min(count, SAMPLED - len(self.spans))
        if count <= 0 or slice in self._exhausted:
            return
        if (left := self._end - time.monotonic()) <= 0:
            self.complete = False
            return
        query = self._slice(slice)
        # Some of what is found was found before, in this slice or beside it, or is in the part.
        most = count + self._taken[slice] + (_BESIDE if self._without is None else count)
        found = self._reader.search(replace(query, limit=most), seconds=left / 2)
        self.complete &= found.complete
        if len(found.trace_ids) < most:
            self._exhausted.add(slice)
        wanted = [each for each in found.trace_ids if each not in self._seen]
        enough = len(self.spans) + count
        for at in range(0, len(wanted), _AT_ONCE):
            if len(self.spans) >= enough:
                self._exhausted.discard(slice)
                return
            if time.monotonic() >= self._end:
                self.complete = False
                return
            for trace in self._reader.traces(wanted[at : at + _AT_ONCE], within=(query.start, query.end)):
                if len(self.spans) < enough:
                    self._add(trace, query)
                    self._taken[slice] += 1
                else:
                    self._exhausted.discard(slice)

    def _add(self, trace: TracesData, query: Query) -> None:
        match = matched(trace, query)
        if match is None:
            return
        self._seen.add(match.span.trace_id)
        if self._without is None or not _is_in(self._without, match):
            self.spans.append(_values(match))

    def _slice(self, number: int) -> Query:
        start, length = self._query.start, self._query.end - self._query.start + 1
        last = start + length * (number + 1) // _SLICES - 1
        first = start + length * number // _SLICES
        return replace(self._query, start=first, end=max(first, last))


def _is_in(part: Query, match: Matched) -> bool:
    took = span_duration(match.span)
    return (
        part.start <= match.span.start_time_unix_nano <= part.end
        and (part.shortest is None or took >= part.shortest)
        and (part.longest is None or took <= part.longest)
    )


def _values(match: Matched) -> dict[Key, set[str]]:
    """What a span has: all of it but its times and ids."""
    span = match.span
    found: dict[Key, set[str]] = {
        Key("service", True): {service_name(match.resource)},
        Key("operation", True): {span.name},
        Key("kind", True): {kind_of(span)},
        Key("system", True): {system_of(span)},
        Key("status", True): {status_name(span)},
    }
    pairs = [(pair.key, pair.value) for each in (span, match.resource, *span.events) for pair in each.attributes]
    for key, value in pairs:
        found.setdefault(Key(key), set()).add(text(plain(value)))
    for event in span.events:
        found.setdefault(Key("event"), set()).add(event.name)
    for key, told in scope_tags(match.scope):
        found.setdefault(Key(key), set()).add(told)
    if span.status.message:
        found[Key(OTEL_STATUS_DESCRIPTION)] = {span.status.message}
    return found


def unlike(inside: Sequence[Mapping[Key, set[str]]], outside: Sequence[Mapping[Key, set[str]]]) -> list[Difference]:
    """The values whose share in one group is most unlike their share in the other, the greatest difference first.

    Args:
        inside: the values of each span of a group.
        outside: those of the other one.
    """
    if not inside or not outside:
        return []
    groups = inside, outside
    counts = [_counted(group) for group in groups]
    having = [Counter(key for each in group for key in each) for group in groups]
    found: list[Difference] = []
    for key in dict.fromkeys((*counts[0], *counts[1])):
        values = [each.get(key, Counter()) for each in counts]
        told = {value for each in values for value in each}
        of_key = having[0][key] + having[1][key]
        if _are_numbers(told):
            rows = _of_numbers(key, groups)
        elif len(told) > max(_FEW, _NEARLY_UNIQUE * of_key):
            continue
        else:
            rows = [
                Difference(key.name, "=", value, *_shares(values, value, groups), _condition(key, "=", value))
                for value in told
                if len(value) <= _LONGEST
            ]
        sure = [each for each in rows if _is_sure(each, len(inside), len(outside))]
        found += sorted(sure, key=_order)[:_MOST_OF_A_KEY]
    return sorted(found, key=_order)[:_MOST]


def _order(each: Difference) -> tuple[float, bool, str, str]:
    # Of equals those that are more frequent inside come first: who looks at a part asks what it has.
    return -abs(each.difference), each.difference < 0, each.key, each.value


def _counted(group: Iterable[Mapping[Key, set[str]]]) -> dict[Key, Counter[str]]:
    found: dict[Key, Counter[str]] = {}
    for each in group:
        for key, values in each.items():
            counter = found.get(key)
            if counter is None:
                counter = found[key] = Counter()
            for value in values:
                counter[value] += 1
    return found


def _shares(
    values: Sequence[Counter[str]], value: str, groups: Sequence[Sequence[Mapping[Key, set[str]]]]
) -> tuple[float, float]:
    inside, outside = (counts[value] / len(group) for counts, group in zip(values, groups, strict=True))
    return inside, outside


def _are_numbers(values: Iterable[str]) -> bool:
    some = list(values)
    return len(some) > _FEW and all(number(each) is not None for each in some)


def _of_numbers(key: Key, groups: Sequence[Sequence[Mapping[Key, set[str]]]]) -> list[Difference]:
    """The limit that tells the groups apart best, if one does: of the quantiles of both together."""
    texts = {
        value: read
        for group in groups
        for each in group
        for value in each.get(key, ())
        if (read := number(value)) is not None
    }
    largest = [sorted(max(texts[value] for value in each[key]) for each in group if each.get(key)) for group in groups]
    both = sorted(texts.values())
    limits = dict.fromkeys(_short(both[len(both) * part // 20]) for part in range(1, 20))
    rows = []
    for limit in limits:
        least = float(limit)
        inside, outside = (
            sum(each >= least for each in numbers) / len(group) for numbers, group in zip(largest, groups, strict=True)
        )
        rows.append(Difference(key.name, ">=", limit, inside, outside, _condition(key, ">=", limit)))
    return sorted(rows, key=_order)[:1]


def _short(limit: float) -> str:
    """A limit in three digits, if it is no whole number."""
    return str(limit) if isinstance(limit, int) else f"{limit:.3g}"


def _is_sure(each: Difference, inside: int, outside: int) -> bool:
    together = (each.inside * inside + each.outside * outside) / (inside + outside)
    error = math.sqrt(together * (1 - together) * (1 / inside + 1 / outside))
    return abs(each.difference) >= max(_LEAST, _SURE * error)


def _condition(key: Key, operator: str, value: str) -> Expression:
    return Field(key.name, operator, value) if key.is_field else Compare(key.name, operator, value)
