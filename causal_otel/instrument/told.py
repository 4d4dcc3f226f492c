"""One failure has one span: that of the innermost call that failed.

Getting a connection from a pool fails because connecting has failed, and the span of that says so. :class:`Told` knows
of what failed inside a call, in whatever task.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, cast

from opentelemetry.context import create_key

from causal_otel.engine import context
from causal_otel.engine.outcome import is_cancellation

if TYPE_CHECKING:
    from opentelemetry.context import Context

__all__ = ["Told", "tell"]

_TOLD = create_key("causal-otel-told")
"""Under this key a context has the :class:`Told` of the call that it is inside."""


class Told:
    """The failures inside a call that have spans of their own. It keeps them, with their frames, until it is closed."""

    __slots__ = ("_errors",)

    def __init__(self) -> None:
        self._errors: list[BaseException] | None = []

    def inside(self) -> Context:
        """The current context, for the inside of the call."""
        return cast("Context", {**context.current(), _TOLD: self})  # a dict costs less, and the API only reads it

    def tell(self, error: BaseException) -> None:
        """There is a span that says that ``error`` was how it ended."""
        if self._errors is not None:  # else a task or a callback that has outlived the call
            self._errors.append(error)

    def closes_with(self, error: BaseException) -> bool:
        """Close it, at the end of the call; answers whether ``error``, with which that failed, has been told."""
        errors, self._errors = self._errors or (), None
        # A cancelled task gives whoever waits for it a CancelledError of its own.
        return any(each is error for each in errors) or (is_cancellation(error) and any(map(is_cancellation, errors)))

    def close(self) -> None:
        """Close it, at the end of a call that went well."""
        self._errors = None


def tell(error: BaseException) -> None:
    """Tell the call that this is inside, if any, that ``error`` has a span."""
    told = context.current().get(_TOLD)
    if isinstance(told, Told):
        told.tell(error)
