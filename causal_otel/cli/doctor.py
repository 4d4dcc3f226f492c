"""``causal-otel doctor``: why something is not traced, and what to do about it."""

from __future__ import annotations

import argparse
import json
import os
import time
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from causal_otel.cli.stored import CommandError, UsageError, carry_out, read, token
from causal_otel.collector.config import CollectorSettings
from causal_otel.collector.units import parse_duration
from causal_otel.terminal.screen import Screen

if TYPE_CHECKING:
    from causal_otel.doctor.facts import Facts
    from causal_otel.doctor.finding import Finding
    from causal_otel.doctor.probe import Searched

__all__ = ["HELP", "configure", "run"]

HELP = "Tell why something is not traced, and what to do about it."

_TIMEOUT = "30s"
_QUERY_PORTS = (16686, 3200)
"""Of the pages of our collector and of Jaeger's; of Tempo."""
_WAIT = 5.0
"""Seconds in which a back end that is named is to show the test span."""
_STYLES = {"error": "bold red", "warning": "yellow", "note": "dim"}


def configure(parser: argparse.ArgumentParser) -> None:
    """Add the command's options."""
    parser.epilog = (
        "COMMAND is what starts the application, such as: uvicorn shop.api:app. It is imported in a process of its "
        "own, which serves nothing. Without it, the configuration and the collector are looked at. Exit status: 1 if "
        "an error was found, 0 if not."
    )
    which = parser.add_mutually_exclusive_group()
    which.add_argument("--pid", metavar="N", help="a running process, by its file in TRACING_STATUS_DIRECTORY")
    which.add_argument("--status", metavar="FILE", help="the same, by the file itself")
    parser.add_argument(
        "--url",
        metavar="URL",
        help="where the test span is looked for: the query API of a collector, Jaeger or Tempo. Default: ports 16686 "
        "and 3200 of the host that spans are sent to. A token is taken from CAUSAL_OTEL_COLLECTOR_TOKEN",
    )
    parser.add_argument("--operation", metavar="NAME", help="what you look for, such as 'GET /orders': is it sampled?")
    parser.add_argument(
        "--timeout", metavar="TIME", default=_TIMEOUT, help="how long the import may take; default: %(default)s"
    )
    parser.add_argument("--json", action="store_true", help="print all that is found as one JSON document")
    parser.add_argument("command", metavar="COMMAND", nargs=argparse.REMAINDER, help="what starts the application")


def run(arguments: argparse.Namespace) -> int:
    """Examine; returns the exit status."""
    return carry_out("doctor", _examine, arguments)


def _examine(arguments: argparse.Namespace) -> int:
    from causal_otel.doctor.examination import examine
    from causal_otel.doctor.finding import Severity

    facts = _facts(arguments)
    found = examine(facts)
    if arguments.json:
        print(json.dumps(_document(facts, found), ensure_ascii=False, indent=1))
    else:
        _print(facts, found)
    return int(any(finding.kind.severity is Severity.ERROR for finding in found))


def _facts(arguments: argparse.Namespace) -> Facts:
    from causal_otel.doctor.gathering import of_command, of_environment, of_status_file

    command = arguments.command[1:] if arguments.command[:1] == ["--"] else arguments.command
    file = _status_file(arguments)
    if file is not None:
        if command:
            raise UsageError("give either a command or a process, not both")
        try:
            return of_status_file(file)
        except (OSError, ValueError) as error:
            raise CommandError(str(error)) from None
    seconds = (read("--timeout", parse_duration, arguments.timeout) or 0) / 1e9
    find = partial(_find, arguments.url)
    if not command:
        return of_environment(find, arguments.operation or "")
    return of_command(command, seconds, find, arguments.operation or "")


def _status_file(arguments: argparse.Namespace) -> Path | None:
    if arguments.status is not None:
        return Path(arguments.status)
    if arguments.pid is None:
        return None
    directory = os.environ.get("TRACING_STATUS_DIRECTORY", "").strip()
    if not directory:
        raise UsageError("--pid needs TRACING_STATUS_DIRECTORY, as it is set for the process; or give --status FILE")
    file = Path(directory) / f"{arguments.pid}.json"
    if not file.is_file():
        others = ", ".join(sorted(path.stem for path in Path(directory).glob("[0-9]*.json"))) or "none"
        raise CommandError(f"there is no {file}; processes that have such a file: {others}")
    return file


