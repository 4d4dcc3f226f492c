"""The queue of what is sent on: order, what outlives the process, what is dropped, what damage costs."""

from __future__ import annotations

import os
import resource
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from causal_otel.collector.forward.queue import Queue, QueueLost
from tests.waiting import wait_until

PLENTY = 1 << 30


@contextmanager
def opened(directory: Path, max_bytes: int = PLENTY) -> Iterator[Queue]:
    """A queue for as long as the block lasts."""
    queue = Queue(directory, max_bytes)
    try:
        yield queue
    finally:
        queue.close()


def taken(queue: Queue, most: int = 1000) -> list[bytes]:
    """Settle what waits, at most so much; the payloads in order."""
    found: list[bytes] = []
    while len(found) < most and queue.waiting()[0]:
        entry = queue.first()
        if entry is not None:
            found.append(entry.payload)
            queue.settle(entry)
    return found


def segments(directory: Path) -> list[Path]:
    return sorted(directory.glob("*.queue"))


def test_order_and_counts(tmp_path: Path) -> None:
    """What was appended comes out in order, once, with its number of spans; what waits is counted."""
    with opened(tmp_path / "forward") as queue:
        for number in range(5):
            queue.append(b"%d" % number, number + 1)
        assert queue.waiting() == (5, 15)
        entry = queue.first()
        assert entry is not None
        assert (entry.payload, entry.spans) == (b"0", 1)
        assert queue.oldest() == entry.time
        queue.put_back(entry, 1)
        assert taken(queue) == [b"0", b"1", b"2", b"3", b"4"]
        assert queue.waiting() == (0, 0)
        assert queue.oldest() is None
        assert queue.dropped_spans == 0


def test_another_process_goes_on_where_the_first_was(tmp_path: Path) -> None:
    """A queue that was not closed, as after kill -9, gives what was not settled, and no more, in order."""
    first = Queue(tmp_path, PLENTY)
    for number in range(6):
        first.append(b"%d" % number, 1)
    assert taken(first, 2) == [b"0", b"1"]
    assert first.first() is not None  # in hand when it is killed
    with opened(tmp_path) as second:
        assert second.waiting() == (4, 4)
        second.append(b"6", 1)
        assert taken(second) == [b"2", b"3", b"4", b"5", b"6"]
    with opened(tmp_path) as third:
        assert third.waiting() == (0, 0)
        third.append(b"7", 1)
        assert taken(third) == [b"7"]
    first.close()


def test_many_segments(tmp_path: Path) -> None:
    """Files are begun and removed as requests come and go, and a restart in the middle keeps the order."""
    payloads = [os.urandom(5000) + b"%d" % number for number in range(200)]
    with opened(tmp_path, 16 * 20_000 * 100) as queue:
        for payload in payloads:
            queue.append(payload, 2)
        assert queue.waiting() == (200, 400)
    with opened(tmp_path, 2_000_000) as queue:
        assert taken(queue, 77) == payloads[:77]
        queue.append(b"more", 1)
        assert len(segments(tmp_path)) == 2
    with opened(tmp_path, 2_000_000) as queue:
        assert taken(queue) == [*payloads[77:], b"more"]
        queue.append(b"last", 1)
        assert taken(queue) == [b"last"]
        assert len(segments(tmp_path)) <= 2


