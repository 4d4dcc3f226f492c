"""What is recorded of a GraphQL operation: its type, its name, and how it failed."""

from __future__ import annotations

import re
from typing import Any, NamedTuple

from causal_otel._internal import faults
from causal_otel.instrument.errors import error_name
from causal_otel.names import GRAPHQL_OPERATION_NAME, GRAPHQL_OPERATION_TYPE

__all__ = ["Described", "Failure", "describe", "failure_of"]

_NAME = re.compile(r"[_A-Za-z][_0-9A-Za-z]{0,127}")
_NAMES = 200  # different ones that are in names of spans; clients may invent any number
_EVENTS = 5  # exceptions that are recorded of one operation

_named: set[str] = set()


class Failure(NamedTuple):
    """How an operation has failed."""

    error_type: str
    description: str
    exceptions: tuple[BaseException, ...]
    """What resolvers have raised."""
    refused: bool = False
    """Whether there is no result: Strawberry has raised an error of its own, because of what was sent."""


class Described(NamedTuple):
    """What is known of an operation when it is over."""

    name: str
    """For a span."""
    attributes: dict[str, str]
    failure: Failure | None


def describe(context: Any, raised: BaseException | None = None) -> Described:
    """What Strawberry's ``ExecutionContext`` tells.

    Args:
        context: of an operation that is over.
        raised: what has left it, where there is no result.
    """
    kind = name = None
    try:
        name = context.operation_name
        kind = str(context.operation_type.value)
    except RuntimeError:  # there is no such operation, or no document
        name = None
    except Exception:
        faults.report("strawberry: operation")
    attributes = {} if kind is None else {GRAPHQL_OPERATION_TYPE: kind}
    text = kind or "GraphQL Operation"
    if isinstance(name, str) and _NAME.fullmatch(name):
        attributes[GRAPHQL_OPERATION_NAME] = name
        if name in _named or len(_named) < _NAMES:
            _named.add(name)
            text = f"{text} {name}"
    errors = context.pre_execution_errors or getattr(context.result, "errors", None) or ()
    failure = failure_of((*errors, raised) if isinstance(raised, Exception) else errors)
    if failure is not None and raised is not None and type(raised).__module__.startswith("strawberry."):
        failure = failure._replace(refused=True, exceptions=())
    return Described(text, attributes, failure)


def failure_of(errors: Any) -> Failure | None:
    """How an operation with these errors has failed; None: it has none."""
    errors = list(errors or ())
    if not errors:
        return None
    origins = [getattr(error, "original_error", None) or error for error in errors]
    return Failure(
        error_name(origins[0]),
        type(origins[0]).__name__,
        tuple(origin for error, origin in zip(errors, origins, strict=True) if _is_raised(error, origin))[:_EVENTS],
    )


def _is_raised(error: Any, origin: BaseException) -> bool:
    """Whether an error is what a resolver or an extension has raised, and does not tell of a document or variables."""
    if getattr(error, "path", None) is not None:  # of the result
        return True
    return not (getattr(error, "nodes", None) or type(origin).__module__.startswith("graphql."))
