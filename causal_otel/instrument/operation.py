"""An operation of a driver, and one that is under way: its span, the parts of its time, and its one end.

Whatever shape a call has (a query, a request with a body that is read later, the execution of a task), it is a
:class:`Running`, and :meth:`Running.end` is where it ends. So what has to be known at the end of every operation (how
long it waited, a metric, a hook) is told in one place.
"""

from __future__ import annotations

from time import perf_counter, perf_counter_ns
from typing import TYPE_CHECKING, Any, Protocol

from opentelemetry.trace import SpanKind, StatusCode

from causal_otel._internal import faults
from causal_otel.instrument.errors import BY_CLASS, mark_failed
from causal_otel.instrument.parts import noteworthy, parts_of
from causal_otel.names import DB_QUERY_TEXT, DB_RESPONSE_RETURNED_ROWS, ERROR_TYPE

if TYPE_CHECKING:
    from collections.abc import Hashable

    from opentelemetry.context import Context
    from opentelemetry.trace import Span

    from causal_otel.instrument.errors import Errors
    from causal_otel.instrument.exclusion import Excluded
    from causal_otel.instrument.measured import OperationMetrics, Rows

__all__ = ["Observation", "Observer", "Operation", "Running", "number_of_rows"]


_OUTCOMES = 4
"""Of an operation that are remembered: those of one row or none, mostly."""


class Operation:
    """What a call is, in the words of the semantic conventions. Nobody changes one once it is made.

    Args:
        name: the name of its spans.
        attributes: all its spans share this very dict, which is encoded once. So it holds nothing of one call only.
        own: attributes of this call only, such as the size of a batch.
        kind: the kind of its spans.
        plumbing: whether it is a span only if it fails or is cancelled.
        background: whether it is done on the driver's own account, or is a wait for work, such as a ping or a blocking
            pop. Then it starts no trace: it is recorded only inside a span. And it has no metrics.
        measured: whether it has the metrics that the patch declares for its kind.

    Attributes:
        special: whether there is anything to it but a name, a kind and attributes.
        cells: the metrics remember here which of their cells count it; nothing else reads or sets it.
    """

    __slots__ = (
        "_outcomes",
        "attributes",
        "background",
        "cells",
        "kind",
        "measured",
        "name",
        "own",
        "plumbing",
        "special",
    )

    def __init__(
        self,
        name: str,
        attributes: dict[str, Any],
        own: dict[str, Any] | None = None,
        kind: SpanKind = SpanKind.CLIENT,
        plumbing: bool = False,
        background: bool = False,
        measured: bool = True,
    ) -> None:
        self.name = name
        self.attributes = attributes
        self.own = own
        self.kind = kind
        self.plumbing = plumbing
        self.background = background
        self.measured = measured and not background
        self.special = own is not None or plumbing or background
        self.cells: Any = None
        self._outcomes: dict[Any, dict[str, Any]] = {}

    def tell(self, span: Span, key: Hashable, learned: dict[str, Any]) -> None:
        """Set on one of its spans what others of them learn as well: they all share one dict, which is encoded once.

        Args:
            span: the span.
            key: stands for ``learned``.
            learned: the attributes, the same whenever ``key`` is. Nobody changes the dict any more.
        """
        share = getattr(span, "share", None)  # a leaf of ours has it
        if share is not None:
            shared = self._outcomes.get(key)
            if shared is None and len(self._outcomes) < _OUTCOMES:
                shared = self._outcomes[key] = {**self.attributes, **learned}
            if shared is not None and share(self.attributes, shared):
                return
        span.set_attributes(learned)

    def fits(self, excluded: Excluded) -> bool:
        """Whether it is excluded by its name, or by the text of its query as it would be recorded."""
        text = (self.own or {}).get(DB_QUERY_TEXT) or self.attributes.get(DB_QUERY_TEXT, "")
        return excluded(self.name) or excluded(text)

    def of_this_call(self, own: dict[str, Any]) -> Operation:
        """The same operation, with attributes of one call."""
        own = {**(self.own or {}), **own}
        return Operation(self.name, self.attributes, own, self.kind, self.plumbing, self.background, self.measured)


