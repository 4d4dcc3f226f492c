"""Forking with spans waiting, batches under way and warm connections: counted at the receiver."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING

import pytest

from tests.faults.programs import run
from tests.faults.scripted import answer, scripted

if TYPE_CHECKING:
    from tests.services.received import ReceivedSpans


def test_storm(receiver: ReceivedSpans) -> None:
    """Children forked while the parent exports on a warm connection export their own spans, each once; so does it."""
    done = run(
        """
        import os, sys, threading, warnings, causal_otel
        warnings.simplefilter("ignore")  # Python warns of forking with threads, which is the point here
        installed = causal_otel.install(patches=[], max_queue_size=100_000, max_export_batch_size=40)
        with causal_otel.span("parent"):
            pass
        assert installed.flush(20)
        stop = threading.Event()
        made = 1

        def busy():
            global made
            while not stop.is_set():
                with causal_otel.span("parent"):
                    made += 1
                stop.wait(0.0002)

        thread = threading.Thread(target=busy)
        thread.start()
        children = []
        for number in range(12):
            pid = os.fork()
            if not pid:
                for _ in range(200):
                    with causal_otel.span(f"child {number}"):
                        pass
                ok = installed.flush(30) and installed.status().export.exported == 200
                os._exit(0 if ok else 1)
            children.append(pid)
            stop.wait(0.01)
        statuses = [os.waitpid(pid, 0)[1] for pid in children]
        stop.set()
        thread.join()
        assert installed.flush(30)
        assert statuses == [0] * 12, statuses
        print(made)
        """,
        OTLP_ENDPOINT=receiver.endpoint,
    )
    assert (done.returncode, done.stderr) == (0, "")
    spans = receiver.spans()
    counts = Counter(span["name"] for span in spans)
    assert counts == {"parent": int(done.stdout), **{f"child {number}": 200 for number in range(12)}}
    assert len({span["span_id"] for span in spans}) == len(spans)


def test_connection_of_the_parent_is_its_own() -> None:
    """A child opens a connection of its own, and the parent's goes on being used."""
    with scripted(answer(200)) as collector:
        done = run(
            """
            import os, warnings, causal_otel
            warnings.simplefilter("ignore")
            installed = causal_otel.install(patches=[])
            def work(name):
                with causal_otel.span(name):
                    pass
                assert installed.flush(20)
            work("before")
            with causal_otel.span("waiting"):
                pass
            pid = os.fork()
            if not pid:
                work("child")
                os._exit(0)
            assert os.waitpid(pid, 0)[1] == 0
            work("after")
            """,
            OTEL_EXPORTER_OTLP_ENDPOINT=collector.endpoint,
        )
        assert (done.returncode, done.stderr) == (0, "")
        assert [request.names for request in collector.requests] == [["before"], ["child"], ["waiting", "after"]]
        assert collector.connections == 2


def test_plain_fork_that_leaves_normally(receiver: ReceivedSpans) -> None:
    """The child of a plain os.fork() exports when it ends; so does its own child."""
    done = run(
        """
        import os, sys, warnings, causal_otel
        warnings.simplefilter("ignore")
        causal_otel.install(patches=[], schedule_delay=60.0)
        depth = 0
        with causal_otel.span("0"):
            pass
        for depth in (1, 2):
            pid = os.fork()
            if pid:
                assert os.waitpid(pid, 0)[1] == 0
                break
            with causal_otel.span(str(depth)):
                pass
        """,
        OTLP_ENDPOINT=receiver.endpoint,
    )
    assert (done.returncode, done.stderr) == (0, "")
    assert sorted(span["name"] for span in receiver.spans()) == ["0", "1", "2"]


@pytest.mark.parametrize("leave", ["installed.flush(20); os._exit(0)", "sys.exit()"])
@pytest.mark.parametrize("spans", [3, 8])
def test_fork_without_hooks(receiver: ReceivedSpans, leave: str, spans: int) -> None:
    """A child forked in C, without Python's hooks, exports its own spans, each once, and none of its parent's."""
    done = run(
        f"""
        import ctypes, os, sys, time, causal_otel
        installed = causal_otel.install(patches=[], max_export_batch_size=8, schedule_delay=60.0)
        with causal_otel.span("sent"):
            pass
        assert installed.flush(20)
        for _ in range(4):
            with causal_otel.span("waiting"):
                pass
        time.sleep(0.05)  # the kernel tells a process's beginning in hundredths of a second
        pid = ctypes.PyDLL(None).fork()
        if not pid:
            for _ in range({spans}):
                with causal_otel.span("child"):
                    pass
            {leave}
        assert os.waitpid(pid, 0)[1] == 0
        assert installed.flush(20)
        """,
        OTLP_ENDPOINT=receiver.endpoint,
    )
    assert (done.returncode, done.stderr) == (0, "")
    assert Counter(span["name"] for span in receiver.spans()) == {"sent": 1, "waiting": 4, "child": spans}


def test_fork_without_hooks_in_a_preloading_server(receiver: ReceivedSpans) -> None:
    """Children forked in C from a parent that has not ended a span yet export without being asked to."""
    done = run(
        """
        import ctypes, os, time, causal_otel
        installed = causal_otel.install(patches=[], schedule_delay=0.05)
        children = []
        for number in range(3):
            pid = ctypes.PyDLL(None).fork()
            if not pid:
                with causal_otel.span(f"child {number}"):
                    pass
                while not installed.status().export.exported:
                    time.sleep(0.01)
                os._exit(0)
            children.append(pid)
        assert all(os.waitpid(pid, 0)[1] == 0 for pid in children)
        """,
        OTLP_ENDPOINT=receiver.endpoint,
    )
    assert (done.returncode, done.stderr) == (0, "")
    assert Counter(span["name"] for span in receiver.spans()) == {f"child {number}": 1 for number in range(3)}


def test_fork_while_the_libraries_are_imported(receiver: ReceivedSpans) -> None:
    """A fork while the sending thread imports what it sends with leaves the child able to import it, too."""
    done = run(
        """
        import os, sys, threading, time, warnings, causal_otel
        warnings.simplefilter("ignore")
        importing = threading.Event()

        class Slow:
            @staticmethod
            def find_spec(name, path=None, target=None):
                if name == "requests":
                    importing.set()
                    time.sleep(0.5)

        sys.meta_path.insert(0, Slow)
        installed = causal_otel.install(patches=[], max_export_batch_size=1)
        with causal_otel.span("parent"):
            pass
        assert importing.wait(20)
        pid = os.fork()
        if not pid:
            with causal_otel.span("child"):
                pass
            os._exit(0 if installed.flush(10) else 1)
        assert os.waitpid(pid, 0)[1] == 0
        """,
        OTLP_ENDPOINT=receiver.endpoint,
    )
    assert (done.returncode, done.stderr) == (0, "")
    assert Counter(span["name"] for span in receiver.spans()) == {"parent": 1, "child": 1}
