"""docs/tutorial/first-trace.md: every command of it is run here, as it stands there.

Only the environment differs: ports that are free, and a directory for the traces.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest

from causal_otel.testing.process import LOOPBACK, claim_port, http_status, process
from tests.docs.pages import ROOT, code_blocks
from tests.faults.programs import environment
from tests.waiting import wait_until

_PAGE = "docs/tutorial/first-trace.md"

_COMMANDS = [line[2:] for block in code_blocks(_PAGE, "console") for line in block.splitlines()]
_SET_UP, _DEMO, _COLLECTOR, _SERVE, _ASK, _LIST, _SHOW, _ASK_AGAIN, _ERRORS = (
    _COMMANDS[:3],
    *_COMMANDS[3:],
)

_NEEDS_CURL = pytest.mark.skipif(
    shutil.which("curl") is None and not os.environ.get("CI"), reason="there is no curl, which the page asks with"
)


def _run(command: str, directory: Path, variables: Mapping[str, str], seconds: float = 120) -> str:
    done = subprocess.run(
        ["bash", "-ec", command], cwd=directory, env=variables, capture_output=True, text=True, timeout=seconds
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


@pytest.fixture(scope="module")
def variables(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """The environment of all terminals: this Python's commands first, free ports, and a directory for the traces."""
    ports = {name: str(claim_port(None, name)) for name in ("port", "otlp", "uvicorn")}
    return environment(
        PATH=f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}",
        CAUSAL_OTEL_COLLECTOR_PORT=ports["port"],
        CAUSAL_OTEL_COLLECTOR_OTLP_HTTP_PORT=ports["otlp"],
        CAUSAL_OTEL_COLLECTOR_OTLP_GRPC_PORT="off",
        CAUSAL_OTEL_COLLECTOR_DATA_DIR=str(tmp_path_factory.mktemp("traces")),
        OTLP_ENDPOINT=f"http://{LOOPBACK}:{ports['otlp']}",
        OTEL_BSP_SCHEDULE_DELAY="100",
        UVICORN_PORT=ports["uvicorn"],
        PYTHONDONTWRITEBYTECODE="1",
    )


@pytest.fixture(scope="module")
def terminal(variables: dict[str, str], tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """The directory with ``shop.py``, while the collector and the program run as the page starts them."""
    directory = tmp_path_factory.mktemp("shop")
    (program,) = code_blocks(_PAGE, "python")
    (directory / "shop.py").write_text(program)
    port = int(variables["UVICORN_PORT"])
    with (
        process(
            ["bash", "-c", f"exec {_COLLECTOR}"],
            name="collector", env=variables, cwd=directory, ready=lambda child: "Ctrl-C stops it." in child.output(),
        ),
        process(
            ["bash", "-c", f"exec {_SERVE}"],
            name="shop", env=variables, cwd=directory,
            ready=lambda _: http_status(f"http://{LOOPBACK}:{port}/openapi.json") == 200,
        ),
    ):  # fmt: skip
        yield directory


def test_the_page_has_the_commands_that_are_run_here() -> None:
    """The commands of the page are those that the tests below run, in this order."""
    programs = [
        " ".join(command.split()[:2]) for command in (_DEMO, _COLLECTOR, _SERVE, _ASK, _LIST, _SHOW, _ASK_AGAIN)
    ]
    assert [command.split()[0] for command in _SET_UP] == ["python3", ".", "pip"]
    assert programs == [
        *("causal-otel demo", "causal-otel collector", "uvicorn shop:app", "curl -i", "causal-otel traces"),
        *("causal-otel trace", "curl -i"),
    ]
    assert _ERRORS == "causal-otel traces --errors"


@pytest.mark.long
def test_setting_up(tmp_path: Path) -> None:
    """The environment of the page has the command."""
    commands = "\n".join([*_SET_UP, "causal-otel --version", "command -v causal-otel"])
    pip = {name: value for name, value in os.environ.items() if name.startswith(("PIP_", "SSL_", "REQUESTS_"))}
    *_, place = _run(commands, ROOT, environment(HOME=str(tmp_path), **pip), seconds=280).splitlines()
    assert place == str(tmp_path / "first-trace" / "bin" / "causal-otel")


@pytest.mark.long
def test_the_demo(variables: dict[str, str], tmp_path: Path) -> None:
    """The demo prints its traces and ends by itself where nobody looks."""
    shown = _run(_DEMO, tmp_path, variables)
    assert "POST /api/analyses" in shown
    assert "Everything is stopped." in shown


@_NEEDS_CURL
def test_a_trace_of_ones_own(variables: dict[str, str], terminal: Path) -> None:
    """The request's trace has the four spans that the page tells of, and both commands show it."""
    answer = _run(_ask(_ASK, variables), terminal, variables)
    assert '{"price":9.9}' in answer
    trace_id = _trace_id(answer)
    wait_until(lambda: trace_id in _run(_LIST, terminal, variables))
    assert _SHOW.split()[-1] == "ID"
    show = _SHOW.replace("ID", trace_id)
    wait_until(lambda: len(_spans(f"{show} --json", terminal, variables)) == 4)
    spans = _spans(f"{show} --json", terminal, variables)
    names = {span["spanId"]: span["name"] for span in spans}
    assert {(names.get(span.get("parentSpanId", "")), span["name"]) for span in spans} == {
        (None, "GET /price/{article}"),
        ("GET /price/{article}", "GET"),
        ("GET", "GET /stock/{article}"),
        ("GET /price/{article}", "work out the price"),
    }
    for span in spans:
        if span["name"] != "work out the price":  # all of these wait for the stock
            assert int(span["endTimeUnixNano"]) - int(span["startTimeUnixNano"]) >= 20e6
        assert span.get("status", {}).get("code", 0) == 0
    shown = _run(show, terminal, variables)
    assert "4 spans" in shown
    assert "Critical path" in shown


@_NEEDS_CURL
def test_a_failure(variables: dict[str, str], terminal: Path) -> None:
    """The failing request is listed among the errors, and its trace names the exception where it began."""
    answer = _run(_ask(_ASK_AGAIN, variables), terminal, variables)
    assert " 500 " in answer.splitlines()[0]
    trace_id = _trace_id(answer)
    wait_until(lambda: trace_id in _run(_ERRORS, terminal, variables))
    show = _SHOW.replace("ID", trace_id)
    wait_until(lambda: len(_spans(f"{show} --json", terminal, variables)) == 3)
    failed = {
        span["name"]: _attributes(span).get("error.type") for span in _spans(f"{show} --json", terminal, variables)
    }
    assert failed == {
        "GET /stock/{article}": "KeyError",
        "GET": "500",
        "GET /price/{article}": "httpx.HTTPStatusError",
    }
    assert "KeyError" in _run(show, terminal, variables)


def _ask(command: str, variables: Mapping[str, str]) -> str:
    return command.replace(":8000/", f":{variables['UVICORN_PORT']}/")


def _trace_id(answer: str) -> str:
    found = re.search(r"^x-trace-id: ([0-9a-f]{32})\s*$", answer, re.MULTILINE | re.IGNORECASE)
    assert found is not None, answer
    return found[1]


def _spans(command: str, directory: Path, variables: Mapping[str, str]) -> list[dict[str, Any]]:
    resources = json.loads(_run(command, directory, variables))["resourceSpans"]
    return [span for resource in resources for scope in resource["scopeSpans"] for span in scope["spans"]]


def _attributes(span: dict[str, Any]) -> dict[str, Any]:
    return {each["key"]: next(iter(each["value"].values())) for each in span.get("attributes", ())}
