"""``causal-otel errors``: what failed, grouped by the error's type and the application's own frame."""

from __future__ import annotations

from typing import TYPE_CHECKING

from causal_otel._internal.printable import printable
from causal_otel.cli.figures import Row, Table, configure_table, print_table
from causal_otel.cli.stored import utc

if TYPE_CHECKING:
    import argparse
    from collections.abc import Sequence

__all__ = ["HELP", "configure", "run"]

HELP = "Print a table of errors, grouped by type and the application's own frame."

_SORTS = {
    "spans": lambda row: row["spans"],
    "requests": lambda row: row["requests"],
    "last": lambda row: row["last_unix_nano"],
    "first": lambda row: row["first_unix_nano"],
}
_NEW = {True: ("new", "yellow"), False: ("", ""), None: ("?", "dim")}


def configure(parser: argparse.ArgumentParser) -> None:
    """Add the command's options."""
    parser.epilog = (
        "An error that passes through several spans of a trace counts in each; REQUESTS are those that begin something "
        "in their service. FIRST and LAST are to the hour; of more than two days, to the day. NEW: there was none in "
        "the time before, which is as long (?: nothing is kept of that). `causal-otel trace ID` shows the example."
    )
    configure_table(parser, _TABLE, service="only errors of this service")


def run(arguments: argparse.Namespace) -> int:
    """Print the table; returns the exit status."""
    return print_table(_TABLE, arguments)


def _cells(row: Row) -> list[tuple[str, str]]:
    services = {each["service"]: None for each in row["operations"]}
    frame = f" in {row['frame']}" if row["frame"] else ""
    return [
        (str(row["spans"]), "red"),
        (str(row["requests"]) if row["requests"] else "-", ""),
        (utc(row["first_unix_nano"])[:16], ""),
        (utc(row["last_unix_nano"])[:16], ""),
        _NEW[row["new"]],
        (row["trace_id"], ""),
        (printable(f"{', '.join(services)}: {row['type']}{frame}"), ""),
    ]


def _totals(rows: Sequence[Row]) -> str:
    return f"{len(rows)} kinds of errors, {sum(row['spans'] for row in rows)} spans that failed"


_TABLE = Table(
    "errors",
    "errors",
    titles=("SPANS", "REQUESTS", "FIRST (UTC)", "LAST (UTC)", "NEW", "EXAMPLE", "ERROR"),
    right=range(2),
    spare=(2, 1, 3, 4),
    sorts=_SORTS,
    cells=_cells,
    key=lambda row: (row["type"], row["frame"]),
    totals=_totals,
    empty="No errors: nothing has failed in this time.",
)
