"""The spool: writers that are killed, and processes that share a directory."""

from __future__ import annotations

import fcntl
import os
import random
import signal
import threading
from typing import TYPE_CHECKING

import pytest

from causal_otel.export.spool import Spool

if TYPE_CHECKING:
    from pathlib import Path

from tests.export.spooling import PLENTY, Collector, names_in, start_program
from tests.faults.programs import finish
from tests.waiting import pause

_KILLS = {
    "when the file is new": ("open", "real(*arguments)", "O_CREAT"),
    "in the header": ("write", "real(arguments[0], bytes(arguments[1])[:7])", ""),
    "in the payload": ("write", "real(arguments[0], bytes(arguments[1])[:500])", "payload"),
    "when all is written": ("rename", "None", ""),
    "when it is complete": ("rename", "real(*arguments)", ""),
}


class TestKilled:
    @pytest.mark.parametrize("where", list(_KILLS))
    def test_at_every_step_of_a_write(self, directory: Path, where: str) -> None:
        """A writer that is killed at any step loses at most the batch it was writing; the torn file is cleaned up."""
        call, last, condition = _KILLS[where]
        program = start_program(
            f"""
            for number in range(5):
                assert spool.append(b"%04d" % number * 250, 1)
            real, condition = os.{call}, {condition!r}
            def deadly(*arguments):
                if condition == "payload" and len(arguments[1]) < 100:
                    return real(*arguments)
                if condition == "O_CREAT" and not arguments[1] & os.O_CREAT:
                    return real(*arguments)
                {last}
                os.kill(os.getpid(), signal.SIGKILL)
            os.{call} = deadly
            spool.append(b"%04d" % 5 * 250, 1)
            """,
            directory,
        )
        finish(program, -signal.SIGKILL)
        spool = Spool(directory, PLENTY)
        collector = Collector()
        complete = 6 if where == "when it is complete" else 5
        assert spool.drain(collector) == complete
        assert collector.payloads == [b"%04d" % number * 250 for number in range(complete)]
        assert sum(spool.damaged().values()) == (where in ("in the header", "in the payload", "when all is written"))
        assert os.listdir(directory) == ["drain.lock"]

    def test_at_any_moment(self, directory: Path) -> None:
        """Writers killed one after another at random moments lose nothing that append() has confirmed."""
        confirmed: list[int] = []
        for run in range(12):
            program = start_program(
                """
                for number in range(int(sys.argv[2]), 10**9):
                    assert spool.append(b"%09d" % number * 30_000, 1)
                    os.write(1, b"%d\\n" % number)
                """,
                directory,
                run * 1_000_000,
            )
            assert program.stdout is not None
            last = int(program.stdout.readline())
            pause(random.random() * 0.03)
            program.kill()
            confirmed += [last, *(int(line) for line in program.stdout)]
            program.communicate(timeout=60)
        collector = Collector()
        spool = Spool(directory, PLENTY)
        spool.drain(collector)
        sent = [int(payload[:9]) for payload in collector.payloads]
        assert all(payload == payload[:9] * 30_000 for payload in collector.payloads)
        assert sent == sorted(sent)
        assert set(confirmed) <= set(sent)
        assert len(sent) <= len(confirmed) + 12
        assert sum(spool.damaged().values()) <= 12
        assert os.listdir(directory) == ["drain.lock"]

    def test_drainer(self, directory: Path) -> None:
        """A drainer killed while it sends takes its locks with it; what was not accepted is sent by the next one."""
        program = start_program(
            """
            for number in range(4):
                spool.append(b"%d" % number, 1)
            spool.drain(lambda payload, spans: payload != b"2" or os.kill(os.getpid(), signal.SIGKILL))
            """,
            directory,
        )
        finish(program, -signal.SIGKILL)
        collector = Collector()
        assert Spool(directory, PLENTY).drain(collector) == 2
        assert collector.payloads == [b"2", b"3"]


