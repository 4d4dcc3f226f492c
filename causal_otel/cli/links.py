"""The links of a trace's spans, as lines for a terminal."""

from __future__ import annotations

from collections import defaultdict
from typing import TYPE_CHECKING

from causal_otel._internal.printable import printable
from causal_otel.names import CAUSAL_LINK

if TYPE_CHECKING:
    from collections.abc import Iterator

    from causal_otel.collector.analysis import SpanView, TraceView
    from causal_otel.collector.view import LinkView

__all__ = ["described_links"]

_MOST = 3
_LONGEST_ROLE = 40


def described_links(view: TraceView) -> Iterator[tuple[SpanView, str]]:
    """Each span that has links, with a text that says where those of one role lead: one for each span and role."""
    for span in view.spans:
        by_role: defaultdict[str, list[LinkView]] = defaultdict(list)
        for link in span.links:
            by_role[str(link.attributes.get(CAUSAL_LINK, ""))].append(link)
        for role, links in by_role.items():
            targets = ", ".join(_target(view, span, link) for link in links[:_MOST])
            more = f" and {len(links) - _MOST} more" if len(links) > _MOST else ""
            yield span, targets + more + (f" ({printable(role, _LONGEST_ROLE)})" if role else "")


def _target(view: TraceView, span: SpanView, link: LinkView) -> str:
    if link.trace_id != view.trace_id:
        return f"[{link.span_id}] of trace {link.trace_id}"
    other = view.span(link.span_id)
    if other is None:
        return f"[{link.span_id}], which is not here"
    service = "" if other.service == span.service else f"{other.service}: "
    return printable(f"{service}{other.name} [{link.span_id}]")
