"""``causal-otel sampling check``: is a strategies file good, and what would it do."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

from causal_otel._internal.printable import printable
from causal_otel.strategies import FILE_LIMIT, Strategies, StrategiesError, decoded
from causal_otel.terminal.columns import table
from causal_otel.terminal.screen import Screen

if TYPE_CHECKING:
    import argparse
    from collections.abc import Iterator, Mapping, Sequence

__all__ = ["HELP", "configure", "run"]

HELP = "Check a file of sampling strategies, and tell what it would do."

_FAILED, _UNUSABLE = 1, 2
_OTHERS = "(any other)"
_METHODS = ("CONNECT", "DELETE", "GET", "HEAD", "OPTIONS", "PATCH", "POST", "PUT", "QUERY", "TRACE")
_TASKS = ("process", "send")  # what our Celery patch begins its spans' names with

Row = tuple[str, str, str, str]


def configure(parser: argparse.ArgumentParser) -> None:
    """Add the command's options."""
    actions = parser.add_subparsers(title="actions", metavar="ACTION", required=True)
    check = actions.add_parser("check", help=HELP, description=HELP)
    check.epilog = (
        "An operation is a span's name; 'GET /users/7' is a request as well, and 'process reports.build' a task. "
        "Without any, all rules of the file are shown. Exit status: 0 if the file is good, 1 if not."
    )
    check.add_argument("file", metavar="FILE", type=Path, help="strategies in Jaeger's format")
    check.add_argument("pairs", metavar="SERVICE OPERATION", nargs="*", help="tell what would happen to these")
    check.add_argument(
        "--attribute",
        "-a",
        metavar="KEY=VALUE",
        action="append",
        default=[],
        help="an attribute that the spans start with; may be repeated",
    )


def run(arguments: argparse.Namespace) -> int:
    """Check; returns the exit status."""
    names: list[str] = arguments.pairs
    attributes = dict(text.partition("=")[::2] for text in arguments.attribute)
    if len(names) % 2:
        return _complain(f"{names[-1]!r}: name an operation with every service", _UNUSABLE)
    if not all("=" in text for text in arguments.attribute):
        return _complain("--attribute: write KEY=VALUE", _UNUSABLE)
    try:
        with arguments.file.open("rb") as file:
            strategies = Strategies(decoded(file.read(FILE_LIMIT + 1)))
    except OSError as error:
        return _complain(f"cannot read {arguments.file}: {error.strerror}", _FAILED)
    except StrategiesError as error:
        return _complain(f"{arguments.file}, {error}", _FAILED)
    for warning in strategies.warnings:
        _complain(f"{arguments.file}, {warning}", 0)
    pairs = list(zip(names[::2], names[1::2], strict=True))
    rows = [_decided(strategies, *pair, attributes) for pair in pairs] if pairs else list(_all(strategies))
    _print([("SERVICE", "OPERATION", "RECORDED", "BECAUSE OF"), *rows])
    return 0


def _complain(message: str, status: int) -> int:
    print(f"causal-otel sampling: {message}", file=sys.stderr)
    return status


def _all(strategies: Strategies) -> Iterator[Row]:
    from causal_otel.sampling.rules import of_service

    for name, service in [*strategies.services.items(), (_OTHERS, strategies.default)]:
        lines = [*(each.line for each in service.operations or ()), service.line]
        for words, line in zip(of_service(service).words, lines, strict=True):
            condition, _, recorded = words.rpartition(": ")
            yield name, condition if condition != "else" else "(else)", recorded, _line(line)


def _decided(strategies: Strategies, name: str, operation: str, more: Mapping[str, str]) -> Row:
    from opentelemetry.trace import SpanKind

    from causal_otel.sampling.rules import of_service, words

    service = strategies.of(name)
    attributes = {**_start_attributes(operation), **more}
    listed = service.operations or ()
    for rule, each in zip(of_service(service).rules.rules, listed, strict=True):
        if rule.fits(operation, SpanKind.INTERNAL, attributes):
            return name, operation, words(each.strategy), _line(each.line)
    return name, operation, words(service.strategy), _line(service.line)


def _start_attributes(operation: str) -> dict[str, Any]:
    """What our patches know of such an operation when it begins."""
    from causal_otel.names import CELERY_TASK_NAME, HTTP_REQUEST_METHOD, URL_PATH

    first, _, rest = operation.partition(" ")
    if first in _METHODS and rest.startswith("/"):
        return {HTTP_REQUEST_METHOD: first, URL_PATH: rest}
    if operation.startswith("/"):
        return {URL_PATH: operation}
    return {CELERY_TASK_NAME: rest} if first in _TASKS and rest else {}


def _line(number: int) -> str:
    return f"line {number}" if number else "there is no default_strategy"


def _print(rows: Sequence[Row]) -> None:
    styles = ("dim", *[""] * (len(rows) - 1))
    Screen().write(table([[(printable(text), style) for text in row] for row, style in zip(rows, styles, strict=True)]))
