"""What a patch sees of the tracer: is this recorded, start a span, call through it.

:func:`client_call` covers the usual case, a method that is one operation; a patch then only says what the operation
is called. Where more happens at the beginning or the end, :func:`traced_call` takes a :class:`Call` of the patch's own.
Patches with other shapes (carriers of context, servers) use :class:`Tracing` itself.
"""

from __future__ import annotations

import functools
import inspect
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Generic, Protocol, TypeVar

from opentelemetry.trace import SpanKind, StatusCode

from causal_otel.engine import context, faults, outcome
from causal_otel.engine.context import SPAN_KEY
from causal_otel.semconv import ERROR_TYPE

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from contextlib import AbstractContextManager

    from opentelemetry.context import Context
    from opentelemetry.trace import Span, Tracer

__all__ = [
    "Call",
    "ClientCall",
    "ClientOptions",
    "Operation",
    "Options",
    "Tracing",
    "client_call",
    "end_failed",
    "error_name",
    "held",
    "mark_failed",
    "silent",
    "traced_call",
]


@dataclass(frozen=True, kw_only=True)
class Options:
    """The base of every patch's options."""


@dataclass(frozen=True, kw_only=True)
class ClientOptions(Options):
    """The options of a patch for a client.

    Args:
        require_parent: whether an operation is recorded only inside a span that is. Otherwise it starts a trace of its
            own, which makes background polling as loud as the requests that matter.
    """

    require_parent: bool = True


_current = context.current

OptionsT = TypeVar("OptionsT", bound=Options)


class Tracing(Generic[OptionsT]):
    """The handle given to a patch's wrappers.

    Attributes:
        tracer: where spans come from: ours, or one of the provider that the user gave.
        options: the patch's options.
        active: the switch; off after an uninstall.
        flush: exports what is waiting, within a number of seconds; tells whether all of it arrived.
    """

    def __init__(self, tracer: Tracer, options: OptionsT, flush: Callable[[float], bool]) -> None:
        self.tracer = tracer
        self.options = options
        self.active = True
        self.flush = flush
        self._roots = not getattr(options, "require_parent", False)
        # Ours starts leaves cheaply; anybody else's tracer has what the API prescribes.
        self.start_leaf: Callable[[str, SpanKind, dict[str, Any]], Span] = getattr(
            tracer, "start_leaf", lambda name, kind, attributes: tracer.start_span(name, None, kind, attributes)
        )
        """Start a span under the current one that is not made current: name, kind, and attributes that nobody changes
        any more, so that one dict may serve any number of spans. The caller keeps the span and ends it."""

    def recorded(self) -> bool:
        """Whether an operation that starts now is recorded, as far as can be told before naming it.

        Ask this before anything else: where the answer is no, call through at once.
        """
        if not self.active:
            return False
        found = _current()
        if not found:
            return self._roots
        if len(found) == 1:  # a span and nothing else, as nearly always
            try:
                if found[SPAN_KEY]._flags & 1:  # type: ignore[attr-defined]  # one of ours, sampled
                    return True
            except (KeyError, AttributeError):
                pass
        return context.is_recorded(found, roots=self._roots)

    def start(
        self,
        name: str,
        kind: SpanKind,
        attributes: Mapping[str, Any],
        parent: Context | None = None,
    ) -> Span:
        """Start a span that is not current: the caller keeps it in a local variable and ends it.

        Args:
            name: the span's name.
            kind: its kind.
            attributes: all that is known now, in one mapping.
            parent: the context to find the parent in; default: the current one.
        """
        return self.tracer.start_span(name, parent, kind, attributes)


@dataclass(frozen=True, slots=True)
class Operation:
    """What one call is, in the words of the semantic conventions."""

    name: str
    attributes: dict[str, Any]
    """Never changed once the operation is made: all spans of an operation share them."""


def error_name(error: BaseException) -> str:
    """The ``error.type`` of an exception without a code of its own: its class, with the module unless built in."""
    kind = type(error)
    return kind.__qualname__ if kind.__module__ == "builtins" else f"{kind.__module__}.{kind.__qualname__}"


def mark_failed(
    span: Span,
    error: BaseException,
    error_type: Callable[[BaseException], str | None] = error_name,
    code_attribute: str | None = None,
) -> None:
    """Tell ``span`` that its operation failed with ``error``, or was cancelled. Never raises.

    The error's message is not recorded: servers repeat the caller's values in it.

    Args:
        span: the span of the operation, still open.
        error: what the driver raised, or returned.
        error_type: gives the server's code for it, or the class name; None: it is no failure of the operation.
        code_attribute: where a code from the server is recorded besides ``error.type``.
    """
    try:
        if outcome.is_cancellation(error):
            span.set_attribute(outcome.CANCELLED, True)
        elif isinstance(error, Exception):
            code = error_type(error)
            if code is None:
                return
            span.set_attribute(ERROR_TYPE, code)
            if code_attribute is not None and code != error_name(error):
                span.set_attribute(code_attribute, code)
            span.set_status(StatusCode.ERROR, type(error).__name__)
    except Exception:
        faults.report("recording an error")


