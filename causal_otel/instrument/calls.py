"""The pair of wrappers, for functions and for coroutine functions, through which every traced call goes.

A patch says how a call begins: :func:`traced_call` takes a function that returns a :class:`Call`, nearly always a
:class:`~causal_otel.instrument.operation.Running`, and :func:`client_call` one that only says what the operation is.
When the call is over is decided by what it returns (see :mod:`causal_otel.instrument.awaiting`).
"""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable
from time import perf_counter
from types import CoroutineType
from typing import TYPE_CHECKING, Any

from opentelemetry.context import Context
from opentelemetry.trace import INVALID_SPAN

from causal_otel._internal import faults
from causal_otel.engine import context
from causal_otel.engine.pending import Pending
from causal_otel.instrument.awaiting import at_once, ended, goes_on, watched
from causal_otel.instrument.errors import BY_CLASS, mark_failed
from causal_otel.instrument.operation import Operation, Running, number_of_rows
from causal_otel.instrument.parts import LEAST, parts_of, unread
from causal_otel.instrument.plumbing import Plumbing
from causal_otel.instrument.tracing import Tracing
from causal_otel.names import DB_RESPONSE_RETURNED_ROWS, ERROR_TYPE

if TYPE_CHECKING:
    from opentelemetry.trace import Span

    from causal_otel.instrument.awaiting import Call
    from causal_otel.instrument.errors import Errors
    from causal_otel.instrument.measured import Rows

