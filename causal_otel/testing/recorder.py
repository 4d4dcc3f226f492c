"""What keeps the spans of one test apart from those of all others, and from every collector.

A span belongs to the test in which its trace began. Whose that is is asked when the trace's id is made, which costs no
span anything: the context tells the test, wherever asyncio, threads and pools have carried it, and else it is the test
that runs. So what an earlier test has left running does not show up in the next one.
"""

from __future__ import annotations

import hashlib
from contextvars import ContextVar
from functools import cached_property
from time import perf_counter_ns, process_time_ns, time_ns
from typing import TYPE_CHECKING, Any

from opentelemetry.sdk.trace import SpanProcessor
from opentelemetry.sdk.trace.id_generator import IdGenerator

if TYPE_CHECKING:
    from collections.abc import Callable

    from opentelemetry.context import Context
    from opentelemetry.sdk.trace import ReadableSpan, Span

__all__ = ["ForeignRecorder", "Recorder", "Scope", "TestIds"]

_REMEMBERED = 200_000
"""Traces of earlier tests whose ids are known, so that a span of theirs which ends late is told from a remote one's."""

_scope: ContextVar[Scope | None] = ContextVar("causal_otel_test", default=None)
"""The test in whose call a context was made."""


class Scope:
    """The call of one test: what was recorded in it.

    Args:
        node_id: pytest's name of the test.
        deterministic: whether ids follow from that name.

    Attributes:
        records: the spans in the order of their ends, each with its parent as an object, where that is known.
        trace_ids: of the traces that began in it.
        at_end: what is checked when its call has ended well.
        cpu: nanoseconds of CPU time that the process had used before it.
    """

    def __init__(self, node_id: str = "", *, deterministic: bool = False) -> None:
        self.node_id = node_id
        self.deterministic = deterministic
        self.records: list[tuple[Any, Any]] = []
        self.trace_ids: set[int] = set()
        self.at_end: list[Callable[[], None]] = []
        self.cpu = process_time_ns()
        self.since = perf_counter_ns()
        self._since_unix = time_ns()
        self._made = [0, 0]

    @cached_property
    def _prefix(self) -> int:
        """What its ids begin with, 96 bits."""
        return int.from_bytes(hashlib.sha256(self.node_id.encode()).digest()[:12], "big")

    def trace_id(self) -> int:
        """The next of the trace ids that follow from the test's name."""
        self._made[0] += 1
        return self._prefix << 32 | self._made[0]

    def span_id(self) -> int:
        """The next of the span ids that do."""
        self._made[1] += 1
        return (self._prefix & 0xFFFFFFFF) << 32 | self._made[1]

    def began(self, span: Any) -> bool:
        """Whether a span was started in it."""
        start: int | None = getattr(span, "_start", None)
        if start is not None and hasattr(span, "_local_trace"):
            return start >= self.since
        return bool((span.start_time or 0) >= self._since_unix)


class Recorder:
    """Takes ended spans while a test runs. Safe from several threads."""

    def __init__(self) -> None:
        self.scope: Scope | None = None
        self._known: dict[int, None] = {}

    # -- tests ---------------------------------------------------------------------------------------------------------

    def begin(self, scope: Scope) -> Callable[[], None]:
        """A test's call begins; what is returned ends it."""
        self.scope = scope
        token = _scope.set(scope)

        def end() -> None:
            _scope.reset(token)
            self.scope = None

        return end

    def is_foreign(self, trace_id: int) -> bool:
        """Whether no test has begun that trace: another process has, or a header that a test has written."""
        return trace_id not in self._known

    # -- traces --------------------------------------------------------------------------------------------------------

    def claim(self, trace_id: int, scope: Scope | None) -> None:
        """A trace begins in ``scope``."""
        if scope is not None:
            scope.trace_ids.add(trace_id)
        if len(self._known) >= _REMEMBERED:
            self._known.pop(next(iter(self._known)), None)
        self._known[trace_id] = None

    def current(self) -> Scope | None:
        """The test that whatever asks belongs to: None for what an earlier one has left, and between tests."""
        of_context, running = _scope.get(), self.scope
        return running if of_context is None or of_context is running else None

    # -- spans ---------------------------------------------------------------------------------------------------------

    def take(self, span: Any) -> None:
        """Keep an ended span of our provider, with its parent. Never raises."""
        parent = span._parent_span
        span.parent_id()
        self.keep(span, parent)

    def keep(self, span: Any, parent: Any = None) -> None:
        """Keep an ended span, if a test runs."""
        scope = self.scope
        if scope is not None:
            scope.records.append((span, parent))


class ForeignRecorder(SpanProcessor):
    """The same for a provider that is not ours: it hears of each span's start, and learns there whose trace it is."""

    def __init__(self, recorder: Recorder) -> None:
        self._recorder = recorder

    def on_start(self, span: Span, parent_context: Context | None = None) -> None:
        """Note who has begun a trace."""
        if span.parent is None and span.context is not None:
            self._recorder.claim(span.context.trace_id, self._recorder.current())

    def on_end(self, span: ReadableSpan) -> None:
        """Keep an ended span."""
        self._recorder.keep(span)

    def force_flush(self, timeout_millis: int = 30_000) -> bool:
        """Nothing waits here."""
        return True


class TestIds(IdGenerator):
    """The ids of our provider while tests are recorded: whoever begins a trace is noted with its id.

    Args:
        ids: makes them, unless a test wants such as follow from its name.
        recorder: is told of each trace.
    """

    __test__ = False  # no test, whatever its name begins with

    def __init__(self, ids: IdGenerator, recorder: Recorder) -> None:
        self._ids = ids
        self._recorder = recorder

    def generate_trace_id(self) -> int:
        """The id of a trace that begins here and now."""
        scope = self._recorder.current()
        made = scope.trace_id() if scope is not None and scope.deterministic else self._ids.generate_trace_id()
        self._recorder.claim(made, scope)
        return made

    def generate_span_id(self) -> int:
        """The id of a span, drawn when somebody first asks for it."""
        scope = self._recorder.scope
        return scope.span_id() if scope is not None and scope.deterministic else self._ids.generate_span_id()

    def is_trace_id_random(self) -> bool:
        """Whether the W3C ``random`` flag may be set."""
        scope = self._recorder.scope
        return scope is None or not scope.deterministic
