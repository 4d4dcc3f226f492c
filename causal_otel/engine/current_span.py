"""What our ``start_as_current_span`` returns: the span itself, started when its block is entered.

Two cases are handled here, because they are frequent. Under a recorded span of ours a block makes one object and one
context. In a trace that is not sampled it makes one object, and the context stays as it is. In all other cases the
tracer starts the span. Decorating is left to a :class:`~causal_otel.engine.block.SpanBlock`.
"""

from __future__ import annotations

from contextvars import Token
from time import perf_counter_ns
from typing import TYPE_CHECKING, Any, NamedTuple, TypeVar

from opentelemetry.context import Context
from opentelemetry.trace import NonRecordingSpan, TraceFlags

from causal_otel._internal import process
from causal_otel.engine import outcome
from causal_otel.engine.block import SpanBlock
from causal_otel.engine.context import SPAN_KEY, enter, leave, variable
from causal_otel.engine.environ import callers
from causal_otel.engine.span import Span
from causal_otel.engine.thread_waits import take_thread_wait, waits
from causal_otel.engine.unsampled import ExcludedSpan, UnsampledSpan
from causal_otel.engine.values import frozen_dict

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from types import TracebackType

    from opentelemetry import trace
    from opentelemetry.trace import Link

    from causal_otel.engine.context import Activation
    from causal_otel.engine.local_trace import LocalTrace

__all__ = ["CurrentSpan", "RareArguments"]

F = TypeVar("F", bound="Callable[..., Any]")


class RareArguments(NamedTuple):
    """Arguments of ``start_as_current_span`` that hardly anybody gives."""

    context: Context | None = None
    links: Sequence[Link] | None = None
    start_time: int | None = None
    end_on_exit: bool = True


_DEFAULTS = RareArguments()
_LEFT = RareArguments()
"""A sentinel in place of the arguments: the block has been left, and cannot be entered again."""
_BY_TRACER: Any = object()
"""A sentinel in place of the token: the tracer has started a span, which is another object, kept in ``_by_tracer``."""


class CurrentSpan(Span):
    """A span that is current inside its block: ``with tracer.start_as_current_span("x") as span``.

    Before its block is entered it only holds the arguments for the span, and can be used as a decorator.
    """

    __slots__ = ("_rare", "_token")

    _token: Token[Context] | None  # while its block goes on
    _rare: RareArguments | None  # a slot, because reading a default from the class is slower
    _by_tracer: tuple[trace.Span, Activation]

    def __enter__(self) -> trace.Span:  # another object, if no span is recorded
        self._token = None
        if variable is None:
            return self._enter_by_tracer()
        previous = variable.get()
        core = self._tracer.core
        parent: Any = previous.get(SPAN_KEY)
        if parent is None:
            attributes = self._attributes
            if previous or callers or self._rare is not None or (attributes and len(attributes) > core.max_attributes):
                return self._enter_by_tracer()
            local = core.new_trace(self._name, self._kind, attributes)
            if local is None:
                return self._enter_by_tracer()
        else:
            try:
                local = parent._local_trace  # only ours have it
            except AttributeError:
                return self._enter_under(parent)
        if not local.recorded:
            if type(parent) is UnsampledSpan and core.fast_drop and self._rare is None:
                return parent  # nothing to start, and nothing else to make current
            return self._enter_unrecorded(parent, local)
        if self._rare is not None or not core.fast_child:
            return self._enter_by_tracer()
        attributes = self._attributes
        if attributes:
            if len(attributes) > core.max_attributes:
                return self._enter_by_tracer()
            self._attributes = frozen_dict(attributes)
        elif attributes is not None:
            self._attributes = None  # not the caller's empty mapping
        self._local_trace = local
        self._parent_span = parent
        self._id = None
        self._detailed = False
        self._end = 0
        self._open = process.token
        # A plain dict serves as a context: it is only ever read or copied, and a Context costs twice as much to make.
        context: Any = {SPAN_KEY: self} if len(previous) == 1 else {**previous, SPAN_KEY: self}
        self._token = variable.set(context)
        core.counts.fast += 1
        self._start = perf_counter_ns()
        if waits:
            take_thread_wait(self)
        if local.buffered is not None:
            core.counts.record_only("none" if parent is None else "local")
            if parent is None:
                local.buffered.begin(self)
        return self

    def __exit__(
        self, exc_type: type[BaseException] | None, exc_val: BaseException | None, exc_tb: TracebackType | None
    ) -> None:
        token = self._token
        if token is None:
            return
        if token is _BY_TRACER:
            self._exit_by_tracer(exc_val)
            return
        self._token = None  # it holds the context, which holds this span: no cycle for the collector to find
        previous: Any = token.old_value
        try:
            # This does what leave() does, which is not called: its call would make a block a tenth slower.
            if previous is Token.MISSING or not previous or not previous[SPAN_KEY]._end:
                variable.reset(token)  # type: ignore[union-attr]  # or there would be no token
            else:
                leave(token, self)
        except ValueError:
            pass  # another Context
        except (KeyError, AttributeError):  # there is no span around, or somebody else's
            leave(token, self)
        self._rare = _LEFT
        if exc_val is not None:
            outcome.record_outcome(self, exc_val, record=self._record_exception, status=self._set_status_on_exception)
        self.end()

    def _enter_unrecorded(self, parent: trace.Span | None, local: LocalTrace) -> trace.Span:
        if self._rare is None:
            if parent is None:  # a root that the sampler drops
                dropped = UnsampledSpan(local, self._tracer.core)
                self._open = None  # nothing to end
                self._end = 1  # and nothing to record
                context: Any = {SPAN_KEY: dropped}
                self._token = variable.set(context)  # type: ignore[union-attr]
                return dropped
            if type(parent) is ExcludedSpan:
                return parent
        return self._enter_by_tracer()

    def _enter_under(self, parent: trace.Span) -> trace.Span:
        """Enter under somebody else's span, or what stands for a span in another process."""
        core = self._tracer.core
        fast = core.fast_drop and core.buffer is None  # a buffer may want the span
        if fast and self._rare is None and type(parent) is NonRecordingSpan:
            identity = parent.get_span_context()
            if identity.is_valid and not identity.trace_flags & TraceFlags.SAMPLED:
                return parent
        return self._enter_by_tracer()

    def _enter_by_tracer(self) -> trace.Span:
        if self._rare is _LEFT:
            raise RuntimeError("a span has one block: call start_as_current_span() again for another one")
        span = self._start_span()
        self._by_tracer = span, enter(span)
        self._token = _BY_TRACER
        return span

    def _exit_by_tracer(self, error: BaseException | None) -> None:
        span, activation = self._by_tracer
        self._token = None
        del self._by_tracer
        activation.end()
        if error is not None:
            outcome.record_outcome(span, error, record=self._record_exception, status=self._set_status_on_exception)
        if self._given.end_on_exit:
            span.end()
        self._rare = _LEFT

    @property
    def _given(self) -> RareArguments:
        return self._rare or _DEFAULTS

    def _start_span(self) -> trace.Span:
        given = self._given
        return self._tracer.start_span(
            self._name,
            given.context,
            self._kind,
            self._attributes,
            given.links,
            given.start_time,
            self._record_exception,
            self._set_status_on_exception,
        )

    def __call__(self, function: F) -> F:
        """Decorate ``function``: see :meth:`SpanBlock.__call__ <causal_otel.engine.block.SpanBlock.__call__>`."""
        scope = SpanBlock(
            self._start_span,
            record=self._record_exception,
            status=self._set_status_on_exception,
            end_on_exit=self._given.end_on_exit,
        )
        return scope(function)
