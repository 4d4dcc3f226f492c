"""The command line, ``causal-otel COMMAND``.

A command is a module with ``HELP`` (one line), ``configure(parser)`` and ``run(arguments) -> int``, named in
:data:`COMMANDS`. All of them are imported for ``--help``, so a command imports what an extra brings only when it runs.

Exit status: 0 if all went well; 1 if not, after one sentence on stderr; 2 for wrong usage or a missing extra; 130 after
Ctrl-C and 143 after SIGTERM.
"""

from __future__ import annotations

import argparse
import io
import signal
import sys
from collections.abc import Sequence
from importlib import import_module

from causal_otel._version import __version__

__all__ = ["COMMANDS", "main"]

COMMANDS = {
    "demo": "causal_otel.cli.demo.command",
}
"""Name and module of every command."""


def main(argv: Sequence[str] | None = None) -> int:
    """Run a command.

    Args:
        argv: the arguments; default: those of the process.

    Returns:
        The exit status.
    """
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="replace")  # a terminal that cannot show a character is no reason to fail
    parser = argparse.ArgumentParser(prog="causal-otel", description="Tracing for async Python.")
    parser.add_argument("--version", action="version", version=f"%(prog)s {__version__}")
    commands = parser.add_subparsers(title="commands", metavar="COMMAND", required=True)
    for name, module in COMMANDS.items():
        command = import_module(module)
        subparser = commands.add_parser(name, help=command.HELP, description=command.HELP)
        command.configure(subparser)
        subparser.set_defaults(run=command.run)
    arguments = parser.parse_args(argv)
    try:
        status: int = arguments.run(arguments)
    except KeyboardInterrupt:
        return 128 + signal.SIGINT
    return status
