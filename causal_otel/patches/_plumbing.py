"""Wrappers for plumbing: calls that have a span only if they fail or are cancelled (see ``_failures.py``)."""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable
from time import perf_counter_ns
from typing import TYPE_CHECKING, Any, cast

from opentelemetry.context import Context

from causal_otel.engine import context
from causal_otel.patches._failures import TOLD, FailureSpan, Told, tell
from causal_otel.patches._tracing import Describe, Inside, Tracing, end_failed, error_name, traced_call

if TYPE_CHECKING:
    from opentelemetry.trace import Span

__all__ = ["Nest", "Plumbing", "failure_call"]


class Plumbing:
    """A call with a span only if it fails.

    Args:
        tracing: the handle.
        describe: says what the call is, from ``arguments``, when it has failed.
        arguments: for ``describe``.
        error_type: how errors are told: see :func:`~causal_otel.patches._tracing.mark_failed`.
        code_attribute: likewise.
    """

    def __init__(
        self,
        tracing: Tracing[Any],
        describe: Callable[..., Any],
        *arguments: Any,
        error_type: Callable[[BaseException], str | None] = error_name,
        code_attribute: str | None = None,
    ) -> None:
        self._span = cast("Span", FailureSpan(tracing, describe, *arguments))
        self._error_type = error_type
        self._code_attribute = code_attribute

    def succeeded(self, result: Any) -> None:
        """It is no span."""

    def failed(self, error: BaseException) -> None:
        """It is one, as long as the call."""
        end_failed(self._span, error, self._error_type, self._code_attribute)


class Nest(Plumbing, Inside):
    """The same with other traced calls inside. Where one of them has told of the failure, this one does not."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        self._told = Told()
        Inside.__init__(self, _inside(self._told))
        super().__init__(*args, **kwargs)

    def succeeded(self, result: Any) -> None:
        """It is no span."""
        self._told.close()

    def failed(self, error: BaseException) -> None:
        """It is one, unless that would be the second."""
        if self._told.closes_with(error):
            tell(error)  # whoever is around this call will ask as well
        else:
            super().failed(error)


def _inside(told: Told) -> Context:
    return cast("Context", {**context.current(), TOLD: told})  # a dict costs less, and the API only reads it


def failure_call(
    describe: Describe,
    error_type: Callable[[BaseException], str | None] = error_name,
    code_attribute: str | None = None,
    *,
    nests: bool = False,
) -> Callable[[Tracing[Any], Callable[..., Any]], Callable[..., Any]]:
    """A wrapper (see :class:`~causal_otel.patches._layer.Wrap`) for a method that is plumbing.

    Args:
        describe: says what a call is. It is asked after the call, and only if that has failed.
        error_type: how errors are told: see :func:`~causal_otel.patches._tracing.mark_failed`.
        code_attribute: likewise.
        nests: whether other traced calls may run inside, the user's callbacks among them.
    """
    kind = Nest if nests else Plumbing

    def begin(tracing: Tracing[Any], instance: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Plumbing:
        return kind(
            tracing, describe, tracing, instance, args, kwargs, error_type=error_type, code_attribute=code_attribute
        )

    def wrap(tracing: Tracing[Any], original: Callable[..., Any]) -> Callable[..., Any]:
        if not inspect.iscoroutinefunction(original):
            return traced_call(begin)(tracing, original)

        # What traced_call() would do, which here is in the way of every query of a pool: nothing is made for a call
        # that goes well but what has to be current in it.

        @functools.wraps(original)
        async def async_call(self: Any, /, *args: Any, **kwargs: Any) -> Any:
            if not tracing.recorded():
                return await original(self, *args, **kwargs)
            began = perf_counter_ns()
            told = activation = None
            if nests:
                told = Told()
                activation = context.attach(_inside(told))
            try:
                result = await original(self, *args, **kwargs)
            except BaseException as error:
                if activation is not None:
                    activation.end()
                if told is not None and told.closes_with(error):
                    tell(error)
                else:
                    span = FailureSpan(tracing, describe, tracing, self, args, kwargs, began=began)
                    end_failed(cast("Span", span), error, error_type, code_attribute)
                raise
            if activation is not None:
                activation.end()
            if told is not None:
                told.close()
            return result

        return async_call

    return wrap
