"""The spool: damaged files, full disks, and directories that cannot be used."""

from __future__ import annotations

import errno
import logging
import os
import stat
import subprocess
import sys
import textwrap
from typing import TYPE_CHECKING

import pytest

from causal_otel.export.spool import Spool

if TYPE_CHECKING:
    from pathlib import Path

from tests.export.spooling import HEADER, PLENTY, Collector, file_name, names_in, start_program
from tests.faults.programs import finish


class TestDamage:
    def test_every_byte(self, spool: Spool, directory: Path) -> None:
        """A batch with any one byte changed, cut off at any byte, or longer, is never sent and stops no other one."""
        assert spool.append(b"sample payload", 3)
        intact = (directory / names_in(directory)[0]).read_bytes()
        copies = [intact[:cut] for cut in range(len(intact))] + [intact + b"\0"]
        for position in range(len(intact)):
            for change in (0xFF, 0x01, 0x80):
                spoilt = bytearray(intact)
                spoilt[position] ^= change
                copies.append(bytes(spoilt))
        for number, copy in enumerate(copies):
            (directory / file_name(number)).write_bytes(copy)
        assert spool.append(b"last", 4)
        collector = Collector()
        assert spool.drain(collector) == 7
        assert collector.payloads == [b"sample payload", b"last"]
        assert spool.damaged()["corrupted"] == len(copies) == len(names_in(directory, ".damaged"))
        assert spool.drain(collector) == 0
        assert spool.damaged() == {"corrupted": len(copies), "torn": 0}

    def test_dropping_a_corrupted_batch(self, directory: Path) -> None:
        """A corrupted batch that is dropped unread counts as damaged, not as so many spans."""
        spool = Spool(directory, HEADER + 4)
        assert spool.append(b"abcd", 5)
        with (directory / names_in(directory)[0]).open("r+b") as file:
            file.write(b"JUNK")
        assert spool.append(b"efgh", 1)
        assert (spool.dropped_spans, spool.damaged()) == (0, {"corrupted": 1, "torn": 0})

    def test_other_files_are_left_alone(self, spool: Spool, directory: Path, tmp_path: Path) -> None:
        """Files of other names, links, pipes and folders with our names are neither read, counted nor removed."""
        spool.append(b"x", 1)
        batch = set(os.listdir(directory))
        (tmp_path / "secret").write_bytes(b"secret")
        (directory / "README").write_text("mine")
        (directory / "1.spans").write_text("mine")
        (directory / file_name(1, ".spans.bak")).write_text("mine")
        (directory / file_name(2)).mkdir()
        (directory / file_name(3)).symlink_to(tmp_path / "secret")
        (directory / file_name(4, ".part")).symlink_to(tmp_path / "secret")
        os.mkfifo(directory / file_name(5))
        others = set(os.listdir(directory)) - batch
        assert spool.size() == HEADER + 1
        assert spool.drain(Collector()) == 1
        assert set(os.listdir(directory)) == others | {"drain.lock"}
        assert sum(spool.damaged().values()) == 0

    def test_accepted_batch_that_cannot_be_removed(
        self, spool: Spool, directory: Path, caplog: pytest.LogCaptureFixture
    ) -> None:
        """What was accepted and cannot be removed is not sent again, and nothing else is until it can be removed."""
        spool.append(b"a", 1)
        spool.append(b"b", 1)
        first = directory / names_in(directory)[0]
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
        """When the disk is full a batch is refused, one line is logged, and later batches are stored."""
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
        assert [record.levelno for record in caplog.records] == [logging.WARNING]
        assert os.strerror(errno.ENOSPC) in caplog.text
        assert names_in(directory, ".part") == []
        assert spool.append(b"after", 1)
        collector = Collector()
        assert spool.drain(collector) == 2
        assert collector.payloads == [b"before", b"after"]

    def test_write_that_fails_halfway(self, directory: Path) -> None:
        """A file that can be written only in part leaves nothing behind, and smaller batches are stored still."""
        program = start_program(
            """
            import resource
            resource.setrlimit(resource.RLIMIT_FSIZE, (5000, 5000))
            assert spool.append(b"a" * 4000, 1)
            assert not spool.append(b"b" * 20000, 2)
            assert spool.append(b"c" * 4000, 4)
            """,
            directory,
        )
        finish(program)
        assert {name.rpartition(".")[2] for name in os.listdir(directory)} == {"spans"}
        collector = Collector()
        assert Spool(directory, PLENTY).drain(collector) == 5
        assert collector.payloads == [b"a" * 4000, b"c" * 4000]

    def test_directory_that_cannot_be_made(self, tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
        """Where no directory can be, batches are refused, one line is logged, and nothing is raised."""
        (tmp_path / "file").write_text("")
        spool = Spool(tmp_path / "file" / "spool", PLENTY)
        assert [spool.append(b"x", 2) for _ in range(3)] == [False] * 3
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
        assert "a spool directory needs Linux or macOS" in done.stdout
