"""What is current: activation of contexts and the questions asked of them.

The value lives in the OpenTelemetry API's own runtime context, so that ``opentelemetry.trace.get_current_span()``
sees our spans and we see other libraries'.

A block begins by setting the variable, and ends by :func:`leave`: in the ``contextvars.Context`` that it began in, what
was current before is current again, whatever is current now. So a block inside that never ended (somebody's forgotten
detach, a generator left early) is over with the one around it. In any other Context, such as that of the task in which
an event loop closes an async generator, nothing changes. Only the token of the block's beginning can tell the two
apart: it refuses, and raises, before anything has changed. That is what "Failed to detach context" is about elsewhere.
"""

from __future__ import annotations

from contextlib import contextmanager
from contextvars import ContextVar, Token
from typing import TYPE_CHECKING, Any, cast

from opentelemetry import context as context_api
from opentelemetry import trace
from opentelemetry.context import Context

from causal_otel._internal import faults
from causal_otel.engine.contained import users_span

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

__all__ = [
    "SPAN_KEY",
    "SUPPRESSED",
    "Activation",
    "attach",
    "begin",
    "current",
    "current_span",
    "detached_from",
    "enter",
    "in_trace",
    "incoming",
    "is_recorded",
    "is_suppressed",
    "leave",
    "restore",
    "suppress",
    "suppressed_context",
    "variable",
    "with_span",
    "without_span",
]

# The API names its key privately; a context that holds nothing but a span tells it.
SPAN_KEY: str = next(iter(trace.set_span_in_context(trace.INVALID_SPAN, Context())))
_DETACHED_KEY: str = context_api.create_key("causal-otel-detached-from")

# Other libraries suppress tracing under these two names; both are honoured, neither is documented as public.
_SUPPRESS_KEYS: tuple[str, ...] = (
    "suppress_instrumentation",
    cast("str", getattr(context_api, "_SUPPRESS_INSTRUMENTATION_KEY", "suppress_instrumentation")),
)

SUPPRESSED: dict[str, bool] = dict.fromkeys(_SUPPRESS_KEYS, True)
"""What a context in which nothing is to be traced has besides."""

variable: ContextVar[Context] | None = getattr(getattr(context_api, "_RUNTIME_CONTEXT", None), "_current_context", None)
"""The API's own context variable; None where the user has another runtime context (``OTEL_PYTHON_CONTEXT``)."""


current: Callable[[], Context] = context_api.get_current if variable is None else variable.get
"""The current OpenTelemetry context. The variable's own method, so that asking makes no Python frame."""


begin: Callable[[Context], Any] = context_api.attach if variable is None else variable.set
"""Make a context current. For what is whole in itself, such as a job in a thread of a pool: it begins and ends in one
Context, where there is nothing around it that :func:`leave` would have to look at."""
_reset: Callable[[Any], None] = context_api.detach if variable is None else variable.reset


def restore(token: Any) -> None:
    """Make current what was before :func:`begin`. What goes wrong is reported: it must not replace the user's result.

    Args:
        token: what :func:`begin` has returned. In another Context it changes nothing.
    """
    try:
        _reset(token)
    except Exception:
        faults.report("engine: the end of a block")


def leave(token: Token[Context], span: trace.Span | None) -> bool:
    """End a block: what was current before it is current again, if this is the Context that it began in.

    A span that has ended is not made current again. There is one exception: if the span's block was entered in another
    Context, it is. So a task stays in the trace of the request that started it, also after the request's end.

    Args:
        token: of the block's beginning. It must not have been given before.
        span: what the block made current.

    Returns:
        Whether the block is over; False: this is another Context, in which nothing has changed.
    """
    assert variable is not None  # or there would be no token
    previous = token.old_value
    ended = _ended_in(previous)
    wanted: Any = previous
    if ended is not None:
        if getattr(ended, "_token", None) is not None:  # its block goes on: it was ended by hand
            wanted = _before_ended(previous)
        elif not _is_inside(variable.get(), span):
            return True  # the block around this one was left in this very Context, and this one with it
    try:
        variable.reset(token)
    except ValueError:
        return False
    if wanted is not previous:
        variable.set(wanted)
    return True


def _ended_in(context: Any) -> trace.Span | None:
    """The span of ``context``, if there is one and it has ended. ``context`` may be ``Token.MISSING``."""
    span = context.get(SPAN_KEY) if context and context is not Token.MISSING else None
    if span is None:
        return None
    try:
        return span if span._end else None
    except AttributeError:
        return span if getattr(span, "end_time", None) is not None else None


