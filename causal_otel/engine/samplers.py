"""Our samplers: shares of traces that all services agree on, and rules that tell roots apart.

A root is decided by the first of :class:`Rules` that fits it, and by the bits of its trace id; everything else as its
parent was. The rules are replaced while the program runs, in one step (:meth:`RuleSampler.replace`).

OpenTelemetry specification: ``trace/sdk`` (samplers), ``trace/tracestate-probability-sampling``.
"""

from __future__ import annotations

import functools
import re
import threading
from time import monotonic
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, NamedTuple, Protocol

from opentelemetry.sdk.trace.sampling import Decision, Sampler, SamplingResult
from opentelemetry.trace import SpanKind, TraceFlags, TraceState

from causal_otel._internal import process
from causal_otel.engine.context import current_span
from causal_otel.engine.threshold import ALL, member, randomness, threshold, with_threshold
from causal_otel.names import HTTP_REQUEST_METHOD, URL_PATH

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from opentelemetry.context import Context
    from opentelemetry.trace import Link, SpanContext
    from opentelemetry.util.types import Attributes

__all__ = [
    "DROPPED",
    "EachSpanSampler",
    "Rate",
    "RootStrategies",
    "RootStrategy",
    "Rule",
    "RuleSampler",
    "Rules",
    "Share",
    "Verdict",
    "pattern",
]

Verdict = tuple[int, TraceState | None]
"""What becomes of a root: its flags of W3C Trace Context, and its trace state."""

_UNSAMPLED = TraceFlags.RANDOM_TRACE_ID
_SAMPLED = TraceFlags.RANDOM_TRACE_ID | TraceFlags.SAMPLED
DROPPED: Verdict = (_UNSAMPLED, None)


class RootStrategy(Protocol):
    """Decides about roots of one kind."""

    def decide(self, trace_id: int) -> Verdict:
        """What becomes of the root of that trace."""


class Share:
    """Keeps a share of all traces, the same ones in every service.

    Args:
        share: from 0 to 1. Below 1 it is written as ``th`` in the trace state of those that are kept.
    """

    def __init__(self, share: float) -> None:
        self.share = share
        self._bound = threshold(share)
        self._sampled: Verdict = (_SAMPLED, with_threshold(None, self._bound) if self._bound > ALL else None)

    def decide(self, trace_id: int) -> Verdict:
        """By the trace id's last 56 bits."""
        return self._sampled if randomness(trace_id) >= self._bound else DROPPED

    def __repr__(self) -> str:
        return f"{self.share:.4g} of all"


class Rate:
    """Keeps so many traces a second, in this process. Which ones is chance, so nothing is written as ``th``.

    Args:
        per_second: not negative. A second's worth may come at once, and at least one trace.
    """

    def __init__(self, per_second: float) -> None:
        self.per_second = per_second
        self._most = max(1.0, per_second) if per_second else 0.0
        self._left = self._most
        self._seen = monotonic()
        self._renew_lock()
        process.at_fork(in_child=self._renew_lock)

    def _renew_lock(self) -> None:
        self._lock = threading.Lock()  # in a forked child: it may be held by a thread that is not here

    def decide(self, trace_id: int) -> Verdict:
        """By what is left of this second's traces."""
        if not self._lock.acquire(blocking=False):
            return DROPPED  # another decision is under way, perhaps interrupted on this very thread
        try:
            now = monotonic()
            self._left = min(self._most, self._left + (now - self._seen) * self.per_second)
            self._seen = now
            if self._left < 1:
                return DROPPED
            self._left -= 1
        finally:
            self._lock.release()
        return _SAMPLED, None

    def __repr__(self) -> str:
        return f"{self.per_second:g} a second"


def pattern(text: str, *, path: bool = False) -> re.Pattern[str]:
    """What ``text`` stands for, where ``*`` is anything.

    Args:
        text: compared as a whole.
        path: ``*`` ends at a slash unless there are two, and ``{id}`` is one segment, as in a route.
    """
    pieces = []
    for piece in re.split(r"(\*+|\{[^{}/]*\})" if path else r"(\*+)", text):
        if piece.startswith("*"):
            pieces.append("[^/]*" if path and len(piece) == 1 else ".*")
        elif path and piece.startswith("{") and piece.endswith("}"):
            pieces.append(".+" if piece.endswith(":path}") else "[^/]+")
        else:
            pieces.append(re.escape(piece))
    return re.compile("".join(pieces), re.DOTALL)


