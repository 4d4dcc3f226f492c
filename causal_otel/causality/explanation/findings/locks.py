"""Waits for locks, semaphores and queues within a process, for locks in Redis, and who held them."""

from __future__ import annotations

from collections import defaultdict
from typing import TYPE_CHECKING

from causal_otel._internal.durations import format_duration
from causal_otel.causality.explanation.categories import is_lock_wait
from causal_otel.causality.explanation.findings.finding import Finding, alike, finding, times
from causal_otel.causality.spans.parts import begin, measured
from causal_otel.causality.spans.sequences import together
from causal_otel.causality.spans.targets import is_database, target
from causal_otel.names import CAUSAL_LOCK_ACQUIRED, CAUSAL_LOCK_WAIT, CAUSAL_LOCK_WAITING

if TYPE_CHECKING:
    from collections.abc import Iterator

    from causal_otel.causality.explanation.scene import Scene
    from causal_otel.causality.spans import Span

__all__ = ["find"]

_LEAST_SHARE = 0.01


def find(scene: Scene) -> Iterator[Finding]:
    """One for each lock and holder."""
    here: defaultdict[str, list[Span]] = defaultdict(list)
    for span in scene.spans:
        if is_lock_wait(span):
            here[scene.namer.lock(span).text].append(span)
    for label, spans in here.items():
        spent = together(spans)
        if scene.share(spent, begin(spans[0])) >= _LEAST_SHARE:
            said = f"{label}{times(spans)}, {format_duration(spent)}{_queue(spans)}{_given_up(spans)}"
            yield finding(scene, "lock_wait", said, spent, spans)
    yield from _in_redis(scene)


def _queue(spans: list[Span]) -> str:
    waiting = [each for span in spans if isinstance(each := span.attributes.get(CAUSAL_LOCK_WAITING), int)]
    longest = max(waiting, default=0)
    return f", behind {longest} {'other' if longest == 1 else 'others'}" if longest > 0 else ""


def _given_up(spans: list[Span]) -> str:
    return ", and gave up" if any(span.attributes.get(CAUSAL_LOCK_ACQUIRED) is False for span in spans) else ""


def _in_redis(scene: Scene) -> Iterator[Finding]:
    waits = (span for span in scene.spans if span.kind == "client" and measured(span.attributes, CAUSAL_LOCK_WAIT))
    for spans in alike(filter(is_database, waits)):
        spent = sum(measured(span.attributes, CAUSAL_LOCK_WAIT) for span in spans)
        if scene.share(spent, begin(spans[0])) >= _LEAST_SHARE:
            said = f"waiting for a {target(spans[0])} lock that somebody else held{times(spans)}"
            yield finding(scene, "redis_lock", f"{said}, {format_duration(spent)}{_given_up(spans)}", spent, spans)
