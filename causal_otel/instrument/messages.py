"""Messages of a queue: sending one, what it carries, and processing it, for patches of queues.

The headers of a message are a mapping with texts in it, whatever a queue calls them: labels, options. :func:`sending`
and :func:`processing` make what ``begin`` of a :func:`~causal_otel.instrument.calls.traced_call` returns, one that
``carries`` context; :func:`carry` is called inside of the former, where the message is made.
"""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any

from opentelemetry.context import Context, create_key

from causal_otel.engine import carriers
from causal_otel.engine.context import begin, current, current_span, in_trace, is_recorded, is_suppressed, with_span
from causal_otel.instrument.calls import Inside
from causal_otel.instrument.errors import BY_CLASS

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, MutableMapping

    from opentelemetry.trace import SpanContext

    from causal_otel.instrument.awaiting import Call
    from causal_otel.instrument.errors import Errors
    from causal_otel.instrument.operation import Operation, Running
    from causal_otel.instrument.tracing import Tracing

__all__ = ["Processing", "carry", "delivering", "processing", "queue_wait", "sender", "sending"]

_PUBLISHED = "causal-published"
"""The header that says when a message was sent, in Unix seconds."""
_REPLACED = "traceparent", "tracestate", "baggage"
_SENDING = create_key("causal-otel-sending")
"""The key in a context of the sending that is under way; None: it is neither recorded nor measured."""
_DELIVERING = create_key("causal-otel-delivering")
"""The key in a context of :func:`delivering`."""


def sending(
    tracing: Tracing[Any],
    name: str,
    given: Mapping[str, Any],
    describe: Callable[[], Operation],
    errors: Errors = BY_CLASS,
    objects: tuple[Any, ...] = (),
) -> Call | None:
    """Begin to send a message: its span is current meanwhile. None: that is suppressed.

    Args:
        tracing: the patch's handle.
        name: what the option ``excluded`` looks at.
        given: the headers that the caller has given. Outside of any span their trace goes on, if they carry one, as
            those of a retry do that was scheduled.
        describe: says what is sent, if that is recorded or measured.
        errors: how the driver's errors are told.
        objects: the driver's own, for the hooks.
    """
    where = current()
    if is_suppressed(where):
        return None
    if tracing.excluded is not None and tracing.excluded(name):
        return Inside(Context({**with_span(tracing.start_excluded()), _SENDING: None}))
    if not tracing.wanted():
        return Inside(Context({**where, _SENDING: None}))
    parent = where if in_trace() else _carried(tracing, given, where)
    running = tracing.begin(describe(), errors, objects, parent)
    running.inside = Context({**with_span(running.span, parent), _SENDING: running})
    return running


def carry(headers: MutableMapping[str, Any], *, ahead: bool = False) -> Running | None:
    """Write into a message that is about to be sent what is current, and when it is sent.

    What the headers carry of another context, such as that of the attempt before, is replaced; all else stays. Nothing
    is written outside of :func:`sending`, as where a message is only made.

    Args:
        headers: the message's own, which nobody else holds.
        ahead: whether it is written there as well, if a trace is current: into a message that is made now and sent
            with others.

    Returns:
        The sending, which may learn more; None: it is not observed.
    """
    where = current()
    if _SENDING not in where and not (ahead and in_trace() and not is_suppressed(where)):
        return None
    fields = carriers.injected(where)
    if "traceparent" in fields:
        for name in _REPLACED:
            headers.pop(name, None)
    headers.update(fields)
    headers[_PUBLISHED] = f"{time.time():.6f}"
    running: Running | None = where.get(_SENDING)  # type: ignore[assignment]
    return running


def queue_wait(headers: Mapping[str, Any]) -> float | None:
    """How long ago a message was sent, in seconds by the clocks of two machines; None: :func:`carry` has not said."""
    try:
        return max(0.0, time.time() - float(headers[_PUBLISHED]))
    except (KeyError, TypeError, ValueError):
        return None


def sender(headers: Mapping[str, Any]) -> SpanContext | None:
    """The span that has sent a message, as its headers say; None: they do not."""
    texts = {name.lower(): value for name, value in headers.items() if isinstance(value, str) and name != "baggage"}
    span = current_span(carriers.extracted(texts, Context())) if texts else None
    found = None if span is None else span.get_span_context()
    return found if found is not None and found.is_valid else None


def delivering() -> Context:
    """What is current where a worker processes one message, stores its result and acknowledges it: for ``inside()``.

    What is done there after the processing is in the message's trace, below the span that has ended. Elsewhere nothing
    is current after the processing that was not before.
    """
    return Context({**current(), _DELIVERING: True})


class _Carried(Inside):
    """A message that is being processed, recorded or not.

    Args:
        inside: the context that is current for the application's code.
    """

    __slots__ = ()

    def end(self, result: Any = None, error: BaseException | None = None) -> None:
        """It has been processed."""
        if _DELIVERING in current():
            begin(self.inside)  # until the end of the delivery


class Processing(_Carried):
    """A message that is being processed: its span is current for the application's code.

    Attributes:
        running: the operation.
    """

    def __init__(self, tracing: Tracing[Any], running: Running, inside: Context) -> None:
        super().__init__(inside)
        self._tracing = tracing
        self.running = running

    def failure(self, result: Any) -> BaseException | None:
        """The exception that ``result`` tells of, where the queue's worker catches what the application raises."""
        return None

    def end(self, result: Any = None, error: BaseException | None = None) -> None:
        """The application's code has returned or raised: its exception is recorded with message and stack."""
        if error is None:
            error = self.failure(result)
        if error is not None:
            self._tracing.raised(self.running, error)
        self.running.end(result if error is None else error)
        super().end()


def processing(
    tracing: Tracing[Any],
    name: str,
    headers: Mapping[str, Any],
    describe: Callable[[], Operation],
    objects: tuple[Any, ...] = (),
    call: type[Processing] = Processing,
) -> Call:
    """Begin to process a message: a child of what has sent it, whatever is current in the worker, or else a root.

    Args:
        tracing: the patch's handle.
        name: what the option ``excluded`` looks at.
        headers: the message's. What is no text is not read.
        describe: says what is processed, if that is recorded or measured.
        objects: the driver's own, for the hooks.
        call: what is told its end.
    """
    parent = _carried(tracing, headers, Context())
    if tracing.excluded is not None and tracing.excluded(name):
        return _Carried(with_span(tracing.start_excluded(parent), parent))
    if tracing.drops_unsampled() and not is_recorded(parent, roots=True):
        return _Carried(parent)
    running = tracing.begin(describe(), objects=objects, parent=parent)
    return call(tracing, running, with_span(running.span, parent))


def _carried(tracing: Tracing[Any], headers: Mapping[str, Any], where: Context) -> Context:
    """``where``, with the parent and the baggage that a message carries, if any."""
    texts = {name.lower(): value for name, value in headers.items() if isinstance(value, str)}
    if not texts:
        return where
    tracing.border.admit(texts)
    return carriers.extracted(texts, where)
