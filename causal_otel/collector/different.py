"""What is different in a part of what a search finds: values whose share there is most unlike their share in the rest.

Both are sampled, a span of each trace, evenly over the time. A value is of an attribute (of the span, of its resource,
of its events) or of a field; of an attribute with many numbers it is "this or more".
"""

from __future__ import annotations

import math
import time
from collections import Counter
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, NamedTuple

from causal_otel.collector.attributes import plain, scope_tags, service_name, text
from causal_otel.collector.conditions import number
from causal_otel.collector.expressions import Compare, Field
from causal_otel.collector.heat import with_roots
from causal_otel.collector.matching import kind_name as kind_of
from causal_otel.collector.matching import matched, span_duration, status_name
from causal_otel.collector.systems import system_of
from causal_otel.names import OTEL_STATUS_DESCRIPTION

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence

    from causal_otel.collector.expressions import Expression
    from causal_otel.collector.matching import Matched
    from causal_otel.collector.query import Query, TraceReader

__all__ = ["SAMPLED", "Difference", "Differences", "differences", "unlike"]

SAMPLED = 500
"""Spans of the part, and of the rest, at most."""
_SLICES = 10
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


@dataclass
class _Group:
    spans: list[dict[Key, set[str]]] = field(default_factory=list)
    traces: set[bytes] = field(default_factory=set)


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
    inside, outside = _Group(), _Group()
    complete = True
    # In turns, so that both are sampled when the time is over; slices that are far from each other first.
    for one, other in zip(_slices(part), _slices(whole), strict=True):
        complete &= _sample(reader, one, inside, end, None)
        complete &= _sample(reader, other, outside, end, part)
    rows = unlike(inside.spans, outside.spans)
    return Differences(tuple(rows), len(inside.spans), len(outside.spans), complete)


def _slices(query: Query) -> Iterator[Query]:
    length = query.end - query.start + 1
    for at in (0, 5, 2, 7, 4, 9, 1, 6, 3, 8):
        start = query.start + length * at // _SLICES
        until = query.start + length * (at + 1) // _SLICES - 1
        yield replace(
            query, start=start, end=max(start, until), limit=SAMPLED // _SLICES, sort="newest", after=None, before=None
        )


def _sample(reader: TraceReader, query: Query, group: _Group, end: float, without: Query | None) -> bool:
    """Add the spans that a query finds; returns whether there was time for it.

    Args:
        reader: where to search.
        query: what for.
        group: gets the spans.
        end: when to stop, on the monotonic clock.
        without: not those in this part.
    """
    if (left := end - time.monotonic()) <= 0:
        return False
    if without is not None:
        # Some of what is found is in the part.
        query = replace(query, limit=query.limit * 2)
    found = reader.search(query, seconds=left / 2)
    wanted = [each for each in found.trace_ids if each not in group.traces]
    most = len(group.spans) + SAMPLED // _SLICES
    for at in range(0, len(wanted), _AT_ONCE):
        if time.monotonic() >= end:
            return False
        for trace in reader.traces(wanted[at : at + _AT_ONCE]):
            match = matched(trace, query)
            if match is None or len(group.spans) >= most or (without is not None and _is_in(without, match)):
                continue
            group.traces.add(match.span.trace_id)
            group.spans.append(_values(match))
    return found.complete


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
            found.setdefault(key, Counter()).update(values)
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
    both = sorted(texts.items(), key=lambda each: each[1])
    limits = dict.fromkeys(both[len(both) * part // 20] for part in range(1, 20))
    rows = []
    for value, limit in limits:
        inside, outside = (
            sum(each >= limit for each in numbers) / len(group) for numbers, group in zip(largest, groups, strict=True)
        )
        rows.append(Difference(key.name, ">=", value, inside, outside, _condition(key, ">=", value)))
    return sorted(rows, key=_order)[:1]


def _is_sure(each: Difference, inside: int, outside: int) -> bool:
    together = (each.inside * inside + each.outside * outside) / (inside + outside)
    error = math.sqrt(together * (1 - together) * (1 / inside + 1 / outside))
    return abs(each.difference) >= max(_LEAST, _SURE * error)


def _condition(key: Key, operator: str, value: str) -> Expression:
    return Field(key.name, operator, value) if key.is_field else Compare(key.name, operator, value)