def _before_ended(context: Any) -> Context:
    """The nearest context around that has no ended span; at the latest, ``context`` without one."""
    found = context
    while (span := _ended_in(found)) is not None:
        token = getattr(span, "_token", None)
        if token is None:
            return Context({key: value for key, value in found.items() if key != SPAN_KEY})
        found = token.old_value
    return Context() if found is Token.MISSING else found


def _is_inside(context: Context, span: trace.Span | None) -> bool:
    """Whether ``context`` was made in the block of ``span``: its span is that one, or has a block further inside."""
    found = context.get(SPAN_KEY)
    while found is not span:
        token = getattr(found, "_token", None)
        if token is None or token.old_value is Token.MISSING:
            return False
        found = token.old_value.get(SPAN_KEY)
    return True


class Activation:
    """A context that was made current; :meth:`end` ends that, once. See :func:`leave`."""

    __slots__ = ("_block", "_span", "_token")

    def __init__(self, context: Context) -> None:
        self._span = current_span(context)
        self._block: Any = None  # the span of ours, if any, whose block this is
        self._token: Token[Context] | None
        self._token = context_api.attach(context) if variable is None else variable.set(context)

    def end(self) -> None:
        """Make current again what was current before."""
        if self._token is None:
            return
        if variable is None:  # a runtime context of the user's own (OTEL_PYTHON_CONTEXT)
            if current_span() is self._span:
                context_api.detach(self._token)
        elif not leave(self._token, self._span):
            return
        self._token = None
        if self._block is not None:
            self._block._token = None


def attach(context: Context) -> Activation:
    """Make ``context`` current until the returned activation ends."""
    return Activation(context)


def enter(span: trace.Span, context: Context | None = None) -> Activation:
    """Begin the block of ``span``: make it current, with what else is in ``context`` (default: the current one)."""
    activation = Activation(with_span(span, context))
    if hasattr(span, "_token"):  # one of ours
        activation._block = span
        span._token = activation._token
    return activation


def with_span(span: trace.Span, context: Context | None = None) -> Context:
    """A copy of ``context`` (default: the current one) in which ``span`` is current."""
    # A plain dict serves as a context: it is only ever read or copied, and a Context costs twice as much to make.
    return cast("Context", {**(current() if context is None else context), SPAN_KEY: users_span(span)})


def current_span(context: Context | None = None) -> trace.Span | None:
    """The span of ``context`` (default: the current one), or None."""
    span = (current() if context is None else context).get(SPAN_KEY)
    return cast("trace.Span | None", span)


def in_trace() -> bool:
    """Whether a span that starts now has a parent, recorded or not: otherwise it begins a trace."""
    span = current_span()
    return span is not None and span.get_span_context().is_valid


def is_suppressed(context: Context) -> bool:
    """Whether somebody asked that nothing be traced here (exporters do, around their own traffic)."""
    return bool(context) and any(context.get(key) for key in _SUPPRESS_KEYS)


def suppressed_context() -> Context:
    """The current context, with nothing traced in it, neither by us nor by other OpenTelemetry instrumentations."""
    return Context({**current(), **SUPPRESSED})


@contextmanager
def suppress() -> Iterator[None]:
    """Trace nothing inside the block."""
    activation = attach(suppressed_context())
    try:
        yield
    finally:
        activation.end()


def is_recorded(context: Context, *, roots: bool) -> bool:
    """Whether an operation that starts in ``context`` is to be recorded, as far as its parent decides.

    Args:
        context: where it would start.
        roots: the answer where there is no parent at all.
    """
    if is_suppressed(context):
        return False
    span = current_span(context)
    if span is None:
        return roots
    if span.is_recording():
        return True
    # The span has ended, as that of a request whose task goes on, or it stands for a caller in another process.
    parent = span.get_span_context()
    return parent.trace_flags.sampled if parent.is_valid else roots


def without_span() -> Context:
    """The current context without its span, remembering what it was detached from (see :func:`detached_from`)."""
    values: dict[str, Any] = dict(current())
    span = values.pop(SPAN_KEY, None)
    if span is not None and span.get_span_context().is_valid:
        values[_DETACHED_KEY] = span.get_span_context()
    return Context(values)


def incoming() -> Context:
    """The current context without any span: where work begins that another process asks for.

    A server may have been started inside a span, or inside :func:`without_span`. Neither is the cause of its requests.
    """
    values = current()
    if SPAN_KEY not in values and _DETACHED_KEY not in values:
        return values
    return Context({key: value for key, value in values.items() if key not in (SPAN_KEY, _DETACHED_KEY)})


def detached_from(context: Context) -> trace.SpanContext | None:
    """The span that ``context`` was cut off from by :func:`without_span`, if any."""
    return cast("trace.SpanContext | None", context.get(_DETACHED_KEY))
