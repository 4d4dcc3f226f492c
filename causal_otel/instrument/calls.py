"""The pair of wrappers, for functions and for coroutine functions, through which every traced call goes.

A patch says how a call begins: :func:`traced_call` takes a function that returns a :class:`Call`, nearly always a
:class:`~causal_otel.instrument.operation.Running`, and :func:`client_call` one that only says what the operation is.
When the call is over is decided by what it returns (see :mod:`causal_otel.instrument.awaiting`).
"""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from causal_otel._internal import faults
from causal_otel.engine import context
from causal_otel.instrument.awaiting import at_once, ended, goes_on, watched
from causal_otel.instrument.errors import BY_CLASS, mark_failed
from causal_otel.instrument.operation import Operation, Running
from causal_otel.instrument.plumbing import Plumbing
from causal_otel.instrument.tracing import Tracing

if TYPE_CHECKING:
    from opentelemetry.context import Context

    from causal_otel.instrument.awaiting import Call
    from causal_otel.instrument.errors import Errors

__all__ = [
    "Args",
    "Begin",
    "Describe",
    "Inside",
    "Kwargs",
    "Wrapper",
    "argument",
    "client_call",
    "excluded_call",
    "failure_call",
    "inside",
    "suppressed",
    "traced_call",
]

Args = tuple[Any, ...]
Kwargs = dict[str, Any]

Wrapper = Callable[[Tracing[Any], Callable[..., Any]], Callable[..., Any]]
"""See :class:`~causal_otel.instrument.declaration.Wrap`."""

Describe = Callable[[Tracing[Any], Any, Args, Kwargs], Operation | None]
"""Says what a call is, from the instance and the arguments; None: nothing worth a span."""

Begin = Callable[[Tracing[Any], Any, Args, Kwargs], "Call | None"]
"""Begins a call, from the instance and the arguments; None: it is not traced."""


def traced_call(begin: Begin, *, carries: bool = False) -> Wrapper:
    """A wrapper for a method, whether or not its result is awaited.

    Args:
        begin: is called if the call is recorded or measured. The call it returns is told its end, once; what it raises
            is contained.
        carries: whether the call hands a context on to another process, so that ``begin`` is asked in any case.
    """

    def wrap(tracing: Tracing[Any], original: Callable[..., Any]) -> Callable[..., Any]:
        site = f"{original.__module__}.{original.__qualname__}"
        wanted = tracing.wanted if tracing.measures else tracing.recorded
        if carries:
            wanted = tracing.is_active

        if inspect.iscoroutinefunction(original):

            @functools.wraps(original)
            async def async_call(self: Any, /, *args: Any, **kwargs: Any) -> Any:
                if not wanted():
                    return await original(self, *args, **kwargs)
                try:
                    call = begin(tracing, self, args, kwargs)
                except Exception:
                    call = None
                    faults.report(site)
                if call is None:
                    return await original(self, *args, **kwargs)
                if call.args is not None:
                    args = call.args
                activation = None if call.inside is None else context.attach(call.inside)
                try:
                    result = await original(self, *args, **kwargs)
                except BaseException as error:
                    if activation is not None:
                        activation.end()
                    ended(call, None, error, site)
                    raise
                if activation is not None:
                    activation.end()
                try:
                    call.end(result)
                except Exception:
                    faults.report(site)
                return result

            return async_call

        @functools.wraps(original)
        def call_(self: Any, /, *args: Any, **kwargs: Any) -> Any:
            if not wanted():
                return original(self, *args, **kwargs)
            try:
                call = begin(tracing, self, args, kwargs)
            except Exception:
                call = None
                faults.report(site)
            if call is None:
                return original(self, *args, **kwargs)
            if call.args is not None:
                args = call.args
            activation = None if call.inside is None else context.attach(call.inside)
            try:
                result = original(self, *args, **kwargs)
            except BaseException as error:
                if activation is not None:
                    activation.end()
                ended(call, None, error, site)
                raise
            if activation is not None:
                activation.end()
            if type(result) not in at_once and goes_on(type(result)):
                return watched(result, call, site)
            try:
                call.end(result)
            except Exception:
                faults.report(site)
            return result

        return call_

    return wrap


