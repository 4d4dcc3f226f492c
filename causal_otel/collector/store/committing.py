"""Requests into transactions."""

from __future__ import annotations

import errno
import sqlite3
from contextlib import closing, suppress
from dataclasses import dataclass
from hashlib import blake2b
from typing import TYPE_CHECKING, NamedTuple

from causal_otel._internal.log import logger
from causal_otel.collector.store import days
from causal_otel.collector.store.calls import RecentSpans
from causal_otel.collector.store.daysource import DaySource
from causal_otel.collector.store.incoming import Piece, SpanParser, pieces
from causal_otel.collector.store.incoming_logs import LogPiece, log_pieces
from causal_otel.collector.store.recently import RecentTraces
from causal_otel.collector.store.tables import Damaged

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence
    from concurrent.futures import Future
    from pathlib import Path

    from causal_otel.collector.store.calls import Call, SomeCalls
    from causal_otel.collector.store.counters import Counters
    from causal_otel.collector.store.files import DayFiles

__all__ = ["Committer", "Kept", "StoreError", "Taken", "store_error"]

_LOG = logger(__name__)
_DIGEST_BYTES = 16
_REMEMBERED = 4096
"""Digests in memory: of what may be sent again at any moment, because an answer came too late."""
_DAMAGED_FILES = 4
"""That are set aside while one commit is tried."""
_REJECTED = "a trace id is 16 bytes, a span id 8, and neither all zero: spans with others are not kept"
_WITHOUT_TRACE = "log records are kept with their trace: those that were logged outside a span are not kept"


class Taken(NamedTuple):
    """A request on its way.

    Attributes:
        request: an ``ExportTraceServiceRequest``, or an ``ExportLogsServiceRequest``, serialized.
        future: is told what became of it.
        logs: whether it is one of logs.
    """

    request: bytes
    future: Future[Kept]
    logs: bool = False


@dataclass(frozen=True, slots=True)
class Kept:
    """What became of a request.

    Attributes:
        spans: how many spans, or log records, are kept; none, if the request was kept before.
        rejected: how many are not.
        message: why; empty if none was rejected.
    """

    spans: int
    rejected: int = 0
    message: str = ""


class StoreError(Exception):
    """The disk does not take what is to be kept; the message names the path and what to do."""