def test_the_oldest_goes_when_there_is_no_room(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """Beyond its size the oldest requests are dropped, counted exactly and logged; the files stay within the size."""
    with opened(tmp_path, 100_000) as queue:
        for number in range(100):
            queue.append(b"%03d" % number + bytes(3000), 3)
            assert queue.size <= 100_000
            assert sum(path.stat().st_size for path in segments(tmp_path)) == queue.size
        waiting, spans = queue.waiting()
        assert queue.dropped_spans + spans == 300
        left = taken(queue)
        assert [int(payload[:3]) for payload in left] == list(range(100 - waiting, 100))
        assert waiting >= 25
    assert "there is no more room for what is to be sent on" in caplog.text


def test_what_is_in_hand_while_it_is_dropped(tmp_path: Path) -> None:
    """A request that is being sent while its file goes counts as dropped only if it does not arrive."""
    for arrives in (True, False):
        with opened(tmp_path / str(arrives), 10_000) as queue:
            queue.append(bytes(500), 7)
            entry = queue.first()
            assert entry is not None
            assert queue.holds(entry)
            for _ in range(30):
                queue.append(bytes(600), 1)
            assert not queue.holds(entry)
            if arrives:
                queue.settle(entry)
            else:
                queue.put_back(entry, entry.spans)
            dropped = 30 - queue.waiting()[0]
            assert queue.dropped_spans == dropped + (0 if arrives else 7)


def test_a_request_larger_than_all(tmp_path: Path) -> None:
    """A request that could never fit is refused, and costs nothing that waits."""
    with opened(tmp_path, 1000) as queue:
        queue.append(b"small", 1)
        with pytest.raises(QueueLost, match="larger than all that may wait"):
            queue.append(bytes(1000), 1)
        assert taken(queue) == [b"small"]


def test_a_full_disk(tmp_path: Path) -> None:
    """Where the disk takes no more a request is refused whole; what was taken before and later is there."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    with opened(tmp_path) as queue:
        try:
            resource.setrlimit(resource.RLIMIT_FSIZE, (5000, hard))
            queue.append(b"first" + bytes(2000), 1)
            with pytest.raises(QueueLost, match="cannot be kept"):
                queue.append(bytes(4000), 1)
            queue.append(b"small", 1)
        finally:
            resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
        queue.append(b"large" + bytes(9000), 1)
        assert queue.waiting() == (3, 3)
        assert taken(queue) == [b"first" + bytes(2000), b"small", b"large" + bytes(9000)]
        assert queue.damaged_bytes == 0


def test_nothing_is_left_of_what_was_settled(tmp_path: Path) -> None:
    """A queue that is closed when all is settled has no file of requests any more."""
    with opened(tmp_path) as queue:
        queue.append(b"one", 1)
        assert taken(queue) == [b"one"]
    assert segments(tmp_path) == []
    with opened(tmp_path) as queue:
        queue.append(b"two", 1)
        assert taken(queue) == [b"two"]


@pytest.mark.parametrize("cut", [1, 10, 25])
def test_a_torn_end(tmp_path: Path, cut: int) -> None:
    """A request whose process died while it wrote it was never acknowledged, and costs no other."""
    first = Queue(tmp_path, PLENTY)
    for number in range(3):
        first.append(b"%d" % number + bytes(10), 1)
    path = segments(tmp_path)[-1]
    os.truncate(path, path.stat().st_size - cut)
    with opened(tmp_path) as queue:
        queue.append(b"next", 1)
        assert taken(queue) == [b"0" + bytes(10), b"1" + bytes(10), b"next"]
    first.close()


def test_damage_costs_the_rest_of_its_file_only(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """A byte that has turned over is noticed: what is behind it in the file is counted as dropped, the rest goes on."""
    first = Queue(tmp_path, PLENTY)
    for number in range(4):
        first.append(b"%d" % number + bytes(10), 2)
    first.close()
    path = segments(tmp_path)[0]
    content = bytearray(path.read_bytes())
    content[len(content) * 3 // 8] ^= 1
    path.write_bytes(content)
    with opened(tmp_path) as queue:
        queue.append(b"next", 1)
        assert taken(queue) == [b"0" + bytes(10), b"next"]
        assert queue.dropped_spans == 6
        assert queue.damaged_bytes == len(content) * 3 // 4
    assert "are damaged and are not sent on" in caplog.text


@pytest.mark.parametrize("text", [b"", b"garbage", bytes(20)])
def test_a_position_that_cannot_be_read(tmp_path: Path, text: bytes) -> None:
    """Where nobody knows what was settled, all is sent again: at least once."""
    first = Queue(tmp_path, PLENTY)
    for number in range(3):
        first.append(b"%d" % number, 1)
    assert taken(first, 1) == [b"0"]
    first.close()
    (tmp_path / "position").write_bytes(text)
    with opened(tmp_path) as queue:
        assert taken(queue) == [b"0", b"1", b"2"]


def test_who_waits_is_woken(tmp_path: Path) -> None:
    """A reader waits for the next request without asking again and again, and is let go at the end."""
    with opened(tmp_path) as queue:
        found: list[bytes | None] = []

        def read() -> None:
            for _ in range(2):
                entry = queue.first()
                found.append(entry and entry.payload)
                if entry is not None:
                    queue.settle(entry)

        thread = threading.Thread(target=read)
        thread.start()
        queue.append(b"come", 1)
        wait_until(lambda: not queue.waiting()[0])
        queue.stop_waiting()
        thread.join(60)
        assert found == [b"come", None]


def test_files_are_private(tmp_path: Path) -> None:
    """Nobody else reads what waits."""
    directory = tmp_path / "forward"
    with opened(directory) as queue:
        queue.append(b"secret", 1)
        assert taken(queue) == [b"secret"]
        assert directory.stat().st_mode & 0o777 == 0o700
        assert {path.stat().st_mode & 0o777 for path in directory.iterdir()} == {0o600}
