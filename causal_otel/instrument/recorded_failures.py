"""One failure has one span: that of the innermost call that failed.

A pool's ``acquire()`` fails because connecting fails, and the span of connecting says so already.
:class:`RecordedFailures` knows the failures inside a call that have spans, in whatever task they happened.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, cast

from opentelemetry.context import create_key

from causal_otel.engine import context
from causal_otel.engine.outcome import is_cancellation

if TYPE_CHECKING:
    from opentelemetry.context import Context

__all__ = ["RecordedFailures", "note_failure"]

_LAYERS = 8  # of libraries around a driver; causes may go in a circle

_KEY = create_key("causal-otel-recorded-failures")
"""The key in a context of the :class:`RecordedFailures` of the call that it is inside."""


class RecordedFailures:
    """The failures inside a call that have spans of their own, with their frames, until it is closed."""

    __slots__ = ("_errors",)

    def __init__(self) -> None:
        self._errors: list[BaseException] | None = []

    @staticmethod
    def around() -> bool:
        """Whether this is inside a call that has one, and that is under way."""
        found = context.current().get(_KEY)
        return isinstance(found, RecordedFailures) and found._errors is not None

    def inside(self) -> Context:
        """The current context, for the inside of the call."""
        return cast("Context", {**context.current(), _KEY: self})  # a dict costs less, and the API only reads it

    def add(self, error: BaseException) -> None:
        """Note that ``error`` has a span."""
        if self._errors is not None:  # closed: a task or a callback has outlived the call
            self._errors.append(error)

    def close_with(self, error: BaseException) -> bool:
        """Close it at the end of the call, which failed with ``error``; returns whether that has a span already."""
        errors, self._errors = self._errors or (), None
        if not errors:
            return False
        # A cancelled task gives whoever waits for it a CancelledError of its own.
        if is_cancellation(error) and any(map(is_cancellation, errors)):
            return True
        cause: BaseException | None = error
        for _ in range(_LAYERS):
            if cause is None:
                return False
            if any(each is cause for each in errors):
                return True
            cause = cause.__cause__  # a library around the driver raises an error of its own from the driver's
            if cause is not None and is_cancellation(cause):
                return False  # a timeout, which cancels what is inside, is another failure
        return False

    def close(self) -> None:
        """Close it at the end of a call that went well."""
        self._errors = None


def note_failure(error: BaseException) -> None:
    """Note, for the call that this is inside, if any, that ``error`` has a span."""
    failures = context.current().get(_KEY)
    if isinstance(failures, RecordedFailures):
        failures.add(error)