def client_call(describe: Describe, errors: Errors = BY_CLASS) -> Wrapper:
    """A wrapper for a method that is one operation of a client.

    Its span is never made current, because drivers start no spans of their own. A call that is excluded has no span.

    Args:
        describe: says what a call is.
        errors: how the driver's errors are told.
    """

    def begin(tracing: Tracing[Any], instance: Any, args: Args, kwargs: Kwargs) -> Call | None:
        operation = describe(tracing, instance, args, kwargs)
        if operation is None or (tracing.excluded is not None and operation.fits(tracing.excluded)):
            return None
        if operation.plumbing:
            return Plumbing(tracing, lambda: operation, (), errors)
        return tracing.leaf(operation, errors, (instance, args, kwargs))

    def wrap(tracing: Tracing[Any], original: Callable[..., Any]) -> Callable[..., Any]:
        call = traced_call(begin)(tracing, original)
        return call if tracing.observers else _leaf_call(tracing, original, describe, errors, call)

    return wrap


def _leaf_call(
    tracing: Tracing[Any], original: Callable[..., Any], describe: Describe, errors: Errors, special: Callable[..., Any]
) -> Callable[..., Any]:
    """The faster wrapper of :func:`client_call`, for patches without observers: it only starts and ends a span.

    A call costs a seventh less than through ``special``, the full wrapper, which handles plumbing, background
    operations and attributes of one call.
    """
    site = f"{original.__module__}.{original.__qualname__}"
    recorded, start_leaf, excluded = tracing.recorded, tracing.start_leaf, tracing.excluded

    def begin(instance: Any, args: Args, kwargs: Kwargs) -> Any:
        """The span to end; None: there is none; ``special``: the operation needs the full wrapper."""
        try:
            operation = describe(tracing, instance, args, kwargs)
            if operation is None or (excluded is not None and operation.fits(excluded)):
                return None
            if operation.special:
                return special
            return start_leaf(operation.name, operation.kind, operation.attributes)
        except Exception:
            faults.report(site)
            return None

    if inspect.iscoroutinefunction(original):

        @functools.wraps(original)
        async def async_call(self: Any, /, *args: Any, **kwargs: Any) -> Any:
            span = begin(self, args, kwargs) if recorded() else None
            if span is None:
                return await original(self, *args, **kwargs)
            if span is special:
                return await special(self, *args, **kwargs)
            try:
                result = await original(self, *args, **kwargs)
            except BaseException as error:
                mark_failed(span, error, errors)
                span.end()
                raise
            span.end()
            return result

        return async_call

    @functools.wraps(original)
    def call_(self: Any, /, *args: Any, **kwargs: Any) -> Any:
        span = begin(self, args, kwargs) if recorded() else None
        if span is None:
            return original(self, *args, **kwargs)
        if span is special:
            return special(self, *args, **kwargs)
        try:
            result = original(self, *args, **kwargs)
        except BaseException as error:
            mark_failed(span, error, errors)
            span.end()
            raise
        if type(result) not in at_once and goes_on(type(result)):
            return watched(result, Running(_LEAF, span, errors), site)
        span.end()
        return result

    return call_


_LEAF = Operation("", {})
"""The operation of a call whose span is all that is left to end."""


def failure_call(describe: Describe, errors: Errors = BY_CLASS, *, nests: bool = False) -> Wrapper:
    """A wrapper for a method that is plumbing: a span only if it fails.

    Args:
        describe: says what a call is. It is asked after the call, and only if that has failed.
        errors: how the driver's errors are told.
        nests: whether other traced calls may run inside, the user's callbacks among them.
    """

    def begin(tracing: Tracing[Any], instance: Any, args: Args, kwargs: Kwargs) -> Plumbing:
        return Plumbing(tracing, describe, (tracing, instance, args, kwargs), errors, nests)

    return traced_call(begin)


def argument(position: int, name: str, args: Args, kwargs: Kwargs) -> Any:
    """An argument that may be given by position or by name; None where it is not given."""
    return args[position] if len(args) > position else kwargs.get(name)


class Inside:
    """A call that has no span of its own, during which a context is current.

    Args:
        inside: the context.
    """

    __slots__ = ("inside",)

    args: Args | None = None

    def __init__(self, inside: Context) -> None:
        self.inside = inside

    def end(self, result: Any = None, error: BaseException | None = None) -> None:
        """It is over."""


def excluded_call(tracing: Tracing[Any]) -> Inside:
    """A call that is excluded, with everything inside it."""
    return Inside(context.with_span(tracing.start_excluded()))


def inside(make: Callable[[], Context]) -> Wrapper:
    """A wrapper that makes no span: the context that ``make()`` returns is current."""
    return traced_call(lambda tracing, instance, args, kwargs: Inside(make()))


suppressed = inside(context.suppressed_context)
"""A wrapper for what a driver does on its own account: no operation inside is recorded."""
