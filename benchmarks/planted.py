"""What other tracers show of the causes that the slow demo plants: ``python -m benchmarks.planted``.

Prints a table: of each cause the request's span, and those inside it that are worth mentioning, as each tracer has
recorded them. What it means is for the reader to find out; :mod:`causal_otel.cli.demo.slow` says it in a sentence.
"""

from __future__ import annotations

import io
import json
import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import httpx
from rich.console import Console

from benchmarks.planted_process import TRACERS
from causal_otel.cli.demo.slow.causes import CAUSES, PLANTED, Cause
from causal_otel.cli.demo.slow.play import ask, plant
from causal_otel.cli.demo.slow.stage import slow_stage
from causal_otel.cli.demo.stage import Stage

__all__ = ["main"]

_SETTLED_SECONDS = 3.0
_WORTH = 0.1
"""Of what was planted: shorter spans are not mentioned."""


@contextmanager
def _stage(tracer: str, spans: Path) -> Iterator[Stage]:
    process = "benchmarks.planted_process"
    environment = {"TRACING_ENABLED": "false", "PLANTED_SPANS": str(spans), "PYTHONPATH": os.getcwd()}
    environment |= {"DD_TRACE_STARTUP_LOGS": "false", "DD_INSTRUMENTATION_TELEMETRY_ENABLED": "false"}
    with slow_stage(
        Console(file=io.StringIO()),
        environment=environment,
        api=lambda port: [process, tracer, "api", str(port)],
        worker=[process, tracer, "worker"],
    ) as running:
        yield running


def _theirs(tracer: str) -> dict[str, str]:
    """What a tracer shows of each cause, by its name."""
    with TemporaryDirectory() as folder:
        path = Path(folder, "spans")
        with _stage(tracer, path) as stage, _client(stage) as client:
            for cause in CAUSES:
                ask(stage, client, cause)
            time.sleep(_SETTLED_SECONDS)  # what follows the last answer
        spans = [json.loads(line) for line in path.read_text().splitlines()]
    return {cause.name: _shown(cause, spans) for cause in CAUSES}


def _ours() -> dict[str, str]:
    with slow_stage(Console(file=io.StringIO()), loop="asyncio") as stage, _client(stage) as client:
        return {cause.name: plant(stage, client, cause).explanation.sentence for cause in CAUSES}


def _client(stage: Stage) -> httpx.Client:
    return httpx.Client(base_url=stage.api_url, timeout=60, trust_env=False)


def _shown(cause: Cause, spans: list[dict[str, Any]]) -> str:
    names = {f"GET {cause.path}", f"fastapi.request GET {cause.path}"}
    root = next((span for span in spans if span["name"] in names), None)
    if root is None:
        return "nothing"
    inside = [span for span in spans if span["trace"] == root["trace"] and span is not root]
    told = [f"`{root['name']}` {_duration(root)}"]
    worth = [span for span in inside if span["end"] - span["start"] >= _WORTH * PLANTED * 1e9]
    shown = sorted(worth, key=lambda span: span["start"])[:3]
    told += [f"`{span['name'][:60]}` {_duration(span)}" for span in shown]
    count = len(inside) - len(shown)
    if count:
        told.append(f"{count} shorter than {_WORTH * PLANTED * 1e3:g} ms")
    late = [span for span in inside if span["start"] > root["end"]]
    if late:
        told.append(f"the first after the answer {(late[0]['start'] - root['end']) / 1e6:.0f} ms later")
    return ", ".join(told)


def _duration(span: dict[str, Any]) -> str:
    return f"{(span['end'] - span['start']) / 1e6:.0f} ms"


def main() -> None:
    """Print the table, in Markdown."""
    columns = {"`causal-otel why`, first line": _ours()}
    columns |= {tracer: _theirs(tracer) for tracer in TRACERS}
    print("| planted |", " | ".join(columns), "|")
    print("|---|" + "---|" * len(columns))
    for cause in CAUSES:
        print("|", cause.name, "|", " | ".join(column[cause.name] for column in columns.values()), "|")


if __name__ == "__main__":
    main()
