"""Background tasks of Starlette and FastAPI: a span each, in the trace of the request that has asked for them."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from opentelemetry.trace import Link, SpanKind

from causal_otel._internal import faults
from causal_otel.engine import context
from causal_otel.instrument.operation import Operation, Running
from causal_otel.names import CAUSAL_CPU, CAUSAL_THREADPOOL_WAIT, CODE_FUNCTION_NAME
from causal_otel.patches.asgi.threadpool import computed, take_computed, take_wait, waits

if TYPE_CHECKING:
    from types import CodeType

    from causal_otel.instrument.tracing import Tracing

__all__ = ["has_failed_in_background", "wrap_background_task"]

_CHAIN = 8  # of exceptions, each raised because of the next; they may go in a circle

_codes: set[CodeType] = set()
"""The code through which background tasks are called here: what they raise has it in its traceback."""


def wrap_background_task(tracing: Tracing[Any], original: Callable[..., Any]) -> Callable[..., Any]:
    """Wraps what calls one background task: that is a span of its own, current inside, in its thread as well."""

    async def __call__(self: Any, *args: Any, **kwargs: Any) -> Any:
        if not tracing.recorded():
            return await original(self, *args, **kwargs)
        running: Running | None = None
        activation: context.Activation | None = None
        try:
            if context.in_trace():
                running = _begin(tracing, self)
                activation = context.enter(running.span)
        except Exception:
            faults.report("asgi: background task")
        try:
            result = await original(self, *args, **kwargs)
        except BaseException as error:
            if running is not None:
                _end(tracing, running, error)
            raise
        else:
            if running is not None:
                _end(tracing, running, None)
            return result
        finally:
            if activation is not None:
                activation.end()

    _codes.add(__call__.__code__)
    return functools.wraps(original)(__call__)


def _begin(tracing: Tracing[Any], task: Any) -> Running:
    function = getattr(task, "func", task)
    while isinstance(function, functools.partial):
        function = function.func
    if not hasattr(function, "__qualname__"):  # an object that can be called
        function = type(function)
    name: str = function.__qualname__
    operation = Operation(
        name, {CODE_FUNCTION_NAME: f"{function.__module__}.{name}"}, kind=SpanKind.INTERNAL, measured=False
    )
    request = context.current_span()
    links = None if request is None else [Link(request.get_span_context())]
    return tracing.begin(operation, objects=(task,), links=links)


def _end(tracing: Tracing[Any], running: Running, error: BaseException | None) -> None:
    try:
        if isinstance(error, Exception):
            tracing.record_exception(running.span, error)
        if waits:
            running.part(CAUSAL_THREADPOOL_WAIT, take_wait(running.span))
        if computed:
            running.part(CAUSAL_CPU, take_computed(running.span) / 1e9)
        running.end(None, error)
    except Exception:
        faults.report("asgi: background task")


def has_failed_in_background(error: BaseException) -> bool:
    """Whether ``error``, or what it was raised because of, comes from a background task, whose span tells of it."""
    found: BaseException | None = error
    for _ in range(_CHAIN):
        if found is None:
            return False
        traceback = found.__traceback__
        while traceback is not None:
            if traceback.tb_frame.f_code in _codes:
                return True
            traceback = traceback.tb_next
        found = found.__cause__ or found.__context__
    return False