# -- looking for the test span -----------------------------------------------------------------------------------------


def _find(url: str | None, sent_to: str, trace_id: bytes) -> Searched:
    """Look for the test span: where the user says, or where the back ends that we know are by default."""
    from causal_otel.doctor.probe import Searched

    if url is not None:
        return _search(url, trace_id, _WAIT)
    host = urlsplit(sent_to).hostname or "localhost"
    for port in _QUERY_PORTS:
        found = _search(f"http://{f'[{host}]' if ':' in host else host}:{port}", trace_id, 1.0)
        if not found.problem:
            return found if found.found else Searched()  # it may be another one's
    return Searched()


def _search(url: str, trace_id: bytes, seconds: float) -> Searched:
    from causal_otel.cli.remote.detection import connected
    from causal_otel.doctor.probe import Searched

    deadline = time.monotonic() + seconds
    try:
        with connected(url, token(CollectorSettings.load({})), timeout=(2.0, 5.0)) as back_end:
            while back_end.trace(trace_id) is None:
                if time.monotonic() > deadline:
                    return Searched(url)
                time.sleep(0.2)
            return Searched(url, found=True)
    except CommandError as error:
        return Searched(url, problem=str(error))


# -- the report --------------------------------------------------------------------------------------------------------


def _document(facts: Facts, found: Sequence[Finding]) -> dict[str, object]:
    counts = {severity: sum(str(each.kind.severity) == severity for each in found) for severity in _STYLES}
    return {"findings": [each.document() for each in found], "counts": counts, "looked_at": list(_seen(facts))}


def _print(facts: Facts, found: Sequence[Finding]) -> None:
    screen = Screen()
    for line in _seen(facts):
        screen.print((line, "dim"))
    for finding in found:
        severity = str(finding.kind.severity)
        screen.print()
        screen.print((f"{severity}: ", _STYLES[severity]), finding.what, (f"  [{finding.kind.code}]", "dim"))
        screen.print(f"  {finding.kind.why}")
        for line in finding.fix.splitlines():
            screen.print((f"    {line}".rstrip(), "bold"))
    screen.print()
    screen.print(_counted(found))


def _counted(found: Sequence[Finding]) -> str:
    counts = {severity: sum(str(each.kind.severity) == severity for each in found) for severity in _STYLES}
    said = [f"{count} {severity}{'s' if count > 1 else ''}" for severity, count in counts.items() if count]
    return ", ".join(said) if said else "Nothing to complain of."


def _seen(facts: Facts) -> list[str]:
    """What was looked at, a line each."""
    lines: list[str] = []
    application, process = facts.application, facts.observed
    if application is not None:
        lines.append(f"{application.target or application.command[0]}: {application.outcome}")
    if process is not None:
        if application is None:
            age = max(0.0, time.time() - process.written)
            lines.append(f"process {process.pid}, {process.program}: told of itself {age:.0f} s ago")
        status = process.status
        patches = {state: [each.name for each in status.patches if each.state == state] for state in ("on", "waiting")}
        if status.installed:
            lines.append(f"service {status.service_name!r}, spans go to {status.destination}")
            lines.append(f"traced: {', '.join(patches['on']) or 'nothing'}")
            lines.append(f"waiting for their drivers: {', '.join(patches['waiting']) or 'none'}")
        if status.export is not None and application is None:
            lines.append(f"spans: {status.export}")
        if status.sampling is not None:
            lines.append(f"sampling: {status.sampling.rules[-1]}, by {status.sampling.source}")
    if facts.share is not None and facts.operation:
        lines.append(f"{facts.operation}: {facts.share:.1%} recorded")
    for probe in facts.probes:
        what = "a test span" if probe.signal == "traces" else f"no {probe.signal}"
        lines.append(f"sent {what} to {probe.url} ({probe.protocol}): {_taken(probe.delivered, probe.searched)}")
    return lines


def _taken(delivered: bool, searched: Searched | None) -> str:
    if not delivered:
        return "not taken"
    if searched is None or not searched.place:
        return "taken"
    if searched.found:
        return f"taken, and found again at {searched.place}"
    return f"taken; {searched.problem}" if searched.problem else f"taken, and not found at {searched.place}"
