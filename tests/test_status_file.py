"""A process keeps a file of its status while it runs, whatever it forks and however it ends."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

import causal_otel
from causal_otel.status_file import StatusFile, described, read_status
from tests.faults.programs import environment, run
from tests.faults.scripted import refused_port
from tests.services.received import ReceivedSpans
from tests.waiting import wait_until

_OFTEN = "import causal_otel.status_file as status_file; status_file.SECONDS = 0.02\n"
"""The beginning of a program that writes its file all the time."""


def _files(directory: Path) -> dict[int, dict[str, Any]]:
    """What is in the directory, by process id."""
    return {int(path.stem): json.loads(path.read_text()) for path in directory.glob("[0-9]*.json")}


def _exported(directory: Path, process: subprocess.Popen[bytes]) -> int:
    found = _files(directory).get(process.pid)
    return 0 if found is None else int(found["status"]["export"]["exported"])


def test_install_writes_it_and_uninstall_removes_it(tmp_path: Path) -> None:
    """The file holds the whole status, which is read back as it was, and it is gone after uninstall()."""
    installed = causal_otel.install(
        service_name="shop", patches=["redis"], exporter="none", status_directory=str(tmp_path / "new")
    )
    try:
        found = _files(tmp_path / "new")[os.getpid()]
        status = installed.status()
        assert read_status(found["status"]) == status._replace(faults=dict(status.faults))
        assert found["status"]["service_name"] == "shop"
        assert "pytest" in found["imported"]
        assert "json" not in found["imported"]
    finally:
        installed.uninstall()
    assert list((tmp_path / "new").iterdir()) == []


def test_off_by_default(tmp_path: Path) -> None:
    """Without the setting nothing is written, and the module is not imported."""
    done = run(
        """
        import os, sys, causal_otel
        causal_otel.install(exporter="none")
        print("causal_otel.status_file" in sys.modules, os.listdir())
        """,
        PWD=str(tmp_path),
    )
    assert done.stdout.startswith("False"), done


@pytest.mark.parametrize(
    ("end", "status"),
    [
        ("pass", 0),
        pytest.param("raise SystemExit(3)", 3, marks=pytest.mark.long),
        ("os.kill(os.getpid(), signal.SIGTERM)", -signal.SIGTERM),
        pytest.param("raise ValueError", 1, marks=pytest.mark.long),
    ],
)
def test_every_orderly_end_removes_it(tmp_path: Path, receiver: ReceivedSpans, end: str, status: int) -> None:
    """A process that returns, raises or is told to end leaves no file behind, though its thread was about to write."""
    done = run(
        f"""
        import os, signal
        {_OFTEN.strip()}
        import causal_otel
        causal_otel.install(patches=[])
        with causal_otel.span("work"):
            pass
        assert os.listdir({str(tmp_path)!r})
        {end}
        """,
        OTLP_ENDPOINT=receiver.endpoint,
        TRACING_STATUS_DIRECTORY=str(tmp_path),
    )
    assert done.returncode == status, done.stderr
    assert os.listdir(tmp_path) == []


def test_the_encoding_thread_renews_it(tmp_path: Path, receiver: ReceivedSpans) -> None:
    """The counts of a process that has nothing more to do are those of its last span; a SIGKILL leaves the file."""
    code = f"""
{_OFTEN.strip()}
import causal_otel, threading
causal_otel.install(patches=[], schedule_delay=0.02)
with causal_otel.span("work"):
    pass
