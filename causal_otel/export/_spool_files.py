"""The files of a spool: their names, their format, and the locks by which processes agree about them."""

from __future__ import annotations

import errno
import os
import re
import stat
import struct
import threading
import time
import zlib
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from causal_otel._internal.posix import lock_file, unlock_file

if TYPE_CHECKING:
    from collections.abc import Iterator

__all__ = ["BatchFile", "BatchFiles", "file_size"]

# Magic, version, spans, length of the payload, CRC-32 of all that comes before it and of the payload.
_HEADER = struct.Struct(">4sB3xIQI")
_MAGIC, _VERSION = b"CSPL", 1
_CRC_BYTES = 4

_NAME = re.compile(r"[0-9]{20}-[0-9a-f]{16}\.(spans|part|damaged)")
_LOCK_FILE = "drain.lock"
# A planted link is not followed, a planted FIFO does not block.
_SAFE = getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_NONBLOCK", 0)


def file_size(payload: bytes) -> int:
    """How many bytes the file of a batch has."""
    return _HEADER.size + len(payload)


class BatchFile(NamedTuple):
    """A complete file. They sort in the order in which they are dropped: damaged ones first, then the oldest."""

    healthy: bool
    name: str
    size: int


class BatchFiles:
    """One file a batch: ``<time>-<writer>.part`` while it is written, then ``.spans``; ``.damaged`` if it is found so.

    Whoever writes, sends or drops a file holds its lock, which dies with the process.

    Args:
        directory: made (0700) when the first batch is written.
    """

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self._reset()

    def _reset(self) -> None:
        self.torn = 0
        """How many files that dead processes were writing have been found and removed."""
        self._descriptors: set[int] = set()  # open file descriptors
        self._writer = os.urandom(8).hex()
        self._last_stamp = 0
        self._lock = threading.Lock()

    def forked(self) -> None:
        """Begin anew in a forked child: close what was inherited, without unlocking it, which the parent would feel."""
        for fd in self._descriptors:
            with suppress(OSError):
                os.close(fd)
        self._reset()

    # -- one batch ----------------------------------------------------------------------------------------------

    def write(self, payload: bytes, spans: int, name: str = "") -> None:
        """Store a batch, all of it or nothing.

        Args:
            payload: the batch, encoded.
            spans: how many spans it holds.
            name: the file to put it in the place of, which is claimed; empty: a new one, behind all others.

        Raises:
            OSError: the disk is full, the directory cannot be written, and so on.
        """
        header = _HEADER.pack(_MAGIC, _VERSION, spans, len(payload), 0)[:-_CRC_BYTES]
        header += zlib.crc32(payload, zlib.crc32(header)).to_bytes(_CRC_BYTES, "big")
        try:
            part, fd = self._create()
        except FileNotFoundError:
            self.directory.mkdir(mode=0o700, parents=True, exist_ok=True)
            part, fd = self._create()
        try:
            for piece in (header, payload):
                left = memoryview(piece)
                while left:
                    left = left[os.write(fd, left) :]
            os.rename(part, self.directory / name if name else part.with_suffix(".spans"))
        except BaseException:
            with suppress(OSError):
                os.unlink(part)
            raise
        finally:
            self._release(fd)

    def _create(self) -> tuple[Path, int]:
        """A new file, locked. Between its creation and the lock another process may take it for a dead one's."""
        for _ in range(10):
            self._last_stamp = max(time.time_ns(), self._last_stamp + 1)
            part = self.directory / f"{self._last_stamp:020d}-{self._writer}.part"
            fd = self._open(part, os.O_WRONLY | os.O_CREAT | os.O_EXCL)
            if self._locked(fd):
                return part, fd
            self._release(fd)
        raise OSError(errno.EAGAIN, "other processes keep taking new files away", str(self.directory))

    @contextmanager
    def claim(self, name: str) -> Iterator[int | None]:
        """Open a file and hold its lock: the descriptor, or None if somebody else holds the lock.

        Raises:
            FileNotFoundError: it is gone.
        """
        fd = self._open(self.directory / name, os.O_RDONLY)
        try:
            yield fd if self._locked(fd) else None
        finally:
            self._release(fd)

    def read(self, fd: int) -> tuple[int, bytes] | None:
        """The number of spans and the payload; None if anything about the file is not as it was written."""
        size = os.fstat(fd).st_size
        try:
            with os.fdopen(fd, "rb", closefd=False) as file:
                header = file.read(_HEADER.size)
                if len(header) < _HEADER.size:
                    return None
                magic, version, spans, length, checksum = _HEADER.unpack(header)
                if (magic, version, length) != (_MAGIC, _VERSION, size - _HEADER.size):
                    return None
                payload = file.read(length)
        except OSError as error:
            if error.errno == errno.EIO:  # a bad sector
                return None
            raise
        if zlib.crc32(payload, zlib.crc32(header[:-_CRC_BYTES])) != checksum:
            return None
        return spans, payload

    def remove(self, name: str) -> None:
        """Remove a file, if it is there."""
        with suppress(FileNotFoundError):
            os.unlink(self.directory / name)

    def set_aside(self, name: str) -> None:
        """Keep a damaged file for whoever wants to look at it; it is the first to go when room is needed."""
        path = self.directory / name
        with suppress(OSError):
            os.rename(path, path.with_suffix(".damaged"))

    # -- all of them --------------------------------------------------------------------------------------------

    def list(self) -> Iterator[BatchFile]:
        """The complete files, in no order. What dead processes were writing is removed on the way.

        Files that are not ours, by name, kind or owner, are left alone.
        """
        user = os.geteuid()
        try:
            listing = os.scandir(self.directory)
        except FileNotFoundError:
            return
        with listing:
            for found in listing:
                match = _NAME.fullmatch(found.name)
                if match is None:
                    continue
                try:
                    status = found.stat(follow_symlinks=False)
                except FileNotFoundError:
                    continue
                if not stat.S_ISREG(status.st_mode) or status.st_uid != user:
                    continue
                if match[1] == "part":
                    self._sweep(found.name)
                else:
                    yield BatchFile(match[1] == "spans", found.name, status.st_size)

    def _sweep(self, name: str) -> None:
        """Remove an incomplete file if its writer is dead, which is to say if nobody holds its lock."""
        with suppress(FileNotFoundError), self.claim(name) as fd:  # not found: completed since it was listed
            if fd is not None:
                os.unlink(self.directory / name)
                if os.fstat(fd).st_size:  # an empty one may be a live writer's, which then makes another
                    with self._lock:
                        self.torn += 1

    @contextmanager
    def sole_drainer(self) -> Iterator[bool]:
        """Whether this is the only one to drain the directory, which nobody else can become inside the block.

        Raises:
            FileNotFoundError: there is no directory.
        """
        fd = self._open(self.directory / _LOCK_FILE, os.O_RDWR | os.O_CREAT)
        try:
            yield self._locked(fd)
        finally:
            self._release(fd)

    # -- descriptors and locks ----------------------------------------------------------------------------------

    def _open(self, path: Path, flags: int) -> int:
        fd = os.open(path, flags | _SAFE, 0o600)
        self._descriptors.add(fd)
        return fd

    def _locked(self, fd: int) -> bool:
        """Lock an open file; False if somebody else has it, or removed it before it could be locked."""
        return lock_file(fd) and os.fstat(fd).st_nlink > 0

    def _release(self, fd: int) -> None:
        """Unlock and close: a child forked meanwhile shares the lock, and closing alone would leave it held."""
        if fd in self._descriptors:
            self._descriptors.discard(fd)
            with suppress(OSError):
                unlock_file(fd)
            os.close(fd)
