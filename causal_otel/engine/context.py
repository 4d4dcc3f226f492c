"""What is current: activation of contexts and the questions asked of them.

The value lives in the OpenTelemetry API's own runtime context, so that ``opentelemetry.trace.get_current_span()``
sees our spans and we see other libraries'. Activation sets the variable; deactivation puts the previous value back
only where ours is still current. It compares values instead of resetting a token: a token belongs to one
``contextvars.Context`` and raises in any other, which is what "Failed to detach context" is about.
"""

from __future__ import annotations

from contextlib import contextmanager
from contextvars import ContextVar, Token
from typing import TYPE_CHECKING, Any, cast

from opentelemetry import context as context_api
from opentelemetry import trace
from opentelemetry.context import Context

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

__all__ = [
    "SPAN_KEY",
    "Activation",
    "attach",
    "current",
    "current_span",
    "detached_from",
    "incoming",
    "is_recorded",
    "suppressed",
    "suppressing",
    "suppression",
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

variable: ContextVar[Context] | None = getattr(getattr(context_api, "_RUNTIME_CONTEXT", None), "_current_context", None)
"""The API's own context variable; None where the user has another runtime context (``OTEL_PYTHON_CONTEXT``)."""


current: Callable[[], Context] = context_api.get_current if variable is None else variable.get
"""The current OpenTelemetry context. The variable's own method, so that asking makes no Python frame."""


class Activation:
    """A context that was made current; :meth:`end` puts the one before it back, once."""

    __slots__ = ("_context", "_previous", "_token")

    def __init__(self, context: Context) -> None:
        self._context = context
        self._token: Token[Context] | None = None
        if variable is None:  # a runtime context of the user's own (OTEL_PYTHON_CONTEXT)
            self._previous = context_api.get_current()
            self._token = context_api.attach(context)
        else:
            self._previous = variable.get()
            variable.set(context)

    def end(self) -> None:
        """Make the previous context current again; does nothing where something else is current by now."""
        if variable is None:
            if self._token is not None and context_api.get_current() is self._context:
                context_api.detach(self._token)
            self._token = None
        elif variable.get() is self._context:
            variable.set(self._previous)


def attach(context: Context) -> Activation:
    """Make ``context`` current until the returned activation ends."""
    return Activation(context)


def with_span(span: trace.Span, context: Context | None = None) -> Context:
    """A copy of ``context`` (default: the current one) in which ``span`` is current."""
    return Context({**(current() if context is None else context), SPAN_KEY: span})


def current_span(context: Context | None = None) -> trace.Span | None:
    """The span of ``context`` (default: the current one), or None."""
    span = (current() if context is None else context).get(SPAN_KEY)
    return cast("trace.Span | None", span)


def suppressed(context: Context) -> bool:
    """Whether somebody asked that nothing be traced here (exporters do, around their own traffic)."""
    return any(context.get(key) for key in _SUPPRESS_KEYS)


def suppressing() -> Context:
    """The current context, with nothing traced in it, neither by us nor by other OpenTelemetry instrumentations."""
    return Context({**current(), **dict.fromkeys(_SUPPRESS_KEYS, True)})


@contextmanager
def suppression() -> Iterator[None]:
    """Trace nothing inside the block."""
    activation = attach(suppressing())
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
    if suppressed(context):
        return False
    span = current_span(context)
    if span is None:
        return roots
    if span.is_recording():
        return True
    # It has ended, as a request has whose task goes on, or it stands for a caller in another process.
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
    """The current context without a trace of any trace: what work asked for by another process starts in.

    A server may have been started inside a span, or inside :func:`without_span`; neither says why a request came.
    """
    values = current()
    if SPAN_KEY not in values and _DETACHED_KEY not in values:
        return values
    return Context({key: value for key, value in values.items() if key not in (SPAN_KEY, _DETACHED_KEY)})


def detached_from(context: Context) -> trace.SpanContext | None:
    """The span that ``context`` was cut off from by :func:`without_span`, if any."""
    return cast("trace.SpanContext | None", context.get(_DETACHED_KEY))
