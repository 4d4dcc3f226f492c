"""``docs/reference/cli.md``, from the parsers of the commands."""

from __future__ import annotations

import argparse
from importlib import import_module
from typing import TYPE_CHECKING

from causal_otel.cli import COMMANDS

if TYPE_CHECKING:
    from collections.abc import Iterator

__all__ = ["reference"]

_INTRODUCTION = """\
# The command line

Written by `make docs`; do not edit.

`causal-otel COMMAND`, or `python -m causal_otel COMMAND`. `causal-otel --version` prints the version, and
`causal-otel COMMAND --help` what stands here. The exit status is 0 if all went well; 1 if not, after one sentence on
stderr; 2 for wrong usage or a missing extra; 130 after Ctrl-C, 143 after SIGTERM, 141 where the reader of a pipe has
left.
"""


def reference() -> str:
    """The page, in Markdown."""
    page = _INTRODUCTION
    for name, module in COMMANDS.items():
        command = import_module(module)
        parser = argparse.ArgumentParser(prog=f"causal-otel {name}")
        command.configure(parser)
        page += f"\n## {name}\n\n{command.HELP}\n"
        rows = list(_rows(parser))
        if rows:
            page += "\n| argument | what it does |\n|---|---|\n" + "".join(rows)
        if parser.epilog:
            page += f"\n{_cell(parser.epilog)}\n"
    return page


def _rows(parser: argparse.ArgumentParser) -> Iterator[str]:
    for action in parser._actions:
        if isinstance(action, argparse._HelpAction) or action.help is argparse.SUPPRESS:
            continue
        yield f"| `{_called(action)}` | {_cell(_help(action))} |\n"


def _called(action: argparse.Action) -> str:
    """How it is typed."""
    if action.choices is not None and action.metavar is None:
        value = "{" + ",".join(map(str, action.choices)) + "}"
    else:
        metavar = action.metavar if isinstance(action.metavar, str) else None
        value = metavar or action.dest.upper()
    if action.nargs in ("*", "?"):
        value = f"[{value}]"
    if action.nargs in ("+", "*"):
        value += " …"
    if not action.option_strings:
        return value
    return ", ".join(action.option_strings) + ("" if action.nargs == 0 else f" {value}")


def _help(action: argparse.Action) -> str:
    values = {**vars(action), "prog": ""}
    return (action.help or "") % values


def _cell(text: str) -> str:
    return " ".join(text.split()).replace("|", "\\|")
