"""``causal-otel config``: the settings that ``install()`` would work with here, and who has given each."""

from __future__ import annotations

import json
import os
import sys
from typing import TYPE_CHECKING

from causal_otel._internal.printable import printable
from causal_otel.configuration.in_force import SettingInForce, in_force
from causal_otel.destination import conflicts, destination
from causal_otel.export.select_transport import check
from causal_otel.instrument import registry
from causal_otel.load_settings import load_settings, unread_variables
from causal_otel.patch_choice import choose, with_defaults
from causal_otel.settings import SettingError
from causal_otel.terminal.columns import table
from causal_otel.terminal.screen import Screen
from causal_otel.transports.transport import without_credentials

if TYPE_CHECKING:
    import argparse
    from collections.abc import Iterable

    from causal_otel.settings import Settings

__all__ = ["HELP", "configure", "run"]

HELP = "Print the settings that install() would work with here, and where each was given."


def configure(parser: argparse.ArgumentParser) -> None:
    """Add the command's options."""
    parser.epilog = (
        "It reads what install() reads: the environment, OpenTelemetry's configuration file and pyproject.toml, from "
        "the working directory upwards; not what a program gives install() as arguments. Secrets are hidden. Exit "
        "status: 0; or 1, if something is not allowed."
    )
    parser.add_argument("--all", action="store_true", help="also those that have their default")
    parser.add_argument("--file", metavar="FILE", help="OpenTelemetry's configuration file, in place of the one set")
    parser.add_argument("--json", action="store_true", help="for programs")


def run(arguments: argparse.Namespace) -> int:
    """Read all of it; returns the exit status."""
    try:
        settings = load_settings(config_file=arguments.file)
        patches = tuple(with_defaults(choose(settings, registry.patches()), settings))
        shown = in_force(settings, "--file", defaults=arguments.all)
        spans, warnings = _spans(settings), (*settings.warnings, *conflicts(settings), *unread_variables(os.environ))
    except SettingError as error:
        _complain(str(error))
        if arguments.json:
            print(json.dumps({"error": str(error)}, indent=2))
        return 1
    if arguments.json:
        found = {name: {"value": value, "from": origin} for name, value, origin in shown}
        print(json.dumps({"settings": found, "spans": spans, "patches": patches, "warnings": warnings}, indent=2))
        return 0
    for warning in warnings:
        _complain(f"warning: {warning}")
    _print(shown or [SettingInForce("(every setting)", "as it is by default", "")])
    print(f"\nSpans go to {printable(spans)}. Patches: {', '.join(patches) or 'none'}.")
    return 0


def _complain(message: str) -> None:
    for line in message.splitlines():
        print(f"causal-otel config: {printable(line)}", file=sys.stderr)


def _spans(settings: Settings) -> str:
    """Where spans go."""
    if not settings.wanted:
        return "nowhere: tracing is switched off"
    if settings.exporter in ("console", "none"):
        return "standard error" if settings.exporter == "console" else "nowhere"
    protocol, url = destination(settings)
    check(settings, protocol)
    return f"{without_credentials(url)} by {protocol}"


def _print(shown: Iterable[SettingInForce]) -> None:
    rows = [("SETTING", "VALUE", "FROM"), *((each.name, each.text, each.origin) for each in shown)]
    styles = ("dim", *[""] * (len(rows) - 1))
    Screen().write(table([[(printable(text), style) for text in row] for row, style in zip(rows, styles, strict=True)]))
