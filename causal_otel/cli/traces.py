"""``causal-otel traces``: search the traces that are kept."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

from causal_otel._internal.printable import printable
from causal_otel.cli.source import add_source, source
from causal_otel.cli.stored import add_times, carry_out, read, tell_incomplete, times, utc
from causal_otel.collector.units import format_duration, parse_duration
from causal_otel.terminal.columns import table
from causal_otel.terminal.screen import Screen

if TYPE_CHECKING:
    import argparse
    from collections.abc import Sequence

    from causal_otel.collector.query import Counted, Found, Summary

__all__ = ["HELP", "configure", "run"]

HELP = "Search the traces that are kept, on this machine or behind an address."

_SPARE = (5, 3, 1)
"""Services, spans and when it started: what a narrow terminal has no room for, so that the name has."""

_SORTS = ("newest", "oldest", "longest", "spans", "errors")
_LOOKBACK = "1h"
_SECONDS, _COUNT_SECONDS = 10.0, 2.0
_MOST = 100_000


def configure(parser: argparse.ArgumentParser) -> None:
    """Add the command's options."""
    parser.epilog = (
        "QUERY is a line as on the collector's page, such as: service=checkout duration>200ms "
        "'(http.response.status_code>=500 OR error)' '!cache.hit'. It has key=value, key=GET*, !=, >, >=, <, <=, "
        "key~expression, key (it has it), !key (it has not), also of service, name, kind, system, status and duration; "
        "OR, NOT, parentheses; log:words. All of it, and of the options, has to hold for one span of the trace; words "
        "are looked for in its log records. `causal-otel trace ID` shows a trace."
    )
    parser.add_argument(
        "query", metavar="QUERY", nargs="*", help="conditions on a span; several arguments are one line, see below"
    )
    parser.add_argument("--query", metavar="QUERY", dest="line", help="the same, for a line that begins with -")
    parser.add_argument("--service", metavar="NAME", help="the service's name")
    parser.add_argument(
        "--operation", metavar="NAME", help='a part of the span\'s name; * is any text, "NAME" in quotes just this name'
    )
    add_times(parser, lookback=_LOOKBACK)
    parser.add_argument("--min-duration", metavar="TIME", help="the span's, such as 100ms or 1.5s")
    parser.add_argument("--max-duration", metavar="TIME", help="likewise")
    parser.add_argument("--errors", action="store_true", help="only spans that have failed")
    parser.add_argument("--logs", metavar="WORDS", help="words, all of which are in one log record of the trace")
    parser.add_argument(
        "--sort",
        metavar="ORDER",
        default="newest",
        help=f"which come first, of all that match: {', '.join(_SORTS)}; default: %(default)s",
    )
    parser.add_argument("--limit", metavar="N", default="20", help="how many traces at most; default: %(default)s")
    parser.add_argument("--json", action="store_true", help="print each trace found as a line of JSON")
    add_source(parser)


def run(arguments: argparse.Namespace) -> int:
    """Search; returns the exit status."""
    return carry_out("traces", _search, arguments)


def _search(arguments: argparse.Namespace) -> int:
    from causal_otel.collector.log_words import read_words
    from causal_otel.collector.query import Counted, Query
    from causal_otel.collector.query_line import merged
    from causal_otel.collector.query_line import operation as read_operation
    from causal_otel.collector.query_line import parse as read_line

    line = merged(read("QUERY", read_line, " ".join(arguments.query)), read("--query", read_line, arguments.line))
    operation, like = read("--operation", read_operation, arguments.operation) or (None, None)
    start, end = times(arguments, lookback=_LOOKBACK)
    query = Query(
        start=start,
        end=end,
        service=arguments.service,
        operation=operation,
        operation_like=like,
        where=line.where,
        shortest=read("--min-duration", parse_duration, arguments.min_duration),
        longest=read("--max-duration", parse_duration, arguments.max_duration),
        errors=arguments.errors,
        logs=tuple(sorted({*line.logs, *(read("--logs", read_words, arguments.logs) or ())})),
        limit=read("--limit", _limit, arguments.limit) or 1,
        sort=read("--sort", _sort, arguments.sort) or "newest",
    )
    with source(arguments) as reader:
        found = reader.search(query, seconds=_SECONDS)
        summaries = reader.summaries(found.trace_ids)
        of_all = found.complete and len(found.trace_ids) < query.limit
        count = Counted(len(summaries)) if of_all or arguments.json else reader.count(query, seconds=_COUNT_SECONDS)
    if arguments.json:
        for each in summaries:
            print(json.dumps(each.document(), ensure_ascii=False))
    else:
        _print(summaries, count)
    if not found.complete:
        tell_incomplete(f"The search ended before all was seen{_compared(found)}")
    return 0


def _compared(found: Found) -> str:
    return "" if found.since is None else f", and only traces since {utc(found.since)} UTC were compared"


def _sort(text: str) -> str:
    if text not in _SORTS:
        raise ValueError(f"one of {', '.join(_SORTS)} is needed, not {text!r}")
    return text


def _limit(text: str) -> int:
    if not (text.isascii() and text.isdecimal() and len(text) < 10 and 1 <= int(text) <= _MOST):
        raise ValueError(f"a whole number from 1 to {_MOST} is needed, not {text!r}")
    return int(text)


def _print(traces: Sequence[Summary], count: Counted) -> None:
    screen = Screen()
    if not traces:
        screen.print("No traces: try a longer --lookback or fewer conditions.")
        return
    titles = ("TRACE", "STARTED (UTC)", "DURATION", "SPANS", "ERRORS", "SERVICES", "NAME")
    rows = [[(title, "dim") for title in titles], *map(_row, traces)]
    width = screen.width if screen.terminal else None
    screen.write(table(rows, right=range(2, 6), width=width, spare=_SPARE), cut=True)
    total = max(count.traces, len(traces))
    screen.print(f"{len(traces):,} of {total:,}" if count.complete else f"{len(traces):,} of more than {total:,}")


def _row(trace: Summary) -> list[tuple[str, str]]:
    return [
        (trace.trace_id.hex(), ""),
        (utc(trace.start), ""),
        (format_duration(trace.duration), ""),
        (str(trace.spans), ""),
        (str(trace.errors), "red") if trace.errors else ("-", ""),
        (str(len(trace.services)), ""),
        (printable(f"{trace.root_service}: {trace.root_operation}"), ""),
    ]
