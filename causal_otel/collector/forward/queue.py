"""A queue of requests on disk: what was appended outlives the process, is read in order, and removed when settled.

It is a log: files of some megabytes, the segments, to whose end requests are appended, and a file that says how far
they were settled. A segment is removed when all in it is settled, or, the oldest first, when there is no more room.
Only one process uses it (the store's lock is held), so one file a request, which several processes need, would only be
slow: an outage of days at two requests a second is half a million of them.

Nothing is forced to the disk (no ``fsync``): what is written is in the kernel's hands and outlives the process, also
``kill -9``. A segment that a dead process has written is never appended to, since its end may be torn.
"""

from __future__ import annotations

import errno
import os
import re
import struct
import threading
import time
import zlib
from collections import deque
from contextlib import suppress
from typing import TYPE_CHECKING, NamedTuple

from causal_otel._internal.log import logger

if TYPE_CHECKING:
    from pathlib import Path

__all__ = ["Entry", "Queue", "QueueLost"]

_LOG = logger(__name__)
_NAME = re.compile(r"(\d{20})\.queue")
_POSITION = "position"
# CRC-32 of all that follows, length of the payload, number of spans, when it came in nanoseconds.
_HEADER = struct.Struct(">IIIQ")
_CRC_BYTES = 4
_PLACE = struct.Struct(">QQI")
_SEGMENT_BYTES = 8 * 1024 * 1024
_SEGMENTS = 16
"""There are at least so many, so that not much is lost at once when there is no more room."""


class QueueLost(Exception):
    """A request cannot be queued; the message says why."""


class Entry(NamedTuple):
    """A request in the queue.

    Attributes:
        payload: the request.
        spans: how many spans are in it.
        time: when it came, Unix time in nanoseconds.
        segment: the number of its file.
        end: where it ends there.
    """

    payload: bytes
    spans: int
    time: int
    segment: int
    end: int


class _Segment:
    """What is known of a file: its bytes, and the requests and spans in it that are not settled."""

    __slots__ = ("bytes", "number", "oldest", "path", "requests", "spans")

    def __init__(self, path: Path, number: int) -> None:
        self.path = path
        self.number = number
        self.bytes = self.requests = self.spans = 0
        self.oldest = 0


