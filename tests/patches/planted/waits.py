"""What is asserted of the span of a call with a planted wait: the time is in the right part, and in no other."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from causal_otel.names import (
    CAUSAL_CONNECT,
    CAUSAL_CONNECT_DNS,
    CAUSAL_CONNECT_PROXY,
    CAUSAL_CONNECT_TLS,
    CAUSAL_DISCOVERY,
    CAUSAL_FETCH,
    CAUSAL_LOCK_WAIT,
    CAUSAL_POOL_SETUP,
    CAUSAL_POOL_WAIT,
    CAUSAL_RECEIVE,
    CAUSAL_RETRY_WAIT,
    CAUSAL_SEND,
    CAUSAL_SERVER,
    CAUSAL_THREADPOOL_WAIT,
)
from tests.slow_machine import assert_at_least, assert_below
from tests.span_relations import seconds

if TYPE_CHECKING:
    from collections.abc import Sequence

    from opentelemetry.sdk.trace import ReadableSpan

__all__ = ["WAIT", "assert_no_part", "assert_part", "only", "parts"]

WAIT = 0.3
"""How long a planted wait is, in seconds."""


_PARTS = (
    CAUSAL_CONNECT,
    CAUSAL_DISCOVERY,
    CAUSAL_FETCH,
    CAUSAL_LOCK_WAIT,
    CAUSAL_POOL_SETUP,
    CAUSAL_POOL_WAIT,
    CAUSAL_RECEIVE,
    CAUSAL_RETRY_WAIT,
    CAUSAL_SEND,
    CAUSAL_SERVER,
    CAUSAL_THREADPOOL_WAIT,
)
_INSIDE = (CAUSAL_CONNECT_DNS, CAUSAL_CONNECT_PROXY, CAUSAL_CONNECT_TLS)


def only(spans: Sequence[ReadableSpan], beginning: str) -> ReadableSpan:
    """The one span whose name begins so. On a busy machine what is plumbing else may be slow enough to be one, too."""
    found = [span for span in spans if span.name.startswith(beginning)]
    assert len(found) == 1, [span.name for span in spans]
    return found[0]


def parts(span: ReadableSpan) -> dict[str, Any]:
    """The parts of a span, which fit into it: together they are no longer, and those of connecting fit into that."""
    found: dict[str, Any] = dict(span.attributes or {})
    known = {key: found[key] for key in (*_PARTS, *_INSIDE) if key in found}
    assert all(value > 0 for value in known.values()), known
    assert sum(known.get(key, 0) for key in _PARTS) <= seconds(span) + 1e-6, (known, seconds(span))
    assert sum(known.get(key, 0) for key in _INSIDE) <= known.get(CAUSAL_CONNECT, 0) + 1e-6, known
    return known


def assert_part(span: ReadableSpan, key: str, wait: float = WAIT) -> None:
    """Assert that ``wait`` is in the part ``key``, and that no other part holds a third of it.

    Args:
        span: the span, which has ended.
        key: the part; ``causal.connect.dns``, ``.proxy`` and ``.tls`` count as ``causal.connect`` as well.
        wait: what was planted, in seconds.
    """
    found = parts(span)
    assert_at_least(0.8 * wait, found.get(key, 0))
    expected = {key, CAUSAL_CONNECT} if key in _INSIDE else {key}
    others = {other: value for other, value in found.items() if other not in expected}
    assert_below(found[key] / 3, *others.values())


def assert_no_part(span: ReadableSpan, wait: float = WAIT) -> None:
    """Assert that ``wait``, in which the application did something else, is in no part."""
    found = parts(span)
    assert_below(wait / 3, *found.values())
