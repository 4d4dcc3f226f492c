"""The words that searches of a store are made of: what is offered while somebody types one."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, NamedTuple

from causal_otel.collector.attributes import plain, tags, text

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from opentelemetry.proto.trace.v1.trace_pb2 import TracesData

__all__ = ["SeriesCount", "TagCounts", "Vocabulary"]

_LONGEST = 120
_MOST_KEYS, _MOST_VALUES = 1000, 200


class SeriesCount(NamedTuple):
    """An operation of a service, what it talks to, and how many spans it has."""

    service: str
    operation: str
    system: str
    spans: int


@dataclass(frozen=True, slots=True)
class Vocabulary:
    """What there is to ask for.

    Attributes:
        series: those of the last days that have spans, those with the most first.
        values: the keys of tags, the most frequent first, and the values of each, likewise; of a sample.
    """

    series: tuple[SeriesCount, ...] = ()
    values: Mapping[str, tuple[str, ...]] = field(default_factory=dict)


class TagCounts:
    """Counts tags. Long values are not counted, nor are more than some thousand keys and values."""

    def __init__(self) -> None:
        self._values: dict[str, Counter[str]] = {}

    def add(self, pairs: Iterable[tuple[str, str]]) -> None:
        """Count some, by their keys and values."""
        for key, value in pairs:
            found = self._values.get(key)
            if found is None:
                if len(self._values) >= _MOST_KEYS or len(key) > _LONGEST:
                    continue
                found = self._values[key] = Counter()
            if len(value) <= _LONGEST and (value in found or len(found) < _MOST_VALUES):
                found[value] += 1

    def add_trace(self, trace: TracesData) -> None:
        """Count those of all spans of a trace, and of its resources."""
        for group in trace.resource_spans:
            self.add((pair.key, text(plain(pair.value))) for pair in group.resource.attributes)
            for scoped in group.scope_spans:
                for span in scoped.spans:
                    self.add(tags(span, scoped.scope))

    def values(self) -> dict[str, tuple[str, ...]]:
        """The values of every key, the most frequent first, in alphabetical order where they are equally frequent."""
        keys = sorted(self._values, key=lambda key: (-self._values[key].total(), key))
        return {key: _ordered(found) for key in keys if (found := self._values[key])}


def _ordered(found: Counter[str]) -> tuple[str, ...]:
    return tuple(sorted(found, key=lambda each: (-found[each], each)))
