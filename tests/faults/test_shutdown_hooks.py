"""Every way to leave, with spans that still wait for their batch: each is exported once, and the exit status stays."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import time
import urllib.request
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
import uvicorn
import wrapt

from causal_otel.export.shutdown_hooks import ServerShutdown
from causal_otel.testing.process import LOOPBACK, Process, claim_port, http_status, process
from tests.faults.programs import environment, run
from tests.faults.scripted import Collector, answer, hang, refused_port, scripted
from tests.patches.http_server import echo_app, serve

if TYPE_CHECKING:
    from tests.services.received import ReceivedSpans

ROOT = Path(__file__).parents[2]
APP = "tests.faults.server_app:app"
REQUESTS = 20


ENDS = [
    ("pass", 0),
    ("sys.exit(3)", 3),
    ("raise ValueError", 1),
    ("os.kill(os.getpid(), signal.SIGTERM); time.sleep(60)", -signal.SIGTERM),
    ("os.kill(os.getpid(), signal.SIGINT); time.sleep(60)", 1),
    ("threading.Thread(target=time.sleep, args=(60,), daemon=True).start()", 0),
    ("asyncio.run(asyncio.sleep(0))", 0),
]
TIMES = 8


@pytest.mark.parametrize(("leave", "status"), ENDS)
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


@pytest.mark.parametrize(("leave", "status"), ENDS)
def test_leaving_many_times(receiver: ReceivedSpans, leave: str, status: int) -> None:
    """However the end of a program and the beginning of its export fall together, nothing is lost: 20 times of 20."""
    done = run(
        f"""
        import asyncio, os, signal, sys, threading, time, causal_otel
        causal_otel.install(patches=[], schedule_delay=60.0)
        for program in range({TIMES}):
            if not (pid := os.fork()):  # a copy of a program that has ended no span yet, and has no threads
                break
            print(os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]), flush=True)
        else:
            os._exit(0)
        for number in range({REQUESTS}):
            with causal_otel.span(f"span {{program}}"):
                pass
        {leave}
        """,
        OTLP_ENDPOINT=receiver.endpoint,
    )
    assert done.stdout.split() == [str(status)] * TIMES, done.stderr
    counts = Counter(span["name"] for span in receiver.spans())
    assert counts == {f"span {program}": REQUESTS for program in range(TIMES)}


def test_flush_in_an_atexit_handler(receiver: ReceivedSpans) -> None:
    """flush() exports what ended in an atexit handler, where Python starts no threads; so does the end after it."""
    done = run(
        """
        import atexit, causal_otel
        installed = causal_otel.install(patches=[])

        @atexit.register
        def leaving():
            for name in ("flushed", "flushed again"):
                with causal_otel.span(name):
                    pass
                print(installed.flush(30))
            with causal_otel.span("after"):
                pass
        """,
        OTLP_ENDPOINT=receiver.endpoint,
    )
    assert (done.returncode, done.stderr, done.stdout.split()) == (0, "", ["True", "True"])
    assert [span["name"] for span in receiver.spans()] == ["flushed", "flushed again", "after"]


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
        # Python sleeps on over a signal that comes just before it sleeps: so it sleeps for a moment, again and again.
        for _ in range(6000):
            time.sleep(0.01)

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
        events = [context.Event() if how == "terminate" else None for _ in range(3)]
        children = [context.Process(target=work, args=each) for each in enumerate(events)]
        for child in children:
            child.start()
        for child, ready in zip(children, events):
            if ready is not None:
                assert ready.wait(60)
                child.terminate()
            child.join(60)
            assert child.exitcode == (-signal.SIGTERM if ready is not None else 0), child.exitcode
"""


@pytest.mark.long
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


@pytest.mark.parametrize("again", [False, True], ids=["once", "again"])
def test_billiard(tmp_path: Path, again: bool) -> None:
    """A child of billiard exports its spans when it is terminated, and a second SIGTERM meanwhile does not stop it."""
    ready = tmp_path / "pid"

    def take(collector: Collector, connection: socket.socket) -> bool:
        if again:
            os.kill(int(ready.read_text()), signal.SIGTERM)
        return answer(200)(collector, connection)

    with scripted(take) as collector:
        done = run(
            """
            import os, pathlib, sys, time
            import billiard, causal_otel
            from billiard.common import reset_signals
            causal_otel.install(patches=[], schedule_delay=60.0)
            ready = pathlib.Path(os.environ["READY"])

            def work():
                reset_signals()
                for number in range(5):
                    with causal_otel.span(f"span {number}"):
                        pass
                ready.with_suffix(".new").write_text(str(os.getpid()))
                ready.with_suffix(".new").rename(ready)
                for _ in range(6000):  # see above: a signal may come just before a sleep
                    time.sleep(0.01)

            child = billiard.Process(target=work)
            child.start()
            while not ready.exists():
                time.sleep(0.01)
            child.terminate()
            child.join(30)
            assert not child.is_alive()
            """,
            OTLP_ENDPOINT=collector.endpoint,
            OTEL_BSP_MAX_EXPORT_BATCH_SIZE="1",
            READY=str(ready),
        )
        assert (done.returncode, done.stderr) == (0, "")
        assert sorted(collector.names()) == [f"span {number}" for number in range(5)]


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