class Queue:
    """Requests on disk, in order. Safe from several threads of one process.

    Args:
        directory: where; made (0700) when the first request comes.
        max_bytes: that the files may take together. Beyond it the oldest segment is dropped, with what was not sent.

    Raises:
        OSError: What an earlier process has left cannot be read.
    """

    def __init__(self, directory: Path, max_bytes: int) -> None:
        self.directory = directory
        self.max_bytes = max_bytes
        self.dropped_spans = 0
        """Spans that were dropped for want of room, since the start."""
        self.damaged_bytes = 0
        """Bytes that could not be read, since the start."""
        self._lock = threading.Lock()
        self._more = threading.Condition(self._lock)
        self._segment_bytes = max(1, min(_SEGMENT_BYTES, max_bytes // _SEGMENTS))
        self._segments: deque[_Segment] = deque()
        self._place = (0, 0)  # of the oldest request that is not settled: a segment and an offset
        self._writing: int | None = None  # the file descriptor of the last segment
        self._reading: tuple[int, int] | None = None  # a segment and its file descriptor
        self._position: int | None = None
        self._in_hand: Entry | None = None
        self._stopped = False
        self._look_around()

    # -- what is there ------------------------------------------------------------------------------------------

    def _look_around(self) -> None:
        """Find what an earlier process has left."""
        with suppress(FileNotFoundError):
            text = (self.directory / _POSITION).read_bytes()
            if len(text) == _PLACE.size:
                segment, offset, checksum = _PLACE.unpack(text)
                if zlib.crc32(text[:-_CRC_BYTES]) == checksum:
                    self._place = segment, offset
        found = {}
        if self.directory.is_dir():
            for path in self.directory.iterdir():
                if match := _NAME.fullmatch(path.name):
                    found[int(match[1])] = path
        for number, path in sorted(found.items()):
            if number < self._place[0]:
                path.unlink(missing_ok=True)  # settled, and its process was killed before it could remove it
            else:
                self._segments.append(self._counted(path, number))
        if self._segments and self._segments[0].number != self._place[0]:
            self._place = self._segments[0].number, 0

    def _counted(self, path: Path, number: int) -> _Segment:
        segment = _Segment(path, number)
        segment.bytes = path.stat().st_size
        start = self._place[1] if number == self._place[0] else 0
        with path.open("rb") as file:
            file.seek(start)
            while len(header := file.read(_HEADER.size)) == _HEADER.size:
                _, length, spans, came = _HEADER.unpack(header)
                if file.seek(length, os.SEEK_CUR) > segment.bytes:
                    break
                segment.requests += 1
                segment.spans += spans
                segment.oldest = segment.oldest or came
        return segment

    @property
    def size(self) -> int:
        """What the files take."""
        with self._lock:
            return sum(segment.bytes for segment in self._segments)

    def waiting(self) -> tuple[int, int]:
        """How many requests and how many spans are not settled."""
        with self._lock:
            return sum(each.requests for each in self._segments), sum(each.spans for each in self._segments)

    def oldest(self) -> int | None:
        """When the oldest request came that is not settled, Unix time in nanoseconds, as far as its segment tells."""
        with self._lock:
            if self._in_hand is not None:
                return self._in_hand.time
            return next((each.oldest for each in self._segments if each.requests), None)

    # -- appending ----------------------------------------------------------------------------------------------

    def append(self, payload: bytes, spans: int) -> None:
        """Add a request at the end. When this returns, it outlives the process.

        Args:
            payload: the request.
            spans: how many spans are in it.

        Raises:
            QueueLost: The disk does not take it, or it is larger than the queue may be.
        """
        size = _HEADER.size + len(payload)
        if size > self.max_bytes:
            raise QueueLost(f"{self.directory}: a request of {size} bytes is larger than all that may wait there")
        came = time.time_ns()
        header = _HEADER.pack(0, len(payload), spans, came)[_CRC_BYTES:]
        checksum = zlib.crc32(payload, zlib.crc32(header))
        with self._lock:
            try:
                self._append(b"".join((checksum.to_bytes(_CRC_BYTES, "big"), header, payload)))
            except OSError as error:
                raise QueueLost(f"{self.directory}: what is to be sent on cannot be kept ({error})") from error
            last = self._segments[-1]
            last.requests += 1
            last.spans += spans
            last.oldest = last.oldest or came
            self._more.notify_all()

    def _append(self, record: bytes) -> None:
        while self._segments and sum(each.bytes for each in self._segments) + len(record) > self.max_bytes:
            self._drop()
        last = self._segments[-1] if self._segments else None
        if self._writing is None or last is None or last.bytes + len(record) > self._segment_bytes:
            last = self._begin()
        assert self._writing is not None
        try:
            left = memoryview(record)
            while left:
                left = left[os.write(self._writing, left) :]
        except OSError:
            # Half of it may be there. If it cannot be cut off, what follows goes to another file.
            try:
                os.ftruncate(self._writing, last.bytes)
            except OSError:
                last.bytes = last.path.stat().st_size
                self._stop_writing()
            raise
        last.bytes += len(record)

    def _begin(self) -> _Segment:
        self._stop_writing()
        self.directory.mkdir(mode=0o700, parents=True, exist_ok=True)
        number = max(self._segments[-1].number if self._segments else 0, self._place[0]) + 1
        path = self.directory / f"{number:020d}.queue"
        self._writing = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_APPEND | os.O_NOFOLLOW, 0o600)
        if not self._segments:
            self._place = number, 0
        self._segments.append(_Segment(path, number))
        return self._segments[-1]

    def _stop_writing(self) -> None:
        if self._writing is not None:
            os.close(self._writing)
            self._writing = None

    def _drop(self) -> None:
        """Make room: the oldest segment goes, with what of it was not settled."""
        segment = self._segments.popleft()
        spans, in_hand = segment.spans, self._in_hand
        if in_hand is not None and in_hand.segment == segment.number:
            spans -= in_hand.spans  # it may arrive yet
        self.dropped_spans += spans
        if spans:
            _LOG.warning(
                "%s: there is no more room for what is to be sent on (%d bytes): the oldest %d spans were dropped",
                *(self.directory, self.max_bytes, spans),
            )
        self._remove(segment)

    def _remove(self, segment: _Segment) -> None:
        """Remove a segment's file, which is no longer among the segments, and go on with the next."""
        if not self._segments:
            self._stop_writing()
        self._stop_reading()
        self._place = (self._segments[0].number if self._segments else segment.number + 1), 0
        self._note_place()
        segment.path.unlink(missing_ok=True)

    # -- reading ------------------------------------------------------------------------------------------------

    def first(self) -> Entry | None:
        """The oldest request that is not settled: waits for one. None: go on and ask again, unless all is to stop.

        It is in hand until it is settled or put back. What cannot be read is skipped and counted.

        Raises:
            OSError: It cannot be read now.
        """
        with self._lock:
            while not self._stopped and not any(each.requests for each in self._segments):
                self._remove_settled()
                self._more.wait()
            while self._segments and not self._stopped:
                segment = self._segments[0]
                entry = self._read(segment)
                if entry is not None:
                    self._in_hand = entry
                    return entry
                if segment is self._segments[-1] and self._writing is not None:
                    return None  # it is still written to, and all in it is settled
                self._segments.popleft()
                self._remove(segment)
            return None

    def _remove_settled(self) -> None:
        """Remove what an earlier process had settled to the end; what is still written to stays."""
        while self._segments and (len(self._segments) > 1 or self._writing is None):
            self._remove(self._segments.popleft())

    def stop_waiting(self) -> None:
        """There are no more requests for who waits for one, nor for who asks."""
        with self._lock:
            self._stopped = True
            self._more.notify_all()

    def holds(self, entry: Entry) -> bool:
        """Whether a request in hand is still there: not if it was dropped meanwhile."""
        with self._lock:
            return bool(self._segments) and self._segments[0].number == entry.segment

    def settle(self, entry: Entry) -> None:
        """It was delivered, or never will be: never give it again."""
        with self._lock:
            self._in_hand = None
            segment = self._segments[0] if self._segments else None
            if segment is None or segment.number != entry.segment:
                return  # it was dropped meanwhile
            segment.requests -= 1
            segment.spans -= entry.spans
            self._place = entry.segment, entry.end
            self._note_place()

    def put_back(self, entry: Entry, spans: int) -> None:
        """It was not delivered: give it again, unless it was dropped meanwhile.

        Args:
            entry: the request.
            spans: how many of its spans were not delivered.
        """
        with self._lock:
            self._in_hand = None
            if not self._segments or self._segments[0].number != entry.segment:
                self.dropped_spans += spans

    def _read(self, segment: _Segment) -> Entry | None:
        """The next request of a segment; None: there is none, or it is damaged.

        Raises:
            OSError: It cannot be read now, such as because too many files are open.
        """
        offset = self._place[1]
        if offset >= segment.bytes:
            return None
        try:
            if self._reading is None or self._reading[0] != segment.number:
                self._stop_reading()
                self._reading = segment.number, os.open(segment.path, os.O_RDONLY | os.O_NOFOLLOW)
            file = self._reading[1]
            header = os.pread(file, _HEADER.size, offset)
            if len(header) == _HEADER.size:
                checksum, length, spans, came = _HEADER.unpack(header)
                payload = os.pread(file, min(length, segment.bytes), offset + _HEADER.size)
                if len(payload) == length and zlib.crc32(payload, zlib.crc32(header[_CRC_BYTES:])) == checksum:
                    return Entry(payload, spans, came, segment.number, offset + _HEADER.size + length)
        except OSError as error:
            if error.errno not in (errno.ENOENT, errno.EIO):  # it may be read another time
                raise
            _LOG.warning("%s cannot be read: %s", segment.path, error)
        self.damaged_bytes += segment.bytes - offset
        if segment.requests:
            _LOG.warning("%s: %d bytes are damaged and are not sent on", segment.path, segment.bytes - offset)
        self.dropped_spans += segment.spans
        segment.requests = segment.spans = 0
        if segment is self._segments[-1]:
            self._stop_writing()
        return None

    def _stop_reading(self) -> None:
        if self._reading is not None:
            os.close(self._reading[1])
            self._reading = None

    def _note_place(self) -> None:
        """Note how far all is settled. If it cannot be noted, some of it is sent again after a restart."""
        try:
            if self._position is None:
                flags = os.O_WRONLY | os.O_CREAT | os.O_NOFOLLOW
                self._position = os.open(self.directory / _POSITION, flags, 0o600)
            text = _PLACE.pack(*self._place, 0)[:-_CRC_BYTES]
            os.pwrite(self._position, text + zlib.crc32(text).to_bytes(_CRC_BYTES, "big"), 0)
        except OSError as error:
            _LOG.warning("%s: it cannot be noted what was sent on: %s", self.directory, error)

    def close(self) -> None:
        """Give the files up. What waits stays."""
        with self._lock:
            self._stop_writing()
            if not any(each.requests for each in self._segments):
                self._remove_settled()
            self._stop_reading()
            if self._position is not None:
                os.close(self._position)
                self._position = None
