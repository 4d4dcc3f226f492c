"""``causal-otel operations``: how often each operation was called, how often it failed, and how long it took."""

from __future__ import annotations

from typing import TYPE_CHECKING

from causal_otel._internal.printable import printable
from causal_otel.cli.figures import Row, Table, configure_table, failing, print_table
from causal_otel.collector.trends.slower import FEWEST, NOTABLE, change_text
from causal_otel.collector.units import format_duration

if TYPE_CHECKING:
    import argparse
    from collections.abc import Sequence

__all__ = ["HELP", "configure", "run"]

HELP = "Print a table of operations: calls, errors, and how long they took."

_SORTS = {
    "total": lambda row: row["total_nano"],
    "calls": lambda row: row["calls"],
    "errors": lambda row: row["errors"],
    "failing": lambda row: row["errors"] / row["calls"] if row["calls"] else 0,
    "p50": lambda row: row["p50_nano"],
    "p95": lambda row: row["p95_nano"],
    "change": lambda row: row.get("change") or 1,
    "p99": lambda row: row["p99_nano"],
    "longest": lambda row: row["longest_nano"],
}


def configure(parser: argparse.ArgumentParser) -> None:
    """Add the command's options."""
    parser.epilog = (
        "Figures are of whole hours. CHANGE is P95 as a multiple of what it was in the time before, which is as long "
        f"(new: it was not called then; -: there are fewer than {FEWEST} calls, or were, or nothing is known of that "
        "time). `causal-otel traces --operation NAME` finds an operation's traces."
    )
    configure_table(parser, _TABLE, service="only operations of this service")


def run(arguments: argparse.Namespace) -> int:
    """Print the table; returns the exit status."""
    return print_table(_TABLE, arguments)


def _cells(row: Row) -> list[tuple[str, str]]:
    p50, p95, *others = [format_duration(row[f"{name}_nano"]) for name in ("p50", "p95", "p99", "longest", "total")]
    kind = f"{row['kind']}, {row['system']}" if row["system"] else row["kind"]
    return [
        (str(row["calls"]), ""),
        (str(row["errors"]), "red") if row["errors"] else ("-", ""),
        (failing(row), "red" if row["errors"] else ""),
        (p50, ""),
        (p95, ""),
        _change(row),
        *((each, "") for each in others),
        (printable(f"{row['service']}: {row['operation']} ({kind})"), ""),
    ]


def _change(row: Row) -> tuple[str, str]:
    change = row.get("change")  # older collectors do not tell it
    if change is None:
        return ("new", "yellow") if row.get("calls_before") == 0 else ("-", "")
    return change_text(change), "red" if change >= NOTABLE else "green" if change * NOTABLE <= 1 else ""


def _totals(rows: Sequence[Row]) -> str:
    calls, errors = sum(row["calls"] for row in rows), sum(row["errors"] for row in rows)
    return f"{len(rows)} operations, {calls} calls, {errors} errors"


_TABLE = Table(
    "operations",
    "operations",
    titles=("CALLS", "ERRORS", "FAILING", "P50", "P95", "CHANGE", "P99", "LONGEST", "TOTAL", "OPERATION"),
    right=range(9),
    spare=(7, 6, 1, 3),
    sorts=_SORTS,
    cells=_cells,
    key=lambda row: (row["service"], row["operation"], row["kind"], row["system"]),
    totals=_totals,
    empty="No operations: try a longer --lookback.",
)
