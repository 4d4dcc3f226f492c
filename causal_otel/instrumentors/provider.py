"""The provider that the instrumentors are given, where it is ours: their spans get out as those of our patches do.

What the engine does for every span it does for theirs: sampling, limits, redaction, counts. What else the settings say
of patches is done here.
"""

from __future__ import annotations

import threading
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from opentelemetry import trace
from opentelemetry.metrics import NoOpMeterProvider
from opentelemetry.sdk.util.instrumentation import InstrumentationScope
from opentelemetry.trace import SpanKind

from causal_otel.engine import context as contexts
from causal_otel.engine.provider import TracerProvider
from causal_otel.engine.tracer import Tracer
from causal_otel.instrumentors.spans import InstrumentorCurrentSpan, InstrumentorSpan
from causal_otel.names import SERVER_ADDRESS, URL_FULL

if TYPE_CHECKING:
    from contextlib import AbstractContextManager
    from types import TracebackType

    from opentelemetry.context import Context
    from opentelemetry.metrics import MeterProvider
    from opentelemetry.trace import Link
    from opentelemetry.util.types import Attributes

    from causal_otel.engine.local_trace import LocalTrace
    from causal_otel.engine.span import Span
    from causal_otel.instrument.baggage import BaggageBorder

__all__ = ["InstrumentorProvider", "Providers"]


class Providers:
    """Where the data of instrumentors goes: their spans to ours, or the user's own provider; their metrics as ours do.

    Args:
        tracers: the provider that the patches use.
        meters: whose metrics go where ours go; None: metrics go nowhere.
        border: to which hosts baggage may go.
        roots: whether what is sent outside any span is recorded.
    """

    def __init__(
        self, tracers: trace.TracerProvider, meters: MeterProvider | None, border: BaggageBorder, *, roots: bool
    ) -> None:
        self._ours = InstrumentorProvider(tracers, border, roots=roots) if isinstance(tracers, TracerProvider) else None
        self._tracers = self._ours or tracers
        self._meters = meters or NoOpMeterProvider()

    def arguments(self) -> dict[str, Any]:
        """What an instrumentor's ``instrument()`` is given."""
        return {"tracer_provider": self._tracers, "meter_provider": self._meters}

    def close(self) -> None:
        """Record nothing from now on, if the provider is ours."""
        if self._ours is not None:
            self._ours.active = False


class InstrumentorProvider(trace.TracerProvider):
    """Makes the tracers of the instrumentors.

    What an instrumentor has wrapped, such as an open connection, keeps its tracer when it is undone. So there is a
    switch: once it is off, their tracers record nothing.

    Args:
        provider: ours.
        border: to which hosts baggage may go.
        roots: whether what is sent outside any span is recorded.

    Attributes:
        active: the switch.
    """

    def __init__(self, provider: TracerProvider, border: BaggageBorder, *, roots: bool) -> None:
        self.core = provider.core
        self.border = border
        self.roots = roots
        self.active = True
        self._tracers: dict[InstrumentationScope, InstrumentorTracer] = {}

    def get_tracer(
        self,
        instrumenting_module_name: str,
        instrumenting_library_version: str | None = None,
        schema_url: str | None = None,
        attributes: Attributes = None,
    ) -> trace.Tracer:
        """The tracer of an instrumentation scope; the same one each time it is asked for."""
        version = instrumenting_library_version or ""
        scope = InstrumentationScope(instrumenting_module_name, version, schema_url, attributes)
        return self._tracers.get(scope) or self._tracers.setdefault(scope, InstrumentorTracer(self, scope))


class InstrumentorTracer(Tracer):
    """Makes the spans of one instrumentor."""

    def __init__(self, provider: InstrumentorProvider, scope: InstrumentationScope) -> None:
        super().__init__(provider.core, scope)
        self._provider = provider
        self._sqlite = scope.name.endswith(".sqlite3")

    def start_span(
        self,
        name: str,
        context: Context | None = None,
        kind: SpanKind = SpanKind.INTERNAL,
        attributes: Attributes = None,
        links: Sequence[Link] | None = None,
        start_time: int | None = None,
        record_exception: bool = True,
        set_status_on_exception: bool = True,
    ) -> trace.Span:
        """Start a span without making it current; none where nothing is to be recorded."""
        start = super().start_span if self._records(kind, context) else _NOTHING.start_span
        return start(name, context, kind, attributes, links, start_time, record_exception, set_status_on_exception)

    def start_as_current_span(  # type: ignore[override]  # the API types it as its own private context manager
        self,
        name: str,
        context: Context | None = None,
        kind: SpanKind = SpanKind.INTERNAL,
        attributes: Attributes = None,
        *args: Any,
        **kwargs: Any,
    ) -> AbstractContextManager[trace.Span]:
        """A context manager, or a decorator; of no span where nothing is to be recorded."""
        block: Any
        if self._records(kind, context):
            block = super().start_as_current_span(name, context, kind, attributes, *args, **kwargs)
            block.__class__ = InstrumentorCurrentSpan
        else:
            block = _NOTHING.start_as_current_span(name, context, kind, attributes, *args, **kwargs)
        if kind is SpanKind.CLIENT:
            here = contexts.current()
            where = self._provider.border.outgoing(here, _host(attributes or {})) if here else here
            if where is not here:
                return _InContext(where, block)
        return block  # type: ignore[no-any-return]

    def _records(self, kind: SpanKind, context: Context | None) -> bool:
        if not self._provider.active or (self._sqlite and _works_for_aiosqlite()):
            return False
        return self._provider.roots or kind is not SpanKind.CLIENT or contexts.current_span(context) is not None

    def _make(self, name: str, kind: SpanKind, local: LocalTrace, parent: trace.SpanContext | None) -> Span:
        span = super()._make(name, kind, local, parent)
        span.__class__ = InstrumentorSpan
        return span


_NOTHING = trace.NoOpTracer()


class _InContext:
    """A block inside which another context is current.

    Args:
        where: the context.
        block: what is entered there.
    """

    def __init__(self, where: Context, block: AbstractContextManager[trace.Span]) -> None:
        self._where = where
        self._block = block

    def __enter__(self) -> trace.Span:
        self._activation = contexts.attach(self._where)
        return self._block.__enter__()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        try:
            self._block.__exit__(kind, error, traceback)
        finally:
            self._activation.end()


def _host(attributes: Any) -> str:
    """Where a request goes; one that does not say is taken for one to a third party."""
    host = attributes.get(SERVER_ADDRESS)
    if host is None:
        try:
            host = urlsplit(str(attributes.get(URL_FULL) or attributes.get(_OLD_URL))).hostname
        except ValueError:
            host = None
    return str(host or "unknown.invalid")


_OLD_URL = "http.url"


def _works_for_aiosqlite() -> bool:
    """Whether this thread executes the statements of an aiosqlite connection.

    Its context is that of the task that has opened the connection, whoever issues a statement: each would be a child of
    a span that it has nothing to do with.
    """
    thread = threading.current_thread()
    target = getattr(thread, "_target", None)  # of the thread; in aiosqlite before 0.22 the connection is the thread
    return str(getattr(target, "__module__", None) or type(thread).__module__).startswith("aiosqlite")