class Committer:
    """Writes requests, all that it is given at once in a transaction for each day.

    Args:
        files: to write to.
        counters: what was done is counted there.
        clock: Unix time in seconds.
        retention_days: spans that are older go to the current day's file, as do those from the future: their clock is
            wrong, and they shall neither be lost nor stay for ever. Both are counted.
    """

    def __init__(self, files: DayFiles, counters: Counters, clock: Callable[[], float], *, retention_days: int) -> None:
        self._files = files
        self._counters = counters
        self._clock = clock
        self._retention_days = retention_days
        self._parser = SpanParser()
        self._recent = RecentSpans()
        self._traces: RecentTraces | None = None
        self._digests: dict[bytes, None] = {}

    def keep(self, taken: Sequence[Taken]) -> None:
        """Write requests and tell their futures, which are running, what became of them. Raises nothing."""
        try:
            self._keep(taken)
        except Exception as error:
            self._recent, self._traces = RecentSpans(), None  # what they have seen was not kept
            if isinstance(error, (OSError, sqlite3.Error)):
                failure = store_error(self._files.directory, error)
                self._counters.write_error = str(failure)
            elif len(taken) > 1:
                _LOG.exception("requests cannot be kept together; each is tried alone")
                for each in taken:
                    if not each.future.done():
                        self.keep([each])
                return
            else:
                _LOG.exception("a request cannot be kept")
                failure = StoreError(f"{self._files.directory}: a request cannot be kept: {error!r}")
            self._counters.failed(str(failure), self._clock())
            for _, future, _ in taken:
                if not future.done():
                    self._counters.refused += 1
                    future.set_exception(failure)

    def try_again(self) -> None:
        """After a failure: write a little, and see whether it is over. Raises nothing.

        Else a collector that is not ready, and so is sent nothing, would never learn that it could write again.
        """
        today = days.day_of(int(self._clock() * 1e9))
        try:
            file = self._files.get(today)
            file.begin()
            file.note_trial(self._clock())
            file.commit()
        except (OSError, sqlite3.Error) as error:
            self._files.release(today)
            self._counters.write_error = str(store_error(self._files.directory, error))
        else:
            self._counters.write_error = ""

    def _keep(self, taken: Iterable[Taken]) -> None:
        now = int(self._clock() * 1e9)
        today = days.day_of(now)
        by_trace: dict[bytes, Piece] = {}
        logs: dict[tuple[bytes, int], list[LogPiece]] = {}
        answers: dict[bytes, tuple[Kept, list[Future[Kept]]]] = {}
        of_logs: set[bytes] = set()
        for request, future, is_logs in taken:
            digest = blake2b(request, digest_size=_DIGEST_BYTES, person=b"logs" if is_logs else b"").digest()
            if digest in answers:
                answers[digest][1].append(future)
            elif digest in self._digests or self._files.know(digest, today):
                self._counters.resent += 1
                future.set_result(Kept(0))
            else:
                try:
                    if is_logs:
                        kept, rejected = log_pieces(request, logs)
                        of_logs.add(digest)
                    else:
                        kept, rejected = pieces(request, by_trace, self._parser)
                except ValueError as error:
                    future.set_exception(error)
                else:
                    why = _WITHOUT_TRACE if is_logs else _REJECTED
                    answers[digest] = Kept(kept, rejected, why if rejected else ""), [future]
        if by_trace or logs:
            if self._traces is None:
                self._traces = self._traces_of_files(today)
            met = self._traces.met
            by_day = self._by_day(by_trace.values(), today)
            elsewhere = self._traces.elsewhere(by_day)
            self._commit(by_day, self._logs_by_day(logs, today), elsewhere, list(answers), today)
            self._counters.traces += self._traces.met - met
            self._counters.last_commit_time = self._clock()
            self._counters.write_error = ""
            self._count_misdated(by_trace.values(), self._oldest(today) * days.DAY, now + days.HOUR)
        for digest, (outcome, futures) in answers.items():
            self._remember(digest)
            self._counters.requests += 1
            if digest in of_logs:
                self._counters.logs += outcome.spans
                self._counters.logs_rejected += outcome.rejected
            else:
                self._counters.spans += outcome.spans
                self._counters.rejected += outcome.rejected
            self._counters.resent += len(futures) - 1
            for number, future in enumerate(futures):
                future.set_result(Kept(0) if number else outcome)

    def _traces_of_files(self, today: int) -> RecentTraces:
        """The traces that came last before this process began: more of them may come for another day."""
        found = RecentTraces()
        for day in (today - 1, today, today + 1):
            path = self._files.path(day)
            # Of one that cannot be read, the commit says so.
            if path.exists():
                with suppress(Damaged, OSError, sqlite3.Error), closing(DaySource(path)) as source:
                    last = source.last_chunk
                    found.remember(day, [trace_id for trace_id, _ in source.starts(last - found.size + 1, last)])
        return found

    def _by_day(self, found: Iterable[Piece], today: int) -> dict[int, list[Piece]]:
        oldest = self._oldest(today)
        by_day: dict[int, list[Piece]] = {}
        for piece in found:
            day = days.day_of(piece.start)
            by_day.setdefault(day if oldest <= day <= today + 1 else today, []).append(piece)
        return by_day

    def _logs_by_day(self, found: dict[tuple[bytes, int], list[LogPiece]], today: int) -> dict[int, list[LogPiece]]:
        oldest = self._oldest(today)
        by_day: dict[int, list[LogPiece]] = {}
        for (_, day), of_trace in found.items():
            by_day.setdefault(day if oldest <= day <= today + 1 else today, []).extend(of_trace)
        return by_day

    def _oldest(self, today: int) -> int:
        return max(1, today - self._retention_days)

    def _count_misdated(self, found: Iterable[Piece], earliest: int, latest: int) -> None:
        for piece in found:
            if piece.start < earliest or piece.latest > latest:
                starts = [each.start for each in piece.observations]
                self._counters.expired += sum(start < earliest for start in starts)
                self._counters.future += sum(start > latest for start in starts)

    def _commit(
        self,
        by_day: dict[int, list[Piece]],
        logs: dict[int, list[LogPiece]],
        elsewhere: dict[int, set[bytes]],
        digests: list[bytes],
        today: int,
    ) -> None:
        calls: dict[int, dict[Call, SomeCalls]] = {}
        for day, found in by_day.items():
            self._recent.add(day, found, calls)
        for _ in range(_DAMAGED_FILES):
            if self._try_commit(by_day, logs, calls, elsewhere, digests, today):
                break
        else:
            raise OSError(f"{self._files.directory}: one file after the other is damaged: check the disk")
        self._files.trim()

    def _try_commit(
        self,
        by_day: dict[int, list[Piece]],
        logs: dict[int, list[LogPiece]],
        calls: dict[int, dict[Call, SomeCalls]],
        elsewhere: dict[int, set[bytes]],
        digests: list[bytes],
        today: int,
    ) -> bool:
        """One transaction for each day; False if a file was damaged and set aside.

        The last one notes the requests: if it fails, what was committed before may be kept twice, never not at all.
        """
        filled = {**by_day, **logs}.keys()
        last = today if today in filled else max(filled)
        other = {day for day in (*calls, *elsewhere) if day not in filled and self._files.path(day).exists()}
        touched = [*other, *(day for day in filled if day != last), last]
        begun: list[int] = []
        day = last
        try:
            for day in touched:
                file = self._files.get(day)
                begun.append(day)
                file.begin()
                file.add(by_day.get(day, ()))
                if day in logs:
                    file.logs.add(logs[day])
                file.add_calls(calls.get(day, {}))
                file.mark_elsewhere(elsewhere.get(day, ()))
                if day == last:
                    file.add_digests(digests)
            for day in touched:
                self._files.get(day).commit()
                self._counters.commits += 1
        except BaseException as error:
            for each in begun:
                self._files.release(each)
            if isinstance(error, Exception) and self._files.set_aside_if_damaged(day, error):
                return False
            raise
        return True

    def _remember(self, digest: bytes) -> None:
        self._digests[digest] = None
        if len(self._digests) > _REMEMBERED:
            del self._digests[next(iter(self._digests))]


def store_error(directory: Path, error: OSError | sqlite3.Error) -> StoreError:
    """What to tell of an error of the disk's."""
    code = getattr(error, "sqlite_errorcode", 0) & 0xFF
    number = error.errno if isinstance(error, OSError) else None
    if code == sqlite3.SQLITE_FULL or number in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG):
        advice = "the disk is full: make room, keep fewer days, or limit the store's size"
    elif code == sqlite3.SQLITE_BUSY:
        advice = "another program holds a day file locked: stop it"
    else:
        advice = "check the disk, and that the directory is writable"
    return StoreError(f"{directory}: spans cannot be kept ({error}); {advice}")
