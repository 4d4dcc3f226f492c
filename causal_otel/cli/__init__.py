"""The command line, ``causal-otel COMMAND``.

A command is a module with ``HELP`` (one line), ``configure(parser)`` and ``run(arguments) -> int``, named in
:data:`COMMANDS`. The one that is called is imported, and for ``--help`` all of them: a command imports what an extra
brings only when it runs.

Exit status: 0 if all went well; 1 if not, after one sentence on stderr; 2 for wrong usage or a missing extra; 130 after
Ctrl-C, 143 after SIGTERM, 141 where the reader of a pipe has left.
"""

from __future__ import annotations

import argparse
import io
import os
import signal
import sys
from collections.abc import Sequence
from importlib import import_module

from causal_otel._version import __version__

__all__ = ["COMMANDS", "main", "parser"]

COMMANDS = {
    "collector": "causal_otel.cli.collector",
    "completion": "causal_otel.cli.completion",
    "config": "causal_otel.cli.config",
    "demo": "causal_otel.cli.demo.command",
    "diff": "causal_otel.cli.diff",
    "doctor": "causal_otel.cli.doctor",
    "errors": "causal_otel.cli.errors",
    "export": "causal_otel.cli.export",
    "import": "causal_otel.cli.import_",
    "map": "causal_otel.cli.map",
    "mcp": "causal_otel.cli.mcp",
    "operations": "causal_otel.cli.operations",
    "run": "_causal_otel_start.run",  # not in this package, whose import takes longer than all that it does
    "sampling": "causal_otel.cli.sampling",
    "trace": "causal_otel.cli.trace",
    "traces": "causal_otel.cli.traces",
    "why": "causal_otel.cli.why",
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
    arguments = _parse(sys.argv[1:] if argv is None else argv)
    try:
        status: int = arguments.run(arguments)
        sys.stdout.flush()
    except KeyboardInterrupt:
        return 128 + signal.SIGINT
    except BrokenPipeError:  # such as `causal-otel traces | head`
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())  # what is still in the buffer goes nowhere
        return 128 + signal.SIGPIPE
    return status


def parser() -> argparse.ArgumentParser:
    """The parser of the whole command line: every command is imported for it."""
    whole = argparse.ArgumentParser(prog="causal-otel", description="Tracing for async Python.")
    whole.add_argument("--version", action="version", version=f"%(prog)s {__version__}")
    commands = whole.add_subparsers(title="commands", metavar="COMMAND", required=True)
    for name, module in COMMANDS.items():
        command = import_module(module)
        command.configure(commands.add_parser(name, help=command.HELP))
    return whole


def _parse(argv: Sequence[str]) -> argparse.Namespace:
    """The arguments, with ``run``, what runs the command that they begin with."""
    if argv and argv[0] in COMMANDS:
        command = import_module(COMMANDS[argv[0]])
        only = argparse.ArgumentParser(prog=f"causal-otel {argv[0]}", description=command.HELP)
        command.configure(only)
        only.set_defaults(run=command.run)
        return only.parse_args(argv[1:])
    return parser().parse_args(argv)
