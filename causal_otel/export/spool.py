"""A directory in which encoded batches wait for a collector that cannot be reached.

One file is one batch, written under a temporary name and renamed when it is complete. So a reader sees all of a batch
or nothing of it, removing one is a single ``unlink``, and a process that is killed while it writes can spoil no other
batch: no index, no offsets and no tails to repair, which segments shared by several batches would need.

Processes agree through file locks (``flock``), which die with their holder: one lock on ``drain.lock`` says who sends;
one on the file of a batch says that somebody is writing, sending or dropping it, so that each batch has one fate.

Nothing is forced to the disk (no ``fsync``): what is written survives the process, also ``kill -9``, since it is in the
kernel's hands. A power failure may cost the last seconds; what it leaves half written the checksum finds. Stalling on
a busy disk for every batch would cost more than those are worth.

A batch is removed only after it was accepted, so a process that dies between the two leaves it to be sent again: at
least once, and the ids of its spans tell.
"""

from __future__ import annotations

import heapq
import os
import threading
import time
from collections import deque
from pathlib import Path
from typing import TYPE_CHECKING

from causal_otel._internal import faults, process
from causal_otel._internal.log import logger
from causal_otel._internal.posix import lacking_posix
from causal_otel.export._spool_files import BatchFile, BatchFiles, file_size
from causal_otel.settings import SettingError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from causal_otel.transports.transport import Request

__all__ = ["Spool"]

_logger = logger()

_MOST_BATCHES = 50_000
"""However small they are: a directory of more is slow to list, and a file takes a disk block at least."""
_WINDOW = 1000
"""How many of the oldest batches are kept in memory, by name."""
_SHARE = 32
"""The directory is listed anew each time that a process has appended this part of the cap."""


class _Stock:
    """What was in the directory when it was last listed, and what this process has done to it since."""

    def __init__(self, files: Iterator[BatchFile]) -> None:
        self.bytes = self.count = self.appended = 0
        first: list[BatchFile] = []
        for file in files:
            self.bytes += file.size
            self.count += 1
            first.append(file)
            if len(first) >= 2 * _WINDOW:
                first = heapq.nsmallest(_WINDOW, first)
        self.oldest = deque(heapq.nsmallest(_WINDOW, first))


