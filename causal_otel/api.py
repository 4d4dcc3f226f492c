"""What user code calls: spans of its own, context over carriers the patches do not know, and detachment."""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, TypeVar, overload

from opentelemetry import trace
from opentelemetry.trace import SpanKind

from causal_otel._internal import faults
from causal_otel.engine import carriers, context
from causal_otel.engine.block import SpanBlock
from causal_otel.engine.environ import environ
from causal_otel.engine.foreign import global_tracer, is_ours, starter
from causal_otel.engine.local_trace import local_trace_of
from causal_otel.installation import installation

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, MutableMapping
    from contextlib import AbstractContextManager

    from opentelemetry.context import Context
    from opentelemetry.trace import Span, SpanContext

__all__ = [
    "current_span_id",
    "current_trace_id",
    "detached",
    "environ",
    "extract",
    "flush",
    "inject",
    "keep",
    "span",
    "traced",
]

F = TypeVar("F", bound="Callable[..., Any]")


def _start() -> Callable[..., Span]:
    """What starts spans now, with the arguments of a tracer's ``start_span``."""
    installed = installation()
    return starter(global_tracer()) if installed is None else installed.start


def span(
    name: str,
    attributes: Mapping[str, Any] | None = None,
    *,
    kind: SpanKind = SpanKind.INTERNAL,
    parent: Context | None = None,
) -> AbstractContextManager[Span]:
    """Trace a block, as in ``with causal_otel.span("render", {"page": 3}) as s: ...``.

    The span is current inside the block. An exception that leaves the block is recorded and goes on; cancellation is
    marked ``causal.cancelled`` and is no error.

    With a tracer provider of your own the span is that provider's. What its processors, sampler or id generator raise
    at the beginning and the end of the block is counted (:func:`causal_otel.status`) and logged once; a span that could
    not be started is replaced by one that is not recorded. What you call on the span yourself is between you and your
    provider, and ``KeyboardInterrupt`` and ``SystemExit`` pass everywhere.

    Args:
        name: the operation, not an instance of it.
        attributes: what is known at the start.
        kind: its role towards other processes.
        parent: what :func:`extract` returned, where the parent is in another process; default: the current span.
    """
    installed = installation()
    tracer = global_tracer() if installed is None else installed.tracer
    if parent is None and is_ours(tracer):  # whose block and span are one object
        current: AbstractContextManager[Span] = tracer.start_as_current_span(name, None, kind, attributes)
        return current
    start = starter(tracer)
    return SpanBlock(lambda: start(name, parent, kind, attributes), context=parent)


@overload
def traced(function: F, /) -> F: ...
@overload
def traced(
    name: str | None = None, attributes: Mapping[str, Any] | None = None, *, kind: SpanKind = SpanKind.INTERNAL
) -> Callable[[F], F]: ...
def traced(name: Any = None, attributes: Mapping[str, Any] | None = None, *, kind: SpanKind = SpanKind.INTERNAL) -> Any:
    """Decorate a function so that every call of it is a span: ``@traced`` or ``@traced("name", {"key": 1})``.

    Works on ``def``, ``async def``, generators and async generators. A generator's span lasts until its last item,
    and is current in its body only, never in the code that consumes it. Where a plain function returns a coroutine, a
    future, anything else that can be awaited, or an async generator, its span lasts until that is done.

    Args:
        name: the span's name; default: the function's qualified name.
        attributes: set on every such span.
        kind: its role towards other processes.
    """

    def decorate(function: F) -> F:
        span_name = name if isinstance(name, str) else function.__qualname__
        # What starts it is looked up at each call: install() may come later than the decorator.
        return SpanBlock(lambda: _start()(span_name, None, kind, attributes))(function)

    return decorate(name) if callable(name) else decorate


def inject(carrier: MutableMapping[str, str]) -> None:
    """Write the current context into ``carrier``, such as headers (W3C Trace Context, unless set otherwise).

    A propagator of yours that raises is counted and logged once; the carrier holds what was written until then.
    """
    carriers.inject(carrier)


def extract(carrier: Mapping[str, str]) -> Context:
    """Read a context out of ``carrier``, to be given to :func:`span` as ``parent``. Malformed input is no context.

    A propagator of yours that raises is counted and logged once, and gives no context either.
    """
    return carriers.extract(carrier)


def flush(timeout: float = 5.0) -> bool:
    """Export now what else would wait for its batch: every span that has ended, metrics, and log records if sent.

    For places where the process may be frozen or killed without notice as soon as it has answered, such as a function
    of AWS Lambda. It waits, so call it where waiting does no harm: in a coroutine,
    ``await asyncio.to_thread(causal_otel.flush)``. It may be called anywhere, also in a forked child, inside a span
    (which has not ended and is not exported), before ``install()`` and after ``uninstall()``, and it never raises.

    Args:
        timeout: how long to wait, in seconds.

    Returns:
        Whether all of it has arrived in that time; True also where there is nothing to export. What went to the spool
        has not arrived.
    """
    installed = installation()
    try:
        return installed is None or installed.flush(timeout)
    except Exception:
        faults.report("flush")
        return False


def current_trace_id() -> str | None:
    """The current trace's id, 32 hexadecimal digits as in URLs of trace viewers; None outside any span."""
    found = _current_identity()
    return None if found is None else trace.format_trace_id(found.trace_id)


def current_span_id() -> str | None:
    """The current span's id, 16 hexadecimal digits as in log lines; None outside any span."""
    found = _current_identity()
    return None if found is None else trace.format_span_id(found.span_id)


def _current_identity() -> SpanContext | None:
    current = context.current_span()
    found = None if current is None else current.get_span_context()
    return found if found is not None and found.is_valid else None


def keep() -> bool:
    """Keep the current trace, whatever the sampler has said: as an error does, where ``keep_errors`` is ``process``.

    What this process has buffered of it is exported, as is what follows, and later requests to other processes ask them
    to keep their parts.

    Returns:
        Whether the trace is a sampled one now; False also where nothing is buffered, or outside any span.
    """
    current = context.current_span()
    if current is None:
        return False
    local = local_trace_of(current)
    if local is not None and local.buffered is not None:
        local.buffered.promote()
    return current.get_span_context().trace_flags.sampled


@contextmanager
def detached() -> Iterator[None]:
    """Leave the current trace inside the block: what starts there begins traces of its own, linked to this one.

    For tasks that outlive the request which happens to start them::

        with detached():
            poller = asyncio.create_task(poll())
    """
    activation = context.attach(context.without_span())
    try:
        yield
    finally:
        activation.end()
