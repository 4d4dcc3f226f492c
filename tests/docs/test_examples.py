"""The example of docs/how-to/write-a-patch.md is a patch that works, from a package of its own."""

from __future__ import annotations

import ast
import json
import tomllib
from pathlib import Path
from typing import Any

import pytest

from tests.docs.pages import PAGES, code_blocks
from tests.faults.programs import run

_PAGE = "docs/how-to/write-a-patch.md"

_DRIVER = """
import time

class Refused(Exception):
    code = "A17"

class Client:
    host = "db.example"

    async def query(self, text):
        time.sleep(0.02)
        if text == "bad":
            raise Refused
        return [1, 2]

    def connect(self, refused):
        if refused:
            raise Refused
"""

_PROGRAM = """
    import asyncio, json, sys
    import causal_otel
    from causal_otel.engine.provider import TracerProvider
    from opentelemetry.sdk.trace.export import SimpleSpanProcessor
    from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

    exporter, provider = InMemorySpanExporter(), TracerProvider()
    provider.add_span_processor(SimpleSpanProcessor(exporter))
    installed = causal_otel.install(patches=["acmedb"], tracer_provider=provider)
    early = "acmedb_tracing" in sys.modules
    import acmedb

    client = acmedb.Client()
    with causal_otel.span("request"):
        assert asyncio.run(client.query("good")) == [1, 2]
        for call in (lambda: asyncio.run(client.query("bad")), lambda: client.connect(True)):
            try:
                call()
            except acmedb.Refused:
                pass
        client.connect(False)
    spans = exporter.get_finished_spans()
    root = spans[-1].context.span_id
    state = next(patch.state for patch in causal_otel.status().patches if patch.name == "acmedb")
    faults = dict(causal_otel.status().faults)
    installed.uninstall()
    print(json.dumps({
        "early": early, "state": state, "faults": faults, "undone": acmedb.Client.query.__module__ == "acmedb",
        "spans": [
            [span.name, span.kind.name, span.status.status_code.name, dict(span.attributes)]
            + [span.end_time - span.start_time]
            for span in spans if span.parent is not None and span.parent.span_id == root
        ],
    }))
"""


@pytest.fixture
def packages(tmp_path: Path) -> Path:
    """A driver, and the page's patch for it with its entry point, as pip would have installed them."""
    (patch,), (project,) = code_blocks(_PAGE, "python"), code_blocks(_PAGE, "toml")
    ((group, points),) = tomllib.loads(project)["project"]["entry-points"].items()
    files = {
        "acmedb.py": _DRIVER,
        "acmedb-1.4.dist-info/METADATA": "Metadata-Version: 2.1\nName: acmedb\nVersion: 1.4\n",
        "acmedb_tracing.py": patch,
        "acmedb_tracing-1.0.dist-info/METADATA": "Metadata-Version: 2.1\nName: acmedb-tracing\nVersion: 1.0\n",
        "acmedb_tracing-1.0.dist-info/entry_points.txt": f"[{group}]\n"
        + "".join(f"{name} = {place}\n" for name, place in points.items()),
    }
    for name, text in files.items():
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text(text)
    return tmp_path


def test_the_example_of_a_patch_works(packages: Path) -> None:
    """It waits for its driver, traces queries as long as they take, and connecting if it fails; undoing is exact."""
    done = run(_PROGRAM, PYTHONPATH=str(packages))
    assert done.returncode == 0, done.stderr
    told: dict[str, Any] = json.loads(done.stdout)
    spans = told.pop("spans")
    assert told == {"early": False, "state": "on", "faults": {}, "undone": True}
    common = {"db.system.name": "acmedb", "server.address": "db.example"}
    query = {**common, "db.operation.name": "QUERY"}
    failed = {"error.type": "A17", "db.response.status_code": "A17"}
    assert [span[:4] for span in spans] == [
        ["QUERY", "CLIENT", "UNSET", query],
        ["QUERY", "CLIENT", "ERROR", {**query, **failed}],
        ["CONNECT", "CLIENT", "ERROR", {**common, "db.operation.name": "CONNECT", **failed}],
    ]
    assert all(span[4] >= 20e6 for span in spans[:2])


@pytest.mark.parametrize("page", PAGES)
def test_examples_are_python(page: str) -> None:
    """Every example in Python can be parsed."""
    for code in code_blocks(page, "python"):
        ast.parse(code)
