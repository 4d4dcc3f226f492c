"""Calls of other services: one CLIENT span each, around the interceptors that the program has given.

A call goes on in tasks of gRPC's own, and what calling returns is a handle, so the span ends when gRPC tells that the
call has: with its status, cancelled, or collected because nobody has the handle any more. Where messages come one by
one, it lasts as long as they were waited for.
"""

from __future__ import annotations

import functools
import weakref
from asyncio import CancelledError
from collections.abc import Callable
from time import perf_counter
from typing import TYPE_CHECKING, Any

from opentelemetry.trace import INVALID_SPAN

from causal_otel._internal import faults
from causal_otel.engine import carriers, context
from causal_otel.engine.context import SPAN_KEY
from causal_otel.engine.local_trace import local_trace_of
from causal_otel.instrument.baggage import is_among
from causal_otel.instrument.calls import Wrapper
from causal_otel.instrument.declaration import Wrap
from causal_otel.instrument.waited_span import WaitedSpan
from causal_otel.names import CAUSAL_FETCH, CAUSAL_SERVER, RPC_RESPONSE_STATUS_CODE
from causal_otel.patches.grpc.methods import called, is_ours, server_of

if TYPE_CHECKING:
    from opentelemetry.context import Context
    from opentelemetry.trace import Span

    from causal_otel.instrument.operation import Running
    from causal_otel.instrument.tracing import Tracing

__all__ = ["TARGETS"]

_TARGET, _WAITS = "_causal_otel_target", "_causal_otel_waits"
_COLLECTED = "upon garbage collection"  # what gRPC says of a call that it has cancelled for that
_REPLACED = ("traceparent", "tracestate")


# -- how it begins ------------------------------------------------------------------------------------------------


def _begin(tracing: Tracing[Any], callee: Any, args: Any, kwargs: Any) -> tuple[Running | None, dict[str, str]]:
    """A method is about to be called: the operation, if anybody wants to know of it, and what the call carries."""
    method: str = callee._method.decode().removeprefix("/")
    if is_ours(method):
        return None, {}
    target = _target(callee)
    here = context.current()
    traced = tracing.recorded()
    alone = len(here) == 1 and local_trace_of(here.get(SPAN_KEY)) is not None  # a span of ours, and nothing else
    if not traced and not alone:
        traced = tracing.starts_trace()
    where: Context | None = None
    host = server_of(target).host
    if _may_know(tracing.options, host) and (traced or alone or _is_carried(here)):
        where = here if alone or not here else tracing.border.outgoing(here, host)
    if not traced and not tracing.measurable():
        return None, _carried(where, None)
    operation = called(method, target)
    if tracing.excluded is not None and operation.fits(tracing.excluded):
        return None, _carried(where, tracing.start_excluded())
    span = tracing.start_leaf(operation.name, operation.kind, operation.attributes) if traced else INVALID_SPAN
    running = tracing.running(operation, span, objects=(callee, args, kwargs))
    return running if running.is_observed() else None, _carried(where, span if traced else None)


def _target(callee: Any) -> str:
    """The target of the channel that a method is called through; empty: it was made before it could be noted."""
    references = getattr(callee, "_references", None)
    return getattr(references[0], _TARGET, "") if references else ""


def _may_know(options: Any, host: str) -> bool:
    """Whether a server may be told the context."""
    return is_among(options.propagate_to, host) and not is_among(options.do_not_propagate_to, host)


def _is_carried(here: Context) -> bool:
    """Whether a call that is not recorded carries the current context."""
    span = context.current_span(here)
    return span is not None and span.get_span_context().is_valid and not context.is_suppressed(here)


def _carried(where: Context | None, span: Span | None) -> dict[str, str]:
    if where is None:
        return {}
    return {name.lower(): value for name, value in carriers.injected(where, span).items()}


def _with(added: dict[str, str], metadata: Any) -> Any:
    """The metadata of a call with other entries in place of those of the same names; the caller's stays as it is."""
    replaced = {*added, *_REPLACED} if "traceparent" in added else {*added}
    kept = () if metadata is None else tuple(each for each in metadata if each[0] not in replaced)
    return (*kept, *added.items())


# -- how it ends --------------------------------------------------------------------------------------------------


def _status(call: Any) -> tuple[str, bool, bool]:
    """The status of a call that is over, whether it was cancelled here, and whether because nobody had it any more."""
    task = getattr(call, "_interceptors_task", None)
    if task is not None:
        if task.cancelled():
            return "CANCELLED", True, False
        error = task.exception()
        if error is not None:
            code = getattr(error, "code", None)
            return (code().name if callable(code) else "UNKNOWN"), isinstance(error, CancelledError), False
        call = task.result()
        call = getattr(call, "_call", call)  # where an interceptor has given responses of its own
    inner = getattr(call, "_cython_call", None)
    status = getattr(inner, "_status", None)
    if inner is None or status is None:
        return "OK", False, False  # an interceptor has answered
    locally = inner.is_locally_cancelled()
    return _names().get(status.code(), "UNKNOWN"), locally, locally and _COLLECTED in (status.details() or "")


@functools.cache
def _names() -> dict[int, str]:
    """The names of gRPC's statuses, by number."""
    import grpc  # type: ignore[import-untyped]

    return {code.value[0]: code.name for code in grpc.StatusCode}