class Spool:
    """Batches on disk. Any number of processes may share the directory; safe from several threads, and after a fork.

    The directory is made (0700) when the first batch comes, and files are made 0600. Files that are not ours, by name
    or by owner, are left alone. A batch that is torn or corrupted is never sent: it is renamed to ``*.damaged``,
    counted, and the first to go when room is needed.

    Args:
        directory: where.
        max_bytes: how many bytes of files may wait there, over all processes; beyond that, or beyond 50,000 batches,
            the oldest are dropped. Processes that append at the same time may exceed it by a 32nd each.

    Raises:
        SettingError: the platform has no file locks.
    """

    def __init__(self, directory: Path, max_bytes: int) -> None:
        if problem := lacking_posix("a spool directory", "fcntl"):
            raise SettingError(problem)
        self.directory = Path(directory)
        self.max_bytes = max_bytes
        self._files = BatchFiles(self.directory)
        self._closed = False
        self._reset()
        process.at_fork(in_child=self.forked)

    def forked(self) -> None:
        """Begin anew in a forked child: the counts and the locks are the parent's."""
        self._files.forked()
        self._reset()

    def _reset(self) -> None:
        self.dropped_spans = 0
        """Spans that this process has dropped to make room."""
        self._corrupted = 0
        self._lock = threading.Lock()  # of append
        self._stock: _Stock | None = None
        self._counting = threading.Lock()
        self._unremovable = ""
        self._warned = False

    def damaged(self) -> dict[str, int]:
        """How many batches were found unfit to be sent: ``corrupted``, or ``torn`` because their writer died."""
        return {"corrupted": self._corrupted, "torn": self._files.torn}

    # -- storing ------------------------------------------------------------------------------------------------

    def append(self, payload: bytes, spans: int) -> bool:
        """Store a batch; never raises, whatever the disk does.

        Args:
            payload: the batch, encoded.
            spans: how many spans it holds.

        Returns:
            Whether it is stored. If not, the log has said why, once.
        """
        with self._lock:
            try:
                return not self._closed and self._store(payload, spans)
            except OSError as error:
                self._stock = None
                self._warn(error)
            except Exception:
                faults.report("spool: append")
            return False

    def _store(self, payload: bytes, spans: int) -> bool:
        size = file_size(payload)
        if size > self.max_bytes:
            self._warn(f"a batch of {size} bytes is more than the {self.max_bytes} that are allowed")
            return False
        stock = self._make_room(size)
        self._files.write(payload, spans)
        stock.bytes += size
        stock.count += 1
        stock.appended += size
        return True

    def _make_room(self, size: int) -> _Stock:
        """Drop the oldest until ``size`` bytes more are within the cap.

        Files are removed oldest first. While the oldest one we know still exists, our count is not too high; the
        directory is listed again only when it is gone.
        """
        stock = self._stock
        if stock is None or stock.appended >= self.max_bytes // _SHARE:
            stock = self._stock = _Stock(self._files.list())
        listed = 0
        while stock.bytes + size > self.max_bytes or stock.count >= _MOST_BATCHES:
            if stock.oldest and self._drop(stock.oldest.popleft(), stock):
                continue
            if listed == 10:  # others are busy with all of them
                break
            listed += 1
            stock = self._stock = _Stock(self._files.list())
        return stock

    def _drop(self, file: BatchFile, stock: _Stock) -> bool:
        """Remove a file for good; False if it is gone. One that is being sent stays, and the next one goes instead."""
        try:
            with self._files.claim(file.name) as fd:
                if fd is None:
                    stock.appended = self.max_bytes  # it may have gone by the next time, so list anew then
                    return True
                found = self._files.read(fd) if file.healthy else None
                os.unlink(self.directory / file.name)
        except FileNotFoundError:
            return False
        stock.bytes -= file.size
        stock.count -= 1
        if found is not None:
            self.dropped_spans += found[0]
        elif file.healthy:
            self._count_corrupted()
        return True

    # -- sending ------------------------------------------------------------------------------------------------

    def drain(self, send: Callable[[bytes, int], bool | Request], deadline: float | None = None) -> int:
        """Send what waits, oldest first, and remove what was accepted; what comes meanwhile as well. Never raises.

        Args:
            send: takes a payload and its number of spans. True: they are accepted. False, or an exception: they stay,
                and the draining ends. A request: the same, but this is all that stays of them, in their place.
            deadline: no batch is begun after it, by ``time.monotonic()``; None: no end but the last batch.

        Returns:
            How many spans were accepted; 0 at once if another process, or thread, is draining.
        """
        sent = 0
        try:
            with self._files.sole_drainer() as sole:
                if not sole:
                    return 0
                if self._unremovable:  # as long as this raises, sending would only repeat it
                    self._files.remove(self._unremovable)
                    self._unremovable = ""
                for name in self._waiting():
                    if self._closed or (deadline is not None and time.monotonic() >= deadline):
                        break
                    accepted, more = self._send(name, send)
                    sent += accepted
                    if not more or self._unremovable:
                        break
        except FileNotFoundError:
            pass  # no directory, nothing waits
        except OSError as error:
            self._warn(error)
        return sent

    def _waiting(self) -> Iterator[str]:
        """The names of the batches, oldest first, each of them once, until there are no others."""
        passed: set[str] = set()
        while True:
            names = heapq.nsmallest(_WINDOW, (file.name for file in self._files.list() if file.healthy))
            passed.intersection_update(names)  # what is gone need not be remembered
            if passed.issuperset(names):
                return
            for name in names:
                if name not in passed:
                    passed.add(name)
                    yield name

    def _send(self, name: str, send: Callable[[bytes, int], bool | Request]) -> tuple[int, bool]:
        """Send one batch: how many spans were accepted, and whether to go on."""
        try:
            with self._files.claim(name) as fd:
                if fd is None:
                    return 0, True  # being dropped, or renamed this very moment by its writer
                found = self._files.read(fd)
                if found is None:
                    self._count_corrupted()
                    self._files.set_aside(name)
                    return 0, True
                spans, payload = found
                try:
                    accepted = send(payload, spans)
                except Exception:
                    faults.report("spool: send")
                    return 0, False
                if isinstance(accepted, tuple):
                    self._replace(name, *accepted)
                    return spans - accepted[1], False
                if not accepted:
                    return 0, False
                try:
                    self._files.remove(name)
                except OSError as error:
                    self._unremovable = name
                    self._warn(error)
                return spans, True
        except FileNotFoundError:
            return 0, True

    def _replace(self, name: str, payload: bytes, spans: int) -> None:
        """Write what is left of a batch in its place; where that fails, all of it is sent again."""
        try:
            self._files.write(payload, spans, name)
        except OSError as error:
            self._warn(error)

    # -- the rest -----------------------------------------------------------------------------------------------

    def waiting(self) -> bool:
        """Whether there is anything to send."""
        try:
            return any(file.healthy for file in self._files.list())
        except OSError as error:
            self._warn(error)
            return False

    def size(self) -> int:
        """How many bytes of files are in the directory now, those of damaged batches included."""
        try:
            return sum(file.size for file in self._files.list())
        except OSError as error:
            self._warn(error)
            return 0

    def close(self) -> None:
        """Store and send nothing from now on; a draining stops after the batch it is sending. What waits stays."""
        self._closed = True

    def _count_corrupted(self) -> None:
        with self._counting:  # append and drain may be on two threads
            self._corrupted += 1

    def _warn(self, reason: object) -> None:
        if not self._warned:
            self._warned = True
            _logger.warning(
                "cannot use the spool %s: %s; while that is so, what the collector does not take is lost (said once)",
                self.directory,
                reason,
            )