class Rule(NamedTuple):
    """What is done with roots that fit all of its conditions.

    Args:
        strategy: what.
        operation: the span's name, or for an HTTP request its method and path, ``GET /health``, or method and route,
            ``GET /users/{id}``, or without the method, ``/health``; None: any.
        attributes: patterns by attribute: all of them have to fit what is known when the span starts.
        kind: the span's kind; None: any.
    """

    strategy: RootStrategy
    operation: str | None = None
    attributes: Mapping[str, re.Pattern[str]] = MappingProxyType({})
    kind: SpanKind | None = None

    def fits(self, name: str, kind: SpanKind, attributes: Mapping[str, Any]) -> bool:
        """Whether a root with that name, kind and start attributes is meant."""
        if self.kind is not None and kind is not self.kind:
            return False
        if self.operation is not None and name != self.operation and not self._is_request(attributes):
            return False
        for key, wanted in self.attributes.items():
            value = attributes.get(key)
            if value is None or not wanted.fullmatch(_text(value)):
                return False
        return True

    def _is_request(self, attributes: Mapping[str, Any]) -> bool:
        method, wanted = _request(self.operation or "")
        path = attributes.get(URL_PATH)
        return (
            wanted is not None
            and isinstance(path, str)
            and method in ("", attributes.get(HTTP_REQUEST_METHOD))
            and wanted.fullmatch(path) is not None
        )


@functools.lru_cache(1024)
def _request(operation: str) -> tuple[str, re.Pattern[str] | None]:
    """The method, or "" for any, and the path that a rule's operation names; None: it names no request."""
    method, _, path = ("", "", operation) if operation.startswith("/") else operation.partition(" ")
    return method, pattern(path, path=True) if path.startswith("/") else None


def _text(value: object) -> str:
    return value if isinstance(value, str) else str(value).lower() if isinstance(value, bool) else str(value)


class Rules(NamedTuple):
    """What is done with roots: the first rule that fits, or the default.

    Args:
        rules: in order.
        default: for roots that none of them fits.
    """

    rules: tuple[Rule, ...] = ()
    default: RootStrategy = Share(1.0)

    def strategy(self, name: str, kind: SpanKind, attributes: Mapping[str, Any] | None) -> RootStrategy:
        """What is done with a root that starts like this."""
        if self.rules:
            known = attributes or {}
            for rule in self.rules:
                if rule.fits(name, kind, known):
                    return rule.strategy
        return self.default

    def __str__(self) -> str:
        return f"{len(self.rules)} rules, else {self.default}"


class RootStrategies(Protocol):
    """Tells roots apart, as :class:`Rules` do."""

    def strategy(self, name: str, kind: SpanKind, attributes: Mapping[str, Any] | None) -> RootStrategy:
        """See :meth:`Rules.strategy`."""


class RuleSampler(Sampler):
    """Decides roots by rules, and everything else as its parent was.

    Args:
        rules: to begin with.
    """

    def __init__(self, rules: RootStrategies) -> None:
        self.rules = rules

    def replace(self, rules: RootStrategies) -> None:
        """Go by other rules from now on; traces that have begun keep what was decided for them."""
        self.rules = rules

    def decide_root(self, trace_id: int, name: str, kind: SpanKind, attributes: Mapping[str, Any] | None) -> Verdict:
        """What becomes of a root."""
        return self.rules.strategy(name, kind, attributes).decide(trace_id)

    def should_sample(
        self,
        parent_context: Context | None,
        trace_id: int,
        name: str,
        kind: SpanKind | None = None,
        attributes: Attributes = None,
        links: Sequence[Link] | None = None,
        trace_state: TraceState | None = None,
    ) -> SamplingResult:
        """See :class:`opentelemetry.sdk.trace.sampling.Sampler`."""
        sampled, state = self._decide(_parent(parent_context), trace_id, name, kind or SpanKind.INTERNAL, attributes)
        decision = Decision.RECORD_AND_SAMPLE if sampled else Decision.DROP
        return SamplingResult(decision, attributes if sampled else None, state)

    def _decide(
        self, parent: SpanContext | None, trace_id: int, name: str, kind: SpanKind, attributes: Attributes
    ) -> tuple[bool, TraceState | None]:
        """Whether a span is sampled, and its trace state."""
        if parent is None:
            flags, state = self.decide_root(trace_id, name, kind, attributes)
        else:
            flags, state = parent.trace_flags, parent.trace_state
        return bool(flags & TraceFlags.SAMPLED), state

    def get_description(self) -> str:
        """Names the sampler."""
        return f"RuleSampler{{{self.rules}}}"


class EachSpanSampler(RuleSampler):
    """Decides every span by rules, whatever its parent's sampling was, and by its trace's own randomness."""

    def _decide(
        self, parent: SpanContext | None, trace_id: int, name: str, kind: SpanKind, attributes: Attributes
    ) -> tuple[bool, TraceState | None]:
        state = None if parent is None else parent.trace_state
        flags, own = self.decide_root(randomness(trace_id, state), name, kind, attributes)
        sampled = bool(flags & TraceFlags.SAMPLED)
        return sampled, with_threshold(state, member(own).threshold if sampled else None)

    def get_description(self) -> str:
        """Names the sampler."""
        return f"EachSpan{super().get_description()}"


def _parent(context: Context | None) -> SpanContext | None:
    span = current_span(context)
    parent = None if span is None else span.get_span_context()
    return parent if parent is not None and parent.is_valid else None
