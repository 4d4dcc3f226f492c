"""What can be asserted of the traces of a test. Each failure says what is wrong in words, and where it comes from.

What only some assertions need is imported by these: a suite pays for what it asserts.
"""

from __future__ import annotations

import asyncio
from collections import Counter, defaultdict
from fnmatch import fnmatchcase
from pathlib import PurePath
from typing import TYPE_CHECKING

from causal_otel._internal.durations import format_duration
from causal_otel.causality.spans.sequences import one_after_another
from causal_otel.causality.spans.stalls import is_stall, stalled_by
from causal_otel.testing.calls import OUTSIDE, is_query, operation_above, queries, shape

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from causal_otel.causality.spans import CallSpan, CallT
    from causal_otel.collector.view import SpanView, TraceView
    from causal_otel.testing.recorder import Scope

__all__ = ["Assertions", "counted"]


class Assertions:
    """The assertions of :class:`~causal_otel.testing.traces.Traces`. All raise ``AssertionError``."""

    scope: Scope

    @property
    def all(self) -> tuple[TraceView, ...]:
        """The traces."""
        raise NotImplementedError

    @property
    def spans(self) -> tuple[SpanView, ...]:
        """The spans of all traces."""
        raise NotImplementedError

    def unread(self) -> Sequence[CallSpan]:
        """The same spans, as far as counting needs them, in any order."""
        raise NotImplementedError

    def _records(self) -> Sequence[tuple[object, object]]:
        raise NotImplementedError

    def assert_tree(self, expected: str, *, by_name: bool = False) -> None:
        """The traces are these.

        Args:
            expected: a span a line, indented below its parent: its name, or all that a snapshot says of it. ``*`` is
                any text, ``...`` any number of siblings with all below them, and ``3×`` before a name three of them.
                Only names are compared where no line has brackets.
            by_name: whether the order of siblings does not matter.
        """
        from causal_otel.testing.expected import difference

        __tracebackhide__ = True
        if said := difference(expected, self.all, by_name=by_name):
            raise AssertionError(f"the tree is another one (-: expected, +: found):\n{said}")

    def assert_no_orphans(self) -> None:
        """No span has lost its parent, and no call has lost the request that it was made for.

        That is: each span names a parent that was recorded, that is still open, or that is in another process; and no
        query or request that was sent begins a trace of its own while a request or a task is worked on.
        """
        from causal_otel.testing.orphans import orphans

        __tracebackhide__ = True
        if found := orphans(self.all, self._records()):
            raise AssertionError(
                "\n".join((f"{_many(len(found), 'span has', 'spans have')} lost its context:", *found))
            )

    def assert_no_n_plus_one(self, *, least: int = 3) -> None:
        """Nothing is asked for again and again, one after the other, where one query for all would do.

        Calls are the same if their statement is, whatever the driver's placeholders look like, and the line of code
        that issues it; those that run at the same time are no N+1. What the test's own file asks for does not count.

        Args:
            least: how many such calls of one parent are too many: tests have few rows.
        """
        __tracebackhide__ = True

        def repeated(spans: Iterable[CallT]) -> list[list[CallT]]:
            looked_at = [span for span in spans if span.parent is not None or self._is_of_application(span)]
            return list(one_after_another(looked_at, shape, least, roots=True))

        if repeated(self.unread()) and (found := repeated(self.spans)):
            lines = [f"{len(some)}× {shape(some[0])}, one after another in {_operation(some[0])}" for some in found]
            hint = [] if all(shape(some[0]).origin for some in found) else [_NO_ORIGIN]
            raise AssertionError("\n".join((f"N+1: {lines[0]}", *lines[1:], *hint)))

    def _is_of_application(self, span: CallSpan) -> bool:
        """Whether a call below no span is a query of other code than the test's own file, as far as is known."""
        file = PurePath(self.scope.node_id.partition("::")[0]).name
        return is_query(span) and PurePath(shape(span).origin.partition(":")[0]).name != file

    def assert_max_queries(self, most: int, *, operation: str | None = None, statement: str | None = None) -> None:
        """There are at most so many queries.

        Args:
            most: how many are allowed.
            operation: of each single request, task or other topmost span of that name; default: of all together. ``*``
                is any text, so that ``"*"`` is each operation.
            statement: that have this name (``SELECT items``) or this statement; ``*`` is any text.
        """
        __tracebackhide__ = True
        # What a statement is compared with is redacted.
        spans = self.unread() if statement is None else self.spans
        if _over(spans, most, operation, statement) and (lines := _over(self.spans, most, operation, statement)):
            raise AssertionError("\n".join(lines))

    def assert_no_loop_block(self, ms: float = 50.0) -> None:
        """No event loop was held up for so long by a single step, during which nothing else of it could run.

        In an async test the rest of the test counts as well: what holds up the loop now is known only afterwards.

        Args:
            ms: milliseconds, not less than what the setting ``loop_block_threshold`` has recorded (50 by default).
        """
        from causal_otel.testing.loops import unwatched

        __tracebackhide__ = True
        if why := unwatched(ms):
            raise AssertionError(f"whether an event loop was blocked for {ms:g} ms cannot be told: {why}")
        self._check_loops(ms)
        if asyncio._get_running_loop() is not None:
            self.scope.at_end.append(lambda: self._check_loops(ms))

    def _check_loops(self, ms: float) -> None:
        __tracebackhide__ = True
        found = [span for span in self.spans if is_stall(span) and span.duration >= ms * 1e6]
        if found:
            lines = [f"{format_duration(span.duration)} by {stalled_by(span)}" for span in found]
            raise AssertionError("\n".join((f"the event loop was blocked for {ms:g} ms or more:", *lines)))

    def assert_no_secrets(self, *values: str) -> None:
        """Nothing that would leave the process has these values in it, or anything that looks like a secret.

        Names, attributes, events, links, messages and resources are searched, as they are after redaction, whole and
        percent-encoded. What looks like a secret is told by the rules of the setting ``redact``, all of them.

        Args:
            values: what must not be there: the password or the card number that the test has sent.
        """
        from causal_otel.testing.secrets import secrets_in

        __tracebackhide__ = True
        if found := secrets_in(self.all, values):
            raise AssertionError(
                "\n".join((f"{_many(len(found), 'secret', 'secrets')} would leave the process:", *found))
            )

    def assert_overhead(self, percent: float = 5.0) -> None:
        """Tracing has taken at most that share of the CPU time that the process has used since the test began.

        What it has taken is reckoned: the number of spans, by what the making, ending and encoding of these spans costs
        on this machine, measured when this is called. It does not contain what patches do besides, such as reading a
        statement for the first time. It is a bound for tests that make very many spans; for figures measure your
        service with tracing on and off.

        Args:
            percent: the share, of 100.
        """
        from causal_otel.testing.overhead import overhead

        __tracebackhide__ = True
        if said := overhead(self.scope, self._records(), percent):
            many = Counter(span.name for span in self.spans).most_common(5)
            most = ", ".join(f"{count}× {name}" for name, count in many)
            raise AssertionError(f"{said}. Most spans are {most}")


