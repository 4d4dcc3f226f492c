"""What the commands that print tables of figures have in common: where the figures are from, their order and totals."""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from causal_otel.cli.source import add_source, source
from causal_otel.cli.stored import (
    CommandError,
    UsageError,
    add_times,
    carry_out,
    read,
    stored,
    tell_incomplete,
    times,
    utc,
)
from causal_otel.terminal.columns import table
from causal_otel.terminal.screen import Screen

if TYPE_CHECKING:
    import argparse
    from collections.abc import Container, Iterable, Mapping, Sequence

__all__ = ["Row", "Table", "configure_table", "failing", "print_table"]

Row = dict[str, Any]
"""A row of a document, see :mod:`causal_otel.collector.trends.documents`."""

_LOOKBACK = "24h"
_MOST = 100_000


class Table:
    """How one of the documents is printed.

    Args:
        name: of the document and the command.
        rows: the name of its rows, and of the document's member that has them.
        titles: of the columns; the last one may be cut by the terminal.
        spare: the numbers of columns that a narrow terminal leaves out, in that order, but not what it is sorted by.
        right: the numbers of the columns whose cells stand on their right.
        sorts: the orders, the largest first: by what.
        cells: a row's cells, pairs of text and style.
        joined: puts into the rows what else the document tells of them.
        key: what orders rows that are equal.
        totals: a line about all rows.
        empty: what is said if there is no row.
    """

    def __init__(
        self,
        name: str,
        rows: str,
        *,
        titles: Sequence[str],
        right: Container[int],
        spare: Iterable[int] = (),
        sorts: Mapping[str, Callable[[Row], float]],
        cells: Callable[[Row], Sequence[tuple[str, str]]],
        key: Callable[[Row], Any],
        totals: Callable[[Sequence[Row]], str],
        empty: str,
        joined: Callable[[dict[str, Any]], None] = lambda document: None,
    ) -> None:
        self.name = name
        self.rows = rows
        self.titles = titles
        self.right = right
        self.spare = tuple(spare)
        self.sorts = sorts
        self.cells = cells
        self.key = key
        self.totals = totals
        self.empty = empty
        self.joined = joined


def configure_table(parser: argparse.ArgumentParser, shown: Table, *, service: str, operations: bool = True) -> None:
    """Add the options of a command that prints a table.

    Args:
        parser: the command's.
        shown: the table.
        service: what the option ``--service`` means.
        operations: whether it is of operations.
    """
    default = next(iter(shown.sorts))
    parser.add_argument("--service", metavar="NAME", help=service)
    if operations:
        said = 'only operations with such a name: a part of it; * is any text, "NAME" in quotes just this name'
        parser.add_argument("--operation", metavar="NAME", default="", help=said)
    else:
        parser.set_defaults(operation="")
    add_times(parser, lookback=_LOOKBACK)
    parser.add_argument(
        "--sort",
        metavar="ORDER",
        default=default,
        help=f"which come first, the largest: {', '.join(shown.sorts)}; default: %(default)s",
    )
    parser.add_argument("--limit", metavar="N", default="50", help="how many rows at most; default: %(default)s")
    parser.add_argument("--json", action="store_true", help="print each row as a line of JSON")
    add_source(parser)


def print_table(shown: Table, arguments: argparse.Namespace) -> int:
    """Print the table; returns the exit status."""
    return carry_out(shown.name, lambda given: _print(shown, given), arguments)


def failing(row: Row, of: str = "calls") -> str:
    """The share of calls that failed, as a cell."""
    percent = 100 * row["errors"] / row[of] if row[of] else 0
    return "-" if not percent else "<0.1 %" if percent < 0.1 else f"{percent:.3g} %"


def _print(shown: Table, arguments: argparse.Namespace) -> int:
    limit = read("--limit", _limit, arguments.limit) or 1
    if arguments.sort not in shown.sorts:
        raise UsageError(f"--sort: one of {', '.join(shown.sorts)} is needed, not {arguments.sort!r}")
    document = _document(shown, arguments)
    shown.joined(document)
    rows: list[Row] = document[shown.rows]
    value = shown.sorts[arguments.sort]
    rows.sort(key=lambda row: (-value(row), shown.key(row)))
    missing = _missing(document)
    if arguments.json:
        for row in rows[:limit]:
            print(json.dumps(row, ensure_ascii=False))
    else:
        _print_rows(shown, rows, limit, arguments.sort, complete=not missing)
    if missing:
        tell_incomplete(f"There was no time to read all: {missing} are missing, or too low")
    return 0


def _print_rows(shown: Table, rows: Sequence[Row], limit: int, sort: str, *, complete: bool) -> None:
    screen = Screen()
    if not rows:
        if complete:
            screen.print(shown.empty)
        return
    lines = [[(title, "dim") for title in shown.titles], *(shown.cells(row) for row in rows[:limit])]
    width = screen.width if screen.terminal else None
    spare = [each for each in shown.spare if shown.titles[each].partition(" ")[0].lower() != sort]
    screen.write(table(lines, right=shown.right, width=width, spare=spare), cut=True)
    more = f"; {len(rows) - limit} more rows: give --limit" if len(rows) > limit else ""
    screen.print((f"{shown.totals(rows)}{more}", "dim"))


def _missing(document: dict[str, Any]) -> str:
    """The figures for which there was no time; empty: all are there."""
    from causal_otel.collector.trends.documents import INCOMPLETE

    since: int = document.get(INCOMPLETE, 0)
    if not since:
        return ""
    return "figures" if since > time.time_ns() else f"figures of before {utc(since)[:16]} UTC"


def _document(shown: Table, arguments: argparse.Namespace) -> dict[str, Any]:
    from causal_otel.cli.remote.collector import CollectorSource
    from causal_otel.cli.remote.fetched import FetchedSource
    from causal_otel.collector.query_line import operation
    from causal_otel.collector.trends.documents import figures
    from causal_otel.collector.trends.periods import Period

    read("--operation", operation, arguments.operation)
    start, end = times(arguments, lookback=_LOOKBACK)
    try:
        period = Period.checked(start, min(end, max(start, time.time_ns())))
    except ValueError as error:
        raise UsageError(str(error)) from None
    if arguments.url is None:
        with stored(arguments) as reader:
            return figures(reader.bounded(), shown.name, arguments.service, period, arguments.operation)
    with source(arguments) as asked:
        if isinstance(asked, CollectorSource):
            return asked.figures(shown.name, arguments.service, period, arguments.operation)
        other = asked.name if isinstance(asked, FetchedSource) else "no collector of ours"
        raise CommandError(
            f"{arguments.url} is {other}, which keeps no sums of {shown.rows}: ask a collector of causal_otel, or "
            "search it with `causal-otel traces`"
        )


def _limit(text: str) -> int:
    if not (text.isascii() and text.isdecimal() and len(text) < 10 and 1 <= int(text) <= _MOST):
        raise ValueError(f"a whole number from 1 to {_MOST} is needed, not {text!r}")
    return int(text)
