"""Calls that are a span only if they fail or are slow, and cost next to nothing if not: all is done afterwards.

SQLAlchemy's calls are plain functions, also with asyncio; so nothing need be made before the call.
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from time import perf_counter
from typing import Any

from causal_otel._internal import faults
from causal_otel.instrument.calls import Wrapper
from causal_otel.instrument.operation import Operation
from causal_otel.instrument.plumbing import Plumbing
from causal_otel.instrument.tracing import Tracing
from causal_otel.names import DB_OPERATION_NAME
from causal_otel.patches.sqlalchemy.engines import ERRORS, Place

__all__ = ["Late", "late_plumbing", "plumbing"]


def plumbing(operation: str, place: Place | None) -> Operation:
    """An operation that is no statement: its name has the database in it, as the conventions ask without a summary."""
    attributes = {**({} if place is None else place.attributes), DB_OPERATION_NAME: operation}
    namespace = "" if place is None else place.namespace
    return Operation(f"{operation} {namespace}".rstrip(), attributes, plumbing=True, background=operation == "PING")


class Late(Plumbing):
    """A call that is over, and has failed or was slow.

    Args:
        tracing: the handle.
        describe: says what it is; None: nothing worth a span.
        began: when it began, by ``perf_counter()``.
    """

    __slots__ = ("since",)

    def __init__(self, tracing: Tracing[Any], describe: Callable[[], Operation | None], began: float) -> None:
        self.since = began
        super().__init__(tracing, describe, (), ERRORS)
        self._began = int(began * 1e9)  # the two functions read the same clock


def late_plumbing(
    describe: Callable[..., Operation | None], make: Callable[[Late, BaseException | None], bool] | None = None
) -> Wrapper:
    """A wrapper for a plain method.

    Args:
        describe: says what a call is, from the instance and the arguments.
        make: is shown the call, and how it failed, before it becomes a span; False: it becomes none.
    """

    def wrap(tracing: Tracing[Any], original: Callable[..., Any]) -> Callable[..., Any]:
        recorded, slow = tracing.recorded, tracing.slow_plumbing
        site = f"{original.__module__}.{original.__qualname__}"

        def end(began: float, error: BaseException | None, *arguments: Any) -> None:
            try:
                late = Late(tracing, lambda: describe(*arguments), began)
                if make is None or make(late, error):
                    late.end(error=error)
            except Exception:
                faults.report(site)

        @functools.wraps(original)
        def call(self: Any, /, *args: Any, **kwargs: Any) -> Any:
            if not recorded():
                return original(self, *args, **kwargs)
            began = perf_counter()
            try:
                result = original(self, *args, **kwargs)
            except BaseException as error:
                end(began, error, self, *args)
                raise
            if perf_counter() - began >= slow:
                end(began, None, self, *args)
            return result

        return call

    return wrap
