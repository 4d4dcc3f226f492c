"""The part of an expression that the tables ``series``, ``hour`` and ``found`` can tell, as SQL.

A row stands for several spans. So what it tells is necessary: a span that satisfies the expression is in a row that
satisfies the SQL, but other spans may be as well. A part that the tables know nothing of is left out, which makes the
SQL true more often. Within ``Or`` a part that is left out makes the whole true.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence

from causal_otel.collector.attributes import KINDS
from causal_otel.collector.conditions import nanoseconds, on_text
from causal_otel.collector.expressions import And, Compare, Expression, Field, Not, Or, conjuncts
from causal_otel.collector.store.days import LARGEST
from causal_otel.collector.store.limits import is_unicode, within_range
from causal_otel.collector.systems import OTHERS
from causal_otel.names import OTEL_STATUS_CODE, SPAN_KIND

__all__ = ["TableConditions", "is_column"]

_COLUMNS = {"service": "s.service", "operation": "s.operation", "system": "s.system"}
_ERRORS = {("error", "true"), (OTEL_STATUS_CODE, "ERROR")}
"""The tags of spans whose status is an error."""
_NEVER = "FALSE"

Names = Callable[[], Sequence[tuple[int, str, str, str]]]
"""Gives the id, the service, the operation and the system of every series."""


def is_column(compared: Compare) -> bool:
    """Whether it asks for a tag that columns tell of, beside attributes of that name."""
    if compared.operator != "=" or compared.wild:
        return False
    tag = compared.key, compared.value
    return tag in _ERRORS or (compared.key == SPAN_KIND and compared.value in KINDS[1:])


class TableConditions:
    """The conditions of an expression on the tables ``series``, ``hour`` and ``found``.

    Args:
        expression: as :func:`~causal_otel.collector.expressions.normalised` makes it; None: nothing is asked.
        names: of the series of the day.
        tells: whether a column tells of a tag for which :func:`is_column` holds: who asks has to look at the chunks
            with an attribute of that name himself.
        system: only series of this system, or of all others; None: of any.

    Attributes:
        values: by the names of the parameters.
    """

    def __init__(
        self,
        expression: Expression | None,
        names: Names,
        tells: Callable[[str, str], bool],
        *,
        system: str | None = None,
    ) -> None:
        self.values: dict[str, str | int] = {}
        self._names = names
        self._tells = tells
        self._known: dict[str | int, str] = {}
        asked = [*conjuncts(expression), *([Field("system", "=", system)] if system is not None else ())]
        self._series = [sql for each in asked if (sql := self._sql(each, rows=False))]
        # Those with a column of a row in them.
        self._rows = [sql for each in asked if (sql := self._sql(each, rows=True)) and "{0}" in sql]

    @property
    def series(self) -> str:
        """The conditions on the series, named ``s``; empty if there are none."""
        return " AND ".join(self._series)

    @property
    def on_rows(self) -> bool:
        """Whether there are conditions that some chunks of a series satisfy and others do not."""
        return bool(self._rows)

    def sql(self, *tables: str) -> str:
        """The conditions on the series, named ``s``, and on rows of ``hour`` or ``found`` by their names."""
        rows = [condition.format(table) for table in tables for condition in self._rows]
        return " AND ".join(["TRUE", *self._series, *rows])

    def _value(self, value: str | int) -> str:
        name = self._known.setdefault(value, f"v{len(self._known)}")
        self.values[name] = value
        return f":{name}"

    def _sql(self, expression: Expression, *, rows: bool) -> str | None:
        """What the tables tell of a part; None: nothing.

        Args:
            expression: which part.
            rows: use the columns that are in rows of ``hour`` and ``found``, too.
        """
        if isinstance(expression, And | Or):
            parts = [self._sql(each, rows=rows) for each in expression.parts]
            known = [each for each in parts if each is not None]
            if isinstance(expression, Or):
                return f"({' OR '.join(known)})" if len(known) == len(parts) else None
            return f"({' AND '.join(known)})" if known else None
        if isinstance(expression, Field):
            return self._of_field(expression, rows=rows)
        if isinstance(expression, Not) and isinstance(expression.part, Field):
            return self._of_pattern(expression.part, negated=True)
        if isinstance(expression, Compare) and is_column(expression):
            return self._of_column(expression, rows=rows)
        return None

    def _of_field(self, compared: Field, *, rows: bool) -> str | None:
        name, operator, value = compared.name, compared.operator, compared.value
        if name == "duration":
            return _of_duration(operator, nanoseconds(value) or 0) if rows else None
        if name == "status":
            return "{0}.errors > 0" if rows and (operator, value) == ("=", "error") else None
        if name == "kind":
            number = KINDS.index(value) if value in KINDS else -1
            return f"s.kind {operator} {number}"
        if name == "root":
            return f"s.root {operator} {int(value == 'true')}"
        if operator in ("like", "~") or compared.wild:
            return self._of_pattern(compared)
        if not is_unicode(value):
            return _NEVER if operator == "=" else None
        if name == "system":
            # A day file may have run out of systems that it tells apart.
            return f"({_COLUMNS[name]} {operator} {self._value(value)} OR s.system = {self._value(OTHERS)})"
        return f"{_COLUMNS[name]} {operator} {self._value(value)}"

    def _of_pattern(self, compared: Field, *, negated: bool = False) -> str | None:
        """The series whose name is like a pattern, by their ids."""
        if compared.name not in _COLUMNS:
            return None
        test = on_text(compared)
        column = tuple(_COLUMNS).index(compared.name)
        others = compared.name == "system"
        found = [
            series
            for series, *names in self._names()
            if test(names[column]) is not negated or (others and names[column] == OTHERS)
        ]
        return f"s.id IN (SELECT value FROM json_each({self._value(json.dumps(found))}))"  # noqa: S608 - our own SQL

    def _of_column(self, compared: Compare, *, rows: bool) -> str | None:
        of_kind = compared.key == SPAN_KIND
        if (not of_kind and not rows) or not self._tells(compared.key, compared.value):
            return None
        return f"s.kind = {KINDS.index(compared.value)}" if of_kind else "{0}.errors > 0"


def _of_duration(operator: str, took: int) -> str | None:
    """What a row's shortest and longest duration say. Those beyond what a table can hold stand there as that."""
    least, most = f"{{0}}.longest >= {within_range(took)}", f"{{0}}.shortest <= {within_range(took)}"
    if operator == "=":
        return f"({least} AND {most})"
    if operator == "!=":
        return f"({{0}}.longest != {took} OR {{0}}.shortest != {took})" if took < LARGEST else None
    if operator == ">":
        return f"{{0}}.longest >= {within_range(took + 1)}"
    if operator == "<":
        return f"{{0}}.shortest <= {within_range(took - 1)}"
    return least if operator == ">=" else most
