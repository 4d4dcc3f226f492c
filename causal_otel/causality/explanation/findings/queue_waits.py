"""Messages that lay in a queue before anybody worked on them."""

from __future__ import annotations

from collections import defaultdict
from typing import TYPE_CHECKING

from causal_otel._internal.durations import format_duration
from causal_otel.causality.explanation.findings.finding import Finding, finding, times
from causal_otel.causality.spans.parts import begin, measured
from causal_otel.causality.spans.targets import queue, task_name
from causal_otel.names import CAUSAL_PREFETCH_WAIT, CAUSAL_QUEUE_WAIT

if TYPE_CHECKING:
    from collections.abc import Iterator

    from causal_otel.causality.explanation.scene import Scene
    from causal_otel.causality.spans import Span

__all__ = ["find"]

_LEAST = 10_000_000
_LEAST_SHARE = 0.02


def find(scene: Scene) -> Iterator[Finding]:
    """One for each task of which a message has waited, about the one that waited longest."""
    groups: defaultdict[tuple[str, str], list[Span]] = defaultdict(list)
    for span in scene.spans:
        if span.kind == "consumer" and measured(span.attributes, CAUSAL_QUEUE_WAIT) >= _LEAST:
            groups[task_name(span), queue(span)].append(span)
    for (task, where), spans in groups.items():
        spans.sort(key=lambda span: (-measured(span.attributes, CAUSAL_QUEUE_WAIT), span.start, span.span_id))
        longest = measured(spans[0].attributes, CAUSAL_QUEUE_WAIT)
        if scene.share(longest, begin(spans[0])) < _LEAST_SHARE:
            continue
        busy = min(longest, measured(spans[0].attributes, CAUSAL_PREFETCH_WAIT))
        upto = "up to " if len(spans) > 1 else ""
        said = f"{task}{times(spans)} waited {upto}{format_duration(longest)} in {where}"
        if busy >= _LEAST:
            said += f", {format_duration(busy)} of it with a worker that was busy"
        yield finding(scene, "queue_wait", said, longest, spans)
