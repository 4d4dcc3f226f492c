"""The fixture ``traces``: the spans of one test as trees, and all that can be asserted of them.

What draws and explains a trace is imported once somebody wants it: mostly a test that fails.
"""

from __future__ import annotations

import asyncio
import time
from fnmatch import fnmatchcase
from typing import TYPE_CHECKING

from causal_otel.testing.assertions import Assertions
from causal_otel.testing.reading import messages, mine, views
from causal_otel.testing.recorder import Recorder, Scope
from causal_otel.testing.unread import unread

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from opentelemetry.proto.trace.v1.trace_pb2 import TracesData

    from causal_otel.causality.spans import CallSpan
    from causal_otel.collector.view import SpanView, TraceView
    from causal_otel.testing.unread import UnreadSpan

__all__ = ["Traces"]

_MOST_LINES = 150
_PAUSE = 0.005
_PATIENCE = 5.0


class Traces(Assertions):
    """What a test has recorded so far: the spans that have ended since its call began, after its fixtures.

    A trace belongs to the test in which it began; so what an earlier test has left running is not seen. Each look is
    at what there is by then. For what other threads are about to end, see :meth:`wait_for`.

    Attributes:
        scope: what is recorded of the test.
    """

    def __init__(self, recorder: Recorder, node_id: str = "") -> None:
        self.scope = Scope(node_id)
        self._recorder = recorder
        self._deterministic = False
        self._seen: tuple[int, bool, tuple[TraceView, ...]] = (0, False, ())
        self._unread: tuple[int, list[UnreadSpan] | None] = (0, [])

    def begin(self) -> Scope:
        """The test's call begins now, after its fixtures."""
        self.scope = Scope(self.scope.node_id, deterministic=self._deterministic)
        self._forget()
        return self.scope

    # -- what there is -------------------------------------------------------------------------------------------------

    @property
    def all(self) -> tuple[TraceView, ...]:
        """The traces, by the time of their first span."""
        many = len(self.scope.records)
        if self._seen[:2] != (many, self._deterministic):
            found = views(self.messages(), deterministic=self._deterministic)
            self._seen = many, self._deterministic, tuple(found)
        return self._seen[2]

    @property
    def spans(self) -> tuple[SpanView, ...]:
        """The spans of all traces; in a trace, each before all that is below it."""
        return tuple(span for trace in self.all for span in trace.spans)

    def unread(self) -> Sequence[CallSpan]:
        """The same spans, as far as counting needs them, in any order: reading whole traces costs more."""
        many = len(self.scope.records)
        if self._unread[0] != many:
            self._unread = many, unread(mine(self.scope, self._recorder))
        found = self._unread[1]
        return self.spans if found is None else found

    def find(self, name: str) -> list[SpanView]:
        """The spans of that name; ``*`` in it is any text."""
        return [span for span in self.spans if span.name == name or fnmatchcase(span.name, name)]

    def one(self, name: str) -> SpanView:
        """The only span of that name.

        Raises:
            AssertionError: there is none, or there are several.
        """
        __tracebackhide__ = True
        found = self.find(name)
        if len(found) != 1:
            raise AssertionError(f"{len(found)} spans are called {name!r}, not one. There are:\n{self.snapshot()}")
        return found[0]

    def messages(self) -> list[TracesData]:
        """The same in OpenTelemetry's protocol, a message for each trace."""
        return messages(mine(self.scope, self._recorder))

    # -- as text -------------------------------------------------------------------------------------------------------

    def snapshot(self, *, attributes: Iterable[str] = (), by_name: bool = False) -> str:
        """The trees as text that is the same in every run: names, kinds, what is called, outcomes.

        There are no ids, times, ports and addresses in it, and nothing that is a span only if it took long.

        Args:
            attributes: names of attributes that are to be told as well, such as ``db.query.text``.
            by_name: whether siblings stand in the order of their text, not of their start: where threads or tasks race.
        """
        from causal_otel.testing.trees import describe, forest, text_of

        wanted = tuple(attributes)
        return text_of(forest(self.all, lambda span: describe(span, wanted), by_name=by_name))

    def why(self) -> str:
        """Why each trace took as long as it did: a sentence a line."""
        from causal_otel.causality.explanation import explain

        return "\n".join(explain(trace, self.all).sentence for trace in self.all)

    def __str__(self) -> str:
        """The trees with durations, and below each why it took so long."""
        from causal_otel.causality.explanation import explain
        from causal_otel.testing.trees import forest, long_lines

        found = self.all
        parts = []
        for trace in found:
            lines = long_lines(forest([trace], everything=True))
            if len(lines) > _MOST_LINES:
                lines = [*lines[:_MOST_LINES], f"... and {len(lines) - _MOST_LINES} more lines"]
            parts.append("\n".join((*lines, f"why: {explain(trace, found).sentence}")))
        return "\n\n".join(parts) or "no spans"

    def __repr__(self) -> str:
        return f"<Traces: {len(self.all)} traces, {len(self.spans)} spans>"

    # -- what is to come -----------------------------------------------------------------------------------------------

    def clear(self) -> None:
        """Forget what has ended so far."""
        self.scope.records.clear()
        self._forget()

    def _forget(self) -> None:
        """What was read is of other spans than those of now."""
        self._seen = (0, False, ())
        self._unread = (0, [])

    def deterministic(self) -> None:
        """Have ids that follow from the test's name from now on, and times that are the same in every run.

        Of times the order remains: each start and each end is a millisecond after the one before. Ids are the same as
        long as spans begin and end in the same order. Call it in a fixture of your own to have it from the first span.
        """
        self._deterministic = self.scope.deterministic = True

    def wait_for(self, name: str, *, count: int = 1, seconds: float = _PATIENCE) -> list[SpanView]:
        """Wait until other threads have ended spans: a server in a thread ends its own after it has answered.

        Args:
            name: of the spans; ``*`` is any text.
            count: how many.
            seconds: how long to wait at the most.

        Returns:
            The spans.

        Raises:
            AssertionError: they have not ended in that time.
        """
        __tracebackhide__ = True
        deadline = time.monotonic() + seconds
        while (missing := self._missing(name, count)) and time.monotonic() < deadline:
            time.sleep(_PAUSE)
        return self._waited(name, missing, seconds)

    async def async_wait_for(self, name: str, *, count: int = 1, seconds: float = _PATIENCE) -> list[SpanView]:
        """The same, while other tasks run. On asyncio."""
        __tracebackhide__ = True
        deadline = time.monotonic() + seconds
        while (missing := self._missing(name, count)) and time.monotonic() < deadline:  # noqa: ASYNC110
            await asyncio.sleep(_PAUSE)
        return self._waited(name, missing, seconds)

    def _missing(self, name: str, count: int) -> int:
        return max(0, count - len(self.find(name)))

    def _waited(self, name: str, missing: int, seconds: float) -> list[SpanView]:
        __tracebackhide__ = True
        if missing:
            raise AssertionError(
                f"{missing} more spans {name!r} did not end within {seconds:g} seconds. There are:\n{self.snapshot()}"
            )
        return self.find(name)

    def _records(self) -> Sequence[tuple[object, object]]:
        return self.scope.records
