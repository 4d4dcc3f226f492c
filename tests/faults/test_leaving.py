"""Every way to leave, with spans that still wait for their batch: each is exported once, and the exit status stays."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
import time
import urllib.request
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from causal_otel.cli.demo.process import LOOPBACK, Process, claim_port, http_status, process
from tests.faults.programs import environment, run

if TYPE_CHECKING:
    from causal_otel.cli.demo.received import ReceivedSpans

ROOT = Path(__file__).parents[2]
APP = "tests.faults.server_app:app"
REQUESTS = 20


@pytest.mark.parametrize(
    ("leave", "status"),
    [
        ("pass", 0),
        ("sys.exit(3)", 3),
        ("raise ValueError", 1),
        ("os.kill(os.getpid(), signal.SIGTERM); time.sleep(60)", -signal.SIGTERM),
        ("os.kill(os.getpid(), signal.SIGINT); time.sleep(60)", 1),
        ("threading.Thread(target=time.sleep, args=(60,), daemon=True).start()", 0),
        ("asyncio.run(asyncio.sleep(0))", 0),
    ],
)
def test_leaving(receiver: ReceivedSpans, leave: str, status: int) -> None:
    """A program that ends has exported its last spans, and ends as it would have without us."""
    done = run(
        f"""
        import asyncio, os, signal, sys, threading, time, causal_otel
        causal_otel.install(patches=[], schedule_delay=60.0)
        for number in range({REQUESTS}):
            with causal_otel.span(f"span {{number}}"):
                pass
        {leave}
        """,
        OTLP_ENDPOINT=receiver.endpoint,
    )
    assert done.returncode == status, done.stderr
    names = [span["name"] for span in receiver.spans()]
    assert sorted(names) == sorted(f"span {number}" for number in range(REQUESTS))


def test_spans_in_atexit_handlers(receiver: ReceivedSpans) -> None:
    """A span that ends in an atexit handler registered after install() is exported."""
    done = run(
        """
        import atexit, causal_otel
        causal_otel.install(patches=[])

        @atexit.register
        def leaving():
            with causal_otel.span("leaving"):
                pass
        """,
        OTLP_ENDPOINT=receiver.endpoint,
    )
    assert (done.returncode, done.stderr) == (0, "")
    assert [span["name"] for span in receiver.spans()] == ["leaving"]


def test_handler_of_the_users(receiver: ReceivedSpans) -> None:
    """A SIGTERM handler that is there already stays, and so does one that comes later."""
    done = run(
        """
        import os, signal, causal_otel
        seen = []
        handler = lambda *_: seen.append(1)
        signal.signal(signal.SIGTERM, handler)
        causal_otel.install(patches=[])
        assert signal.getsignal(signal.SIGTERM) is handler
        causal_otel.uninstall()
        assert signal.getsignal(signal.SIGTERM) is handler
        signal.signal(signal.SIGTERM, signal.SIG_DFL)
        causal_otel.install(patches=[])
        assert signal.getsignal(signal.SIGTERM) is not signal.SIG_DFL
        causal_otel.uninstall()
        assert signal.getsignal(signal.SIGTERM) is signal.SIG_DFL
        causal_otel.install(patches=[])
        signal.signal(signal.SIGTERM, handler)
        causal_otel.uninstall()
        os.kill(os.getpid(), signal.SIGTERM)
        assert seen == [1]
        """,
        OTLP_ENDPOINT=receiver.endpoint,
    )
    assert (done.returncode, done.stderr) == (0, "")


def test_installed_off_the_main_thread(receiver: ReceivedSpans) -> None:
    """install() in another thread leaves signals alone."""
    done = run(
        """
        import signal, threading, causal_otel
        thread = threading.Thread(target=causal_otel.install, kwargs={"patches": []})
        thread.start()
        thread.join()
        assert signal.getsignal(signal.SIGTERM) is signal.SIG_DFL
        with causal_otel.span("a"):
            pass
        """,
        OTLP_ENDPOINT=receiver.endpoint,
    )
    assert (done.returncode, done.stderr) == (0, "")
    assert [span["name"] for span in receiver.spans()] == ["a"]


# -- multiprocessing ----------------------------------------------------------------------------------------------

_MULTIPROCESSING = """
import multiprocessing, os, signal, sys, time
import causal_otel
causal_otel.install(patches=[], schedule_delay=60.0)

def work(number, ready):
    for _ in range(5):
        with causal_otel.span(f"child {number}"):
            pass
    if ready is not None:
        ready.set()
        time.sleep(60)

