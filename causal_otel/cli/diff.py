"""``causal-otel diff A B``: why one trace took longer than another."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

from causal_otel.cli.lookup import by_id, parse_trace_id
from causal_otel.cli.source import add_source, source
from causal_otel.cli.stored import carry_out
from causal_otel.terminal.screen import Screen

if TYPE_CHECKING:
    import argparse

__all__ = ["HELP", "configure", "run"]

HELP = "Say why one trace took longer than another."


def configure(parser: argparse.ArgumentParser) -> None:
    """Add the command's options."""
    parser.epilog = (
        "The first line says by what the critical paths to the two answers differ; then follow operations that took "
        "longer or less, or are in one of the traces only."
    )
    parser.add_argument("a", metavar="A", help="the id of a trace, such as a quick one")
    parser.add_argument("b", metavar="B", help="the id of the one to explain")
    parser.add_argument("--json", action="store_true", help="print it as JSON")
    add_source(parser)


def run(arguments: argparse.Namespace) -> int:
    """Compare; returns the exit status."""
    return carry_out("diff", _diff, arguments)


def _diff(arguments: argparse.Namespace) -> int:
    from causal_otel.causality.explanation import difference

    ids = parse_trace_id(arguments.a), parse_trace_id(arguments.b)
    with source(arguments) as found:
        a, b = (by_id(found, each) for each in ids)
    differs = difference(a, b)
    if arguments.json:
        print(json.dumps(differs.document(), ensure_ascii=False))
        return 0
    first, *others = differs.text().splitlines()
    Screen().write([((first, "bold"),), *(((line, ""),) for line in others)])
    return 0
