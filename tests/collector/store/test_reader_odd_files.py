"""The reader and files that are damaged, half made, or cannot be written."""

from __future__ import annotations

import shutil
import sqlite3
from collections.abc import Callable
from pathlib import Path

import pytest

from causal_otel.collector.expressions import tags
from causal_otel.collector.query import Query
from causal_otel.collector.store import days
from causal_otel.collector.store.reader import Reader
from tests.collector.spans import (
    NOON,
    span,
    trace_id,
    traces,
)
from tests.collector.store.stores import EVER, write

TODAY = days.day_of(NOON)


def _garbage(path: Path) -> None:
    path.write_bytes(b"no database at all" * 1000)


def _other_version(path: Path) -> None:
    with sqlite3.connect(path) as db:
        db.execute("CREATE TABLE whatever (x)")
        db.execute("PRAGMA user_version = 99")
    db.close()


def _truncated(path: Path) -> None:
    shutil.copy(days.path_of(path.parent, TODAY), path)
    path.write_bytes(path.read_bytes()[:9000])


@pytest.mark.parametrize(
    ("spoil", "reason"), [(_garbage, "not a database"), (_other_version, "version is 99"), (_truncated, "")]
)
def test_a_file_that_cannot_be_read_is_reported_and_left_out(
    spoil: Callable[[Path], None], reason: str, tmp_path: Path, reader: Reader
) -> None:
    """Nothing fails; the other days answer."""
    write(tmp_path, [traces(span(trace=1))])
    with sqlite3.connect(days.path_of(tmp_path, TODAY)) as db:
        db.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    db.close()
    bad = days.path_of(tmp_path, TODAY - 1)
    spoil(bad)
    assert reader.search(Query(*EVER, where=tags((("a", "b"),)))).complete
    assert reader.search(Query(*EVER)).trace_ids == (trace_id(1),)
    assert reader.services() == ["shop"]
    assert reader.trace(trace_id(1)) is not None
    assert list(reader.trace_ids(*EVER)) == [trace_id(1)]
    volume = reader.volume()
    ((path, told),) = volume.damaged
    assert path == str(bad)
    assert reason in told
    assert volume.days[-1].spans == 1


def test_a_file_that_is_being_made_is_not_damaged(tmp_path: Path, reader: Reader) -> None:
    """Before its tables are committed it is an empty file, or one without tables."""
    days.path_of(tmp_path, TODAY).touch()
    with sqlite3.connect(days.path_of(tmp_path, TODAY - 1)) as db:
        db.execute("PRAGMA journal_mode = WAL")
    db.close()
    assert reader.services() == []
    assert reader.volume().damaged == ()


def test_a_damaged_chunk_costs_only_itself(tmp_path: Path, reader: Reader) -> None:
    """The others of the day are found, and the file is reported."""
    write(tmp_path, [traces(span(trace=number, start=NOON + number)) for number in (1, 2, 3)])
    with sqlite3.connect(days.path_of(tmp_path, TODAY)) as db:
        db.execute("UPDATE chunk SET body = x'01ffffffff' WHERE trace_id = ?", (trace_id(2),))
    db.close()
    assert reader.search(Query(*EVER)).trace_ids == (trace_id(3), trace_id(1))
    assert reader.trace(trace_id(2)) is None
    assert len(reader.volume().damaged) == 1


def test_a_file_is_read_where_nothing_can_be_written(tmp_path: Path) -> None:
    """As on a read-only disk, where SQLite's companions of the file cannot be made."""
    write(tmp_path / "store", [traces(span(trace=1))])
    path = days.path_of(tmp_path / "store", TODAY)
    with sqlite3.connect(path) as db:
        db.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    db.close()
    # A directory in its place keeps SQLite from making it, whoever runs the test.
    for suffix in ("-wal", "-shm"):
        path.with_name(path.name + suffix).unlink(missing_ok=True)
    path.with_name(path.name + "-shm").mkdir()
    with Reader(tmp_path / "store") as reader:
        assert reader.search(Query(*EVER)).trace_ids == (trace_id(1),)
