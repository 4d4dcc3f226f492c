"""``causal-otel trace ID``: one trace as a tree, what its time consists of, and what has failed in it."""

from __future__ import annotations

import math
import sys
from typing import TYPE_CHECKING

from causal_otel._internal.printable import printable
from causal_otel.cli.links import described_links
from causal_otel.cli.lookup import beside, missing, parse_trace_id
from causal_otel.cli.source import add_source, source
from causal_otel.cli.stored import carry_out, utc
from causal_otel.cli.tree import explained_tree
from causal_otel.collector.units import format_duration
from causal_otel.names import CAUSAL_PREFETCH_WAIT, CAUSAL_QUEUE_WAIT
from causal_otel.terminal.screen import Screen
from causal_otel.terminal.text import plural

if TYPE_CHECKING:
    import argparse
    from collections.abc import Iterable, Iterator, Sequence

    from causal_otel.causality.critical_path import Segment
    from causal_otel.collector.analysis import Explained, Part, SpanView, TraceView
    from causal_otel.terminal.columns import Line

__all__ = ["HELP", "configure", "run"]

HELP = "Show one of the traces that are kept, on this machine or behind an address."

_MOST = 10
_MOST_RECORDS = 100_000
_LONGEST_MESSAGE = 200
_SHORTEST_PREFETCH = 0.001  # seconds
_KNOWN_BY = {"heuristic": ", a guess", "link": ", by a link"}
"""How the critical path is known to lead through a span, where that is not by what spans say of tasks and calls."""


def configure(parser: argparse.ArgumentParser) -> None:
    """Add the command's options."""
    parser.add_argument("id", metavar="ID", help="the trace's id, 32 hexadecimal digits (or 16, of a 64-bit id)")
    parser.add_argument("--logs", action="store_true", help="show its log records, under their spans")
    parser.add_argument(
        "--expand",
        action="store_true",
        help="give each span a row: without it, equal siblings that follow each other are one row",
    )
    parser.add_argument(
        "--json", action="store_true", help="print it as OTLP JSON instead; with --logs its log records"
    )
    parser.add_argument(
        "--until",
        choices=("answer", "end"),
        default="answer",
        help="what the critical path leads to: the end of the trace's root, which answers a request (default), or the "
        "end of all work",
    )
    add_source(parser)


def run(arguments: argparse.Namespace) -> int:
    """Show the trace; returns the exit status."""
    return carry_out("trace", _show, arguments)


def _show(arguments: argparse.Namespace) -> int:
    from opentelemetry.proto.logs.v1.logs_pb2 import LogsData
    from opentelemetry.proto.trace.v1.trace_pb2 import TracesData

    from causal_otel.cli.logs import log_lines, with_logs
    from causal_otel.collector.analysis import Explained, build, log_views
    from causal_otel.collector.receive import otlp_json

    trace_id = parse_trace_id(arguments.id)
    with source(arguments) as reader:
        found = reader.trace(trace_id)
        records = reader.logs(trace_id, most=_MOST_RECORDS) if arguments.logs else None
        view = build(TracesData() if found is None else found)
        others = beside(reader, view) if view.spans and not arguments.json else []
    if found is None and records is None:
        raise missing(trace_id)
    if arguments.json:
        message = found if not arguments.logs else LogsData() if records is None else records.message
        assert message is not None
        sys.stdout.buffer.write(otlp_json.dumps(message) + b"\n")
        return 0
    screen, logs, explained = Screen(), log_views(records, view), Explained(view, lambda: others)
    path = explained.path(arguments.until)
    lines = explained_tree(explained, screen.width, path=path, expand=arguments.expand, ascii_only=screen.ascii_only)
    sections: list[tuple[str, Iterable[Line]]] = [
        ("", _sentence(explained)),
        ("", _headline(view)),
        ("", with_logs(lines, view, logs)),
        ("Log records of spans that are not here", log_lines(logs.elsewhere, view.start, 2, services=True)),
        (
            f"Critical path to the {arguments.until}, heavy ({'=' if screen.ascii_only else '━'}) above",
            _on_path(path),
        ),
        ("Where the time went", _inside(view.spans)),
        ("Links", _links(view)),
        ("Errors", _errors(view.spans)),
        ("Warnings", _warnings(view.spans)),
    ]
    if arguments.logs and not logs.count:
        sections.append(("", [(("It has no log records.", "dim"),)]))
    printed = False
    for title, section in sections:
        shown = list(section)
        if shown and printed:
            screen.print("")
        if shown and title:
            screen.print((title, "bold"))
        screen.write(shown)
        printed = printed or bool(shown)
    return 0


