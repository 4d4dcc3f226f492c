"""What made the ORM issue a statement: ``Order.items``, whose objects are loaded, or the entity, ``select Order``.

It belongs to the compiled statement, which SQLAlchemy caches and whose cache key the path of a relationship is part of.
So it is looked for once a compiled statement. SQLAlchemy's event for this, ``do_orm_execute``, is not used: a listener
makes each ``session.execute()`` prepare its statement twice, which takes longer than a span.
"""

from __future__ import annotations

from typing import Any

from causal_otel._internal import faults
from causal_otel.instrument.above import PLUMBING

__all__ = ["origin_of"]

_KEY = "_causal_otel_origin"


def origin_of(context: Any) -> str | None:
    """The origin of the statement of an ``ExecutionContext``, or ``PLUMBING``; None: it is none of the ORM's."""
    try:
        known = vars(context.compiled)
    except (AttributeError, TypeError):  # a text, which is not compiled
        return None
    try:
        return known[_KEY]  # type: ignore[no-any-return]
    except KeyError:
        pass
    try:
        origin = _find(context.compiled)
    except Exception:
        faults.report("sqlalchemy: the origin of a statement")
        origin = None
    known[_KEY] = origin
    return origin


def _find(compiled: Any) -> str | None:
    if getattr(compiled.statement, "__visit_name__", "").endswith("savepoint"):
        return PLUMBING
    state = getattr(compiled, "compile_state", None)
    if state is None:
        return None
    path = getattr(getattr(state, "current_path", None), "path", ())
    for step in reversed(path):  # mappers and their attributes in turn
        if hasattr(step, "direction"):  # as relationships have
            return f"{step.parent.class_.__name__}.{step.key}"
    statement = compiled.statement
    subject = getattr(statement, "_propagate_attrs", {}).get("plugin_subject")
    entity = getattr(subject, "class_", None)
    if entity is None:
        return None
    kind = "select" if getattr(statement, "is_select", False) else statement.__visit_name__
    return f"{kind} {entity.__name__}"
