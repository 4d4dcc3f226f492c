"""``causal-otel mcp``: the process around the tools."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from mcp_types.version import LATEST_HANDSHAKE_VERSION, LATEST_MODERN_VERSION

from causal_otel._internal.extras import how_to_install
from causal_otel.cli import main
from tests.cli.storing import ORDER, keep
from tests.faults.programs import environment
from tests.mcp.agents import COMMAND, Agent, files_of, over_stdio
from tests.mcp.traces import TIME
from tests.without_packages import COMMAND as WITHOUT

if TYPE_CHECKING:
    from collections.abc import Iterator

_SECONDS = 120


def _message(number: int, method: str, **params: Any) -> dict[str, Any]:
    return {"jsonrpc": "2.0", "id": number, "method": method, "params": params}


_INITIALIZE = _message(
    1,
    "initialize",
    protocolVersion=LATEST_HANDSHAKE_VERSION,
    capabilities={},
    clientInfo={"name": "tests", "version": "1"},
)
_INITIALIZED = {"jsonrpc": "2.0", "method": "notifications/initialized"}


@contextmanager
def _server(*options: str, cwd: Path) -> Iterator[subprocess.Popen[str]]:
    """The process, with which the test speaks itself."""
    with subprocess.Popen(
        [*COMMAND, *options],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        cwd=cwd,
        env={**environment(), "HOME": str(cwd)},
    ) as process:
        try:
            yield process
        finally:
            process.kill()


def test_stdout_carries_nothing_but_the_protocol(directory: Path, tmp_path: Path) -> None:
    """Every line is a message, also of calls that fail; with stdin the process ends, and stderr has nothing."""
    calls = [
        _message(2, "tools/list"),
        _message(3, "tools/call", name="why", arguments={"trace_id": ORDER}),
        _message(4, "tools/call", name="why", arguments={"trace_id": "none"}),
        _message(5, "nothing/like/this"),
    ]
    with _server("--data-dir", str(directory), cwd=tmp_path) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        answers = []
        for message in (_INITIALIZE, _INITIALIZED, *calls):
            process.stdin.write(json.dumps(message) + "\n")
            process.stdin.flush()
            if "id" in message:
                answers.append(json.loads(process.stdout.readline()))
        process.stdin.close()
        assert process.wait(_SECONDS) == 0
        assert process.stdout.read() == ""
        assert process.stderr is not None
        assert process.stderr.read() == ""
    assert [answer["id"] for answer in answers] == [1, 2, 3, 4, 5]
    assert answers[0]["result"]["serverInfo"]["name"] == "causal-otel"
    assert [answers[place]["result"]["isError"] for place in (2, 3)] == [False, True]
    assert "error" in answers[4]


def test_it_ends_with_stdin_before_anything_was_said(tmp_path: Path) -> None:
    """An agent that leaves at once leaves nothing behind."""
    with _server(cwd=tmp_path) as process:
        out, err = process.communicate("", timeout=_SECONDS)
        assert (process.returncode, out, err) == (0, "", "")


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_signals_end_it(directory: Path, tmp_path: Path, number: signal.Signals) -> None:
    """Ctrl-C and SIGTERM end it at once, while it waits for a message."""
    with _server("--data-dir", str(directory), cwd=tmp_path) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        process.stdin.write(json.dumps(_INITIALIZE) + "\n")
        process.stdin.flush()
        assert json.loads(process.stdout.readline())["id"] == 1
        process.send_signal(number)
        assert process.wait(_SECONDS) == -number


@pytest.mark.long
def test_nothing_is_written(directory: Path, tmp_path: Path) -> None:
    """Neither to the traces, nor to the home or the current directory."""
    before = files_of(directory)
    log, home = tmp_path / "log", tmp_path / "home"
    home.mkdir()
    with over_stdio("--data-dir", str(directory), log=log, HOME=str(home), XDG_DATA_HOME=str(home / "data")) as agent:
        agent.ask("search_traces", **TIME)
        agent.ask("why", trace_id=ORDER)
        agent.ask("operations", where_time_goes=True, limit=2, **TIME)
        agent.ask("errors", **TIME)
    assert files_of(directory) == before
    assert list(home.rglob("*")) == []
    assert log.read_text() == ""


def test_older_clients_are_answered(directory: Path, tmp_path: Path) -> None:
    """The handshake of the revisions before the newest works as well."""
    with over_stdio("--data-dir", str(directory), log=tmp_path / "log", mode="legacy") as agent:
        assert agent.version == LATEST_HANDSHAKE_VERSION
        assert agent.ask("why", trace_id=ORDER)["trace_id"] == ORDER


def test_newer_clients_are_answered(over_stdin: Agent) -> None:
    """With the newest revision, a client needs no handshake."""
    assert over_stdin.version == LATEST_MODERN_VERSION


def test_it_starts_before_there_are_traces(tmp_path: Path) -> None:
    """An agent may start it before any collector: calls say what to start, and work once traces are there."""
    directory = tmp_path / "traces"
    with over_stdio("--data-dir", str(directory), log=tmp_path / "log") as agent:
        assert agent.refused("services") == (
            f"there is no directory {directory}: start `causal-otel collector`, or give the traces' with --data-dir"
        )
        keep(directory)
        assert agent.ask("why", trace_id=ORDER)["trace_id"] == ORDER


def test_a_fault_of_ours_is_told_and_survived(directory: Path, tmp_path: Path) -> None:
    """The model hears that it was no fault of its call, the log has the traceback, and the next call is answered."""
    (tmp_path / "sitecustomize.py").write_text(
        "import causal_otel.collector.mcp.tools.diff as diff\n"
        "def failing(*_): raise RuntimeError('a fault of the tests')\n"
        "diff.difference = failing\n"
    )
    log = tmp_path / "log"
    path = os.pathsep.join((str(tmp_path), *filter(None, sys.path)))
    with over_stdio("--data-dir", str(directory), log=log, PYTHONPATH=path) as agent:
        text = agent.refused("diff_traces", a=ORDER, b=ORDER)
        assert text == "the server could not answer because of a fault of its own: its log says which"
        assert agent.ask("why", trace_id=ORDER)["trace_id"] == ORDER
    assert "diff_traces over MCP has failed" in log.read_text()
    assert "RuntimeError: a fault of the tests" in log.read_text()


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (("--data-dir", "here", "--url", "http://127.0.0.1:1"), "give either --data-dir or --url, not both"),
        (("--url", "here"), "--url: write an address such as http://127.0.0.1:16686, not 'here'"),
    ],
)
def test_options_that_make_no_sense(capsys: pytest.CaptureFixture[str], options: tuple[str, ...], said: str) -> None:
    """What no later call could make right is refused at once."""
    assert main(["mcp", *options]) == 2
    assert capsys.readouterr() == ("", f"causal-otel mcp: {said}\n")


@pytest.mark.parametrize(
    ("hidden", "absent"), [("mcp mcp_types pydantic", "mcp and mcp_types"), ("mcp_types", "mcp_types")]
)
def test_without_the_extra_it_says_so(hidden: str, absent: str) -> None:
    """A sentence says what is missing, also where an older SDK is, and how to install it."""
    done = subprocess.run(
        [sys.executable, "-c", WITHOUT, hidden, "mcp"], capture_output=True, text=True, timeout=_SECONDS
    )
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr == f"causal-otel mcp: {absent} cannot be imported; {how_to_install('mcp')}\n"


def test_other_commands_need_no_extra() -> None:
    """The help, which imports all commands, is there without it."""
    done = subprocess.run(
        [sys.executable, "-c", WITHOUT, "mcp mcp_types pydantic", "--help"],
        capture_output=True,
        text=True,
        timeout=_SECONDS,
    )
    assert done.returncode == 0
    assert "Answer coding agents' questions" in done.stdout
