"""Log records as lines for a terminal, under the spans that they were logged in."""

from __future__ import annotations

from typing import TYPE_CHECKING

from causal_otel._internal.printable import printable
from causal_otel.collector.units import clock, format_duration
from causal_otel.names import EXCEPTION_STACKTRACE

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from causal_otel.cli.tree import TreeLine
    from causal_otel.collector.analysis import LogView, TraceLogsView, TraceView
    from causal_otel.terminal.columns import Line

__all__ = ["log_lines", "with_logs"]

_STYLES = {"warn": "yellow", "error": "red", "fatal": "red", "info": "cyan"}
_DEEPEST = 20


def with_logs(lines: Iterable[TreeLine], view: TraceView, logs: TraceLogsView) -> Iterator[Line]:
    """The lines of a trace's tree, the records of each row's spans below it.

    Args:
        lines: see :func:`~causal_otel.cli.tree.explained_tree`.
        view: the trace.
        logs: its records.
    """
    for spans, line in lines:
        yield line
        if records := [record for span in spans for record in logs.by_span.get(span.span_id, ())]:
            records.sort(key=lambda record: record.time)
            yield from log_lines(records, view.start, 4 + 2 * min(spans[0].depth, _DEEPEST))


def log_lines(records: Sequence[LogView], start: int, indent: int, *, services: bool = False) -> Iterator[Line]:
    """Records, by their time: when, level, logger, and what was said, of which further lines stand below.

    Args:
        records: what to show.
        start: what their times are told from, Unix time in nanoseconds; 0: they are told in UTC.
        indent: columns to leave free on the left.
        services: tell each record's service, which no span's line tells.
    """
    for record in records:
        at = format_duration(record.time - start) if start else clock(record.time)
        style = _STYLES.get(record.level, "dim")
        first, *others = record.said.splitlines() or [""]
        stack = str(record.attributes.get(EXCEPTION_STACKTRACE, ""))
        yield (
            (" " * indent, ""),
            (f"{at:>8} ", "dim"),
            (printable(f"{record.label or '-':<5} "), style),
            (printable(f"{record.service} ") if services else "", ""),
            (printable(f"{record.logger}: ") if record.logger else "", "dim"),
            (printable(first), "red" if style == "red" else ""),
        )
        for other in (*others, *stack.splitlines()):
            yield ((" " * (indent + 9), ""), (printable(other), "dim"))
