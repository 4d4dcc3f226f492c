"""What the processes of a Celery pool are executing, in memory that they share with the worker's main process.

A process that is killed in the middle of a task cannot end the task's span. The main process, which learns of it, can.
This table tells it which span that is and when it began, so that what the task had traced by then has its parent. It
also settles who ends the span, so that there are never two for one attempt: a process that ends a task says so here
first, and leaves the span alone if the main process has given the attempt up already.

The main process also says here which messages it gives to another process, since it had lost the one that executed them
before it heard of the attempt: Celery would not tell the next attempt from the first one.

Each process writes to its own entry, found by its process id. Where a process that was spawned rather than forked does
not share the table, or another one has taken its entry, the main process knows less of the attempt, and reports it all
the same.
"""

from __future__ import annotations

import mmap
import os
import struct
import sys
from hashlib import blake2b
from typing import NamedTuple

from opentelemetry.trace import SpanContext

__all__ = ["ATTEMPTS", "Attempt", "PoolAttempts", "is_terminated"]

_ENTRIES = 1024
_SIZE = 64
_LAYOUT = struct.Struct("<BQ8s16s8sQ")
_PUT_BACK = _ENTRIES * _SIZE
"""Where it begins that messages were put back, in numbers of eight bytes: how many, and the latest ones."""
_MESSAGES = 256

_EXECUTING, _ENDED, _GIVEN_UP = 1, 2, 3


class _Entry(NamedTuple):
    state: int
    pid: int
    digest: bytes  # of the task's id
    trace_id: bytes
    span_id: bytes
    start: int


class Attempt(NamedTuple):
    """An attempt at a task in a process of the pool, as the main process sees it.

    ``start`` is in Unix nanoseconds. It is ``open`` until somebody ends its span. Its ids are 0 if it is not recorded.
    """

    trace_id: int
    span_id: int
    start: int
    open: bool


class PoolAttempts:
    """The table. The process that makes it is the main one for all that are forked from it."""

    def __init__(self) -> None:
        # Shared with forked children; pages take memory once written.
        self._memory = mmap.mmap(-1, _PUT_BACK + 8 * (1 + _MESSAGES))
        self._put_back = memoryview(self._memory)[_PUT_BACK:].cast("Q")
        self._main = os.getpid()

    def watched(self) -> bool:
        """Whether this is a process of a pool whose main process reports what this one cannot."""
        # Celery sets the variable where it spawns the processes, which have called install() themselves.
        return os.getpid() != self._main or "FORKED_BY_MULTIPROCESSING" in os.environ

    def begin(self, task_id: str, span: SpanContext, start: int) -> None:
        """This process executes a task now, inside ``span``, since ``start`` (Unix time in nanoseconds).

        An invalid ``span``: it is not recorded, and is to be reported all the same.
        """
        trace_id, span_id = span.trace_id.to_bytes(16, "big"), span.span_id.to_bytes(8, "big")
        self._write(_Entry(_EXECUTING, os.getpid(), _digest(task_id), trace_id, span_id, start))

    def skip(self, task_id: str) -> None:
        """This process executes a task now that is not to be reported."""
        self._write(_Entry(_ENDED, os.getpid(), _digest(task_id), b"", b"", 0))

    def end(self, task_id: str) -> bool:
        """This process is about to end the task's span; False: it is not to, the main process has done so."""
        entry = self._read(os.getpid(), task_id)
        if entry is not None:
            if entry.state == _GIVEN_UP:
                return False
            self._write(entry._replace(state=_ENDED))
        return True

    def look_up(self, pid: int, task_id: str) -> Attempt | None:
        """The attempt at the task in the process ``pid``; None: nothing is known of it."""
        entry = self._read(pid, task_id)
        if entry is None:
            return None
        trace_id, span_id = int.from_bytes(entry.trace_id, "big"), int.from_bytes(entry.span_id, "big")
        return Attempt(trace_id, span_id, entry.start, entry.state == _EXECUTING)

    def give_up(self, pid: int, task_id: str) -> Attempt | None:
        """The process ``pid`` will not get to the end of the task: the main process ends the span, if it is open.

        Returns:
            The attempt as it was; None: nothing is known of it.
        """
        attempt = self.look_up(pid, task_id)
        if attempt is not None and attempt.open:
            entry = self._read(pid, task_id)
            if entry is not None:
                self._write(entry._replace(state=_GIVEN_UP))
        return attempt

    def put_back(self, first: int) -> None:
        """The main process gives a message to another process; the first attempt at it has the span ``first``."""
        count = self._put_back[0]
        self._put_back[1 + count % _MESSAGES] = first
        self._put_back[0] = count + 1

    def has_put_back(self) -> bool:
        """Whether there is any such message."""
        return self._put_back[0] != 0

    def is_put_back(self, first: int) -> bool:
        """Whether that was said of the message whose first attempt has the span ``first``."""
        return first in self._put_back[1 : 1 + min(self._put_back[0], _MESSAGES)]

    def _read(self, pid: int, task_id: str) -> _Entry | None:
        """The entry of that process, if the task is its latest."""
        entry = _Entry(*_LAYOUT.unpack_from(self._memory, pid % _ENTRIES * _SIZE))
        return entry if (entry.pid, entry.digest) == (pid, _digest(task_id)) else None

    def _write(self, entry: _Entry) -> None:
        _LAYOUT.pack_into(self._memory, entry.pid % _ENTRIES * _SIZE, *entry)


ATTEMPTS = PoolAttempts()
"""Made with the module, which is imported in the main process before it forks."""


def _digest(task_id: str) -> bytes:
    return blake2b(task_id.encode(errors="replace"), digest_size=8).digest()


def is_terminated() -> bool:
    """Whether a signal has told this process of a pool to end, and what it raises only unwinds the task.

    Billiard's handler of the signal sets a flag, of all versions in the same private place, and raises ``SystemExit``.
    """
    flag = getattr(sys.modules.get("billiard.common"), "_should_have_exited", None)
    return isinstance(flag, list) and bool(flag) and bool(flag[0])