__all__ = [
    "Args",
    "Begin",
    "Describe",
    "Inside",
    "Kwargs",
    "Wrapper",
    "argument",
    "client_call",
    "detached",
    "excluded_call",
    "inside",
    "plumbing_call",
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


def client_call(
    describe: Describe,
    errors: Errors = BY_CLASS,
    rows: Rows | None = None,
    rest: str | None = None,
    special: Callable[[Running, Any], Call] | None = None,
    plumbing: type[Plumbing] = Plumbing,
) -> Wrapper:
    """A wrapper for a method that is one operation of a client.

    Its span is never made current, because drivers start no spans of their own. A call that is excluded has no span.

    Args:
        describe: says what a call is.
        errors: how the driver's errors are told.
        rows: how many rows a result has.
        rest: what a call has waited for where no :mod:`note <causal_otel.instrument.parts>` says otherwise; None: notes
            are not asked for.
        special: gives what is told the end of an operation that has attributes of its own, from it and the instance:
            itself, or what ends it.
        plumbing: what a call is that is plumbing.
    """

    def begin(tracing: Tracing[Any], instance: Any, args: Args, kwargs: Kwargs) -> Call | None:
        operation = describe(tracing, instance, args, kwargs)
        if operation is None or (tracing.excluded is not None and operation.fits(tracing.excluded)):
            return None
        if operation.plumbing:
            return plumbing(tracing, lambda: operation, (), errors)
        running = tracing.leaf(operation, errors, (instance, args, kwargs))
        if running is not None:
            running.rows = rows
            if rest is not None:
                running.take_notes(rest)
            if special is not None and operation.own is not None:
                return special(running, instance)
        return running

    def wrap(tracing: Tracing[Any], original: Callable[..., Any]) -> Callable[..., Any]:
        call = traced_call(begin)(tracing, original)
        if tracing.observers or tracing.counts_active:
            return call
        return _leaf_call(tracing, original, describe, errors, rows, rest, call)

    return wrap


def _leaf_call(
    tracing: Tracing[Any],
    original: Callable[..., Any],
    describe: Describe,
    errors: Errors,
    rows: Rows | None,
    rest: str | None,
    special: Callable[..., Any],
) -> Callable[..., Any]:
    """The faster wrapper of :func:`client_call`, for patches without observers: it only starts and ends a span.

    A call costs a seventh less than through ``special``, the full wrapper, which handles plumbing, background
    operations and attributes of one call.

    Where it is measured or its parts are told, the operation and when it began go along with the span: a ``Running``
    would take half a microsecond more.
    """
    site = f"{original.__module__}.{original.__qualname__}"
    recorded, measurable = tracing.recorded, tracing.measurable
    start_leaf, excluded = tracing.start_leaf, tracing.excluded
    metrics: Any = tracing.metrics
    wanted = recorded if metrics is None else tracing.is_active  # then ``begin`` asks: nearly all are measured
    timed = metrics is not None or rest is not None
    plain = not timed and rows is None

    def begin(instance: Any, args: Args, kwargs: Kwargs) -> Any:
        """What :func:`end` is to be given: a span, with more if it is timed. None: no; ``special``: it takes more."""
        try:
            operation = describe(tracing, instance, args, kwargs)
            if operation is None or (excluded is not None and operation.fits(excluded)):
                return None
            if operation.special:
                return special
            if not timed:
                return start_leaf(operation.name, operation.kind, operation.attributes)
            span: Span = INVALID_SPAN
            if metrics is None or recorded():
                span = start_leaf(operation.name, operation.kind, operation.attributes)
            elif not measurable():
                return None
            return span, operation, perf_counter()
        except Exception:
            faults.report(site)
            return None

    def end(begun: Any, result: Any) -> None:
        number = None if rows is None else number_of_rows(rows, result)
        span, operation, began = begun if timed else (begun, _LEAF, 0.0)
        if number is not None:
            operation.tell(span, number, {DB_RESPONSE_RETURNED_ROWS: number})
        if timed:
            seconds = perf_counter() - began
            if rest is not None and (seconds >= LEAST or unread()):
                span.set_attributes(parts_of(began, seconds, rest))
            if metrics is not None:
                metrics.ended(operation, seconds, None, None, number)
        span.end()

    def fail(begun: Any, error: BaseException) -> None:
        span, operation, began = begun if timed else (begun, None, 0.0)
        attributes = mark_failed(span, error, errors)
        if timed:
            seconds = perf_counter() - began
            if rest is not None and (seconds >= LEAST or unread()):
                span.set_attributes(parts_of(began, seconds, rest))
            if metrics is not None:
                metrics.ended(operation, seconds, attributes, (attributes or {}).get(ERROR_TYPE))
        span.end()

    def over(begun: Any, result: Any, error: BaseException | None) -> None:
        try:
            if error is None:
                end(begun, result)
            else:
                fail(begun, error)
        except Exception:
            faults.report(site)

    if inspect.iscoroutinefunction(original):

        @functools.wraps(original)
        async def async_call(self: Any, /, *args: Any, **kwargs: Any) -> Any:
            begun = begin(self, args, kwargs) if wanted() else None
            if begun is None:
                return await original(self, *args, **kwargs)
            if begun is special:
                return await special(self, *args, **kwargs)
            try:
                result = await original(self, *args, **kwargs)
            except BaseException as error:
                fail(begun, error)
                raise
            if plain:
                begun.end()
            else:
                end(begun, result)
            return result

        return async_call

    @functools.wraps(original)
    def call_(self: Any, /, *args: Any, **kwargs: Any) -> Any:
        begun = begin(self, args, kwargs) if wanted() else None
        if begun is None:
            return original(self, *args, **kwargs)
        if begun is special:
            return special(self, *args, **kwargs)
        try:
            result = original(self, *args, **kwargs)
        except BaseException as error:
            fail(begun, error)
            raise
        if type(result) is CoroutineType:
            return Pending(result, None, functools.partial(over, begun)).substitute()
        if type(result) not in at_once and goes_on(type(result)):
            span, operation, began = begun if timed else (begun, _LEAF, 0.0)
            running = Running(operation, span, errors, None, None, metrics, rows)
            running.began = began
            if rest is not None:
                running.take_notes(rest, began)
            return watched(result, running, site)
        if plain:
            begun.end()
        else:
            end(begun, result)
        return result

    return call_


_LEAF = Operation("", {})
"""The operation of a call whose span is all that is left to end."""


def plumbing_call(describe: Describe, errors: Errors = BY_CLASS, *, nests: bool = False) -> Wrapper:
    """A wrapper for a method that is plumbing: a span only if it fails or is slow.

    Args:
        describe: says what a call is. It is asked after the call, and only if that has failed or was slow.
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


def inside(make: Callable[[], Context], *, always: bool = False) -> Wrapper:
    """A wrapper that makes no span: the context that ``make()`` returns is current.

    Args:
        make: makes it.
        always: whether that is so as well where nothing is recorded.
    """
    return traced_call(lambda tracing, instance, args, kwargs: Inside(make()), carries=always)


suppressed = inside(context.suppressed_context)
"""A wrapper for what a driver does on its own account: no operation inside is recorded."""

detached = inside(Context, always=True)
"""A wrapper for what outlives the call, such as opening a connection: asyncio's readers keep the context they are made
in, and listeners run in it. What they do begins traces of its own, also where nothing of the call is recorded."""
