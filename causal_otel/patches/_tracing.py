"""What a patch sees of the tracer: is this recorded, start a span, call through it.

:func:`client_call` covers the usual case, a method that is one operation; a patch then only says what the operation
is called. Where more happens at the beginning or the end, :func:`traced_call` takes a :class:`Call` of the patch's own.
Patches with other shapes (carriers of context, servers) use :class:`Tracing` itself.
"""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar, Generic, TypeVar, cast

from opentelemetry.trace import SpanKind, StatusCode

from causal_otel.engine import context, faults, outcome
from causal_otel.engine.adoption import as_sampled, take_over
from causal_otel.engine.context import SPAN_KEY
from causal_otel.engine.exceptions import capture
from causal_otel.engine.foreign import starter
from causal_otel.engine.unsampled import SilentSpan
from causal_otel.patches._awaiting import Call, Inside, at_once, failed, goes_on, watched
from causal_otel.patches._baggage import BaggageBorder
from causal_otel.patches._excluded import names, urls
from causal_otel.patches._failures import FailureSpan, tell
from causal_otel.semconv import ABANDONED, DB_QUERY_TEXT, ERROR_TYPE

if TYPE_CHECKING:
    from collections.abc import Mapping

    from opentelemetry.context import Context
    from opentelemetry.trace import Span, Tracer

    from causal_otel.engine.redaction import Redaction
    from causal_otel.patches._excluded import Excluded

