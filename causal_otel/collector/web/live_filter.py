"""Which traces the live tail shows, and in which order: what its address says."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING
from urllib.parse import urlencode

from causal_otel.collector.matching import matching_span
from causal_otel.collector.web.forms import FormError, SearchForm

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from opentelemetry.proto.trace.v1.trace_pb2 import TracesData

    from causal_otel.collector.query import Query, Summary

__all__ = ["FormError", "LiveFilter", "ordered", "read", "wanted"]

_FIELDS = ("service", "operation", "shortest", "errors")
"""The fields of the search form that the live tail has, too."""

_EVER = 1 << 64
"""A Unix time in nanoseconds that no span starts after."""


@dataclass(frozen=True, slots=True)
class LiveFilter:
    """What is shown. Tabs that show the same are equal, and are served together.

    Attributes:
        form: the conditions as they were typed.
        query: what they mean.
        worst_first: those with errors first, then the slowest, instead of those that were received last.
    """

    form: SearchForm
    query: Query
    worst_first: bool

    @property
    def parameters(self) -> str:
        """It as the parameters of an address."""
        given = {name: getattr(self.form, name) for name in _FIELDS} | {"first": "worst" if self.worst_first else ""}
        return urlencode({name: value for name, value in given.items() if value})

    @property
    def takes_all(self) -> bool:
        """Whether there are no conditions."""
        return not any(getattr(self.form, name) for name in _FIELDS)

    @property
    def looks_inside(self) -> bool:
        """Whether it takes a look into the traces to tell which ones are wanted, and which ones are first."""
        simple = all(not getattr(self.form, name) for name in _FIELDS if name not in ("service", "errors"))
        # Both are asked of one span, which the store does not tell.
        return self.worst_first or not simple or bool(self.form.service and self.form.errors)

    def holds(self, trace: TracesData) -> bool:
        """Whether a span of a trace satisfies all of the conditions."""
        return matching_span(trace, self.query) is not None


def read(parameters: Mapping[str, str]) -> tuple[SearchForm, bool]:
    """The conditions that an address has, and whether the worst are to be first."""
    form = SearchForm.read({name: parameters.get(name, "") for name in _FIELDS})
    return form, parameters.get("first") == "worst"


def wanted(parameters: Mapping[str, str]) -> LiveFilter:
    """What an address asks for.

    Raises:
        FormError: A field cannot be understood.
    """
    form, worst_first = read(parameters)
    # Whatever the clock of its spans says, a trace was received now.
    return LiveFilter(form, replace(form.query(_EVER), start=0, end=_EVER), worst_first)


def ordered(found: Iterable[Summary], wanted: LiveFilter) -> list[Summary]:
    """The traces in the order in which they are shown; those that were received last come first in ``found``."""
    if not wanted.worst_first:
        return list(found)
    return sorted(found, key=lambda trace: (not trace.errors, -trace.duration))
