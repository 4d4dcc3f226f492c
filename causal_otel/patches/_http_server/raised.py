"""What an application has raised, as the span of its request tells it: the reason of a failure, once."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Any

from opentelemetry.trace import SpanKind

from causal_otel.instrument.errors import error_name
from causal_otel.instrument.operation import Operation, Running

if TYPE_CHECKING:
    from opentelemetry.context import Context
    from opentelemetry.trace import Span

    from causal_otel.instrument.tracing import Tracing

__all__ = ["alone", "failure_of", "handled_now", "reason_of", "record_late", "record_raised", "stems_from"]

_OF_HTTP_EXCEPTIONS = ("starlette.exceptions", "werkzeug.exceptions")
_LEAVES = 8
"""How many exceptions of a group are recorded."""


def alone(error: Exception) -> Exception:
    """The exception in a group of one, such as the task group around a streaming response makes of it."""
    while isinstance(error, ExceptionGroup) and len(error.exceptions) == 1:
        error = error.exceptions[0]
    return error


def reason_of(error: Exception) -> Exception:
    """What is recorded of ``error``, which was answered with 5xx.

    An ``HTTPException`` only says the status. What it was raised from, or while handling, is why.
    """
    error = alone(error)
    if not _is_http_exception(error):
        return error
    before = error.__cause__ or (None if error.__suppress_context__ else error.__context__)
    return alone(before) if isinstance(before, Exception) else error


def handled_now(outer: BaseException | None) -> Exception | None:
    """The exception that is being handled, by whoever called this, if it is not ``outer``."""
    error = sys.exception()
    return error if isinstance(error, Exception) and error is not outer else None


def failure_of(error: Exception) -> tuple[str | None, str | None]:
    """The ``error.type`` and the description of the status; None and None: the response's status tells as much."""
    return (None, None) if _is_http_exception(error) else (error_name(error), type(error).__name__)


def _is_http_exception(error: BaseException) -> bool:
    """Whether it is Starlette's or Werkzeug's, or FastAPI's or Flask's, which are subclasses of those."""
    return any(
        kind.__name__ == "HTTPException" and kind.__module__ in _OF_HTTP_EXCEPTIONS for kind in type(error).__mro__
    )


def record_raised(tracing: Tracing[Any], span: Span, error: Exception) -> None:
    """Add an ``exception`` event to ``span``; of a group, one for each exception in it, the first eight."""
    for leaf in _leaves(error):
        tracing.record_exception(span, leaf)


def record_late(tracing: Tracing[Any], where: Context, error: Exception, since: int | None = None) -> None:
    """Record an exception raised after the response. It is no request, so no observer is told of it.

    Args:
        tracing: the patch's handle.
        where: the context in which the request's span is current.
        error: what was raised.
        since: when the response was over, as Unix time in nanoseconds; None: now.
    """
    operation = Operation("after response", {}, kind=SpanKind.INTERNAL)
    span = tracing.start(operation.name, operation.kind, operation.attributes, where, since)
    record_raised(tracing, span, error)
    running = Running(operation, span)
    running.fail(error_name(error), type(error).__name__)
    running.end()


def _leaves(error: Exception) -> list[Exception]:
    found: list[Exception] = []
    left = [error]
    while left and len(found) < _LEAVES:
        first = left.pop(0)
        if isinstance(first, ExceptionGroup):
            left[:0] = first.exceptions
        else:
            found.append(first)
    return found


def stems_from(error: BaseException, origin: BaseException | None) -> bool:
    """Whether ``error`` is ``origin``, or was raised because of it; a group of one is the exception in it."""
    origin = _unwrapped(origin)
    seen: set[int] = set()
    found: BaseException | None = error
    while found is not None and id(found) not in seen:
        if _unwrapped(found) is origin:
            return True
        seen.add(id(found))
        found = found.__cause__ or found.__context__
    return False


def _unwrapped(error: BaseException | None) -> BaseException | None:
    return alone(error) if isinstance(error, Exception) else error
