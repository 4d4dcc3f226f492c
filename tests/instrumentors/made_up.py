"""Instrumentors that a test makes up: packages with a module, an entry point and metadata, on a path of their own."""

from __future__ import annotations

import json
import textwrap
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from tests.faults.programs import run

__all__ = ["INSTRUMENTOR", "distribute", "told"]

INSTRUMENTOR = """
from opentelemetry.instrumentation.instrumentor import BaseInstrumentor
from opentelemetry.trace import get_tracer
import acmedb

class Instrumentor(BaseInstrumentor):
    def instrumentation_dependencies(self):
        return ()

    def _instrument(self, **kwargs):
        print("instrument", sorted(kwargs), kwargs.get("greeting"))
        acmedb.traced = True

    def _uninstrument(self, **kwargs):
        acmedb.traced = False
"""
"""Of the driver ``acmedb``. It prints what it is given."""


def distribute(where: Path, name: str, version: str, entries: dict[str, str], requires: Iterable[str] = ()) -> None:
    """What pip leaves of a package's metadata."""
    info = where / f"{name.replace('-', '_')}-{version}.dist-info"
    info.mkdir()
    lines = ["Metadata-Version: 2.1", f"Name: {name}", f"Version: {version}"]
    lines += ["Provides-Extra: instruments", "Provides-Extra: instruments-any"]
    lines += [f"Requires-Dist: {requirement}" for requirement in requires]
    (info / "METADATA").write_text("\n".join((*lines, "")))
    if entries:
        points = [f"{key} = {value}" for key, value in entries.items()]
        (info / "entry_points.txt").write_text("\n".join(("[opentelemetry_instrumentor]", *points, "")))


def told(code: str, packages: Path, **variables: str) -> tuple[Any, str]:
    """What a program printed last, as JSON, and its log. ``states()`` are the lines of ``status()``."""
    prelude = """
    import json, sys, causal_otel

    def states():
        return {each.name: str(each) for each in causal_otel.status().instrumentors}

    """
    variables = {"PYTHONPATH": str(packages), "TRACING_EXPORTER": "none", **variables}
    done = run(textwrap.dedent(prelude) + textwrap.dedent(code), seconds=120.0, **variables)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout.splitlines()[-1]), done.stderr
