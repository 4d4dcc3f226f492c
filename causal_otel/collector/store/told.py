"""Whether the tables of a day alone decide which spans satisfy a query: then no chunk has to be read."""

from __future__ import annotations

from typing import TYPE_CHECKING

from causal_otel.collector.expressions import And, Compare, Expression, Field, Or, conjuncts, leaves, whole
from causal_otel.collector.store.table_conditions import is_column
from causal_otel.collector.systems import OTHERS

if TYPE_CHECKING:
    from causal_otel.collector.store.day_reading import DayReading
    from causal_otel.collector.store.search import DaySearch

__all__ = ["conditions_on_rows", "is_bound", "is_told", "tells_systems_apart"]

_ROW_OPERATORS = {"duration": (">", ">=", "<", "<="), "status": ("=",)}


def is_told(search: DaySearch, db: DayReading, expression: Expression | None) -> bool:
    """Whether a chunk has a match if one of its rows satisfies the conditions on the tables.

    Args:
        search: in the day; it is prepared.
        db: a connection to the day.
        expression: what the query asks for.
    """
    on_rows = conditions_on_rows(expression)
    # A row tells the longest span and whether one has failed: not whether that is the same one.
    if len(on_rows) > 1 or not all(_is_of_row(search, each) for each in on_rows):
        return False
    return tells_systems_apart(search, db)


def tells_systems_apart(search: DaySearch, db: DayReading) -> bool:
    """Whether the day's series tell each system that the query may ask for."""
    if search.query.system == OTHERS:
        return False
    if not any(isinstance(each, Field) and each.name == "system" for each in leaves(whole(search.query))):
        return True
    others = db.execute("SELECT 1 FROM series WHERE system = ? LIMIT 1", (OTHERS,)).fetchone()
    return others is None


def conditions_on_rows(expression: Expression | None) -> list[Expression]:
    """The conditions that some spans of a series may satisfy and others not."""
    return [each for each in conjuncts(expression) if not _is_of_series(each)]


def is_bound(expression: Expression) -> bool:
    """Whether it is a limit of the duration, or asks for spans that failed."""
    if not isinstance(expression, Field) or expression.operator not in _ROW_OPERATORS.get(expression.name, ()):
        return False
    return expression.name != "status" or expression.value == "error"


def _is_of_row(search: DaySearch, expression: Expression) -> bool:
    """Whether a row tells if one of its spans satisfies it."""
    if isinstance(expression, Compare):
        # Columns tell of it, but for the chunks with an attribute of its name.
        return is_column(expression) and search.columns.get((expression.key, expression.value)) is not None
    return is_bound(expression)


def _is_of_series(expression: Expression) -> bool:
    """Whether all spans of a series satisfy it, or none does."""
    if isinstance(expression, And | Or):
        return all(map(_is_of_series, expression.parts))
    return isinstance(expression, Field) and expression.name not in _ROW_OPERATORS
