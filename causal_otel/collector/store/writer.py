"""The store's writer: takes requests, and acknowledges them when they are on the disk.

One thread writes. It takes all waiting requests and writes them in one transaction per day file. The more requests
wait, the larger the transaction and the less each span costs. Between transactions it deletes and compacts days, see
:mod:`.upkeep`.

A request is acknowledged when its transaction has been handed to the kernel (``synchronous=NORMAL``). So killing the
process loses nothing. A power failure may lose the last acknowledged requests, but does not damage the file.
"""

from __future__ import annotations

import os
import threading
import time
from collections import deque
from concurrent.futures import Future
from contextlib import suppress
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

from causal_otel._internal.log import logger
from causal_otel._internal.posix import lock_file
from causal_otel.collector.store import days
from causal_otel.collector.store.committing import Committer, Kept, StoreError, Taken, store_error
from causal_otel.collector.store.counters import Counters
from causal_otel.collector.store.files import DayFiles
from causal_otel.collector.store.probe import Probe
from causal_otel.collector.store.upkeep import Upkeep

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

__all__ = ["Kept", "QueueFull", "StoreError", "StoreInUse", "Writer"]

_LOG = logger(__name__)
_LOCK = "writer.lock"
_COMMIT_BYTES = 8 * 1024 * 1024
"""Requests to write at once: some 20,000 spans, that are 60 MB while they are taken apart."""
_TICK_SECONDS = 1.0
"""How often to look at the clock."""
_STUCK_SECONDS = 60.0
"""A commit of all that may be taken at once is a second's work: what takes that long is stuck."""


class QueueFull(Exception):
    """More waits to be written than may: send it again later."""


class StoreInUse(Exception):
    """Another writer has the directory."""


