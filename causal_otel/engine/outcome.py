"""How an operation ended, told to any span through the public API."""

from __future__ import annotations

from typing import TYPE_CHECKING

from opentelemetry.trace import StatusCode

from causal_otel.names import CAUSAL_CANCELLED

if TYPE_CHECKING:
    from opentelemetry.trace import Span

__all__ = ["is_cancellation", "record_outcome"]


def is_cancellation(exception: BaseException) -> bool:
    """Whether ``exception`` is a task's cancellation, in asyncio or in trio."""
    return not isinstance(exception, Exception) and type(exception).__name__ in ("CancelledError", "Cancelled")


def record_outcome(span: Span, exception: BaseException, *, record: bool = True, status: bool = True) -> None:
    """Tell ``span`` that ``exception`` left its block.

    Cancellation is the caller's decision and no error: it is marked ``causal.cancelled`` and nothing else. Other
    exceptions that are no ``Exception`` (``GeneratorExit``, ``KeyboardInterrupt``) leave no mark.

    Args:
        span: the span, still open.
        exception: what was raised.
        record: whether to add the ``exception`` event.
        status: whether to set the status ERROR, described by type and message.
    """
    if is_cancellation(exception):
        span.set_attribute(CAUSAL_CANCELLED, True)
    elif isinstance(exception, Exception) and span.is_recording():
        if record:
            span.record_exception(exception)
        if status:
            try:
                description = f"{type(exception).__name__}: {exception}"
            except Exception:  # a __str__ that raises must not replace the user's exception
                description = type(exception).__name__
            span.set_status(StatusCode.ERROR, description)