def end_failed(
    span: Span,
    error: BaseException,
    error_type: Callable[[BaseException], str | None] = error_name,
    code_attribute: str | None = None,
) -> None:
    """End ``span`` as :func:`mark_failed` by ``error``. Never raises."""
    mark_failed(span, error, error_type, code_attribute)
    span.end()


def held(
    manager: Callable[[], AbstractContextManager[object]],
) -> Callable[[Tracing[Any], Callable[..., Any]], Callable[..., Any]]:
    """A wrapper (see :class:`~causal_otel.patches._layer.Wrap`) that makes no span and holds ``manager()``."""

    def wrap(tracing: Tracing[Any], original: Callable[..., Any]) -> Callable[..., Any]:
        if inspect.iscoroutinefunction(original):

            @functools.wraps(original)
            async def async_call(*args: Any, **kwargs: Any) -> Any:
                if not tracing.recorded():
                    return await original(*args, **kwargs)
                with manager():
                    return await original(*args, **kwargs)

            return async_call

        @functools.wraps(original)
        def call(*args: Any, **kwargs: Any) -> Any:
            if not tracing.recorded():
                return original(*args, **kwargs)
            with manager():
                return original(*args, **kwargs)

        return call

    return wrap


silent = held(context.suppression)
"""A wrapper for what a driver runs on its own account: the operations inside are none of the user's."""


class Call(Protocol):
    """A traced call under way. It is told how it ended, once; what it raises then is contained."""

    def succeeded(self, result: Any) -> None:
        """The driver has returned ``result``."""

    def failed(self, error: BaseException) -> None:
        """The driver has raised ``error``, or the call was cancelled."""


def traced_call(
    begin: Callable[[Tracing[Any], Any, tuple[Any, ...], dict[str, Any]], Call | None],
) -> Callable[[Tracing[Any], Callable[..., Any]], Callable[..., Any]]:
    """A wrapper (see :class:`~causal_otel.patches._layer.Wrap`) for a method, a coroutine function or not.

    Args:
        begin: starts a call, from the instance and the arguments; None: this one is not traced.
    """

    def wrap(tracing: Tracing[Any], original: Callable[..., Any]) -> Callable[..., Any]:
        site = f"{original.__module__}.{original.__qualname__}"

        if inspect.iscoroutinefunction(original):

            @functools.wraps(original)
            async def async_call(self: Any, /, *args: Any, **kwargs: Any) -> Any:
                if not tracing.recorded():
                    return await original(self, *args, **kwargs)
                try:
                    call = begin(tracing, self, args, kwargs)
                except Exception:
                    call = None
                    faults.report(site)
                if call is None:
                    return await original(self, *args, **kwargs)
                try:
                    result = await original(self, *args, **kwargs)
                except BaseException as error:
                    _failed(call, error, site)
                    raise
                try:
                    call.succeeded(result)
                except Exception:
                    faults.report(site)
                return result

            return async_call

        @functools.wraps(original)
        def sync_call(self: Any, /, *args: Any, **kwargs: Any) -> Any:
            if not tracing.recorded():
                return original(self, *args, **kwargs)
            try:
                call = begin(tracing, self, args, kwargs)
            except Exception:
                call = None
                faults.report(site)
            if call is None:
                return original(self, *args, **kwargs)
            try:
                result = original(self, *args, **kwargs)
            except BaseException as error:
                _failed(call, error, site)
                raise
            try:
                call.succeeded(result)
            except Exception:
                faults.report(site)
            return result

        return sync_call

    return wrap


def _failed(call: Call, error: BaseException, site: str) -> None:
    try:
        call.failed(error)
    except Exception:
        faults.report(site)


class ClientCall:
    """The call of a client: a span that is current in nothing, since drivers start no spans of their own.

    Attributes:
        span: the span.
        error_type: see :func:`mark_failed`; of the class, see :func:`client_call`.
        code_attribute: likewise.
    """

    __slots__ = ("span",)

    error_type: Callable[[BaseException], str | None] = staticmethod(error_name)
    code_attribute: str | None = None

    def __init__(self, tracing: Tracing[Any], operation: Operation) -> None:
        self.span = tracing.start_leaf(operation.name, SpanKind.CLIENT, operation.attributes)

    def succeeded(self, result: Any) -> None:
        """End the span."""
        self.span.end()

    def failed(self, error: BaseException) -> None:
        """End the span as failed."""
        end_failed(self.span, error, self.error_type, self.code_attribute)


def client_call(
    describe: Callable[[Tracing[Any], Any, tuple[Any, ...], dict[str, Any]], Operation | None],
    call: type[ClientCall] = ClientCall,
) -> Callable[[Tracing[Any], Callable[..., Any]], Callable[..., Any]]:
    """A wrapper (see :class:`~causal_otel.patches._layer.Wrap`) for a method that is one operation of a client.

    Args:
        describe: says what a call is, from the instance and the arguments; None: nothing worth a span.
        call: how errors are told, and what else is done at the beginning and the end.
    """

    def begin(tracing: Tracing[Any], instance: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Call | None:
        operation = describe(tracing, instance, args, kwargs)
        return None if operation is None else call(tracing, operation)

    return traced_call(begin)