class Observer(Protocol):
    """Is told of every operation of a patch, at its beginning and at its end. What it raises is contained.

    Attributes:
        unsampled: whether it is told of operations too that no span is recorded of, as a metric must be.
    """

    unsampled: bool

    def started(self, running: Running, observation: Observation) -> None:
        """The operation is about to begin."""

    def ended(self, running: Running, observation: Observation) -> None:
        """The operation is over; its span, if it is recorded, has not ended yet."""


class Observation:
    """What the observers of a patch know of one operation.

    Attributes:
        observers: who is told.
        objects: the driver's own objects: what was called, with what.
        began: when it began, by ``perf_counter_ns()``.
        duration: how long it took, in seconds; known at its end.
        outcome: at its end, what the driver has returned or raised.
        error_type: at its end, the ``error.type``, if it failed.
        learned: attributes that became known after it began.
    """

    __slots__ = ("began", "duration", "error_type", "learned", "objects", "observers", "outcome")

    def __init__(self, observers: tuple[Observer, ...], objects: tuple[Any, ...]) -> None:
        self.observers = observers
        self.objects = objects
        self.duration = 0.0
        self.outcome: Any = None
        self.error_type: str | None = None
        self.learned: dict[str, Any] | None = None
        self.began = perf_counter_ns()

    def start(self, running: Running) -> None:
        """Tell them that it begins."""
        for observer in self.observers:
            try:
                observer.started(running, self)
            except Exception:
                faults.report(f"{type(observer).__name__}: started")

    def end(self, running: Running) -> None:
        """Tell them that it is over."""
        for observer in self.observers:
            try:
                observer.ended(running, self)
            except Exception:
                faults.report(f"{type(observer).__name__}: ended")


