"""What a span tells of the call that it stands for: what came of it, whose child it is and how long it took.

Every test of a patch that looks at a span asserts these by :func:`assert_span`, and then what is particular to it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from fnmatch import fnmatchcase
from typing import TYPE_CHECKING, Any, NamedTuple, cast

from opentelemetry.sdk.trace import ReadableSpan
from opentelemetry.trace import Span, SpanContext

from causal_otel._reference.attributes import OURS
from causal_otel.names import (
    CAUSAL_CONNECT,
    CAUSAL_CONNECT_DNS,
    CAUSAL_CONNECT_PROXY,
    CAUSAL_CONNECT_TLS,
    CAUSAL_CPU,
    CAUSAL_DISCOVERY,
    CAUSAL_FETCH,
    CAUSAL_FIRST_BYTE,
    CAUSAL_GC,
    CAUSAL_LOCK_WAIT,
    CAUSAL_LOOP_READY_WAIT,
    CAUSAL_POOL_SETUP,
    CAUSAL_POOL_WAIT,
    CAUSAL_RECEIVE,
    CAUSAL_RETRY_WAIT,
    CAUSAL_SEND,
    CAUSAL_SERVER,
    CAUSAL_THREADPOOL_WAIT,
)

if TYPE_CHECKING:
    from tests.services.received import ReceivedSpan

__all__ = [
    "PARTS",
    "assert_children",
    "assert_inside",
    "assert_sound",
    "assert_span",
    "attributes",
    "nanoseconds",
    "seconds",
    "trace_id",
    "traceparent",
    "untimed",
]

_TYPES = {
    "bool": ("bool",),
    "int": ("int",),
    "string": ("str",),
    "strings": ("tuple", "list"),
    "double, seconds": ("float",),
}
"""By the words of the page of attributes."""

PARTS = (
    *(CAUSAL_CONNECT, CAUSAL_CONNECT_DNS, CAUSAL_CONNECT_PROXY, CAUSAL_CONNECT_TLS),
    *(CAUSAL_DISCOVERY, CAUSAL_FETCH, CAUSAL_LOCK_WAIT),
    *(CAUSAL_POOL_SETUP, CAUSAL_POOL_WAIT, CAUSAL_RECEIVE, CAUSAL_RETRY_WAIT, CAUSAL_SEND, CAUSAL_SERVER),
    CAUSAL_THREADPOOL_WAIT,
)
"""The attributes that tell where a span's time went; each is there from a millisecond on."""

_OWN = (CAUSAL_CPU, CAUSAL_GC, CAUSAL_LOOP_READY_WAIT)
"""Those that tell what became of the time that no part has; each is there from a millisecond on, too."""

_APART = ("CONSUMER", "SERVER")
"""Kinds of spans whose parents' time tells nothing of theirs: they are another process's, as a rule."""


class _Facts(NamedTuple):
    """What :func:`assert_span` asks of a span, whoever has recorded it; times in nanoseconds."""

    trace_id: str
    span_id: str
    parent: tuple[str, str] | None
    kind: str
    status: str
    attributes: dict[str, Any]
    start: int | None
    end: int | None


def _of_received(span: ReceivedSpan) -> _Facts:
    parent = (span["trace_id"], span["parent_span_id"]) if span["parent_span_id"] is not None else None
    outcome = span["status"]["code"]
    return _Facts(
        span["trace_id"], span["span_id"], parent, span["kind"], outcome, span["attributes"], span["start"], span["end"]
    )


def _identity(context: SpanContext) -> tuple[str, str]:
    return f"{context.trace_id:032x}", f"{context.span_id:016x}"


def _of_recorded(span: Any) -> _Facts:
    parent = _identity(span.parent) if span.parent is not None else None
    found = dict(span.attributes or {})
    times = span.start_time, span.end_time
    return _Facts(
        *_identity(span.get_span_context()), parent, span.kind.name, span.status.status_code.name, found, *times
    )


def _facts(span: object) -> _Facts:
    return _of_received(cast("ReceivedSpan", span)) if isinstance(span, Mapping) else _of_recorded(span)


def nanoseconds(span: ReadableSpan | ReceivedSpan) -> int:
    """A span's duration."""
    facts = _facts(span)
    assert facts.start is not None, "it has not begun"
    assert facts.end is not None, "it has not ended"
    return facts.end - facts.start


def seconds(span: ReadableSpan | ReceivedSpan) -> float:
    """The same in seconds."""
    return nanoseconds(span) / 1e9


def attributes(span: ReadableSpan) -> dict[str, Any]:
    """The attributes of a span."""
    return dict(span.attributes or {})


