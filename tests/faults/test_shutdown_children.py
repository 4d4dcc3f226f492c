"""Child processes, of multiprocessing, of billiard and of os.fork(): each has exported its spans when it ends, once."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from tests.faults.programs import environment, run
from tests.faults.scripted import Collector, answer, refused_port, scripted

if TYPE_CHECKING:
    from tests.services.received import ReceivedSpans

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
                for _ in range(6000):  # as above: a signal may come just before a sleep
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