class Running:
    """An operation under way.

    Args:
        operation: which one.
        span: its span, which may be one that is not recorded. It ends with the operation.
        errors: how the driver's errors are told.
        inside: the context that is current while the driver works; None: the caller's.
        observation: what observers know of it; None: nobody observes.
        metrics: measures it; None: nothing does.
        rows: how the rows of its result are counted; None: nobody knows.

    Attributes:
        began: when it began, by ``perf_counter()``; only if it is measured.
    """

    __slots__ = (
        "_active",
        "_error_type",
        "_learned",
        "_metrics",
        "_notes",
        "_parts",
        "began",
        "errors",
        "inside",
        "observation",
        "operation",
        "rows",
        "span",
    )

    args: tuple[Any, ...] | None = None

    def __init__(
        self,
        operation: Operation,
        span: Span,
        errors: Errors = BY_CLASS,
        inside: Context | None = None,
        observation: Observation | None = None,
        metrics: OperationMetrics | None = None,
        rows: Rows | None = None,
    ) -> None:
        self.operation = operation
        self.span = span
        self.errors = errors
        self.inside = inside
        self.observation = observation
        self._parts: dict[str, float] | None = None
        self._notes: tuple[float, str] | None = None
        self._metrics = metrics
        self.rows = rows
        if metrics is not None:  # only then is there anything in the other slots
            self._learned: dict[str, Any] | None = None
            self._error_type: str | None = None
            self._active = metrics.began(operation) if metrics.counts_active else None
            self.began = perf_counter()

    def is_observed(self) -> bool:
        """Whether anybody is told how it goes on: its span is recorded, or there are observers or metrics."""
        return self._metrics is not None or self.observation is not None or self.span.is_recording()

    def part(self, key: str, seconds: float) -> None:
        """Note where a part of its time went: ``causal.pool.wait``, ``causal.fetch``. Parts of one key add up.

        What is less than a millisecond in all is not recorded: see :mod:`causal_otel.instrument.parts`.
        """
        if self._parts is None:
            self._parts = {}
        self._parts[key] = self._parts.get(key, 0.0) + seconds

    def take_notes(self, rest: str, since: float | None = None) -> None:
        """Have it take at its end what was noted of its parts: see :mod:`causal_otel.instrument.parts`.

        Args:
            rest: the key for what nothing is noted of.
            since: when it began, by ``perf_counter()``; None: now.
        """
        self._notes = perf_counter() if since is None else since, rest

    def learn(self, attributes: dict[str, Any]) -> None:
        """Set attributes that were not known when it began. Nobody changes the dict any more."""
        self.span.set_attributes(attributes)
        self.note(attributes)

    def learn_outcome(self, key: Hashable, attributes: dict[str, Any]) -> None:
        """As :meth:`learn`, of what other calls of the same operation learn as well: their spans share one dict.

        Args:
            key: stands for ``attributes``.
            attributes: the same whenever ``key`` is. Nobody changes the dict any more.
        """
        self.operation.tell(self.span, key, attributes)
        self.note(attributes)

    def note(self, attributes: dict[str, Any]) -> None:
        """Have observers and metrics told of attributes that its span has already. Nobody changes the dict any more."""
        if self._metrics is not None:
            learned = self._learned
            self._learned = attributes if learned is None else {**learned, **attributes}
        observation = self.observation
        if observation is not None:
            observation.learned = {**(observation.learned or {}), **attributes}

    def fail(self, error_type: str, description: str | None = None) -> None:
        """Say that it failed where no exception says so, as an HTTP status does."""
        span = self.span
        span.set_attribute(ERROR_TYPE, error_type)
        span.set_status(StatusCode.ERROR, description)
        if self._metrics is not None:
            self._error_type = error_type
        if self.observation is not None:
            self.observation.error_type = error_type

    def failed(self, error: BaseException, errors: Errors | None = None) -> None:
        """Say that it failed with ``error``, was cancelled, or was abandoned (``GeneratorExit``)."""
        attributes = mark_failed(self.span, error, errors or self.errors)
        if self.observation is not None:
            self.observation.error_type = None if attributes is None else attributes.get(ERROR_TYPE)
        if self._metrics is not None and attributes is not None:
            self._error_type = attributes.get(ERROR_TYPE, self._error_type)
            self._learned = {**(self._learned or {}), **attributes}

    def end(
        self,
        result: Any = None,
        error: BaseException | None = None,
        at: int | None = None,
        duration: int | None = None,
        rows: int | None = None,
    ) -> None:
        """The one end of an operation.

        Args:
            result: what the driver has returned.
            error: what it has raised; a cancellation too. ``GeneratorExit``: nobody waited for its end.
            at: when it ended, as Unix time in nanoseconds; None: now.
            duration: how long it took, in nanoseconds, where that is not the time since it began; negative: it never
                was under way, so that no duration is measured.
            rows: how many rows its result has, where the span knows that already.
        """
        if error is not None:
            self.failed(error)
        span = self.span
        if self.rows is not None and error is None:
            rows = number_of_rows(self.rows, result)
            if rows is not None:
                self.operation.tell(span, rows, {DB_RESPONSE_RETURNED_ROWS: rows})
        metrics = self._metrics
        if metrics is not None:
            self._metrics = None
            seconds = perf_counter() - self.began if duration is None else duration / 1e9
            metrics.ended(self.operation, seconds, self._learned, self._error_type, rows, self._active)
        if self._notes is not None:
            since, rest = self._notes
            for key, value in parts_of(since, perf_counter() - since, rest).items():
                self.part(key, value)
        if self._parts is not None:
            span.set_attributes(noteworthy(self._parts))
        observation = self.observation
        if observation is not None:
            self.observation = None
            observation.outcome = result if error is None else error
            observation.duration = (perf_counter_ns() - observation.began if duration is None else duration) / 1e9
            observation.end(self)
        span.end(at)


def number_of_rows(rows: Rows, result: Any) -> int | None:
    """How many rows a call has returned, as far as ``rows`` can say."""
    try:
        return rows(result)
    except Exception:
        faults.report("rows of a result")
        return None
