"""The part of a query that the tables ``series``, ``hour`` and ``found`` can tell, as SQL."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

from causal_otel.collector.attributes import KINDS
from causal_otel.collector.store.limits import within_range
from causal_otel.collector.systems import OTHERS

if TYPE_CHECKING:
    from collections.abc import Iterable

    from causal_otel.collector.query import Query

__all__ = ["TableConditions"]


class TableConditions:
    """The conditions of a query on the tables ``series``, ``hour`` and ``found``.

    Args:
        query: all of its conditions that these tables know are taken.

    Attributes:
        values: by the names of the parameters.
    """

    def __init__(self, query: Query) -> None:
        self.values: dict[str, str | int] = {}
        self._series: list[str] = []
        self._times: list[str] = []
        self._errors = query.errors
        if query.service is not None:
            self._add(self._series, "s.service = :service", service=query.service)
        if query.operation is not None:
            self._add(self._series, "s.operation = :operation", operation=query.operation)
        if query.kind is not None:
            self.require_kind(query.kind)
        if query.system is not None:
            # A day file may have run out of systems that it tells apart.
            self._add(self._series, "s.system IN (:system, :others)", system=query.system, others=OTHERS)
        if query.shortest is not None:
            self._add(self._times, "{}.longest >= :shortest", shortest=within_range(query.shortest))
        if query.longest is not None:
            self._add(self._times, "{}.shortest <= :longest", longest=within_range(query.longest))

    def require_one_of(self, series: Iterable[int]) -> None:
        """Only spans of these series, by their ids."""
        self._add(self._series, "s.id IN (SELECT value FROM json_each(:ids))", ids=json.dumps(list(series)))

    def require_kind(self, kind: str) -> None:
        """Only spans of a kind, one that there is."""
        self._series.append(f"s.kind = {KINDS.index(kind)}")

    def require_errors(self) -> None:
        """Only spans whose status is an error."""
        self._errors = True

    def _add(self, to: list[str], condition: str, **value: str | int) -> None:
        to.append(condition)
        self.values.update(value)

    @property
    def series(self) -> str:
        """The conditions on the series, named ``s``; empty if there are none."""
        return " AND ".join(self._series)

    @property
    def on_rows(self) -> bool:
        """Whether there are conditions that some chunks of a series satisfy and others do not."""
        return self._errors or bool(self._times)

    def sql(self, *tables: str) -> str:
        """The conditions on the series, named ``s``, and on rows of ``hour`` or ``found`` by their names."""
        rows = [condition.format(table) for table in tables for condition in self._times]
        if self._errors:
            rows += [f"{table}.errors > 0" for table in tables]
        return " AND ".join(["TRUE", *self._series, *rows])