__all__ = [
    "Call",
    "ClientOptions",
    "Describe",
    "Inside",
    "Operation",
    "Options",
    "Silence",
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
    """The base of every patch's options.

    Args:
        excluded: what is not recorded, nor anything inside it: patterns, in which ``*`` is anything, of what the
            patch's documentation says. Other processes are handed the trace as one that is not sampled. None: what the
            settings say, and nothing where they do not.
    """

    excluded: tuple[str, ...] | None = None
    by_url: ClassVar[bool] = False
    """Whether the patterns are those of URLs."""


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
    """The handle given to a patch's wrappers, made with the tracer that spans come from.

    That is ours, or one of the provider that the user gave. Starting a span never raises, nor does a method of one.

    Attributes:
        options: the patch's options.
        active: the switch; off after an uninstall.
        flush: exports what is waiting, within a number of seconds; tells whether all of it arrived.
        border: where baggage may go, and how much of it may come in.
        excluded: tells what is excluded; None: nothing. Ask once, when wrapping, whether it is None.
        redaction: takes secrets out of what another provider's span is told of an exception.
        ours: whether the tracer is ours.
    """

    excluded: Excluded | None = None

    def __init__(
        self,
        tracer: Tracer,
        options: OptionsT,
        flush: Callable[[float], bool],
        border: BaggageBorder | None = None,
        redaction: Redaction | None = None,
    ) -> None:
        self._start = start = starter(tracer)
        self.redaction = redaction
        self.ours = hasattr(tracer, "start_leaf")
        self.border = border or BaggageBorder()
        self.options = options
        if options.excluded:
            self.excluded = (urls if options.by_url else names)(options.excluded)
        self.active = True
        self.flush = flush
        self._roots = not getattr(options, "require_parent", False)
        # Ours starts leaves cheaply; anybody else's tracer has what the API prescribes.
        self.start_leaf: Callable[[str, SpanKind, dict[str, Any]], Span] = getattr(
            tracer, "start_leaf", lambda name, kind, attributes: start(name, None, kind, attributes)
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
                if found[SPAN_KEY]._local_trace.recorded:  # type: ignore[attr-defined]  # one of ours
                    return True
            except (KeyError, AttributeError):
                pass
        try:
            return context.is_recorded(found, roots=self._roots)
        except Exception:  # of a span that is not ours
            faults.report("whether the current span is recorded")
            return False

    def start(
        self,
        name: str,
        kind: SpanKind,
        attributes: Mapping[str, Any],
        parent: Context | None = None,
        start_time: int | None = None,
    ) -> Span:
        """Start a span that is not current: the caller keeps it in a local variable and ends it.

        Args:
            name: the span's name.
            kind: its kind.
            attributes: all that is known now, in one mapping.
            parent: the context to find the parent in; default: the current one.
            start_time: Unix time in nanoseconds; default: now.
        """
        return self._start(name, parent, kind, attributes, None, start_time)

    def adopt(
        self,
        name: str,
        kind: SpanKind,
        attributes: Mapping[str, Any],
        parent: Context,
        identity: tuple[int, int] | None,
        start_time: int,
    ) -> Span:
        """Start a span again that a process has begun which does not live to end it.

        Another provider than ours cannot be told an identity: its span has the parent, and an id of its own.

        Args:
            name: the span's name.
            kind: its kind.
            attributes: all that is known of it.
            parent: the context to find the parent in.
            identity: its trace id and its span id; None: they are not known.
            start_time: Unix time in nanoseconds.
        """
        if identity is None or not self.ours:
            return self.start(name, kind, attributes, parent, start_time)
        context, root = as_sampled(parent, identity)
        span = self.start(name, kind, attributes, context, start_time)
        take_over(span, identity[1], root=root)
        return span

    def record_exception(self, span: Span, error: BaseException) -> None:
        """Add the ``exception`` event: type, message as redaction leaves it, and the stack without source lines.

        A span of ours with a redaction of its own does all that when it is exported; any other one is told the result.
        """
        # By name: the engine's classes import the SDK, which is not to be imported before install().
        if getattr(getattr(span, "provider", None), "redaction", None) is not None:
            span.record_exception(error)
            return
        attributes = capture(error).attributes()
        if self.redaction is not None:
            attributes = {key: self.redaction.value(key, value) for key, value in attributes.items()}
        span.add_event("exception", attributes)

    def start_silent(self, parent: Context | None = None) -> Span:
        """What is to be current instead of a span inside something that is excluded.

        Args:
            parent: the context to find the trace in that is carried on; default: the current one.
        """
        span = context.current_span(parent)
        return SilentSpan(None if span is None else span.get_span_context())


class Silence(Inside):
    """A call that is excluded, and everything inside it."""

    def __init__(self, tracing: Tracing[Any]) -> None:
        super().__init__(context.with_span(tracing.start_silent()))


@dataclass(frozen=True, slots=True)
class Operation:
    """What one call is, in the words of the semantic conventions."""

    name: str
    attributes: dict[str, Any]
    """Never changed once the operation is made: all spans of an operation share them."""
    plumbing: bool = False
    """Whether it is a span only if it fails or is cancelled."""

    def fits(self, excluded: Excluded) -> bool:
        """Whether it is excluded by its name, or by the text of its query as it would be recorded."""
        return excluded(self.name) or excluded(self.attributes.get(DB_QUERY_TEXT, ""))


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
    """Tell ``span`` that its operation failed with ``error``, was cancelled, or was abandoned. Never raises.

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
        elif isinstance(error, GeneratorExit):  # a coroutine that is closed, or goes, before it has ended
            span.set_attribute(ABANDONED, True)
        elif isinstance(error, Exception):
            code = error_type(error)
            if code is None:
                return
            span.set_attribute(ERROR_TYPE, code)
            if code_attribute is not None and code != error_name(error):
                span.set_attribute(code_attribute, code)
            span.set_status(StatusCode.ERROR, type(error).__name__)
        tell(error)
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


def traced_call(
    begin: Callable[[Tracing[Any], Any, tuple[Any, ...], dict[str, Any]], Call | None],
) -> Callable[[Tracing[Any], Callable[..., Any]], Callable[..., Any]]:
    """A wrapper (see :class:`~causal_otel.patches._layer.Wrap`) for a method, whether or not its result is awaited.

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
                activation = context.attach(call.inside) if isinstance(call, Inside) else None
                try:
                    result = await original(self, *args, **kwargs)
                except BaseException as error:
                    if activation is not None:
                        activation.end()
                    failed(call, error, site)
                    raise
                if activation is not None:
                    activation.end()
                try:
                    call.succeeded(result)
                except Exception:
                    faults.report(site)
                return result

            return async_call

        @functools.wraps(original)
        def call_(self: Any, /, *args: Any, **kwargs: Any) -> Any:
            if not tracing.recorded():
                return original(self, *args, **kwargs)
            try:
                call = begin(tracing, self, args, kwargs)
            except Exception:
                call = None
                faults.report(site)
            if call is None:
                return original(self, *args, **kwargs)
            activation = context.attach(call.inside) if isinstance(call, Inside) else None
            try:
                result = original(self, *args, **kwargs)
            except BaseException as error:
                if activation is not None:
                    activation.end()
                failed(call, error, site)
                raise
            if activation is not None:
                activation.end()
            if type(result) not in at_once and goes_on(type(result)):
                return watched(result, call, site)
            try:
                call.succeeded(result)
            except Exception:
                faults.report(site)
            return result

        return call_

    return wrap


def held(inside: Callable[[], Context]) -> Callable[[Tracing[Any], Callable[..., Any]], Callable[..., Any]]:
    """A wrapper (see :class:`~causal_otel.patches._layer.Wrap`) that makes no span: ``inside()`` is current."""
    return traced_call(lambda tracing, instance, args, kwargs: Inside(inside()))


silent = held(context.suppressing)
"""A wrapper for what a driver runs on its own account: the operations inside are none of the user's."""


Describe = Callable[[Tracing[Any], Any, tuple[Any, ...], dict[str, Any]], Operation | None]
"""Says what a call is, from the instance and the arguments; None: nothing worth a span."""


class _Leaf:
    """A call of :func:`client_call` whose end is awaited."""

    __slots__ = ("_code_attribute", "_error_type", "_span")

    def __init__(
        self, span: Span, error_type: Callable[[BaseException], str | None], code_attribute: str | None
    ) -> None:
        self._span = span
        self._error_type = error_type
        self._code_attribute = code_attribute

    def succeeded(self, result: Any) -> None:
        self._span.end()

    def failed(self, error: BaseException) -> None:
        end_failed(self._span, error, self._error_type, self._code_attribute)


def client_call(
    describe: Describe,
    error_type: Callable[[BaseException], str | None] = error_name,
    code_attribute: str | None = None,
) -> Callable[[Tracing[Any], Callable[..., Any]], Callable[..., Any]]:
    """A wrapper (see :class:`~causal_otel.patches._layer.Wrap`) for a method that is one operation of a client.

    The operation is over when the method returns, or when what it returned has been awaited. Its span is current in
    nothing, since drivers start no spans of their own. So where it is excluded there is just none.

    Args:
        describe: says what a call is.
        error_type: how errors are told: see :func:`mark_failed`.
        code_attribute: likewise.
    """

    def wrap(tracing: Tracing[Any], original: Callable[..., Any]) -> Callable[..., Any]:
        site = f"{original.__module__}.{original.__qualname__}"
        excluded = tracing.excluded

        def begin(instance: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Span | None:
            try:
                operation = describe(tracing, instance, args, kwargs)
                if operation is not None and (excluded is None or not operation.fits(excluded)):
                    if operation.plumbing:
                        return cast("Span", FailureSpan(tracing, lambda: operation))
                    return tracing.start_leaf(operation.name, SpanKind.CLIENT, operation.attributes)
            except Exception:
                faults.report(site)
            return None

        if inspect.iscoroutinefunction(original):

            @functools.wraps(original)
            async def async_call(self: Any, /, *args: Any, **kwargs: Any) -> Any:
                span = begin(self, args, kwargs) if tracing.recorded() else None
                if span is None:
                    return await original(self, *args, **kwargs)
                try:
                    result = await original(self, *args, **kwargs)
                except BaseException as error:
                    end_failed(span, error, error_type, code_attribute)
                    raise
                span.end()
                return result

            return async_call

        @functools.wraps(original)
        def call(self: Any, /, *args: Any, **kwargs: Any) -> Any:
            span = begin(self, args, kwargs) if tracing.recorded() else None
            if span is None:
                return original(self, *args, **kwargs)
            try:
                result = original(self, *args, **kwargs)
            except BaseException as error:
                end_failed(span, error, error_type, code_attribute)
                raise
            if type(result) not in at_once and goes_on(type(result)):
                return watched(result, _Leaf(span, error_type, code_attribute), site)
            span.end()
            return result

        return call

    return wrap
