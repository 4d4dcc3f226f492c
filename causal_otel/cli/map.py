"""``causal-otel map``: who called whom, how often, and how long that took: services, databases, brokers and hosts."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from causal_otel._internal.printable import printable
from causal_otel.cli.figures import Row, Table, configure_table, failing, print_table
from causal_otel.collector.units import format_duration, rate

if TYPE_CHECKING:
    import argparse
    from collections.abc import Sequence

__all__ = ["HELP", "configure", "run"]

HELP = "Print a table of who called whom: services, databases, brokers and hosts."

_WAIT = "queue_wait_nano"

_SORTS = {
    "calls": lambda row: row["calls"],
    "errors": lambda row: row["errors"],
    "failing": lambda row: row["errors"] / row["calls"] if row["calls"] else 0,
    "p95": lambda row: row["p95_nano"],
}


def configure(parser: argparse.ArgumentParser) -> None:
    """Add the command's options."""
    parser.epilog = "Figures are of whole hours."
    said = "only what this service, or another node, called, and who called it"
    configure_table(parser, _TABLE, service=said, operations=False)


def run(arguments: argparse.Namespace) -> int:
    """Print the table; returns the exit status."""
    return print_table(_TABLE, arguments)


def _cells(row: Row) -> list[tuple[str, str]]:
    return [
        (str(row["calls"]), ""),
        (rate(row["calls"], row["calls"] / row["per_second"]).replace("\u202f", ","), ""),
        (str(row["errors"]), "red") if row["errors"] else ("-", ""),
        (failing(row), "red" if row["errors"] else ""),
        (format_duration(row["p95_nano"]), ""),
        (printable(f"{_named(row, 'parent')} -> {_named(row, 'child')}"), ""),
    ]


def _named(row: Row, end: str) -> str:
    """A node, with what it is if it is no service; of a broker that hands messages on, how long they waited in it."""
    kind = row[f"{end}_kind"]
    waited = f", queue wait {format_duration(row[_WAIT])}" if end == "parent" and _WAIT in row else ""
    return row[end] if kind == "service" else f"{row[end]} ({kind}{waited})"


def _joined(document: dict[str, Any]) -> None:
    """Tell of each edge what the nodes at its ends are, and how long messages waited in a broker, in the mean."""
    nodes = {node["name"]: node for node in document["nodes"]}
    for row in document["edges"]:
        for end in ("parent", "child"):
            row[f"{end}_kind"] = nodes[row[end]]["kind"]
        if _WAIT in nodes[row["parent"]]:
            row[_WAIT] = nodes[row["parent"]][_WAIT]


def _totals(rows: Sequence[Row]) -> str:
    nodes = {row[end] for row in rows for end in ("parent", "child")}
    calls, errors = sum(row["calls"] for row in rows), sum(row["errors"] for row in rows)
    return f"{len(nodes)} nodes, {calls} calls, {errors} errors"


_TABLE = Table(
    "map",
    "edges",
    titles=("CALLS", "RATE", "ERRORS", "FAILING", "P95", "FROM -> TO"),
    right=range(5),
    spare=(2,),
    sorts=_SORTS,
    cells=_cells,
    key=lambda row: (row["parent"], row["child"]),
    totals=_totals,
    empty="No calls between services: try a longer --lookback.",
    joined=_joined,
)
