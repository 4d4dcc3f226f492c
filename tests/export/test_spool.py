"""The spool: order, cap, damage, full disks, killed writers, and processes that share a directory."""

from __future__ import annotations

import errno
import fcntl
import logging
import os
import random
import signal
import stat
import subprocess
import sys
import textwrap
import threading
import time
from typing import TYPE_CHECKING

import pytest

from causal_otel.engine import faults
from causal_otel.export.spool import Spool

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

_PLENTY = 1 << 30
_HEADER = 24


@pytest.fixture
def directory(tmp_path: Path) -> Path:
    return tmp_path / "state" / "spool"


@pytest.fixture
def spool(directory: Path) -> Iterator[Spool]:
    spool = Spool(directory, _PLENTY)
    yield spool
    spool.close()


class Collector:
    """Accepts batches, as many as it is told to."""

    def __init__(self, accepts: int = sys.maxsize) -> None:
        self.accepts = accepts
        self.payloads: list[bytes] = []
        self.spans = 0

    def __call__(self, payload: bytes, spans: int) -> bool:
        if len(self.payloads) >= self.accepts:
            return False
        self.payloads.append(payload)
        self.spans += spans
        return True


def _names(directory: Path, suffix: str = ".spans") -> list[str]:
    return sorted(name for name in os.listdir(directory) if name.endswith(suffix))


def _full(*_: object) -> int:
    raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


