"""How an operation failed, as its span tells it."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any, NamedTuple

from opentelemetry.trace import StatusCode

from causal_otel._internal import faults
from causal_otel.engine import outcome
from causal_otel.instrument.recorded_failures import note_failure
from causal_otel.names import CAUSAL_ABANDONED, CAUSAL_CANCELLED, ERROR_TYPE

if TYPE_CHECKING:
    from opentelemetry.trace import Span

__all__ = ["BY_CLASS", "Errors", "error_name", "failure_attributes", "mark_failed"]


def error_name(error: BaseException) -> str:
    """The ``error.type`` of an exception without a code of its own: its class, with the module unless built in."""
    kind = type(error)
    return kind.__qualname__ if kind.__module__ == "builtins" else f"{kind.__module__}.{kind.__qualname__}"


def _as_raised(error: BaseException) -> BaseException:
    return error


class Errors(NamedTuple):
    """How the errors of a driver are told.

    Args:
        code: gives the server's code of an error, or the name of its class; None: it is no failure of the operation.
        attribute: where a code from the server is recorded besides ``error.type``.
        inner: gives the error that is told in place of the one that was raised: the driver's, where a library above it
            wraps that.
    """

    code: Callable[[BaseException], str | None] = error_name
    attribute: str | None = None
    inner: Callable[[BaseException], BaseException] = _as_raised


BY_CLASS = Errors()
"""For drivers whose errors have no codes: ``error.type`` is the class."""


def failure_attributes(error: BaseException, errors: Errors = BY_CLASS) -> dict[str, Any] | None:
    """What a span says of an operation that failed with ``error``, was cancelled, or was abandoned.

    None: it is no failure of the operation. The error's message is not recorded: servers repeat the caller's values.

    Args:
        error: what the driver raised, or returned. ``GeneratorExit``: a coroutine was closed, or went, before its end.
        errors: how the driver's errors are told.
    """
    error = errors.inner(error)
    if outcome.is_cancellation(error):
        return {CAUSAL_CANCELLED: True}
    if isinstance(error, GeneratorExit):
        return {CAUSAL_ABANDONED: True}
    if not isinstance(error, Exception):
        return None
    code = errors.code(error)
    if code is None:
        return None
    if errors.attribute is None or code == error_name(error):
        return {ERROR_TYPE: code}
    return {ERROR_TYPE: code, errors.attribute: code}


def mark_failed(span: Span, error: BaseException, errors: Errors = BY_CLASS) -> dict[str, Any] | None:
    """Tell ``span``, still open, what :func:`failure_attributes` say, and that it is an ERROR if so. Never raises.

    Returns:
        Those attributes; None: it is no failure of the operation.
    """
    try:
        attributes = failure_attributes(error, errors)
        if attributes is None:
            return None
        span.set_attributes(attributes)
        error_type: str | None = attributes.get(ERROR_TYPE)
        if error_type is not None:
            span.set_status(StatusCode.ERROR, type(errors.inner(error)).__name__)
        note_failure(error)
    except Exception:
        faults.report("recording an error")
        return None
    return attributes
