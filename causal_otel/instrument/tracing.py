"""What a patch sees of the tracer: is this call recorded, start a span, begin an operation."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Generic, TypeVar

from opentelemetry.trace import INVALID_SPAN, SpanKind, TraceFlags

from causal_otel._internal import faults
from causal_otel.causality.code_origin import tell_origin, with_origin
from causal_otel.engine import context, outcome
from causal_otel.engine.adoption import as_sampled, take_over
from causal_otel.engine.context import SPAN_KEY
from causal_otel.engine.exceptions import capture
from causal_otel.engine.foreign import is_ours, starter
from causal_otel.engine.unsampled import ExcludedSpan
from causal_otel.instrument.baggage import BaggageBorder
from causal_otel.instrument.errors import BY_CLASS, error_name
from causal_otel.instrument.exclusion import match_names, match_urls
from causal_otel.instrument.hooks import Hooks
from causal_otel.instrument.operation import Observation, Running
from causal_otel.instrument.options import ClientOptions, Options

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from opentelemetry.context import Context
    from opentelemetry.trace import Link, Span, Tracer

    from causal_otel.causality.loop_lag import LoopMetrics
    from causal_otel.engine.redaction import Redaction
    from causal_otel.instrument.errors import Errors
    from causal_otel.instrument.exclusion import Excluded
    from causal_otel.instrument.measured import OperationMetrics, PoolMetrics
    from causal_otel.instrument.operation import Observer, Operation

__all__ = ["Tracing"]

_current = context.current
_LONGEST_REDACTED = 4096
"""How many characters of a text are redacted before it is cut: looking at all of a long one would take seconds."""

OptionsT = TypeVar("OptionsT", bound=Options)


class _AnyCore:
    """Stands for the core of a provider that is not ours: nothing can be decided without asking it."""

    drops_roots = False
    fast_drop = False
    buffer = None
    redaction = None


class Tracing(Generic[OptionsT]):
    """The handle given to a patch's wrappers, made with the tracer that spans come from.

    That is ours, or one of the provider that the user gave. Starting a span never raises, nor does a method of one.

    Attributes:
        options: the patch's options.
        active: the switch; off after an uninstall.
        flush: exports what is waiting, within a number of seconds; tells whether all of it arrived.
        border: where baggage may go, and how much of it may come in.
        excluded: tells what is excluded; None: nothing. Ask once, when wrapping, whether it is None.
        redaction: takes secrets out of exceptions before they are recorded on another provider's spans.
        ours: whether the tracer is ours.
        observers: who is told of each operation.
        metrics: what measures operations; None: nothing does.
        pools: what measures pools of connections; None: nothing does.
        loops: what measures event loops; None: nothing does.
        counts_active: whether the metrics want to know of the beginning of operations.
        measures: whether anybody wants to know of operations as well that no span is recorded of.
        slow_plumbing: seconds from which on plumbing that goes well is a span, too.
        about: the service, and where its spans go, in words.
    """

    excluded: Excluded | None = None

    def __init__(
        self,
        tracer: Tracer,
        options: OptionsT,
        flush: Callable[[float], bool],
        border: BaggageBorder | None = None,
        redaction: Redaction | None = None,
        observers: tuple[Observer, ...] = (),
        metrics: OperationMetrics | None = None,
        pools: PoolMetrics | None = None,
        loops: LoopMetrics | None = None,
        about: str = "",
    ) -> None:
        self._start = start = starter(tracer)
        self.redaction = redaction
        self.ours = is_ours(tracer)
        self.border = border or BaggageBorder()
        self.options = options
        if options.excluded:
            self.excluded = (match_urls if options.by_url else match_names)(options.excluded)
        if options.request_hook is not None or options.response_hook is not None:
            observers = (*observers, Hooks(options.request_hook, options.response_hook))
        self.observers = observers
        self.metrics = metrics
        self.pools = pools
        self.loops = loops
        self.counts_active = metrics is not None and metrics.counts_active
        self.measures = metrics is not None or any(observer.unsampled for observer in observers)
        self.active = True
        self.about = about
        self.flush = flush
        self._roots = not getattr(options, "require_parent", False)
        slow = getattr(options, "slow_plumbing", None)
        self.slow_plumbing = math.inf if slow is None else slow
        self._core: Any = getattr(tracer, "core", _AnyCore) if self.ours else _AnyCore
        # Tasks and requests carry a trace on that the sampler has dropped; operations of clients leave no trace of it.
        self._is_client = isinstance(options, ClientOptions)
        # Ours starts leaves cheaply; anybody else's tracer has what the API prescribes.
        self.start_leaf: Callable[[str, SpanKind, dict[str, Any]], Span] = getattr(
            tracer, "start_leaf", lambda name, kind, attributes: start(name, None, kind, attributes)
        )
        """Start a span under the current one that is not made current: name, kind, and attributes that nobody changes
        any more, so that one dict may serve any number of spans. The caller keeps the span and ends it."""
        self._tells_origin = getattr(options, "code_origin", False)
        if self._tells_origin:
            self.start_leaf = with_origin(self.start_leaf)
        self.start_entry: Callable[[str, SpanKind, dict[str, Any], Context], Span] = getattr(
            tracer, "start_entry", lambda name, kind, attributes, parent: start(name, parent, kind, attributes)
        )
        """Start the span of what another process has asked for, in a context in which its parent is, if it has one."""

    def recorded(self) -> bool:
        """Whether an operation that starts now is recorded, as far as can be told before naming it.

        Ask this before anything else: where the answer is no, call through at once.
        """
        if not self.active:
            return False
        found = _current()
        if not found:
            return self._roots and not (self._is_client and self._core.drops_roots)
        if len(found) == 1:  # a span and nothing else, as nearly always
            try:
                local: Any = found[SPAN_KEY]._local_trace  # type: ignore[attr-defined]  # one of ours
                if local.recorded:
                    return True
                if not local.flags & TraceFlags.SAMPLED:
                    return False
            except (KeyError, AttributeError):
                pass
        try:
            return context.is_recorded(found, roots=self._roots)
        except Exception:  # of a span that is not ours
            faults.report("whether the current span is recorded")
            return False

    def is_active(self) -> bool:
        """Whether the patch is at work: not after an uninstall."""
        return self.active

    def wanted(self) -> bool:
        """Whether anybody wants to know of an operation that starts now: where ``measures``, ask this instead."""
        return self.recorded() or self.measurable()

    def measurable(self) -> bool:
        """Whether an operation that starts now is measured though no span is recorded of it."""
        if not (self.active and self.measures):
            return False
        found = _current()
        if not found:
            return True
        return type(found.get(SPAN_KEY)) is not ExcludedSpan and (len(found) == 1 or not context.is_suppressed(found))

    def drops_unsampled(self) -> bool:
        """Whether an operation in a trace that is not sampled leaves nothing behind, so that nobody need describe it.

        Not where the provider is another one, buffers traces that are not sampled, or asks the sampler of every span.
        """
        return self._core.fast_drop and self._core.buffer is None and not self.observers and self.metrics is None

    def starts_trace(self) -> bool:
        """Whether an operation that starts now begins a trace, sampled or not.

        An operation that carries its context to another process does so also if it is not sampled: then the other
        process records nothing either.
        """
        return self.active and self._roots and not context.is_suppressed(_current()) and not context.in_trace()

    def leaf(self, operation: Operation, errors: Errors = BY_CLASS, objects: tuple[Any, ...] = ()) -> Running | None:
        """Begin an operation under the current span, which stays current; None: nothing that starts a trace.

        Args:
            operation: which one.
            errors: how the driver's errors are told.
            objects: the driver's own, for the hooks.
        """
        if operation.background and not context.in_trace():
            return None
        if self.measures and not self.recorded():
            return self.running(operation, INVALID_SPAN, errors, objects)
        span = self.start_leaf(operation.name, operation.kind, operation.attributes)
        if operation.own is not None:
            span.set_attributes(operation.own)
        if self.observers:
            return self.running(operation, span, errors, objects)
        return Running(operation, span, errors, None, None, self.metrics)

    def begin(
        self,
        operation: Operation,
        errors: Errors = BY_CLASS,
        objects: tuple[Any, ...] = (),
        parent: Context | None = None,
        links: Sequence[Link] | None = None,
    ) -> Running:
        """Begin an operation whose span will be current inside: the caller says where.

        Args:
            operation: which one.
            errors: how the driver's errors are told.
            objects: the driver's own, for the hooks.
            parent: the context to find the parent in; default: the current one.
            links: to spans that are no parent of it.
        """
        attributes = operation.attributes if operation.own is None else {**operation.attributes, **operation.own}
        span = self._start(operation.name, parent, operation.kind, attributes, links)
        if self._tells_origin:
            tell_origin(span)
        return self.running(operation, span, errors, objects)

    def entry(self, operation: Operation, objects: tuple[Any, ...], parent: Context) -> Running:
        """Begin what another process has asked for, such as a request: the caller makes its span current.

        Args:
            operation: which one.
            objects: for the hooks.
            parent: the context to find the parent in: of :func:`~causal_otel.engine.context.incoming`, with what the
                request adds to it.
        """
        span = self.start_entry(operation.name, operation.kind, operation.attributes, parent)
        return self.running(operation, span, BY_CLASS, objects)

    def running(
        self,
        operation: Operation,
        span: Span,
        errors: Errors = BY_CLASS,
        objects: tuple[Any, ...] = (),
        inside: Context | None = None,
    ) -> Running:
        """An operation whose span has been started just now.

        Args:
            operation: which one.
            span: its span, recorded or not.
            errors: how the driver's errors are told.
            objects: the driver's own, for the hooks.
            inside: the context that is current while the driver works; None: the caller's.
        """
        if not self.observers:
            return Running(operation, span, errors, inside, None, self.metrics)
        observation = Observation(self.observers, objects)
        running = Running(operation, span, errors, inside, observation, self.metrics)
        observation.start(running)
        return running

    def start(
        self,
        name: str,
        kind: SpanKind,
        attributes: Mapping[str, Any],
        parent: Context | None = None,
        start_time: int | None = None,
        links: Sequence[Link] | None = None,
    ) -> Span:
        """Start a span that is not current: the caller keeps it in a local variable and ends it.

        Args:
            name: the span's name.
            kind: its kind.
            attributes: all that is known now, in one mapping.
            parent: the context to find the parent in; default: the current one.
            start_time: Unix time in nanoseconds; default: now.
            links: to spans that are no parent of it.
        """
        return self._start(name, parent, kind, attributes, links, start_time)

    def adopt(
        self,
        name: str,
        kind: SpanKind,
        attributes: Mapping[str, Any],
        parent: Context,
        identity: tuple[int, int] | None,
        start_time: int,
        links: Sequence[Link] | None = None,
    ) -> Span:
        """Start a span again that another process had begun when it was killed.

        Another provider than ours cannot be told an identity: its span has the parent, and an id of its own.

        Args:
            name: the span's name.
            kind: its kind.
            attributes: all that is known of it.
            parent: the context to find the parent in.
            identity: its trace id and its span id; None: they are not known.
            start_time: Unix time in nanoseconds.
            links: to spans that are no parent of it.
        """
        if identity is None or not self.ours:
            return self._start(name, parent, kind, attributes, links, start_time)
        context, root = as_sampled(parent, identity)
        span = self._start(name, context, kind, attributes, links, start_time)
        take_over(span, identity[1], root=root)
        return span

    def record_exception(self, span: Span, error: BaseException) -> None:
        """Add the ``exception`` event: type, message as redaction leaves it, and the stack without source lines.

        A span of ours with a redaction of its own does all that when it is exported; any other one is told the result.
        """
        if self._core.redaction is not None:
            span.record_exception(error)
            return
        attributes = capture(error).attributes()
        if self.redaction is not None:
            attributes = {key: self.redaction.value(key, value) for key, value in attributes.items()}
        span.add_event("exception", attributes)

    def raised(self, running: Running, error: BaseException) -> None:
        """Say that an operation has failed because the user's own code raised ``error``; a cancellation is none.

        Unlike an error of a driver it is told with its message and stack, and ``SystemExit`` is one as well.

        Args:
            running: the operation, which goes on until its ``end()``.
            error: what was raised.
        """
        if outcome.is_cancellation(error) or isinstance(error, GeneratorExit):
            running.failed(error)
            return
        self.record_exception(running.span, error)
        running.fail(error_name(error), type(error).__name__)

    def shortened(self, key: str, text: str, longest: int) -> str:
        """What is recorded of a text of the application's, which may be long and hold secrets.

        An export redacts what it is given, and knows no secret of which only the beginning is left: so a text that is
        cut is redacted before. Another provider than ours redacts nothing: its spans are given what is left of any.

        Args:
            key: the attribute's.
            text: its value.
            longest: how many characters are recorded at most.
        """
        redaction = self._core.redaction
        if redaction is None:
            redaction = self.redaction
        elif len(text) <= longest:
            return text
        text = text[:_LONGEST_REDACTED]
        return (text if redaction is None else str(redaction.value(key, text)))[:longest]

    def start_excluded(self, parent: Context | None = None) -> Span:
        """What is to be current instead of a span inside something that is excluded.

        Args:
            parent: the context to find the trace in that is carried on; default: the current one.
        """
        span = context.current_span(parent)
        return ExcludedSpan(None if span is None else span.get_span_context())