def _start(code: str, *arguments: object) -> subprocess.Popen[str]:
    """Start a program that has ``spool``, on the directory that is its first argument."""
    prelude = f"""
    import errno, os, signal, sys, threading, time
    from pathlib import Path
    from causal_otel.export.spool import Spool
    spool = Spool(Path(sys.argv[1]), {_PLENTY})
    """
    return subprocess.Popen(
        [sys.executable, "-W", "error", "-c", textwrap.dedent(prelude) + textwrap.dedent(code), *map(str, arguments)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def _finish(program: subprocess.Popen[str], code: int = 0) -> str:
    """What it has printed, when it has ended with ``code``."""
    try:
        output, complaints = program.communicate(timeout=60)
    finally:
        program.kill()
    assert program.returncode == code, complaints
    return output


class TestOrder:
    def test_oldest_first_and_gone(self, spool: Spool) -> None:
        """Batches are sent in the order in which they came, with their spans, and what was accepted is gone."""
        for number in range(20):
            assert spool.append(b"%d" % number, number)
        assert spool.size() == sum(_HEADER + len(str(number)) for number in range(20))
        collector = Collector()
        assert spool.drain(collector) == sum(range(20)) == collector.spans
        assert collector.payloads == [b"%d" % number for number in range(20)]
        assert spool.size() == 0
        assert spool.drain(collector) == 0

    def test_order_survives_a_clock_that_stands_still(self, spool: Spool, monkeypatch: pytest.MonkeyPatch) -> None:
        """Batches stay in order while the clock repeats itself or goes back."""
        now = time.time_ns()
        for number, clock in enumerate([now, now, now - 10**9, now]):
            monkeypatch.setattr(time, "time_ns", lambda clock=clock: clock)
            assert spool.append(b"%d" % number, 1)
        collector = Collector()
        assert spool.drain(collector) == 4
        assert collector.payloads == [b"0", b"1", b"2", b"3"]

    def test_stops_at_the_first_refusal(self, spool: Spool) -> None:
        """What the collector refuses stays, and so does all that came after it."""
        for number in range(5):
            spool.append(b"%d" % number, 10)
        assert spool.drain(Collector(accepts=2)) == 20
        collector = Collector()
        assert spool.drain(collector) == 30
        assert collector.payloads == [b"2", b"3", b"4"]

    def test_rest_of_a_batch(self, spool: Spool, directory: Path) -> None:
        """What a sender leaves of a batch takes its place, before those that came later; what it took is counted."""
        for number in range(3):
            spool.append(b"%d" % number, 10)
        names = _names(directory)
        assert spool.drain(lambda payload, spans: (b"rest of " + payload, 4)) == 6
        assert _names(directory) == names
        collector = Collector()
        assert spool.drain(collector) == 24
        assert collector.payloads == [b"rest of 0", b"1", b"2"]

    def test_rest_that_cannot_be_written(self, spool: Spool, directory: Path) -> None:
        """Where the disk is full, all of the batch stays: twice is better than not at all."""
        spool.append(b"whole", 10)

        def send(payload: bytes, spans: int) -> tuple[bytes, int]:
            monkey.setattr(os, "write", _full)
            return b"rest", 4

        with pytest.MonkeyPatch.context() as monkey:
            assert spool.drain(send) == 6
        collector = Collector()
        assert spool.drain(collector) == 10
        assert collector.payloads == [b"whole"]
        assert os.listdir(directory) == ["drain.lock"]

    def test_raising_sender_is_a_refusal(self, spool: Spool) -> None:
        """A sender that raises is reported, not raised, and its batch stays."""
        spool.append(b"x", 1)
        before = faults.counts().get("spool: send", 0)

        def broken(payload: bytes, spans: int) -> bool:
            raise RuntimeError("broken")

        assert spool.drain(broken) == 0
        assert faults.counts()["spool: send"] == before + 1
        assert spool.drain(Collector()) == 1

    def test_deadline(self, spool: Spool) -> None:
        """No batch is begun after the deadline."""
        for _ in range(3):
            spool.append(b"x", 1)
        assert spool.drain(Collector(), deadline=time.monotonic()) == 0
        assert spool.drain(Collector(), deadline=time.monotonic() + 3600) == 3

    def test_what_comes_meanwhile_is_sent_as_well(self, spool: Spool) -> None:
        """Batches that are appended while others are sent go in the same draining."""
        spool.append(b"first", 1)
        collector = Collector()

        def send(payload: bytes, spans: int) -> bool:
            if payload == b"first":
                assert spool.append(b"second", 1)
            return collector(payload, spans)

        assert spool.drain(send) == 2
        assert collector.payloads == [b"first", b"second"]

    def test_more_batches_than_are_kept_in_memory(self, spool: Spool) -> None:
        """A directory of several windows of names is drained whole, in order."""
        for number in range(2500):
            assert spool.append(b"%04d" % number, 1)
        collector = Collector()
        assert spool.drain(collector) == 2500
        assert collector.payloads == [b"%04d" % number for number in range(2500)]

    def test_next_process_sends_what_the_last_one_left(self, directory: Path) -> None:
        """What a process stored is sent by the next one, before its own."""
        _finish(_start("for n in range(3): assert spool.append(b'old %d' % n, 1)\nos._exit(7)", directory), 7)
        spool = Spool(directory, _PLENTY)
        spool.append(b"new", 1)
        collector = Collector()
        assert spool.drain(collector) == 4
        assert collector.payloads == [b"old 0", b"old 1", b"old 2", b"new"]

    def test_empty_payload_and_no_spans(self, spool: Spool) -> None:
        """A batch of nothing is a batch."""
        assert spool.append(b"", 0)
        collector = Collector()
        assert spool.drain(collector) == 0
        assert collector.payloads == [b""]

    def test_closed(self, spool: Spool) -> None:
        """A closed spool stores and sends nothing, and what waits stays."""
        spool.append(b"x", 1)
        spool.close()
        assert not spool.append(b"y", 2)
        assert spool.refused_spans == 2
        assert spool.drain(Collector()) == 0
        assert Spool(spool.directory, _PLENTY).drain(Collector()) == 1

    def test_nothing_is_made_before_there_is_a_batch(self, spool: Spool, directory: Path) -> None:
        """Asking, draining and closing make no directory."""
        assert spool.size() == spool.drain(Collector()) == 0
        assert not directory.parent.exists()


class TestCap:
    def test_oldest_are_dropped_and_counted(self, directory: Path) -> None:
        """A full spool takes the new batch and drops as many of the oldest as it must, counting bytes and spans."""
        spool = Spool(directory, 10 * (_HEADER + 100))
        for number in range(14):
            assert spool.append(b"%100d" % number, 10 + number)
        assert spool.size() == spool.max_bytes
        assert spool.dropped_spans == 10 + 11 + 12 + 13
        assert spool.dropped_bytes == 4 * (_HEADER + 100)
        collector = Collector()
        spool.drain(collector)
        assert [int(payload) for payload in collector.payloads] == list(range(4, 14))
        assert spool.refused_spans == spool.damaged == 0

    def test_larger_than_the_cap(self, directory: Path, caplog: pytest.LogCaptureFixture) -> None:
        """A batch that can never fit is refused, and nothing is dropped for it."""
        spool = Spool(directory, 200)
        assert spool.append(b"small", 1)
        assert not spool.append(b"x" * 200, 9)
        assert (spool.refused_spans, spool.dropped_spans) == (9, 0)
        assert spool.drain(Collector()) == 1
        assert "is more than the 200 that are allowed" in caplog.text

    def test_holds_over_several_writers(self, directory: Path) -> None:
        """Writers that share the directory keep the cap together, but for a 32nd each, and account for every batch."""
        cap = 100 * (_HEADER + 1000)
        spools = [Spool(directory, cap) for _ in range(4)]
        for number in range(200):
            for spool in spools:
                assert spool.append(b"x" * 1000, 1)
                if number % 20 == 0:
                    assert spool.size() <= cap + 4 * cap // 32
        collector = Collector()
        left = spools[0].drain(collector)
        assert 95 <= left <= 112
        assert left + sum(spool.dropped_spans for spool in spools) == 800

    def test_room_made_by_another_drainer_is_seen(self, directory: Path) -> None:
        """Nothing is dropped for a cap that somebody else's draining has made room under."""
        cap = 65 * (_HEADER + 1000)
        mine, theirs = Spool(directory, cap), Spool(directory, cap)
        for _ in range(65):
            assert mine.append(b"x" * 1000, 1)
        assert theirs.drain(Collector(accepts=1)) == 1
        assert mine.append(b"y" * 1000, 1)
        assert theirs.drain(Collector(accepts=63)) == 63
        for _ in range(63):
            assert mine.append(b"y" * 1000, 1)
        assert mine.dropped_spans == 0
        assert mine.drain(Collector()) == 65

    def test_batch_being_sent_is_not_dropped(self, directory: Path) -> None:
        """A batch that is being sent stays while room is made, so that none is both sent and counted as dropped."""
        spool = Spool(directory, 2 * (_HEADER + 1))
        other = Spool(directory, spool.max_bytes)
        assert spool.append(b"a", 1)
        assert spool.append(b"b", 2)
        collector = Collector()

        def send(payload: bytes, spans: int) -> bool:
            if payload == b"a":
                assert other.append(b"c", 4)
            return collector(payload, spans)

        assert spool.drain(send) == 5
        assert collector.payloads == [b"a", b"c"]
        assert other.dropped_spans == 2

    def test_room_made_by_a_batch_that_was_being_sent_is_seen(self, directory: Path) -> None:
        """The same holds for a batch that could not be dropped because it was being sent."""
        cap = 70 * (_HEADER + 1)
        spool, other = Spool(directory, cap), Spool(directory, cap)
        for _ in range(70):
            assert spool.append(b"x", 1)
        collector = Collector(accepts=1)

        def send(payload: bytes, spans: int) -> bool:
            if not collector.payloads:
                assert other.append(b"y", 1)
                assert other.dropped_spans == 1
            return collector(payload, spans)

        assert spool.drain(send) == 1
        assert other.append(b"y", 1)
        assert other.dropped_spans == 1
        assert spool.size() == cap

    def test_number_of_batches_is_bounded(self, directory: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        """However small batches are, there are only so many files."""
        monkeypatch.setattr("causal_otel.export.spool._MOST_BATCHES", 10)
        spool = Spool(directory, _PLENTY)
        for _ in range(25):
            assert spool.append(b"x", 1)
        assert len(_names(directory)) == 10
        assert spool.dropped_spans == 15

    def test_damaged_go_first(self, directory: Path) -> None:
        """What was set aside is dropped before any batch that can still be sent."""
        spool = Spool(directory, 2 * (_HEADER + 4))
        assert spool.append(b"good", 1)
        assert spool.append(b"torn", 1)
        os.truncate(directory / _names(directory)[1], _HEADER + 2)
        spool.drain(Collector(accepts=0))  # stops at the good one
        assert spool.damaged == 0
        assert spool.drain(lambda payload, _: True) == 1
        assert spool.damaged == 1
        assert spool.append(b"new1", 1)
        assert len(_names(directory, ".damaged")) == 1
        assert spool.append(b"new2", 1)
        assert _names(directory, ".damaged") == []
        assert spool.dropped_spans == 0


class TestDamage:
    def test_every_byte(self, spool: Spool, directory: Path) -> None:
        """A batch with any one byte changed, cut off at any byte, or longer, is never sent and stops no other one."""
        assert spool.append(b"sample payload", 3)
        intact = (directory / _names(directory)[0]).read_bytes()
        copies = [intact[:cut] for cut in range(len(intact))] + [intact + b"\0"]
        for position in range(len(intact)):
            for change in (0xFF, 0x01, 0x80):
                spoilt = bytearray(intact)
                spoilt[position] ^= change
                copies.append(bytes(spoilt))
        for number, copy in enumerate(copies):
            (directory / f"{number:020d}-{'0' * 16}.spans").write_bytes(copy)
        assert spool.append(b"last", 4)
        collector = Collector()
        assert spool.drain(collector) == 7
        assert collector.payloads == [b"sample payload", b"last"]
        assert spool.damaged == len(copies) == len(_names(directory, ".damaged"))
        assert spool.drain(collector) == 0
        assert spool.damaged == len(copies)

    def test_dropping_a_corrupted_batch(self, directory: Path) -> None:
        """A corrupted batch that is dropped unread counts as damaged, not as so many spans."""
        spool = Spool(directory, _HEADER + 4)
        assert spool.append(b"abcd", 5)
        with (directory / _names(directory)[0]).open("r+b") as file:
            file.write(b"JUNK")
        assert spool.append(b"efgh", 1)
        assert (spool.dropped_spans, spool.damaged) == (0, 1)

    def test_other_files_are_left_alone(self, spool: Spool, directory: Path, tmp_path: Path) -> None:
        """Files of other names, links, pipes and folders with our names are neither read, counted nor removed."""
        spool.append(b"x", 1)
        batch = set(os.listdir(directory))
        (tmp_path / "secret").write_bytes(b"secret")
        (directory / "README").write_text("mine")
        (directory / "1.spans").write_text("mine")
        (directory / f"{1:020d}-{'a' * 16}.spans.bak").write_text("mine")
        (directory / f"{2:020d}-{'a' * 16}.spans").mkdir()
        (directory / f"{3:020d}-{'a' * 16}.spans").symlink_to(tmp_path / "secret")
        (directory / f"{4:020d}-{'a' * 16}.part").symlink_to(tmp_path / "secret")
        os.mkfifo(directory / f"{5:020d}-{'a' * 16}.spans")
        others = set(os.listdir(directory)) - batch
        assert spool.size() == _HEADER + 1
        assert spool.drain(Collector()) == 1
        assert set(os.listdir(directory)) == others | {"drain.lock"}
        assert spool.damaged == 0

    def test_accepted_batch_that_cannot_be_removed(
        self, spool: Spool, directory: Path, caplog: pytest.LogCaptureFixture
    ) -> None:
        """What was accepted and cannot be removed is not sent again, and nothing else is until it can be removed."""
        spool.append(b"a", 1)
        spool.append(b"b", 1)
        first = directory / _names(directory)[0]
        collector = Collector()

        def send(payload: bytes, spans: int) -> bool:
            if payload == b"a":
                first.unlink()
                first.mkdir()  # which unlink() refuses, for root as well
            return collector(payload, spans)

        assert spool.drain(send) == 1
        assert spool.drain(collector) == 0
        assert collector.payloads == [b"a"]
        assert caplog.text.count("cannot use the spool") == 1
        first.rmdir()
        assert spool.drain(collector) == 1
        assert collector.payloads == [b"a", b"b"]


class TestDisk:
    def test_permissions(self, spool: Spool, directory: Path) -> None:
        """The directory is for its owner only and so is every file, from the very open() on, whatever the umask."""
        modes: list[int] = []
        real = os.open
        umask = os.umask(0)
        try:

            def watching(path: Path, flags: int, mode: int = 0o777) -> int:
                fd = real(path, flags, mode)
                modes.append(stat.S_IMODE(os.fstat(fd).st_mode))
                return fd

            with pytest.MonkeyPatch.context() as patch:
                patch.setattr(os, "open", watching)
                assert spool.append(b"x", 1)
                assert spool.drain(Collector(accepts=0)) == 0
        finally:
            os.umask(umask)
        assert stat.S_IMODE(directory.stat().st_mode) == 0o700
        assert set(modes) == {0o600}
        assert {stat.S_IMODE(path.stat().st_mode) for path in directory.iterdir()} == {0o600}
        assert len(list(directory.iterdir())) == 2

    def test_full_disk(self, spool: Spool, directory: Path, caplog: pytest.LogCaptureFixture) -> None:
        """When the disk is full a batch is refused and counted, one line is logged, and later batches are stored."""
        real = os.open

        def full(path: Path, flags: int, mode: int = 0o777) -> int:
            """Every new file is on a device that says ENOSPC."""
            if str(path).endswith(".part"):
                real(path, flags, mode)
                return real("/dev/full", os.O_WRONLY)
            return real(path, flags, mode)

        assert spool.append(b"before", 1)
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(os, "open", full)
            assert [spool.append(b"x" * 10, 5) for _ in range(3)] == [False] * 3
        assert spool.refused_spans == 15
        assert [record.levelno for record in caplog.records] == [logging.WARNING]
        assert os.strerror(errno.ENOSPC) in caplog.text
        assert _names(directory, ".part") == []
        assert spool.append(b"after", 1)
        collector = Collector()
        assert spool.drain(collector) == 2
        assert collector.payloads == [b"before", b"after"]

    def test_write_that_fails_halfway(self, directory: Path) -> None:
        """A file that can be written only in part leaves nothing behind, and smaller batches are stored still."""
        program = _start(
            """
            import resource
            resource.setrlimit(resource.RLIMIT_FSIZE, (5000, 5000))
            assert spool.append(b"a" * 4000, 1)
            assert not spool.append(b"b" * 20000, 2)
            assert spool.append(b"c" * 4000, 4)
            assert spool.refused_spans == 2
            """,
            directory,
        )
        _finish(program)
        assert {name.rpartition(".")[2] for name in os.listdir(directory)} == {"spans"}
        collector = Collector()
        assert Spool(directory, _PLENTY).drain(collector) == 5
        assert collector.payloads == [b"a" * 4000, b"c" * 4000]

    def test_directory_that_cannot_be_made(self, tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
        """Where no directory can be, batches are refused and counted, one line is logged, and nothing is raised."""
        (tmp_path / "file").write_text("")
        spool = Spool(tmp_path / "file" / "spool", _PLENTY)
        assert [spool.append(b"x", 2) for _ in range(3)] == [False] * 3
        assert spool.refused_spans == 6
        assert spool.drain(Collector()) == spool.size() == 0
        assert [record.levelno for record in caplog.records] == [logging.WARNING]

    def test_directory_that_is_removed(self, spool: Spool, directory: Path) -> None:
        """A directory that somebody removes is made again."""
        assert spool.append(b"x", 1)
        for path in directory.iterdir():
            path.unlink()
        directory.rmdir()
        assert spool.append(b"y", 1)
        collector = Collector()
        assert spool.drain(collector) == 1
        assert collector.payloads == [b"y"]

    def test_platform_without_locks(self, tmp_path: Path) -> None:
        """Without fcntl a spool is refused with the reason; importing is not."""
        code = """
        import sys
        sys.modules["fcntl"] = None
        from causal_otel.export.spool import Spool
        from causal_otel.settings import SettingError
        try:
            Spool(sys.argv[1], 1000)
        except SettingError as error:
            print(error)
        """
        done = subprocess.run(
            [sys.executable, "-c", textwrap.dedent(code), str(tmp_path)], capture_output=True, text=True, timeout=60
        )
        assert (done.returncode, done.stderr) == (0, "")
        assert "needs POSIX file locks" in done.stdout


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
        program = _start(
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
        _finish(program, -signal.SIGKILL)
        spool = Spool(directory, _PLENTY)
        collector = Collector()
        complete = 6 if where == "when it is complete" else 5
        assert spool.drain(collector) == complete
        assert collector.payloads == [b"%04d" % number * 250 for number in range(complete)]
        assert spool.damaged == (where in ("in the header", "in the payload", "when all is written"))
        assert os.listdir(directory) == ["drain.lock"]

    def test_at_any_moment(self, directory: Path) -> None:
        """Writers killed one after another at random moments lose nothing that append() has confirmed."""
        confirmed: list[int] = []
        for run in range(12):
            program = _start(
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
            threading.Event().wait(random.random() * 0.03)
            program.kill()
            confirmed += [last, *(int(line) for line in program.stdout)]
            program.communicate(timeout=60)
        collector = Collector()
        spool = Spool(directory, _PLENTY)
        spool.drain(collector)
        sent = [int(payload[:9]) for payload in collector.payloads]
        assert all(payload == payload[:9] * 30_000 for payload in collector.payloads)
        assert sent == sorted(sent)
        assert set(confirmed) <= set(sent)
        assert len(sent) <= len(confirmed) + 12
        assert spool.damaged <= 12
        assert os.listdir(directory) == ["drain.lock"]

    def test_drainer(self, directory: Path) -> None:
        """A drainer killed while it sends takes its locks with it; what was not accepted is sent by the next one."""
        program = _start(
            """
            for number in range(4):
                spool.append(b"%d" % number, 1)
            spool.drain(lambda payload, spans: payload != b"2" or os.kill(os.getpid(), signal.SIGKILL))
            """,
            directory,
        )
        _finish(program, -signal.SIGKILL)
        collector = Collector()
        assert Spool(directory, _PLENTY).drain(collector) == 2
        assert collector.payloads == [b"2", b"3"]


class TestProcesses:
    def test_only_one_drains(self, spool: Spool) -> None:
        """While one process sends, another one's drain() returns 0 at once, and its append() works."""
        for _ in range(2):
            spool.append(b"x", 1)
        program = _start(
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
        _finish(program)
        assert spool.size() == 0

    def test_batch_that_somebody_holds_is_passed_over(self, spool: Spool, directory: Path) -> None:
        """A batch that another process is about to drop is passed over, and the others are sent."""
        spool.append(b"held", 1)
        spool.append(b"free", 1)
        with (directory / _names(directory)[0]).open("rb") as held:
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
        assert (spool.damaged, spool.refused_spans, spool.dropped_spans) == (0, 0, 0)
        """
        programs = [_start(code, directory, name) for name in "abcd"]
        outputs: list[list[str]] = [[] for _ in programs]

        def read(index: int) -> None:
            outputs[index] = _finish(programs[index]).split()

        threads = [threading.Thread(target=read, args=(index,)) for index in range(len(programs))]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(90)
        collector = Collector()
        Spool(directory, _PLENTY).drain(collector)
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
        program = _start(
            """
            spool.refused_spans = 3
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
                assert spool.refused_spans == 0
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
            assert Spool(directory, _PLENTY).drain(collector) == 3
            assert collector.payloads == [b"parent", b"parent", b"child"]
        finally:
            program.communicate(timeout=60)  # which ends the child, too