class TestProcesses:
    def test_only_one_drains(self, spool: Spool) -> None:
        """While one process sends, another one's drain() returns 0 at once, and its append() works."""
        for _ in range(2):
            spool.append(b"x", 1)
        program = start_program(
            """
            def send(payload, spans):
                os.write(1, b"sending\\n")
                sys.stdin.readline()
                return True
            assert spool.drain(send) == 3
            """,
            spool.directory,
        )
        assert program.stdout is not None
        assert program.stdout.readline() == "sending\n"
        assert spool.drain(Collector()) == 0
        assert spool.append(b"y", 1)
        assert program.stdin is not None
        program.stdin.write("\n\n\n")
        finish(program)
        assert spool.size() == 0

    def test_batch_that_somebody_holds_is_passed_over(self, spool: Spool, directory: Path) -> None:
        """A batch that another process is about to drop is passed over, and the others are sent."""
        spool.append(b"held", 1)
        spool.append(b"free", 1)
        with (directory / names_in(directory)[0]).open("rb") as held:
            fcntl.flock(held, fcntl.LOCK_EX)
            collector = Collector()
            assert spool.drain(collector) == 1
        assert collector.payloads == [b"free"]
        assert spool.drain(collector) == 1

    def test_only_one_thread_drains(self, spool: Spool) -> None:
        """The same holds between the threads of one process, and within the sender itself."""
        for _ in range(2):
            spool.append(b"x", 1)
        inner: list[int] = []

        def send(payload: bytes, spans: int) -> bool:
            thread = threading.Thread(target=lambda: inner.append(spool.drain(Collector())))
            thread.start()
            thread.join(30)
            inner.append(spool.drain(Collector()))
            return True

        assert spool.drain(send) == 2
        assert inner == [0, 0, 0, 0]

    def test_all_append_and_drain_at_once(self, directory: Path) -> None:
        """Processes that append and drain the same directory at once send each batch exactly once."""
        code = """
        sent = []
        def send(payload, spans):
            sent.append(payload.decode().strip())
            return True
        for number in range(250):
            assert spool.append(b"%s-%d".ljust(2000) % (sys.argv[2].encode(), number), 1)
            if number % 7 == 0:
                spool.drain(send)
        spool.drain(send)
        print(*sent, sep="\\n")
        assert (sum(spool.damaged().values()), spool.dropped_spans) == (0, 0)
        """
        programs = [start_program(code, directory, name) for name in "abcd"]
        outputs: list[list[str]] = [[] for _ in programs]

        def read(index: int) -> None:
            outputs[index] = finish(programs[index]).split()

        threads = [threading.Thread(target=read, args=(index,)) for index in range(len(programs))]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(90)
        collector = Collector()
        Spool(directory, PLENTY).drain(collector)
        sent = [name for output in outputs for name in output]
        sent += [payload.decode().strip() for payload in collector.payloads]
        assert sorted(sent) == sorted(f"{name}-{number}" for name in "abcd" for number in range(250))

    def test_threads_append_at_once(self, spool: Spool) -> None:
        """Eight threads that append to one spool lose nothing."""

        def work(thread: int) -> None:
            for number in range(50):
                assert spool.append(b"%d-%d" % (thread, number), 1)

        threads = [threading.Thread(target=work, args=(number,)) for number in range(8)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(60)
        collector = Collector()
        assert spool.drain(collector) == 400
        assert set(collector.payloads) == {b"%d-%d" % (thread, n) for thread in range(8) for n in range(50)}

    def test_child_forked_while_its_parent_drains(self, directory: Path) -> None:
        """A child forked while another thread drains holds none of its locks, starts with its own counts, and works."""
        program = start_program(
            """
            spool.dropped_spans = 3
            for number in range(2):
                spool.append(b"parent", 1)
            began, go = threading.Event(), threading.Event()
            def send(payload, spans):
                began.set()
                assert go.wait(30)
                return True
            thread = threading.Thread(target=spool.drain, args=(send,), daemon=True)
            thread.start()
            assert began.wait(30)
            inside, outside = os.pipe()
            before = len(os.listdir("/proc/self/fd"))
            if os.fork() == 0:  # its end of the pipe stays open as long as it lives
                assert len(os.listdir("/proc/self/fd")) == before - 2  # the lock's and the batch's
                assert spool.dropped_spans == 0
                assert spool.append(b"child", 1)
                os.write(outside, b"x")
                sys.stdin.readline()
                os._exit(0)
            assert os.read(inside, 1) == b"x"
            os.kill(os.getpid(), signal.SIGKILL)  # and the child lives on
            """.replace("/proc/self/fd", "/dev/fd"),
            directory,
        )
        try:
            program.wait(60)
            assert program.returncode == -signal.SIGKILL
            collector = Collector()
            assert Spool(directory, PLENTY).drain(collector) == 3
            assert collector.payloads == [b"parent", b"parent", b"child"]
        finally:
            program.communicate(timeout=60)  # which ends the child, too