def _sentence(explained: Explained) -> Iterator[Line]:
    if not explained.view.spans:
        return
    explanation = explained.explanation
    yield ((explanation.sentence, "bold"),)
    if number := len(explanation.findings) + explanation.left_out:
        yield ((f"{plural(number, 'finding')}: causal-otel why {explained.view.trace_id}", "dim"),)


def _headline(view: TraceView) -> Iterator[Line]:
    if not view.spans:
        return
    if view.root is not None:
        yield (printable(f"{view.root.service}: {view.root.name}"), "bold"), (f"  trace {view.trace_id}", "dim")
    counts = [plural(len(view.spans), "span"), plural(len(view.services), "service")]
    if view.errors:
        counts.append(plural(view.errors, "error"))
    yield ((f"{utc(view.start)} UTC, {format_duration(view.duration)}, {', '.join(counts)}", ""),)


def _on_path(path: Sequence[Segment[SpanView]]) -> Iterator[Line]:
    from causal_otel.causality.critical_path import time_on_path

    whole = sum(segment.duration for segment in path)
    waits = time_on_path(segment for segment in path if segment.waiting)
    ways = {segment.span: segment.via for segment in path}
    longest = sorted(time_on_path(path).items(), key=lambda each: (-each[1], each[0].index))
    for span, spent in longest[:_MOST]:
        before = f", {format_duration(waits[span])} of it before it started" if span in waits else ""
        known = _KNOWN_BY.get(ways[span], "")
        yield (f"{spent / whole:6.1%}  {format_duration(spent):>8}  ", ""), *_name(span), (before, ""), (known, "dim")
    yield from _left_out(len(longest), "span")


def _inside(spans: Sequence[SpanView]) -> Iterator[Line]:
    from causal_otel.collector.analysis import where_time_went

    measured = [(span, parts) for span in spans if (parts := where_time_went(span))]
    measured.sort(key=lambda each: -each[0].duration - sum(part.duration for part in each[1] if part.before))
    for span, parts in measured[:_MOST]:
        described = ", ".join(
            f"{part.label} {format_duration(part.duration)}"
            + (f" before{_prefetched(span, part)}" if part.before else f" ({part.share:.0%})")
            for part in parts
        )
        yield (f"  {format_duration(span.duration):>8}  ", ""), *_name(span), (f": {described}", "")
    yield from _left_out(len(measured), "span")


def _prefetched(span: SpanView, part: Part) -> str:
    """How much of its time in a queue a message lay with a worker that was busy."""
    seconds = span.attributes.get(CAUSAL_PREFETCH_WAIT) if part.key == CAUSAL_QUEUE_WAIT else None
    if not isinstance(seconds, float) or not math.isfinite(seconds) or seconds < _SHORTEST_PREFETCH:
        return ""
    return f" ({format_duration(round(seconds * 1_000_000_000))} of it prefetched)"


def _links(view: TraceView) -> Iterator[Line]:
    found = list(described_links(view))
    for span, described in found[:_MOST]:
        yield ("  ", ""), *_name(span), (f" links to {described}", "")
    yield from _left_out(len(found), "link")


def _errors(spans: Sequence[SpanView]) -> Iterator[Line]:
    failed = [span for span in spans if span.error]
    for span in failed[:_MOST]:
        yield ("  ", ""), *_name(span), (_because(span), "red")
    yield from _left_out(len(failed), "error")


def _because(span: SpanView) -> str:
    from causal_otel.causality.explanation.failures import failure

    reason = failure(span, _LONGEST_MESSAGE)
    return f" - {reason}" if reason else ""


def _warnings(spans: Sequence[SpanView]) -> Iterator[Line]:
    warned = [(span, warning) for span in spans for warning in span.warnings]
    for span, warning in warned[:_MOST]:
        yield ("  ", ""), *_name(span), (f": {warning}", "yellow")
    yield from _left_out(len(warned), "warning")


def _name(span: SpanView) -> Line:
    system = f" ({span.system})" if span.system else ""
    return (printable(f"{span.service}: {span.name}{system}"), ""), (f" [{span.span_id}]", "dim")


def _left_out(number: int, noun: str) -> Iterator[Line]:
    if number > _MOST:
        yield ((f"  and {plural(number - _MOST, f'more {noun}')}", "dim"),)
