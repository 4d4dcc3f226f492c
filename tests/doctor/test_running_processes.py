"""``causal-otel doctor --pid`` and ``--status``: what a running process tells of itself."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.doctor.examining import examine
from tests.faults.programs import environment
from tests.faults.scripted import refused_port
from tests.services.received import ReceivedSpans
from tests.waiting import wait_until

_PROGRAM = """
import causal_otel.status_file as status_file; status_file.SECONDS = 0.02
import causal_otel, threading
causal_otel.install(patches=["redis"], schedule_delay=0.02)
for _ in range(3):
    with causal_otel.span("work"):
        pass
threading.Event().wait()
"""


@contextmanager
def _running(directory: Path, done: str, **variables: str) -> Iterator[int]:
    """The pid of a program whose file says that something is done."""
    variables = environment(TRACING_STATUS_DIRECTORY=str(directory), OTEL_SERVICE_NAME="shop", **variables)
    program = subprocess.Popen([sys.executable, "-c", _PROGRAM], env=variables)
    file = directory / f"{program.pid}.json"
    try:
        wait_until(
            lambda: file.is_file() and eval(done, {"export": json.loads(file.read_text())["status"]["export"]}),
            lambda: file.read_text() if file.is_file() else "no file",
        )
        yield program.pid
    finally:
        program.kill()
        program.wait(60)


def test_a_process_that_is_well(tmp_path: Path, receiver: ReceivedSpans) -> None:
    """Of a process that delivers all its spans nothing is found; once it was killed, its file is said to be left."""
    variables = {"TRACING_STATUS_DIRECTORY": str(tmp_path)}
    with _running(tmp_path, "export['exported'] == 3", OTLP_ENDPOINT=receiver.endpoint) as pid:
        well = examine(tmp_path, "--pid", str(pid), **variables)
        assert (well.findings, well.status) == ([], 0)
        assert any("3 exported" in line for line in well.looked_at)
    killed = examine(tmp_path, "--status", f"{pid}.json")
    assert (killed.first["code"], killed.status) == ("process-ended", 1)
    assert f"process {pid} has ended" in killed.first["what"].lower()


@pytest.mark.long
def test_a_process_that_loses_spans(tmp_path: Path) -> None:
    """A process whose collector is away is told to be stuck first, and then what it has lost and what prevents it."""
    with refused_port() as port:
        away = {"OTLP_ENDPOINT": f"http://127.0.0.1:{port}", "OTEL_BSP_EXPORT_TIMEOUT": "300"}
        with _running(tmp_path, "sum(export['dropped'].values()) == 3", **away) as pid:
            report = examine(tmp_path, "--pid", str(pid), TRACING_STATUS_DIRECTORY=str(tmp_path))
    assert report.codes() == ["delivery-fails", "spans-dropped"]
    assert report.status == 1
    stuck, dropped = report.findings
    assert "Connection refused" in stuck["what"]
    assert dropped["what"].startswith("3 of 3 spans are lost: could not be delivered in time")
    assert "TRACING_SPOOL_DIRECTORY" in dropped["fix"]


@pytest.mark.parametrize(
    ("arguments", "complaint"),
    [
        (("--pid", "1"), "there is no"),
        (("--status", "shop.json"), "No such file"),
        (("--status", "other.json"), "is no status file"),
        (("--status", "other.json", "uvicorn", "shop:app"), "either a command or a process"),
    ],
)
@pytest.mark.long
def test_a_file_that_is_not_there(tmp_path: Path, arguments: tuple[str, ...], complaint: str) -> None:
    """What cannot be read is said in a sentence, with the processes that have a file."""
    (tmp_path / "other.json").write_text("{}")
    report = examine(tmp_path, *arguments, TRACING_STATUS_DIRECTORY=str(tmp_path))
    assert report.status > 0
    assert complaint in report.complaint


@pytest.mark.long
def test_no_directory_is_named(tmp_path: Path) -> None:
    """A process id alone tells nobody where its file is."""
    report = examine(tmp_path, "--pid", "1")
    assert report.status == 2
    assert "TRACING_STATUS_DIRECTORY" in report.complaint
