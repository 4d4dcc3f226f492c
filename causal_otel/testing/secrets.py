"""Secrets in what would leave the process."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any
from urllib.parse import quote, quote_plus

from causal_otel.engine.redaction import Sanitised
from causal_otel.export.privacy import Policy
from causal_otel.names import DB_QUERY_TEXT

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence

    from causal_otel.collector.view import SpanView, TraceView

__all__ = ["secrets_in"]


def secrets_in(traces: Iterable[TraceView], values: Sequence[str]) -> list[str]:
    """A line for each place that has one of these values, or something that looks like a secret.

    The values themselves are not told: whoever reads the output of a failed test need not know them.
    """
    policy = Policy()
    written = [(number, {each, quote(each, safe=""), quote_plus(each)}) for number, each in enumerate(values) if each]
    found = []
    for trace in traces:
        for span in trace.spans:
            for place, key, value in _places(span):
                text = str(value)
                given = [number for number, forms in written if any(form in text for form in forms)]
                if given:
                    found.append(f"  {span.name}: {place} has {', '.join(f'value {number + 1}' for number in given)}")
                elif (shown := policy.value(key, value)) is not value and shown != value:
                    found.append(f"  {span.name}: {place} has {shown}, which looks like a secret")
    return list(dict.fromkeys(found))


def _places(span: SpanView) -> Iterator[tuple[str, str, Any]]:
    """All that is told of a span: where it stands, in words and as a key, and what."""
    yield "its name", "name", span.name
    yield "its status", "message", span.status_message
    yield from _attributes("the attribute", span.attributes)
    for event in span.events:
        yield f"the event {event.name}", "name", event.name
        yield from _attributes(f"the event {event.name}:", event.attributes)
    for link in span.links:
        yield from _attributes("a link:", link.attributes)
    yield from _attributes("the resource:", span.resource)


def _attributes(where: str, attributes: Mapping[str, Any]) -> Iterator[tuple[str, str, Any]]:
    for key, value in attributes.items():
        yield f"{where} {key}", key, Sanitised(value) if key == DB_QUERY_TEXT else value
