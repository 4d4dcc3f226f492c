"""What may be in a writer's way: other writers, damaged files, no room."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from pathlib import Path

import pytest

from causal_otel.collector.store import days
from causal_otel.collector.store.reader import Reader
from causal_otel.collector.store.writer import Kept, StoreInUse, Writer
from tests.collector.spans import (
    NOON,
    request,
    span,
    trace_id,
    traces,
)
from tests.collector.store.programs import start
from tests.collector.store.writers import RICH, TODAY, put, rows, stored, writing
from tests.faults.programs import finish


class TestWhatIsInTheWay:
    def test_one_writer(self, writer: Writer, directory: Path) -> None:
        """A second writer on the directory is refused and told by whom, in this process and in another."""
        with pytest.raises(StoreInUse, match="another process"):
            Writer(directory).start()
        output = finish(
            start(
                """
                try:
                    Writer(directory).start()
                except StoreInUse as error:
                    print(error)
                """,
                directory,
            )
        )
        assert str(directory) in output
        assert put(writer, RICH) == Kept(2)

    def test_the_next_writer(self, directory: Path) -> None:
        """Once a writer is closed the directory is free."""
        for number in (1, 2):
            with writing(directory) as writer:
                put(writer, traces(span(trace=number)))
        assert len(stored(directory, 1)) == len(stored(directory, 2)) == 1

    def test_no_directory(self, tmp_path: Path) -> None:
        """A directory that cannot be made is named, with what to do."""
        (tmp_path / "file").write_text("")
        with pytest.raises(Exception, match=r"file.*check the disk"):
            Writer(tmp_path / "file" / "store").start()

    @pytest.mark.parametrize("damage", ["garbage", "version", "middle"])
    def test_damaged_file(self, directory: Path, damage: str, caplog: pytest.LogCaptureFixture) -> None:
        """A file that cannot be used is renamed, reported with the reason, and the day goes on in a new one."""
        with writing(directory) as writer:
            for number in range(1, 200):
                writer.put(request(traces(span(trace=number, tags={"n": number}))))
        path = days.path_of(directory, TODAY)
        if damage == "garbage":
            path.write_bytes(b"nonsense" * 1000)
        elif damage == "version":
            with closing(sqlite3.connect(path)) as db:
                db.execute("PRAGMA user_version = 99")
        else:
            content = bytearray(path.read_bytes())
            content[8192:] = b"\xa5" * (len(content) - 8192)
            path.write_bytes(content)
        before = path.read_bytes()
        with writing(directory) as writer:
            assert put(writer, traces(span(trace=777))) == Kept(1)
            assert writer.counters()["damaged_files"] == 1
            assert str(path) in writer.counters()["last_error"]
        ((aside, reason),) = days.damaged(directory)
        assert Path(aside).read_bytes() == before
        assert reason
        assert "99" in reason or damage != "version"
        assert aside in caplog.text
        with Reader(directory) as reader:
            assert reader.volume().damaged == ((aside, reason),)
        assert len(stored(directory, 777)) == 1

    def test_killed_while_a_file_was_made(self, directory: Path) -> None:
        """A file that has nothing in it yet is made anew."""
        directory.mkdir(parents=True)
        days.path_of(directory, TODAY).write_bytes(b"")
        with writing(directory) as writer:
            assert put(writer, RICH) == Kept(2)
        assert days.damaged(directory) == ()

    @pytest.mark.long
    def test_locked_file(self, directory: Path) -> None:
        """While another program holds the file locked, requests are refused with the path; then all goes on."""
        with writing(directory) as writer:
            put(writer, traces(span(trace=1)))
            with closing(sqlite3.connect(days.path_of(directory, TODAY), isolation_level=None)) as other:
                other.execute("BEGIN IMMEDIATE")
                with pytest.raises(Exception, match="another program holds") as caught:
                    put(writer, RICH)
                assert str(directory) in str(caught.value)
                other.execute("ROLLBACK")
            assert put(writer, RICH) == Kept(2)
            assert writer.counters()["refused"] == 1

    def test_no_room(self, directory: Path) -> None:
        """Where files may not grow, requests are refused with the path and advice, and kept once there is room."""
        output = finish(
            start(
                """
                writer = Writer(directory, clock=lambda: NOON / SECOND)
                writer.start()
                print(writer.put(request(traces(span(trace=1)))).result(30).spans)
                small = os.path.getsize(days.path_of(directory, days.day_of(NOON))) + 100_000
                _, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
                resource.setrlimit(resource.RLIMIT_FSIZE, (small, hard))
                bodies = [request(traces(span(trace=n, tags={"noise": os.urandom(50_000)}))) for n in range(2, 30)]
                refused = []
                for body in bodies:
                    try:
                        writer.put(body).result(30)
                    except StoreError as error:
                        refused.append(body)
                        message = str(error)
                print(len(refused) > 5, str(directory) in message, "disk" in message)
                resource.setrlimit(resource.RLIMIT_FSIZE, (hard, hard))
                print(all(writer.put(body).result(30).spans for body in refused), writer.counters()["spans"])
                writer.close(30)
                """,
                directory,
            )
        )
        assert output.splitlines() == ["1", "True True True", "True 29"]
        assert days.damaged(directory) == ()
        for number in range(1, 30):
            assert rows(
                directory, "SELECT sum(spans) FROM chunk WHERE trace_id = ?", trace_id(number), day=days.day_of(NOON)
            )
            assert len(stored(directory, number)) == 1
