"""What our ``start_as_current_span`` returns: the span itself, started when its block is entered.

The usual case, a block under a recorded span of ours, makes one object and one context; a block in a trace that is not
sampled makes the object only, and leaves current what is. Everything else, and decorating, is left to a
:class:`~causal_otel.engine.scope.SpanScope`.
"""

from __future__ import annotations

from time import perf_counter_ns
from typing import TYPE_CHECKING, Any, TypeVar

from opentelemetry.trace import NonRecordingSpan

from causal_otel.engine import outcome, process
from causal_otel.engine.context import SPAN_KEY, variable
from causal_otel.engine.scope import SpanScope
from causal_otel.engine.span import Span, copied

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from types import TracebackType

    from opentelemetry import trace
    from opentelemetry.context import Context
    from opentelemetry.trace import Link

__all__ = ["CurrentSpan"]

F = TypeVar("F", bound="Callable[..., Any]")


class CurrentSpan(Span):
    """A span that is current inside its block: ``with tracer.start_as_current_span("x") as span``.

    Before the block is entered it is no span yet, but the arguments for one, and a decorator.
    """

    __slots__ = ("_active", "_previous")

    _active: Context | None
    _previous: Context | None
    _given: tuple[Context | None, Sequence[Link] | None, int | None] = (None, None, None)
    _usual: bool = True
    _end_on_exit: bool = True
    _scope: SpanScope | None = None

    def __enter__(self) -> trace.Span:  # where it is not recorded, it is another one
        self._active = None
        provider = self._tracer.provider
        if variable is None or not self._usual:
            return self._enter_scope()
        previous = variable.get()
        parent: Any = previous.get(SPAN_KEY)
        try:
            flags = parent._flags
        except AttributeError:  # none of ours: usually what stands for a trace that is not sampled
            if provider.quick_drop and type(parent) is NonRecordingSpan:
                identity = parent.get_span_context()
                if identity.is_valid and not identity.trace_flags & 1:
                    return parent  # nothing to start, and nothing else to make current
            return self._enter_scope()
        attributes = self._attributes
        if not (flags & 1 and provider.quick) or (attributes is not None and len(attributes) > provider.max_attributes):
            return self._enter_scope()
        if attributes:
            self._attributes = copied(attributes)
        self._flags = flags
        self._trace_id = parent._trace_id
        self._parent_id = parent._span_id
        if parent._trace_state is not None:
            self._trace_state = parent._trace_state
        self._span_id = provider.new_span_id()
        self._clock = clock = parent._clock
        self._end = 0
        self._open = process.home
        self._previous = previous
        # A plain dict serves as a context: it is only ever read or copied, and a Context costs twice as much to make.
        context: Any = {SPAN_KEY: self} if len(previous) == 1 else {**previous, SPAN_KEY: self}
        self._active = context
        variable.set(context)
        self._start = perf_counter_ns() + clock
        return self

    def __exit__(
        self, exc_type: type[BaseException] | None, exc_val: BaseException | None, exc_tb: TracebackType | None
    ) -> None:
        active = self._active
        if active is None:
            if self._scope is not None:
                self._scope.__exit__(exc_type, exc_val, exc_tb)
            return
        if variable is not None and variable.get() is active:
            variable.set(self._previous)  # type: ignore[arg-type]
        self._active = self._previous = None  # the context holds this span: no cycle for the collector to find
        if exc_val is not None:
            outcome.fail(self, exc_val, record=self._record_exception, status=self._set_status_on_exception)
        if self._end_on_exit:
            self.end()

    def _enter_scope(self) -> trace.Span:
        self._scope = self._as_scope()
        return self._scope.__enter__()

    def _as_scope(self) -> SpanScope:
        context, links, start_time = self._given

        def start() -> trace.Span:
            return self._tracer.start_span(
                self._name,
                context,
                self._kind,
                self._attributes,
                links,
                start_time,
                self._record_exception,
                self._set_status_on_exception,
            )

        return SpanScope(
            start, record=self._record_exception, status=self._set_status_on_exception, end_on_exit=self._end_on_exit
        )

    def __call__(self, function: F) -> F:
        """Decorate ``function``: every call of it is one span, which lasts until its last item if it generates."""
        return self._as_scope()(function)
