"""The reader while others write, replace and compact the files."""

from __future__ import annotations

import sqlite3
import subprocess
import sys
import tempfile
import textwrap
import threading
from contextlib import suppress
from pathlib import Path

from causal_otel.collector.query import Query
from causal_otel.collector.store import days
from causal_otel.collector.store.compaction import Busy
from causal_otel.collector.store.reader import Reader
from tests.collector.spans import (
    HOUR,
    NOON,
    request,
    span,
    trace_id,
    traces,
)
from tests.collector.store.stores import EVER, close, contents, write, writing

DAY = 24 * HOUR
TODAY = days.day_of(NOON)

_FOLLOW = """
    import sys, time
    from pathlib import Path
    from causal_otel.collector.query import Query
    from causal_otel.collector.store.reader import Reader

    wanted = int(sys.argv[2])
    deadline = time.monotonic() + 60
    with Reader(Path(sys.argv[1])) as reader:
        print("ready", flush=True)
        seen = 0
        while seen < wanted and time.monotonic() < deadline:
            found = reader.search(Query(0, 2**63, limit=10**6), seconds=30).trace_ids
            assert len(found) >= seen, "a trace has gone"
            assert len(reader.summaries(found[:20])) == min(20, len(found)), "a trace was found and is not there"
            damaged = reader.volume().damaged
            assert damaged == (), damaged
            seen = len(found)
    assert seen == wanted, seen
"""


def test_another_process_reads_while_one_writes(tmp_path: Path) -> None:
    """It sees everything, never half of a commit, and never loses what it saw."""
    count = 150
    with writing(tmp_path) as writer:
        command = [sys.executable, "-c", textwrap.dedent(_FOLLOW), str(tmp_path), str(count)]
        process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        try:
            assert process.stdout is not None
            assert process.stdout.readline() == "ready\n"
            for number in range(1, count + 1):
                start = NOON - (number % 3) * DAY
                message = traces(*[span(trace=number, start=start + index) for index in range(20)])
                writer.put(request(message)).result(30)
            _, errors = process.communicate(timeout=90)
        finally:
            process.kill()
            process.wait()
    assert process.returncode == 0, errors


def test_threads_share_a_reader(tmp_path: Path, reader: Reader) -> None:
    """While a writer adds to the same files."""
    failures: list[BaseException] = []
    done = threading.Event()

    def ask() -> None:
        try:
            while not done.is_set():
                found = reader.search(Query(*EVER, limit=1000)).trace_ids
                assert [each.trace_id for each in reader.summaries(found)] == list(found)
                assert set(found) <= set(reader.trace_ids(*EVER))
        except BaseException as error:
            failures.append(error)

    threads = [threading.Thread(target=ask) for _ in range(6)]
    with writing(tmp_path) as writer:
        for thread in threads:
            thread.start()
        try:
            for number in range(1, 60):
                writer.put(request(traces(span(trace=number, start=NOON - number % 2 * DAY)))).result(30)
        finally:
            done.set()
            for thread in threads:
                thread.join(30)
    assert failures == []
    assert len(reader.search(Query(*EVER, limit=100)).trace_ids) == 59


def test_a_replaced_file_is_opened_again(tmp_path: Path, reader: Reader) -> None:
    """What was learned from the old one is forgotten."""
    write(tmp_path, [traces(span(trace=1), resource={"old": 1})])
    assert reader.trace(trace_id(1)) is not None
    with tempfile.TemporaryDirectory(dir=tmp_path) as other:
        new = traces(span(trace=2), resource={"new": 1})
        write(Path(other), [new])
        path = days.path_of(tmp_path, TODAY)
        replacement = days.path_of(Path(other), TODAY)
        with sqlite3.connect(replacement) as db:
            db.execute("PRAGMA wal_checkpoint(TRUNCATE)")
        db.close()
        for suffix in ("-wal", "-shm"):
            path.with_name(path.name + suffix).unlink(missing_ok=True)
        replacement.replace(path)
    assert contents(reader.trace(trace_id(2))) == contents(new)
    assert reader.trace(trace_id(1)) is None


def test_days_are_compacted_while_they_are_read(tmp_path: Path, reader: Reader) -> None:
    """Nobody notices: before, in between and afterwards there are the same traces."""
    messages = [
        traces(*[span(trace=number, start=NOON - number % 2 * DAY + number) for _ in range(3)])
        for number in range(1, 80)
    ]
    write(tmp_path, messages)
    everything = reader.search(Query(*EVER, limit=1000)).trace_ids
    failures: list[BaseException] = []
    done = threading.Event()

    def ask() -> None:
        try:
            while not done.is_set():
                assert reader.search(Query(*EVER, limit=1000), seconds=60).trace_ids == everything
                assert [each.spans for each in reader.summaries(everything)] == [3] * 79
        except BaseException as error:
            failures.append(error)

    threads = [threading.Thread(target=ask) for _ in range(3)]
    for thread in threads:
        thread.start()
    try:
        for _ in range(8):
            # A reader may always be in the way, and then it is done another time.
            with suppress(Busy):
                close(tmp_path)
    finally:
        done.set()
        for thread in threads:
            thread.join(60)
    assert failures == []
    assert reader.volume().damaged == ()
