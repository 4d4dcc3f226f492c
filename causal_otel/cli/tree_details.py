"""What stands in lines of its own below a row of a trace's tree: a run's figures, and what was called how."""

from __future__ import annotations

from typing import TYPE_CHECKING

from causal_otel._internal.printable import printable
from causal_otel.collector.attributes import text
from causal_otel.collector.units import format_duration
from causal_otel.names import DB_QUERY_SUMMARY, DB_QUERY_TEXT, SERVER_ADDRESS, SERVER_PORT, URL_FULL
from causal_otel.terminal.text import plural

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence

    from causal_otel.cli.tree_rows import Row
    from causal_otel.collector.analysis import SpanView
    from causal_otel.terminal.columns import Line

__all__ = ["details"]

_OUTWARD = frozenset({"client", "producer"})
_LONGEST = 1000  # characters of a statement, which a terminal may have room for

# The stable names first, then those that instrumentations used before.
_HOSTS = (SERVER_ADDRESS, "net.peer.name")
_PORTS = (SERVER_PORT, "net.peer.port")
_URLS = (URL_FULL, "http.url")
_STATEMENTS = (DB_QUERY_TEXT, "db.statement", DB_QUERY_SUMMARY)


def details(row: Row, findings: Mapping[str, int]) -> Iterator[Line]:
    """The lines below a row, without what leads to it.

    Args:
        row: the row.
        findings: for spans of which a finding says that they are N+1 the number of that finding.
    """
    run = row.run
    if run is not None:
        figures = f"p50 {format_duration(run.p50)}, max {format_duration(run.longest.duration)}"
        failed = plural(run.errors, "error") if run.errors else ""
        if run.errors_below:
            failed += f"{' and ' if failed else ''}{run.errors_below} below"
        number = next((findings[span.span_id] for span in run.spans if span.span_id in findings), 0)
        yield (
            (figures, "dim"),
            *([(", ", "dim"), (failed, "red")] if failed else []),
            *([(", ", "dim"), (f"N+1: finding {number}", "yellow")] if number else []),
        )
    spans = (row.span,) if run is None else run.spans
    if row.gap is None and (said := _called(spans)):
        yield ((said, "dim"),)


def _called(spans: Sequence[SpanView]) -> str:
    """Where calls went, and what they said; empty: they do not tell."""
    if spans[0].kind not in _OUTWARD:
        return ""
    places = _distinct(map(_place, spans))
    statements = _distinct(map(_statement, spans))
    return "  ".join(each for each in (_one_of(places, "addresses"), _one_of(statements, "statements")) if each)


def _distinct(texts: Iterable[str]) -> list[str]:
    return [each for each in dict.fromkeys(texts) if each]


def _one_of(texts: Sequence[str], noun: str) -> str:
    return texts[0] if len(texts) == 1 else f"{len(texts)} {noun}, as {texts[0]}" if texts else ""


def _place(span: SpanView) -> str:
    attributes = span.attributes
    if url := _first(attributes, _URLS):
        return url
    host, port = _first(attributes, _HOSTS), _first(attributes, _PORTS)
    if not host or not port:
        return host
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"


def _statement(span: SpanView) -> str:
    said = _first(span.attributes, _STATEMENTS)
    return "" if said == " ".join(span.name.split()) else said


def _first(attributes: Mapping[str, object], keys: Iterable[str]) -> str:
    """The first of them that the span has, on one line."""
    for key in keys:
        if (value := attributes.get(key)) not in (None, ""):
            return " ".join(printable(text(value)[:_LONGEST]).split())
    return ""
