"""Calls that have read the very same thing before."""

from __future__ import annotations

from collections import defaultdict
from typing import TYPE_CHECKING

from causal_otel._internal.durations import format_duration
from causal_otel.causality.explanation.findings.finding import Finding, call, finding
from causal_otel.causality.explanation.findings.n_plus_one import series
from causal_otel.causality.explanation.findings.statements import exactly, origin, statement
from causal_otel.causality.spans.parts import begin
from causal_otel.causality.spans.sequences import together
from causal_otel.names import HTTP_REQUEST_RESEND_COUNT

if TYPE_CHECKING:
    from collections.abc import Iterator

    from causal_otel.causality.explanation.scene import Scene
    from causal_otel.causality.spans import Span

__all__ = ["find"]

_LEAST_SHARE = 0.01


def find(scene: Scene) -> Iterator[Finding]:
    """One for each text and target of which it is known that nothing but the time differed."""
    groups: defaultdict[tuple[str, str, str], list[Span]] = defaultdict(list)
    for span in scene.spans:
        if span.kind != "client" or HTTP_REQUEST_RESEND_COUNT in span.attributes:
            continue
        if (text := exactly(span)) is not None:
            what = statement(span)
            groups[what.service, what.place, text].append(span)
    several = [spans for spans in groups.values() if len(spans) > 1]
    told = {span.index for spans in series(scene) for span in spans} if several else set()
    for group in several:
        spans = [span for span in group if span.index not in told]
        spans.sort(key=lambda span: (span.start, span.end, span.span_id))
        again = together(spans[1:])
        if len(spans) > 1 and scene.share(again, begin(spans[0])) >= _LEAST_SHARE:
            said = (
                f"{call(spans[0])} ×{len(spans)}, each the same{origin(spans[0])}: "
                f"all but the first took {format_duration(again)}"
            )
            yield finding(scene, "repeated", said, again, spans)
