"""``causal-otel trace ID``: one trace as a tree, what its time consists of, and what has failed in it."""

from __future__ import annotations

import math
import sys
from collections import Counter
from typing import TYPE_CHECKING

from causal_otel._internal.printable import printable
from causal_otel.cli.links import described_links
from causal_otel.cli.lookup import beside, missing, parse_trace_id
from causal_otel.cli.source import add_source, source
from causal_otel.cli.stored import carry_out, utc
from causal_otel.collector.units import format_duration
from causal_otel.names import CAUSAL_PREFETCH_WAIT, CAUSAL_PROFILE, CAUSAL_QUEUE_WAIT
from causal_otel.terminal.screen import Screen
from causal_otel.terminal.text import plural

if TYPE_CHECKING:
    import argparse
    from collections.abc import Iterable, Iterator, Mapping, Sequence

    from causal_otel.causality.critical_path import Segment
    from causal_otel.collector.analysis import Explained, Part, SpanView, TraceView
    from causal_otel.collector.analysis.runs import Run
    from causal_otel.terminal.columns import Line

__all__ = ["HELP", "configure", "run"]

HELP = "Show one of the traces that are kept, on this machine or behind an address."

_MOST = 10
_MOST_RECORDS = 100_000
_LONGEST_MESSAGE = 200
_MOST_LINES = 3
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
    from causal_otel.cli.tree import explained_tree
    from causal_otel.cli.tree_rows import explained_rows, runs_of
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
    rows = list(explained_rows(explained, expand=arguments.expand))
    runs = runs_of(rows)
    lines = explained_tree(explained, screen.width, path=path, rows=rows, ascii_only=screen.ascii_only)
    sections: list[tuple[str, Iterable[Line]]] = [
        ("", _sentence(explained)),
        ("", _headline(view)),
        ("", with_logs(lines, view, logs)),
        ("Log records of spans that are not here", log_lines(logs.elsewhere, view.start, 2, services=True)),
        (
            f"Critical path to the {arguments.until}, heavy ({'=' if screen.ascii_only else '━'}) above",
            _on_path(path, runs),
        ),
        ("Where the time went", _inside(view.spans, runs)),
        ("What ran in their own time", _profiles(view.spans)),
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


def _on_path(path: Sequence[Segment[SpanView]], runs: Mapping[int, Run]) -> Iterator[Line]:
    from causal_otel.causality.critical_path import time_on_path

    whole = sum(segment.duration for segment in path)
    waits = _by_row(time_on_path(segment for segment in path if segment.waiting), runs)
    ways = {segment.span.index: segment.via for segment in path}
    longest = sorted(_by_row(time_on_path(path), runs).items(), key=lambda each: (-each[1], each[0]))
    spans = {segment.span.index: segment.span for segment in path}
    for index, spent in longest[:_MOST]:
        before = f", {format_duration(waits[index])} of it before it started" if index in waits else ""
        run = runs.get(index)
        known = _KNOWN_BY.get(ways[index], "") if run is None else ""
        name = _name(spans[index]) if run is None else _run_name(run)
        yield (f"{spent / whole:6.1%}  {format_duration(spent):>8}  ", ""), *name, (before, ""), (known, "dim")
    yield from _left_out(len(longest), "span")


def _by_row(spent: Mapping[SpanView, int], runs: Mapping[int, Run]) -> Counter[int]:
    """Times by the index of the span, or of the first of its run."""
    found: Counter[int] = Counter()
    for span, time in spent.items():
        run = runs.get(span.index)
        found[span.index if run is None else run.first.index] += time
    return found


def _inside(spans: Sequence[SpanView], runs: Mapping[int, Run]) -> Iterator[Line]:
    from causal_otel.collector.analysis.where_time_went import where_time_went, where_times_went

    measured: list[tuple[int, Line, list[Part], SpanView | None]] = []
    for span in spans:
        run = runs.get(span.index)
        if run is None:
            measured.append((span.duration, _name(span), where_time_went(span), span))
        elif run.first is span:
            measured.append((run.total, _run_name(run), where_times_went(run.spans), None))
    measured = [each for each in measured if each[2]]
    measured.sort(key=lambda each: -each[0] - sum(part.duration for part in each[2] if part.before))
    for duration, name, parts, of in measured[:_MOST]:
        described = ", ".join(
            f"{part.label} {format_duration(part.duration)}"
            + (f" before{_prefetched(of, part)}" if part.before else f" ({part.share:.0%})")
            for part in parts
        )
        yield (f"  {format_duration(duration):>8}  ", ""), *name, (f": {described}", "")
    yield from _left_out(len(measured), "span")


def _prefetched(span: SpanView | None, part: Part) -> str:
    """How much of its time in a queue a message lay with a worker that was busy."""
    seconds = span.attributes.get(CAUSAL_PREFETCH_WAIT) if span is not None and part.key == CAUSAL_QUEUE_WAIT else None
    if not isinstance(seconds, float) or not math.isfinite(seconds) or seconds < _SHORTEST_PREFETCH:
        return ""
    return f" ({format_duration(round(seconds * 1_000_000_000))} of it prefetched)"


def _profiles(spans: Sequence[SpanView]) -> Iterator[Line]:
    from causal_otel.causality.folded import hottest, stacks

    found = []
    for span in spans:
        text = span.attributes.get(CAUSAL_PROFILE)
        if isinstance(text, str) and (profile := stacks(text)):
            found.append((sum(count for _, count in profile), span, hottest(profile)[:_MOST_LINES]))
    found.sort(key=lambda each: (-each[0], each[1].index))
    for samples, span, lines in found[:_MOST]:
        yield ("  ", ""), *_name(span), (f": {plural(samples, 'sample')}", "")
        for line, count in lines:
            yield (f"    {count / samples:6.1%}  ", ""), (printable(line)[:_LONGEST_MESSAGE], "")
    yield from _left_out(len(found), "span")


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


def _run_name(run: Run) -> Line:
    system = f" ({run.first.system})" if run.first.system else ""
    return (
        (f"{len(run.spans)}× ", ""),
        (printable(f"{run.first.service}: {run.first.name}{system}"), ""),
        (f" [{run.first.span_id} +{len(run.spans) - 1}]", "dim"),
    )


def _left_out(number: int, noun: str) -> Iterator[Line]:
    if number > _MOST:
        yield ((f"  and {plural(number - _MOST, f'more {noun}')}", "dim"),)