def untimed(attributes: Mapping[str, Any]) -> dict[str, Any]:
    """The same without what depends on how busy the machine is: the parts of a span's time, and what a wait tells."""
    return {key: value for key, value in attributes.items() if key not in (*PARTS, *_OF_A_WAIT)}


_OF_A_WAIT = (CAUSAL_FIRST_BYTE, "causal.pool.size", "causal.pool.waiting")


def trace_id(span: ReadableSpan | Span) -> str:
    """The id of a span's trace, in hexadecimal."""
    return f"{_context(span).trace_id:032x}"


def traceparent(span: ReadableSpan | Span) -> str:
    """The header that names a span as the parent."""
    found = _context(span)
    return f"00-{found.trace_id:032x}-{found.span_id:016x}-{int(found.trace_flags):02x}"


def _context(span: ReadableSpan | Span) -> SpanContext:
    found = span.get_span_context()
    assert found is not None
    return found


def assert_sound(span: ReadableSpan | ReceivedSpan, within: float | None = None) -> None:
    """Assert that a span of a patch does not contradict itself.

    Args:
        span: the span, which has ended.
        within: a time in seconds that was measured around it.
    """
    status, found = _facts(span).status, _facts(span).attributes
    assert seconds(span) >= 0
    assert within is None or seconds(span) <= within, f"it took {seconds(span)} s of {within} s"
    assert (status == "ERROR") is ("error.type" in found), f"{status}, {found}"
    assert status == "UNSET" or not {"causal.cancelled", "causal.abandoned"} & found.keys(), f"{status}, {found}"
    for key in OURS.keys() & found.keys():
        assert type(found[key]).__name__ in _TYPES[OURS[key][0]], f"{key}: {found[key]!r} is no {OURS[key][0]}"


def assert_span(
    span: ReadableSpan | ReceivedSpan,
    parent: ReadableSpan | ReceivedSpan | Span | SpanContext | None,
    *,
    error: str | None = None,
    cancelled: bool = False,
    abandoned: bool = False,
    lasts: float = 0.0,
    within: float | None = None,
) -> dict[str, Any]:
    """Assert what came of a call, whose child its span is and how long it took, and return the span's attributes.

    A span lies inside its parent, if that is given as a span and both are of one process: it does not begin before the
    parent, and not end after it. Of a parent that its children may outlive give the ``SpanContext``.

    Args:
        span: the span, which has ended.
        parent: what its parent is; None: it is a root.
        error: its ``error.type``, in which ``*`` stands for anything; None: the call did not fail.
        cancelled: whether it was cancelled.
        abandoned: whether nobody has waited for its end.
        lasts: how long it took at least, in seconds: a wait that the test has planted.
        within: how long it took at most, in seconds: a time that the test has measured around the call.

    Returns:
        All of them but those of its own time, which depend on the machine: :func:`attributes` has those as well.
    """
    assert_sound(span, within)
    facts = _facts(span)
    found = dict(facts.attributes)
    own = [found.pop(key, None) for key in _OWN]
    assert all(part is None or part >= 0.001 for part in own), f"less than a millisecond is not told: {own}"
    assert facts.status == ("UNSET" if error is None else "ERROR"), f"{facts.status}, {found}"
    assert error is None or fnmatchcase(found["error.type"], error), found["error.type"]
    assert found.get("causal.cancelled", False) is cancelled
    assert found.get("causal.abandoned", False) is abandoned
    assert seconds(span) >= lasts, f"it took {seconds(span)} s, not {lasts} s"
    if parent is None or isinstance(parent, SpanContext):
        assert facts.parent == (None if parent is None else _identity(parent))
        return found
    _assert_child(facts, _facts(parent), inside=facts.kind not in _APART)
    return found


def _assert_child(child: _Facts, parent: _Facts, *, inside: bool) -> None:
    """Assert whose child a span is and, if so asked, that it lies inside its parent, which may not have ended."""
    assert child.parent == (parent.trace_id, parent.span_id)
    if inside and parent.start is not None:
        assert child.start is not None
        assert child.end is not None
        assert parent.start <= child.start, "it has begun before its parent"
        assert parent.end is None or child.end <= parent.end, "it has ended after its parent"


def assert_children(spans: Sequence[ReadableSpan], *names: str) -> None:
    """Assert the names of spans in the order of their ends, the last of which is a root and the others' parent.

    They all went well.
    """
    assert [span.name for span in spans] == list(names)
    *children, root = spans
    assert_span(root, None)
    for span in children:
        assert_span(span, root)


def assert_inside(outer: Any, *spans: ReadableSpan) -> None:
    """Assert that ``spans`` are children of ``outer``, that they began after it and that they ended before it."""
    for span in spans:
        assert nanoseconds(span) >= 0
        _assert_child(_facts(span), _facts(outer), inside=True)