class Writer:
    """Writes what it is given to the day files of a directory. Use it from any thread.

    Args:
        directory: of the store; made if it is not there.
        retention_days: how many whole days to keep besides the current one.
        max_bytes: that all day files may take together, beyond which the oldest are deleted; None: any.
        clock: Unix time in seconds.
        queue_bytes: of requests that may wait.
    """

    def __init__(
        self,
        directory: Path,
        *,
        retention_days: int = 30,
        max_bytes: int | None = None,
        clock: Callable[[], float] = time.time,
        queue_bytes: int = 64 * 1024 * 1024,
    ) -> None:
        self._directory = directory
        self._clock = clock
        self._queue_bytes = queue_bytes
        self._queue: deque[Taken] = deque()
        self._waiting = 0
        self._wake = threading.Condition()
        self._closing = False
        self._thread: threading.Thread | None = None
        self._stopped = ""
        self._moved_at = time.monotonic()  # when the thread last took something
        self._probe = Probe(directory)
        self._lock: int | None = None
        self._counters = Counters()
        self._files = DayFiles(directory, clock, self._counters)
        self._committer = Committer(self._files, self._counters, clock, retention_days=retention_days)
        self._upkeep = Upkeep(self._files, self._counters, clock, retention_days=retention_days, max_bytes=max_bytes)

    def start(self) -> None:
        """Take the directory, delete what is too old, and begin.

        Raises:
            StoreInUse: Another writer has it.
            StoreError: It cannot be made or written to.
        """
        try:
            self._directory.mkdir(mode=0o700, parents=True, exist_ok=True)
            self._directory.chmod(0o700)  # one that was there already may have been open to others
            self._lock = self._take_directory()
            self._upkeep.remove_leftovers()
        except OSError as error:
            self._give_up_directory()
            raise store_error(self._directory, error) from error
        self._upkeep.expire()
        self._thread = threading.Thread(target=self._run, name="causal-otel-store", daemon=True)
        self._thread.start()

    def put(self, request: bytes, *, logs: bool = False) -> Future[Kept]:
        """Hand a request over to be kept.

        Args:
            request: a serialized ``ExportTraceServiceRequest``, not compressed.
            logs: it is an ``ExportLogsServiceRequest`` instead.

        Returns:
            Has a result once the spans outlive the process, or one of these exceptions: ``ValueError``, if it is not
            such a request; :class:`StoreError`, if the disk does not take it or the writer was closed. Spans whose ids
            are not valid, and log records that name no trace, are left out and counted in the result. A request that
            was kept before is acknowledged with no spans.

        Raises:
            QueueFull: Too much waits already.
        """
        future: Future[Kept] = Future()
        with self._wake:
            if self._closing:
                future.set_exception(StoreError(self._stopped or f"{self._directory}: the store is closed"))
                return future
            if self._waiting + len(request) > self._queue_bytes:
                raise QueueFull(f"{self._waiting} bytes wait to be written to {self._directory}: send it again later")
            self._waiting += len(request)
            self._queue.append(Taken(request, future, logs))
            self._wake.notify()
        return future

    def close(self, timeout: float) -> None:
        """Write what waits, and give the directory up. What takes longer than that is refused.

        Args:
            timeout: in seconds.
        """
        with self._wake:
            self._closing = True
            self._wake.notify()
        if self._thread is not None:
            self._thread.join(timeout)
        self._refuse_all(f"{self._directory}: the store was closed before this was written")

    def counters(self) -> dict[str, Any]:
        """What it has done since the start, and what waits; see :class:`~.counters.Counters`."""
        return {
            **asdict(self._counters),
            "queue_requests": len(self._queue),
            "queue_bytes": self._waiting,
            "queue_limit_bytes": self._queue_bytes,
        }

    @property
    def stopped(self) -> str:
        """Why nothing will ever be written again by this process, for people; empty: it is not so."""
        return self._stopped

    def not_ready(self) -> str:
        """Why spans cannot be kept now, for people; empty: they can. It writes to the disk: call it from a thread."""
        if self._stopped:
            return self._stopped
        if self._waiting >= self._queue_bytes:
            return "too many spans are waiting to be written"
        if self._queue and time.monotonic() - self._moved_at > _STUCK_SECONDS:
            return f"{self._directory}: nothing was written for {_STUCK_SECONDS:.0f} seconds, and spans are waiting"
        return self._counters.write_error or self._probe.failure()

    def _take_directory(self) -> int:
        descriptor = os.open(self._directory / _LOCK, os.O_RDWR | os.O_CREAT, 0o600)
        if not lock_file(descriptor):
            owner = os.read(descriptor, 20).decode("ascii", "replace").strip()
            os.close(descriptor)
            raise StoreInUse(
                f"{self._directory} is written to by another process{f' ({owner})' if owner else ''}: "
                "stop that one, send to it, or use another directory"
            )
        with suppress(OSError):  # it is only for the message above
            os.ftruncate(descriptor, 0)
            os.write(descriptor, b"%d\n" % os.getpid())
        return descriptor

    def _give_up_directory(self) -> None:
        if self._lock is not None:
            os.close(self._lock)
            self._lock = None

    def _run(self) -> None:
        hour: int | None = None
        due = False
        work: Iterator[float] | None = None
        pause = _TICK_SECONDS
        try:
            while True:
                self._moved_at = time.monotonic()
                taken = self._take(pause)
                if taken:
                    self._write(taken)
                elif self._closing:
                    return
                elif self._counters.write_error:
                    self._committer.try_again()
                now = days.hour_of(int(self._clock() * 1e9))
                if now != hour:
                    if hour is not None:
                        self._upkeep.expire()
                    hour, due = now, True
                if due and work is None:
                    work, due = self._upkeep.compactions(), False
                pause = _TICK_SECONDS
                if work is not None:
                    pause, work = self._step(work)
        except BaseException as error:
            _LOG.exception("%s: the writer has stopped", self._directory)
            with self._wake:
                self._stopped = f"{self._directory}: the writer has stopped ({error!r}): start the collector anew"
                self._closing = True
            self._refuse_all(self._stopped)
        finally:
            if work is not None:
                work.close()  # type: ignore[attr-defined]
            self._files.close()
            self._give_up_directory()

    def _refuse_all(self, reason: str) -> None:
        with self._wake:
            left = list(self._queue)
            self._queue.clear()
            self._waiting -= sum(len(request) for request, _, _ in left)
        for _, future, _ in left:
            if future.set_running_or_notify_cancel():
                future.set_exception(StoreError(reason))

    def _take(self, pause: float) -> list[Taken]:
        """What is to be written next, after at most ``pause`` seconds."""
        taken: list[Taken] = []
        size = 0
        with self._wake:
            if not self._queue and not self._closing and pause:
                self._wake.wait(pause)
            while self._queue and (not taken or size + len(self._queue[0][0]) <= _COMMIT_BYTES):
                taken.append(self._queue.popleft())
                size += len(taken[-1][0])
        return taken

    def _write(self, taken: list[Taken]) -> None:
        wanted = [each for each in taken if each.future.set_running_or_notify_cancel()]
        try:
            self._committer.keep(wanted)
        finally:
            with self._wake:
                self._waiting -= sum(len(request) for request, _, _ in taken)

    def _step(self, work: Iterator[float]) -> tuple[float, Iterator[float] | None]:
        """A slice of upkeep; the pause after it, and what is left to do."""
        try:
            return next(work), work
        except StopIteration:
            pass
        except Exception as error:  # nothing that goes wrong there shall end the writer
            _LOG.exception("the upkeep of %s failed", self._directory)
            self._counters.failed(f"{self._directory}: upkeep failed: {error!r}", self._clock())
        return _TICK_SECONDS, None