if __name__ == "__main__":
    method, how = sys.argv[1:]
    context = multiprocessing.get_context(method)
    with causal_otel.span("parent"):
        pass
    if how == "pool":
        with context.Pool(2) as pool:
            pool.starmap(work, [(number, None) for number in range(3)], chunksize=1)
            pool.close()
            pool.join()
    else:
        ready = context.Event() if how == "terminate" else None
        children = [context.Process(target=work, args=(number, ready)) for number in range(3)]
        for child in children:
            child.start()
        for child in children:
            if ready is not None:
                ready.wait(30)
                time.sleep(0.5)
                child.terminate()
            child.join(30)
            assert child.exitcode == (-signal.SIGTERM if ready is not None else 0), child.exitcode
"""


@pytest.mark.parametrize("how", ["end", "terminate", "pool"])
@pytest.mark.parametrize("method", ["fork", "forkserver", "spawn"])
def test_multiprocessing(receiver: ReceivedSpans, tmp_path: Path, method: str, how: str) -> None:
    """Children export their spans when they end and when they are terminated, however they were started."""
    program = tmp_path / "program.py"
    program.write_text(_MULTIPROCESSING)
    done = subprocess.run(
        [sys.executable, str(program), method, how],
        env=environment(OTLP_ENDPOINT=receiver.endpoint),
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert (done.returncode, done.stderr) == (0, "")
    counts = Counter(span["name"] for span in receiver.spans())
    assert counts == {"parent": 1, **{f"child {number}": 5 for number in range(3)}}


# -- servers ------------------------------------------------------------------------------------------------------

_UVICORN = [sys.executable, "-m", "uvicorn", "--no-access-log", "--host", LOOPBACK, APP, "--port"]
_GUNICORN = [sys.executable, "-m", "gunicorn", "-k", "uvicorn_worker.UvicornWorker", "-w", "2", APP, "--bind"]
SERVERS = {
    "uvicorn": [*_UVICORN, "{port}"],
    "uvicorn --workers": [*_UVICORN, "{port}", "--workers", "2"],
    "gunicorn": [*_GUNICORN, f"{LOOPBACK}:{{port}}"],
    "gunicorn --preload": [*_GUNICORN, f"{LOOPBACK}:{{port}}", "--preload"],
    "gunicorn, threads": [
        *(sys.executable, "-m", "gunicorn", "-w", "2", "--threads", "2", "tests.faults.wsgi_app:app"),
        *("--bind", f"{LOOPBACK}:{{port}}"),
    ],
    "gunicorn, threads, --preload": [
        *(sys.executable, "-m", "gunicorn", "-w", "2", "--threads", "2", "--preload", "tests.faults.wsgi_app:app"),
        *("--bind", f"{LOOPBACK}:{{port}}"),
    ],
}


@contextmanager
def _server(command: Sequence[str], **variables: str) -> Iterator[tuple[str, Process]]:
    port = claim_port(None, "server")
    url = f"http://{LOOPBACK}:{port}/"
    with process(
        [part.replace("{port}", str(port)) for part in command],
        name="server",
        cwd=ROOT,
        env=environment(**variables),
        ready=lambda _: http_status(url) == 200,
    ) as running:
        yield url, running


@pytest.mark.parametrize("name", SERVERS)
def test_sigterm_of_a_server(receiver: ReceivedSpans, name: str) -> None:
    """All spans of the requests that a server has answered are exported when SIGTERM ends it."""
    pids = Counter[int]()
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    with _server(SERVERS[name], OTLP_ENDPOINT=receiver.endpoint, PATCH_ASGI="1") as (url, running):
        for _ in range(REQUESTS):
            with opener.open(url + "work", timeout=10) as response:
                pids[json.loads(response.read())["pid"]] += 1
        assert not receiver.spans()
        running.stop(signal.SIGTERM, timeout=30.0)
        assert "Traceback" not in running.output(), running.output()
    assert sum(span["name"] == "work" for span in receiver.spans()) == sum(pids.values()) == REQUESTS


def test_time_is_bounded_under_a_server_whose_collector_hangs() -> None:
    """A server with a hanging collector still ends on SIGTERM, and does not have to be killed."""
    from tests.faults.scripted import hang, scripted

    with (
        scripted(hang) as collector,
        _server(SERVERS["uvicorn"], OTLP_ENDPOINT=collector.endpoint, TRACING_EXIT_TIMEOUT="0.5", PATCH_ASGI="1") as (
            url,
            running,
        ),
    ):
        assert http_status(url) == 200
        begun = time.monotonic()
        running.stop(signal.SIGTERM, timeout=60.0)
        assert running.wait(0) in (0, -signal.SIGTERM), time.monotonic() - begun
