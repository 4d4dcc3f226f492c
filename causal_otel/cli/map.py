"""``causal-otel map``: who called whom, how often, and how long that took: services, databases, brokers and hosts."""

from __future__ import annotations

from typing import TYPE_CHECKING

from causal_otel._internal.printable import printable
from causal_otel.cli.figures import Row, Table, configure_table, failing, print_table
from causal_otel.collector.units import format_duration

if TYPE_CHECKING:
    import argparse
    from collections.abc import Sequence

__all__ = ["HELP", "configure", "run"]

HELP = "Print a table of who called whom: services, databases, brokers and hosts."

_SORTS = {
    "calls": lambda row: row["calls"],
    "errors": lambda row: row["errors"],
    "failing": lambda row: row["errors"] / row["calls"] if row["calls"] else 0,
    "p95": lambda row: row["p95_nano"],
}


def configure(parser: argparse.ArgumentParser) -> None:
    """Add the command's options."""
    parser.epilog = "Figures are of whole hours."
    configure_table(parser, _TABLE, service="only what this service called, and who called it")


def run(arguments: argparse.Namespace) -> int:
    """Print the table; returns the exit status."""
    return print_table(_TABLE, arguments)


def _cells(row: Row) -> list[tuple[str, str]]:
    return [
        (str(row["calls"]), ""),
        (str(row["errors"]), "red") if row["errors"] else ("-", ""),
        (failing(row), "red" if row["errors"] else ""),
        (format_duration(row["p95_nano"]), ""),
        (printable(f"{row['parent']} -> {row['child']}"), ""),
    ]


def _totals(rows: Sequence[Row]) -> str:
    nodes = {row[end] for row in rows for end in ("parent", "child")}
    calls, errors = sum(row["calls"] for row in rows), sum(row["errors"] for row in rows)
    return f"{len(nodes)} nodes, {calls} calls, {errors} errors"


_TABLE = Table(
    "map",
    "edges",
    titles=("CALLS", "ERRORS", "FAILING", "P95", "FROM -> TO"),
    right=range(4),
    sorts=_SORTS,
    cells=_cells,
    key=lambda row: (row["parent"], row["child"]),
    totals=_totals,
    empty="No calls between services: try a longer --lookback.",
)