threading.Event().wait()
"""
    variables = environment(OTLP_ENDPOINT=receiver.endpoint, TRACING_STATUS_DIRECTORY=str(tmp_path))
    process = subprocess.Popen([sys.executable, "-c", code], env=variables)
    try:
        wait_until(lambda: _exported(tmp_path, process) == 1, lambda: _files(tmp_path))
    finally:
        process.kill()
        process.wait(60)
    assert list(_files(tmp_path)) == [process.pid]


def test_a_forked_process_has_its_own(tmp_path: Path, receiver: ReceivedSpans) -> None:
    """A child has a file from its first span on, beside its parent's, and each removes its own."""
    done = run(
        f"""
        import glob, os, time
        {_OFTEN.strip()}
        import causal_otel
        causal_otel.install(patches=[], schedule_delay=0.02)
        def files():
            return sorted(int(os.path.basename(name)[:-5]) for name in glob.glob({str(tmp_path / "*.json")!r}))
        parent = os.getpid()
        assert files() == [parent]
        child = os.fork()
        if not child:
            with causal_otel.span("work"):
                pass
            while os.getpid() not in files():
                time.sleep(0.01)
            assert len(files()) == 2
            raise SystemExit(0)
        assert os.waitpid(child, 0)[1] == 0
        assert files() == [parent], files()
        """,
        OTLP_ENDPOINT=receiver.endpoint,
        TRACING_STATUS_DIRECTORY=str(tmp_path),
    )
    assert (done.returncode, done.stderr) == (0, "")
    assert os.listdir(tmp_path) == []
    (span,) = receiver.spans()
    assert (span["name"], span["status"]["code"], span["parent_span_id"]) == ("work", "UNSET", None)


@pytest.mark.long
def test_a_child_of_multiprocessing_removes_its_own(tmp_path: Path, receiver: ReceivedSpans) -> None:
    """Children of multiprocessing leave by another way than atexit."""
    done = run(
        f"""
        import multiprocessing, os, time
        {_OFTEN.strip()}
        import causal_otel
        def work():
            with causal_otel.span("work"):
                pass
            while not os.path.exists({str(tmp_path)!r} + f"/{{os.getpid()}}.json"):
                time.sleep(0.01)
        if __name__ == "__main__":
            causal_otel.install(patches=[], schedule_delay=0.02)
            child = multiprocessing.get_context("fork").Process(target=work)
            child.start()
            child.join()
            assert child.exitcode == 0
            assert os.listdir({str(tmp_path)!r}) == [f"{{os.getpid()}}.json"]
        """,
        OTLP_ENDPOINT=receiver.endpoint,
        TRACING_STATUS_DIRECTORY=str(tmp_path),
    )
    assert (done.returncode, done.stderr) == (0, "")
    assert os.listdir(tmp_path) == []


def test_a_directory_that_cannot_be_written_is_said_once(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """Where the file cannot be written, the log says so once, and nothing else comes of it."""
    (tmp_path / "taken").write_text("")
    file = StatusFile(str(tmp_path / "taken"), lambda: {"pid": 1})
    file.beat()
    file.remove()
    assert len([record for record in caplog.records if "cannot be written" in record.message]) == 1


def test_what_cannot_be_described_is_a_fault(tmp_path: Path) -> None:
    """A status that raises is counted as a fault of ours, and raises nothing."""

    def describe() -> dict[str, Any]:
        raise ValueError("none")

    file = StatusFile(str(tmp_path), describe)
    assert file.beat() > 0
    file.remove()
    assert list(tmp_path.iterdir()) == []


def test_unknown_parts_of_a_status_are_left_out() -> None:
    """A file that another version has written is read as far as this version knows it."""
    document = described(causal_otel.status())["status"]
    assert read_status({**document, "of_tomorrow": 1, "patches": [{"name": "redis", "of_tomorrow": 2}]}).patches[0].name


@pytest.mark.long
def test_no_credentials_are_written() -> None:
    """What is written tells why nothing can be delivered, without credentials."""
    with refused_port() as port:
        done = run(
            """
            import causal_otel, json
            installed = causal_otel.install(patches=[], exit_timeout=1)
            with causal_otel.span("work"):
                pass
            installed.flush(10)
            from causal_otel.status_file import described
            print(json.dumps(described(installed.status()))) if installed.status().export.problem else print("none")
            """,
            OTLP_ENDPOINT=f"http://user:word@127.0.0.1:{port}",
            OTEL_BSP_EXPORT_TIMEOUT="500",
        )
    assert "word" not in done.stdout
    assert "Connection refused" in json.loads(done.stdout)["status"]["export"]["problem"]
