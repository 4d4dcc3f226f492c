"""Every way in which a program ends while spans wait for their batch: each is exported once, the exit status stays."""

from __future__ import annotations

import signal
from collections import Counter
from typing import TYPE_CHECKING

import pytest

from tests.faults.programs import run

if TYPE_CHECKING:
    from tests.services.received import ReceivedSpans

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
SPANS = 20


@pytest.mark.long
@pytest.mark.parametrize(("leave", "status"), ENDS)
def test_leaving(receiver: ReceivedSpans, leave: str, status: int) -> None:
    """A program that ends has exported its last spans, and ends as it would have without us."""
    done = run(
        f"""
        import asyncio, os, signal, sys, threading, time, causal_otel
        causal_otel.install(patches=[], schedule_delay=60.0)
        for number in range({SPANS}):
            with causal_otel.span(f"span {{number}}"):
                pass
        {leave}
        """,
        OTLP_ENDPOINT=receiver.endpoint,
    )
    assert done.returncode == status, done.stderr
    names = [span["name"] for span in receiver.spans()]
    assert sorted(names) == sorted(f"span {number}" for number in range(SPANS))


@pytest.mark.long
@pytest.mark.parametrize(("leave", "status"), ENDS)
def test_leaving_many_times(receiver: ReceivedSpans, leave: str, status: int) -> None:
    """However the end of a program and the beginning of its export fall together, nothing is lost, every time."""
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
        for number in range({SPANS}):
            with causal_otel.span(f"span {{program}}"):
                pass
        {leave}
        """,
        OTLP_ENDPOINT=receiver.endpoint,
    )
    assert done.stdout.split() == [str(status)] * TIMES, done.stderr
    counts = Counter(span["name"] for span in receiver.spans())
    assert counts == {f"span {program}": SPANS for program in range(TIMES)}


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