@pytest.mark.parametrize("patch", ["", "1"])
@pytest.mark.parametrize("name", SERVERS)
def test_sigterm_of_a_server(receiver: ReceivedSpans, name: str, patch: str) -> None:
    """All spans of the requests that a server has answered are exported when SIGTERM ends it, patched or not."""
    pids = Counter[int]()
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    with _server(SERVERS[name], OTLP_ENDPOINT=receiver.endpoint, PATCH_ASGI=patch) as (url, running):
        for _ in range(REQUESTS):
            with opener.open(url + "work", timeout=60) as response:
                pids[json.loads(response.read())["pid"]] += 1
        assert not receiver.spans()
        running.stop(signal.SIGTERM, timeout=30.0)
        assert "Traceback" not in running.output(), running.output()
    assert sum(span["name"] == "work" for span in receiver.spans()) == sum(pids.values()) == REQUESTS


def test_time_is_bounded_under_a_server_whose_collector_hangs() -> None:
    """A server with a hanging collector still ends on SIGTERM, and does not have to be killed."""
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


def test_spool_of_a_server_whose_collector_hangs(tmp_path: Path) -> None:
    """What a hanging collector did not take when SIGTERM ended a server is in the spool, the attempt under way too."""
    spool = str(tmp_path / "spool")
    variables = {"TRACING_SPOOL_DIRECTORY": spool, "TRACING_EXIT_TIMEOUT": "0.5", "OTEL_BSP_MAX_EXPORT_BATCH_SIZE": "4"}
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    with (
        scripted(hang) as collector,
        _server(SERVERS["uvicorn"], OTLP_ENDPOINT=collector.endpoint, **variables) as (url, running),
    ):
        for _ in range(REQUESTS):
            opener.open(url + "work", timeout=60).close()
        running.stop(signal.SIGTERM, timeout=60.0)
    with scripted() as collector:
        done = run(
            """
            import time, causal_otel
            installed = causal_otel.install(patches=[])
            while installed.status().export.spooled_bytes:
                time.sleep(0.01)
            """,
            OTLP_ENDPOINT=collector.endpoint,
            TRACING_SPOOL_DIRECTORY=spool,
        )
        assert (done.returncode, done.stderr) == (0, "")
        sent = {request.body: request.names for request in collector.requests}  # a slow answer makes it ask again
        assert [name for names in sent.values() for name in names].count("work") == REQUESTS


def test_uvicorn_in_a_program_that_goes_on(receiver: ReceivedSpans) -> None:
    """After uvicorn has shut down inside a program, what ends then is exported; uninstall() puts uvicorn's back."""
    done = run(
        """
        import asyncio, uvicorn, causal_otel
        original = uvicorn.Server.shutdown
        installed = causal_otel.install(patches=[], schedule_delay=60.0)

        async def app(scope, receive, send):
            with causal_otel.span("in uvicorn"):
                pass

        async def main():
            server = uvicorn.Server(uvicorn.Config(app, port=0, lifespan="on", log_level="critical"))
            server.should_exit = False
            serving = asyncio.create_task(server.serve())
            while not server.started and not serving.done():
                await asyncio.sleep(0.01)
            server.should_exit = True
            await serving
            assert installed.status().export.exported == 1, installed.status()
            with causal_otel.span("after"):
                pass

        asyncio.run(main())
        assert uvicorn.Server.shutdown is not original
        causal_otel.uninstall()
        assert uvicorn.Server.shutdown is original
        """,
        OTLP_ENDPOINT=receiver.endpoint,
    )
    assert (done.returncode, done.stderr) == (0, "")
    assert [span["name"] for span in receiver.spans()] == ["in uvicorn", "after"]


def test_spool_found_before_workers_are_forked(receiver: ReceivedSpans, tmp_path: Path) -> None:
    """A parent that has begun to send what it found in the spool forks children that export; nothing comes twice."""
    spool = str(tmp_path / "spool")
    with refused_port() as port:
        done = run(
            """
            import causal_otel
            causal_otel.install(patches=[])
            with causal_otel.span("left"):
                pass
            """,
            OTEL_EXPORTER_OTLP_ENDPOINT=f"http://127.0.0.1:{port}",
            TRACING_SPOOL_DIRECTORY=spool,
        )
    assert done.returncode == 0, done.stderr
    done = run(
        """
        import os, warnings, causal_otel
        warnings.simplefilter("ignore")
        installed = causal_otel.install(patches=[])
        children = []
        for number in range(4):
            pid = os.fork()
            if not pid:
                with causal_otel.span(f"child {number}"):
                    pass
                os._exit(0 if installed.flush(20) else 1)
            children.append(pid)
        assert all(os.waitpid(pid, 0)[1] == 0 for pid in children)
        while installed.status().export.spooled_bytes:
            pass
        """,
        OTLP_ENDPOINT=receiver.endpoint,
        TRACING_SPOOL_DIRECTORY=spool,
    )
    assert (done.returncode, done.stderr) == (0, "")
    names = sorted(span["name"] for span in receiver.spans())
    assert names == [*(f"child {number}" for number in range(4)), "left"]


def test_uvicorn_behind_somebody_else_s_wrapper(monkeypatch: pytest.MonkeyPatch) -> None:
    """A server whose shutdown another tool has wrapped shuts down, and spans are exported when it has."""
    order: list[str] = []

    async def around(wrapped: Any, instance: Any, args: Any, kwargs: Any) -> Any:
        await wrapped(*args, **kwargs)
        order.append("shut down")

    monkeypatch.setattr(uvicorn.Server, "shutdown", wrapt.FunctionWrapper(uvicorn.Server.shutdown, around))
    hook = ServerShutdown(lambda: order.append("exported"))
    try:
        with serve(echo_app):
            pass
    finally:
        hook.remove()
    assert order == ["shut down", "exported"]
