"""``causal-otel completion SHELL``: the script that has a shell complete this command line."""

from __future__ import annotations

import argparse
import sys

from causal_otel._internal.extras import missing

__all__ = ["HELP", "SHELLS", "configure", "run"]

HELP = "Print a script that has a shell complete commands, options and files."

SHELLS = ("bash", "zsh", "fish")
"""What it can be printed for."""

_UNUSABLE = 2
_COMMAND = {
    "bash": "_causal_otel_commands",
    "zsh": "_causal_otel_commands",
    "fish": "(__fish_complete_subcommand --fcs-skip=2)",
    "preamble": {
        "bash": '_causal_otel_commands() { compgen -cf -- "$1" | sort -u; }',
        "zsh": "_causal_otel_commands() { _alternative 'commands:command:_command_names' 'files:file:_files'; }",
    },
}
"""How each shell completes a command of any kind, such as the one that ``causal-otel run`` becomes."""


def configure(parser: argparse.ArgumentParser) -> None:
    """Add the command's options."""
    parser.epilog = (
        "The script is read by the shell and starts no Python: print it anew after an update. As in: "
        "causal-otel completion bash >~/.local/share/bash-completion/completions/causal-otel; "
        'causal-otel completion zsh >"${fpath[1]}/_causal-otel"; '
        "causal-otel completion fish >~/.config/fish/completions/causal-otel.fish. The extra `completion` brings what "
        "writes it."
    )
    parser.add_argument("shell", choices=SHELLS, help="which shell")


def run(arguments: argparse.Namespace) -> int:
    """Print the script; returns the exit status."""
    absent = missing(["shtab"], "completion")
    if absent:
        print(f"causal-otel completion: {absent}", file=sys.stderr)
        return _UNUSABLE
    import shtab

    from causal_otel.cli import parser

    whole = parser()
    for action in _actions(whole):
        if action.metavar == "FILE":
            action.complete = shtab.FILE  # type: ignore[attr-defined]
        elif action.nargs == argparse.REMAINDER:
            action.complete = _COMMAND  # type: ignore[attr-defined]
    print(shtab.complete(whole, arguments.shell))
    return 0


def _actions(parser: argparse.ArgumentParser) -> list[argparse.Action]:
    """All arguments, those of subcommands too."""
    found = list[argparse.Action]()
    for action in parser._actions:
        found.append(action)
        if isinstance(action, argparse._SubParsersAction):
            for below in action.choices.values():
                found += _actions(below)
    return found