class _Under:
    """A call under way, from before gRPC is asked for it.

    Args:
        running: its operation.
        streams: whether its responses come one by one.
    """

    def __init__(self, running: Running, *, streams: bool) -> None:
        self._running = running
        self._call: weakref.ref[Any] | None = None
        self._waits: WaitedSpan | None = None
        if streams:
            self._waits = WaitedSpan(running)
            self._waits.wait(CAUSAL_SERVER)
        self._since = perf_counter()

    def follow(self, call: Any) -> None:
        """Have its end told, and the waits for its responses.

        Args:
            call: what calling has returned. A reference would keep it: then nobody would cancel one that is left.
        """
        self._call = weakref.ref(call)
        task = getattr(call, "_interceptors_task", None)
        if self._waits is not None and task is None:
            call.__dict__[_WAITS] = self._waits
        elif self._waits is not None and task is not None:
            task.add_done_callback(functools.partial(_pass_on, self._waits))
        getattr(call, "_cython_call", call).add_done_callback(self._told)

    def _told(self, *call: Any) -> None:
        """It is over, as gRPC tells. Never raises."""
        try:
            self.over(None if self._call is None else self._call())
        except Exception:
            faults.report("grpc: the end of a call")

    def over(self, call: Any, error: BaseException | None = None) -> None:
        """It has ended.

        Args:
            call: None: nobody has it any more, or gRPC has made none.
            error: what was raised instead.
        """
        running = self._running
        if call is not None:
            code, locally, collected = _status(call)
            if locally:
                error = GeneratorExit() if collected else CancelledError()
            running.learn_outcome(code, {RPC_RESPONSE_STATUS_CODE: code})
            if error is None and code != "OK":
                running.fail(code, code)
        elif error is None:
            error = GeneratorExit()
        if self._waits is not None:
            self._waits.end(call, error)
        else:
            running.part(CAUSAL_SERVER, perf_counter() - self._since)
            running.end(call, error)


def _contained(under: _Under, call: Any, error: BaseException | None) -> None:
    try:
        under.over(call, error)
    except Exception:
        faults.report("grpc: a call")


def _pass_on(waits: WaitedSpan, task: Any) -> None:
    """The interceptors have made the call whose messages are read."""
    if not task.cancelled() and task.exception() is None:
        call = task.result()
        getattr(call, "_call", call).__dict__[_WAITS] = waits


# -- wrappers -----------------------------------------------------------------------------------------------------


def _call(place: int, *, streams: bool) -> Wrapper:
    """A wrapper for calling a method.

    Args:
        place: where the metadata is among the positional arguments.
        streams: whether responses come one by one.
    """

    def wrap(tracing: Tracing[Any], original: Callable[..., Any]) -> Callable[..., Any]:
        @functools.wraps(original)
        def call(self: Any, /, *args: Any, **kwargs: Any) -> Any:
            if not tracing.active:
                return original(self, *args, **kwargs)
            under: _Under | None = None
            try:
                running, added = _begin(tracing, self, args, kwargs)
                if running is not None:
                    under = _Under(running, streams=streams)
                if added and len(args) > place:
                    args = (*args[:place], _with(added, args[place]), *args[place + 1 :])
                elif added:
                    kwargs["metadata"] = _with(added, kwargs.get("metadata"))
            except Exception:
                faults.report("grpc: a call")
            if under is None:
                return original(self, *args, **kwargs)
            try:
                result = original(self, *args, **kwargs)
            except BaseException as error:
                _contained(under, None, error)
                raise
            try:
                under.follow(result)
            except Exception:
                faults.report("grpc: a call")
                _contained(under, None, None)
            return result

        return call

    return wrap


def _read(tracing: Tracing[Any], original: Callable[..., Any]) -> Callable[..., Any]:
    """For what waits for the next message, however it is asked for."""

    @functools.wraps(original)
    async def read(self: Any, /, *args: Any) -> Any:
        waits: WaitedSpan | None = self.__dict__.get(_WAITS)
        if waits is None:
            return await original(self, *args)
        if waits.waits_for() is None:
            waits.wait(CAUSAL_FETCH)
        try:
            return await original(self, *args)
        finally:
            waits.wait(None)

    return read


def _targeted(tracing: Tracing[Any], original: Callable[..., Any]) -> Callable[..., Any]:
    """For making a channel, which does not keep its target."""

    @functools.wraps(original)
    def __init__(self: Any, /, *args: Any, **kwargs: Any) -> Any:
        target = args[0] if args else kwargs.get("target")
        if isinstance(target, str):
            self.__dict__[_TARGET] = target
        return original(self, *args, **kwargs)

    return __init__


_CHANNEL = "grpc.aio._channel"

TARGETS = (
    Wrap(_CHANNEL, "Channel.__init__", _targeted),
    Wrap(_CHANNEL, "UnaryUnaryMultiCallable.__call__", _call(2, streams=False)),
    Wrap(_CHANNEL, "UnaryStreamMultiCallable.__call__", _call(2, streams=True)),
    Wrap(_CHANNEL, "StreamUnaryMultiCallable.__call__", _call(2, streams=False)),
    Wrap(_CHANNEL, "StreamStreamMultiCallable.__call__", _call(2, streams=True)),
    Wrap("grpc.aio._call", "_StreamResponseMixin._read", _read, optional=True),
)
"""The targets. ``_read`` is private: without it, a stream's span lasts until its end."""
