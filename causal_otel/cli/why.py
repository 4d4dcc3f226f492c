"""``causal-otel why``: why a trace took as long as it did, in one sentence, its critical path, and findings."""

from __future__ import annotations

import json
import sys
from dataclasses import replace
from typing import TYPE_CHECKING

from causal_otel._internal.printable import printable
from causal_otel.cli.lookup import beside
from causal_otel.cli.source import add_source, source
from causal_otel.cli.stored import CommandError, UsageError, add_times, carry_out, read, times
from causal_otel.terminal.screen import Screen

if TYPE_CHECKING:
    import argparse

    from causal_otel.causality.explanation import Explanation, OperationExplanation
    from causal_otel.cli.source import Source
    from causal_otel.collector.analysis import SpanView, TraceView
    from causal_otel.collector.query import Query

__all__ = ["HELP", "configure", "run"]

HELP = "Say why a trace, or an operation, takes as long as it does."

_LOOKBACK = "1h"
_MOST_OTHERS = 5
_OPERATION = 'a part of the span\'s name; * is any text, "NAME" in quotes just this name'


def configure(parser: argparse.ArgumentParser) -> None:
    """Add the command's options."""
    parser.epilog = (
        "Give an ID, or one of --slowest, --error and --operation. The first line says where the time went, longest "
        "first. The text has at most 2,000 bytes, and --json the same content. In brackets are ids of spans: "
        "`causal-otel trace ID` shows them."
    )
    parser.add_argument("id", metavar="ID", nargs="?", help="a trace's id, 32 hexadecimal digits (or 16)")
    parser.add_argument("--slowest", metavar="OPERATION", help=f"the slowest of an operation: {_OPERATION}")
    parser.add_argument(
        "--error",
        metavar="OPERATION",
        nargs="?",
        const="",
        help="the last trace with a span that has failed, of an operation or of any",
    )
    parser.add_argument(
        "--operation",
        metavar="OPERATION",
        help="where the time of an operation goes at p50 and p95, over the newest 300 traces, and what could be saved",
    )
    parser.add_argument("--service", metavar="NAME", help="only spans of this service; not with an ID")
    add_times(parser, lookback=_LOOKBACK)
    parser.add_argument("--json", action="store_true", help="print it as JSON")
    add_source(parser)


def run(arguments: argparse.Namespace) -> int:
    """Explain; returns the exit status."""
    return carry_out("why", _why, arguments)


def _why(arguments: argparse.Namespace) -> int:
    given = [name for name in ("id", "slowest", "error", "operation") if getattr(arguments, name) is not None]
    if len(given) != 1:
        raise UsageError("give the ID of a trace, or one of --slowest, --error and --operation")
    with source(arguments) as found:
        explained: Explanation | OperationExplanation
        others: list[str] = []
        if given == ["operation"]:
            explained, others = _of_operation(arguments, found)
        else:
            explained = _explained(found, *_chosen(arguments, found, given[0]))
    if arguments.json:
        print(json.dumps(explained.document(), ensure_ascii=False))
        return 0
    first, *lines = explained.text().splitlines()
    Screen().write([((first, "bold"),), *(((line, ""),) for line in lines)])
    if others:
        print(f"Other operations that match: {printable(', '.join(others))}.", file=sys.stderr)
    return 0


def _of_operation(arguments: argparse.Namespace, found: Source) -> tuple[OperationExplanation, list[str]]:
    """Of the operations that match, the one that took the most time, and the names of the others."""
    from causal_otel.causality.explanation import explain_operation
    from causal_otel.cli.lookup import by_id, tell_incomplete
    from causal_otel.collector.analysis.lookup import calls

    by_operation = calls(found, _query(arguments, "operation"), incomplete=tell_incomplete)
    if not by_operation:
        raise _nothing(arguments, "operation", "is there")
    totals = {key: sum(call.nanoseconds for call in each) for key, each in by_operation.items()}
    (service, operation), *others = sorted(totals, key=lambda key: (-totals[key], key))
    explained = explain_operation(service, operation, by_operation[service, operation])
    slow = by_id(found, bytes.fromhex(explained.slow.trace_id))
    example = _explained(found, slow, slow.span(explained.slow.span_id))
    return replace(explained, example=example), [f"{name} ({whose})" for whose, name in others[:_MOST_OTHERS]]


def _explained(found: Source, view: TraceView, root: SpanView | None) -> Explanation:
    from causal_otel.causality.explanation import explain

    return explain(view, beside(found, view), root=root)


def _chosen(arguments: argparse.Namespace, found: Source, which: str) -> tuple[TraceView, SpanView | None]:
    """The trace, and the span whose time to explain; None: the trace's root."""
    from causal_otel.cli.lookup import by_id, parse_trace_id, tell_incomplete
    from causal_otel.collector.analysis.lookup import newest, slowest

    if which == "id":
        return by_id(found, parse_trace_id(arguments.id)), None
    query = _query(arguments, which)
    if which == "error":
        failed = newest(found, query, incomplete=tell_incomplete)
        if failed is None:
            raise _nothing(arguments, which, "has failed")
        return failed[0], None
    longest = slowest(found, query, incomplete=tell_incomplete)
    if longest is None:
        raise _nothing(arguments, which, "is there")
    return longest


def _query(arguments: argparse.Namespace, which: str) -> Query:
    from causal_otel.collector.query import Query
    from causal_otel.collector.query_line import operation as read_operation

    start, end = times(arguments, lookback=_LOOKBACK)
    operation, like = read(f"--{which}", read_operation, getattr(arguments, which)) or (None, None)
    return Query(
        start=start,
        end=end,
        service=arguments.service,
        operation=operation,
        operation_like=like,
        errors=which == "error",
    )


def _nothing(arguments: argparse.Namespace, which: str, what: str) -> CommandError:
    operation = getattr(arguments, which)
    of = f" of {operation!r}" if operation else ""
    service = f" in the service {arguments.service!r}" if arguments.service else ""
    return CommandError(
        f"no span{of}{service} {what} in that time: try a longer --last; `causal-otel traces` lists traces"
    )