_NO_ORIGIN = "(which line of code that is: TRACING_CODE_ORIGIN=true in the environment of the tests)"


def _is(span: CallSpan, statement: str) -> bool:
    return any(text == statement or fnmatchcase(text, statement) for text in (span.name, shape(span).text))


def _over(spans: Iterable[CallSpan], most: int, operation: str | None, statement: str | None) -> list[str]:
    """What :meth:`Assertions.assert_max_queries` says of too many queries; none: there are not."""
    by_operation: defaultdict[CallSpan | None, list[CallSpan]] = defaultdict(list)
    for span in queries(spans):
        if statement is None or _is(span, statement):
            above = operation_above(span)
            if operation is None or fnmatchcase(_named(above), operation):
                by_operation[None if operation is None else above].append(span)
    lines = []
    for above, some in by_operation.items():
        if len(some) > most:
            said = f"{len(some)} queries{'' if statement is None else f' of {statement}'}"
            lines.append(f"{said}{'' if operation is None else f' in {_named(above)}'}, at most {most} allowed:")
            lines += [f"  {line}" for line in counted(some)]
    return lines


def _operation(span: CallSpan) -> str:
    return _named(operation_above(span))


def _named(above: CallSpan | None) -> str:
    return OUTSIDE if above is None else above.name


def counted(spans: Iterable[CallSpan]) -> list[str]:
    """Calls by their shape, most frequent first: a line each."""
    return [f"{count}× {what}" for what, count in Counter(map(shape, spans)).most_common()]


def _many(number: int, one: str, several: str) -> str:
    return f"{number} {one if number == 1 else several}"
