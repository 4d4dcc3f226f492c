"""What the patch of a library tells the patch of the driver below it, such as SQLAlchemy's that of asyncpg.

The two make one span of a statement: the driver's. What only the library knows goes down in a context variable, which
the driver's patch reads once a call.
"""

from __future__ import annotations

import functools
from contextvars import ContextVar

from causal_otel.instrument.operation import Operation
from causal_otel.names import CAUSAL_ORM_ORIGIN, DB_NAMESPACE, DB_OPERATION_NAME, DB_QUERY_SUMMARY, DB_QUERY_TEXT

__all__ = ["PLUMBING", "orm_origin", "with_origin"]

PLUMBING = "plumbing"
"""The origin of a statement that is the library's own doing, such as a savepoint: plumbing, as those of the driver. Of
a transaction that is rolled back the library tells by itself, because it alone knows who wanted it."""

orm_origin: ContextVar[str | None] = ContextVar("causal_otel_orm_origin", default=None)
"""What made the library issue the statement under way: see ``causal.orm.origin``; or :data:`PLUMBING`. None: nobody
knows."""

_STATEMENT = (DB_QUERY_SUMMARY, DB_QUERY_TEXT)


@functools.lru_cache(1024)
def with_origin(operation: Operation, origin: str) -> Operation:
    """The same operation, of a statement with that origin. Its spans share their attributes, as those of others do."""
    if operation.plumbing:
        return operation
    if origin == PLUMBING:
        attributes = {key: value for key, value in operation.attributes.items() if key not in _STATEMENT}
        attributes[DB_OPERATION_NAME] = operation.name
        name = f"{operation.name} {attributes.get(DB_NAMESPACE, '')}".rstrip()
        return Operation(name, attributes, operation.own, operation.kind, plumbing=True)
    return Operation(
        operation.name,
        {**operation.attributes, CAUSAL_ORM_ORIGIN: origin},
        operation.own,
        operation.kind,
        operation.plumbing,
        operation.background,
        operation.measured,
    )
