"""The sender: delivers encoded batches in order, again and again within their time, or puts them aside."""

from __future__ import annotations

import random
import time
from collections import deque
from dataclasses import dataclass
from typing import TYPE_CHECKING

from causal_otel.engine import faults
from causal_otel.export.transport import Outcome, Verdict, importing

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from causal_otel.export.ledger import Ledger
    from causal_otel.export.notices import Notices
    from causal_otel.export.spool import Spool
    from causal_otel.export.transport import Transport

__all__ = ["Batch", "Sender"]

_FIRST_PAUSE = 0.5
_LONGEST_PAUSE = 8.0
_OVERHEAD_BYTES = 300
"""What a batch occupies besides its payload, about."""


@dataclass(frozen=True, slots=True, eq=False)
class Batch:
    """An encoded request, how many spans are in it, and the position of the first one (see the ledger)."""

    payload: bytes
    spans: int
    first: int


class Sender:
    """Takes batches from one thread and delivers them on another, by :meth:`run`.

    While the back end hangs or is away, batches wait, up to ``max_bytes``; beyond that the oldest go to the spool, or
    are lost. With a spool, what finds nobody at the other end goes there at once, and what follows goes behind it,
    until the spool could be emptied: so the order is kept, and little is in memory when the process is killed.

    Args:
        make_transport: called on the sending thread, once.
        ledger: where to account for every span.
        notices: where to say what goes wrong.
        destination: what to call the back end there.
        timeout: how long one attempt may take, in seconds.
        export_timeout: how long one batch may take, with all its attempts and the pauses between them.
        max_bytes: how much may wait.
        spool: where to put what cannot be delivered; None: nowhere.
        observe: told of every attempt: how many seconds it took and what came of it.
    """

    def __init__(
        self,
        make_transport: Callable[[], Transport],
        ledger: Ledger,
        notices: Notices,
        *,
        destination: str,
        timeout: float,
        export_timeout: float,
        max_bytes: int,
        spool: Spool | None,
        observe: Callable[[float, Outcome], None],
    ) -> None:
        self._make_transport = make_transport
        self._ledger = ledger
        self._notices = notices
        self._destination = destination
        self._timeout = timeout
        self._export_timeout = export_timeout
        self._max_bytes = max_bytes
        self._spool = spool
        self._observe = observe
        self._transport: Transport | None = None
        self._waiting: deque[Batch] = deque()
        self._bytes = 0
        self._open: list[Batch] = []  # taken from there and not accounted for yet
        self._spooling = spool is not None  # what earlier processes have left there goes first
        self._drain_at = 0.0
        self._failures = 0
        self._not_before = 0.0  # the back end asked to be left alone until then
        self._hurried = False
        self._no_more = False
        self._stop_at: float | None = None
        self._hopeless = False  # nobody answers, and the process is ending: further attempts would only delay that
        self.done = False
        """Everything is accounted for, and nothing more is to come."""
        self.problem = ""
        """What went wrong last."""

    # -- called by others -------------------------------------------------------------------------------------------

    def put(self, batches: Iterable[Batch]) -> None:
        """Hand over batches; never waits for the back end. Called with the lock; :meth:`make_room` is to follow."""
        for batch in batches:
            self._waiting.append(batch)
            self._bytes += len(batch.payload) + _OVERHEAD_BYTES
        self._ledger.changed.notify_all()

    def make_room(self) -> None:
        """Put the oldest aside, as long as too much waits. Called without the lock: it may write to the disk."""
        while True:
            with self._ledger.lock:
                if self._bytes <= self._max_bytes or not self._waiting:
                    return
                oldest = self._take()
            self._set_aside(oldest, "queue_full")

    def floor(self) -> int | None:
        """The position of the oldest span that is not accounted for; None: there is none. Called with the lock."""
        positions = [batch.first for batch in self._open]
        if self._waiting:
            positions.append(self._waiting[0].first)
        return min(positions, default=None)

    def spans(self) -> int:
        """How many spans are not accounted for. Called with the lock."""
        return sum(batch.spans for batch in (*self._open, *self._waiting))

    def hurry(self) -> None:
        """Do not wait out the pause before the next attempt, unless the back end asked for it."""
        with self._ledger.lock:
            self._hurried = True
            self._drain_at = 0.0
            self._ledger.changed.notify_all()

    def stop(self, deadline: float) -> None:
        """Deliver what is there by ``deadline``, and end as soon as there is nothing more (:meth:`finish`)."""
        with self._ledger.lock:
            self._stop_at = deadline
            self._ledger.changed.notify_all()

    def finish(self) -> None:
        """Nothing more will be put."""
        with self._ledger.lock:
            self._no_more = True
            self._ledger.changed.notify_all()

    def give_up(self) -> None:
        """Account for what is left: it goes to the spool or is lost, whatever an attempt under way yields."""
        with self._ledger.lock:
            left = [*self._open, *self._waiting]
            self._waiting.clear()
            self._no_more = self._hopeless = self.done = True
        for batch in left:
            self._set_aside(batch, "shutdown", abandoned=True)

    def close(self) -> None:
        """Let go of connections, which may end an attempt that hangs."""
        if self._transport is not None:
            try:
                self._transport.close()
            except Exception:
                faults.report("export: closing the transport")

    def abandon(self) -> None:
        """In a forked child: let go of what was inherited."""
        if self._transport is not None:
            try:
                self._transport.abandon()
            except Exception:
                faults.report("export: connections of the parent process")

    # -- the sending thread -----------------------------------------------------------------------------------------

    def run(self) -> None:
        """Send what comes until there is nothing more to come."""
        while self._wait():
            if self._spooling and not self._hopeless and time.monotonic() >= self._drain_at:
                self._drain()
            batch = self._next()
            if batch is not None:
                try:
                    self._deliver(batch)
                except Exception:
                    faults.report("export: sending")
                    self._set_aside(batch)
        with self._ledger.lock:
            self.done = True
            self._ledger.changed.notify_all()

    def _wait(self) -> bool:
        """Until there is something to do; False: there will not be."""
        ledger = self._ledger
        with ledger.lock:
            while not self._waiting:
                if self._no_more:
                    return False
                left = None
                if self._spooling and not self._hopeless:
                    left = self._drain_at - time.monotonic()
                    if left <= 0:
                        break
                ledger.changed.wait(left)
            return True

    def _next(self) -> Batch | None:
        with self._ledger.lock:
            return self._take() if self._waiting else None

    def _take(self) -> Batch:
        batch = self._waiting.popleft()
        self._bytes -= len(batch.payload) + _OVERHEAD_BYTES
        self._open.append(batch)
        return batch

    def _deliver(self, batch: Batch) -> None:
        """Send one batch, or put it aside."""
        give_up = time.monotonic() + self._export_timeout
        pause = _FIRST_PAUSE
        if not self._pause(self._not_before - time.monotonic(), give_up, patient=True):
            self._set_aside(batch)
            return
        while not self._spooling and not self._hopeless:
            outcome = self._attempt(batch.payload, batch.spans, give_up)
            if outcome.verdict is Verdict.DELIVERED:
                with self._ledger.lock:
                    if self._settles(batch):
                        self._taken(batch.spans, outcome, batch.first)
                return
            if outcome.verdict is Verdict.REFUSED:
                with self._ledger.lock:
                    if self._settles(batch):
                        self._refused(batch.spans, outcome, batch.first)
                return
            self._say_failing(outcome)
            asked = outcome.retry_after
            wait = _jittered(pause) if asked is None else asked
            if outcome.verdict is Verdict.BUSY:
                self._not_before = time.monotonic() + wait
            elif self._stop_at is not None:
                self._hopeless = True
                break
            elif self._spool is not None:
                self._postpone(wait)
                break
            if not self._pause(wait, give_up, patient=asked is not None):
                if self._spool is not None:
                    self._postpone(wait)
                break
            pause = min(pause * 2, _LONGEST_PAUSE)
        self._set_aside(batch)

    def _postpone(self, wait: float) -> None:
        """Everything goes to the spool from now on, which is tried after ``wait`` seconds."""
        self._spooling = True
        self._drain_at = time.monotonic() + wait

    def _attempt(self, payload: bytes, spans: int, deadline: float) -> Outcome:
        self._hurried = False
        started = time.monotonic()
        deadline = min(deadline, started + self._timeout)
        if self._stop_at is not None:
            deadline = min(deadline, self._stop_at)
        ledger = self._ledger
        ledger.in_flight = spans
        try:
            if self._transport is None:
                with importing():
                    self._transport = self._make_transport()
            outcome = self._transport.send(payload, deadline)
        except Exception as error:
            faults.report("export: transport")
            outcome = Outcome(Verdict.UNREACHABLE, type(error).__qualname__, str(error))
        finally:
            ledger.in_flight = 0
        try:
            self._observe(time.monotonic() - started, outcome)
        except Exception:
            faults.report("export: metrics")
        return outcome

    def _pause(self, seconds: float, give_up: float, *, patient: bool) -> bool:
        """Wait before the next attempt; False: there will be no time for it."""
        resume = time.monotonic() + seconds
        ledger = self._ledger
        with ledger.lock:
            stopping = self._stop_at is not None
            while (left := resume - time.monotonic()) > 0:
                if resume >= (give_up if self._stop_at is None else min(give_up, self._stop_at)):
                    return False
                if not patient and self._hurried:
                    self._hurried = False
                    return True
                if not patient and not stopping and self._stop_at is not None:
                    return True  # a last attempt, at once
                ledger.changed.wait(left)
        return True

    # -- the spool --------------------------------------------------------------------------------------------------

    def _drain(self) -> None:
        """Send what is in the spool; if nothing stands in the way, batches are sent directly from now on."""
        assert self._spool is not None
        failed = False

        def send(payload: bytes, spans: int) -> bool:
            nonlocal failed
            if self._stop_at is not None and (self._no_more and not self._waiting):
                failed = True  # the process is ending, and what is in the spool can wait for the next one
                return False
            outcome = self._attempt(payload, spans, time.monotonic() + self._timeout)
            if outcome.verdict is Verdict.DELIVERED:
                self._taken(spans, outcome, None)
                return True
            if outcome.verdict is Verdict.REFUSED:
                self._refused(spans, outcome, None)
                return True
            failed = True
            self._failures += 1
            self._say_failing(outcome)
            pause = min(_FIRST_PAUSE * 2 ** min(self._failures, 10), _LONGEST_PAUSE)
            self._drain_at = time.monotonic() + (
                _jittered(pause) if outcome.retry_after is None else outcome.retry_after
            )
            return False

        self._spool.drain(send, self._stop_at)
        if not failed and (self._stop_at is None or time.monotonic() < self._stop_at):
            self._spooling = False
            self._failures = 0

    def _set_aside(self, batch: Batch, reason: str = "export_failed", *, abandoned: bool = False) -> None:
        """To the spool, or lost for ``reason``."""
        if self._stop_at is not None:
            reason = "shutdown"
        if self.done and not abandoned:
            return
        stored = self._spool is not None and self._spool.append(batch.payload, batch.spans)
        with self._ledger.lock:
            if not self._settles(batch, abandoned=abandoned):
                return
            if stored:
                self._ledger.spool(batch.spans, batch.first)
            else:
                self._ledger.drop(batch.spans, reason, batch.first)
        if not stored and reason == "export_failed":
            self._notices.say(
                reason, "%d spans are lost: %s has not taken them: %s", batch.spans, self._destination, self.problem
            )

    # -- accounting -------------------------------------------------------------------------------------------------

    def _settles(self, batch: Batch, *, abandoned: bool = False) -> bool:
        """Whether to account for ``batch``: after :meth:`give_up` the sending thread has no say. With the lock."""
        if self.done and not abandoned:
            return False
        if batch in self._open:
            self._open.remove(batch)
        return True

    def _taken(self, spans: int, outcome: Outcome, first: int | None) -> None:
        self._failures = 0
        rejected = min(outcome.rejected, spans)
        if rejected:
            self._notices.say(
                "rejected", "%s rejected %d of %d spans: %s", self._destination, rejected, spans, outcome.detail
            )
        elif outcome.detail:
            self._notices.say("warning", "%s took the spans and says: %s", self._destination, outcome.detail)
        self._ledger.deliver(spans, rejected, first)

    def _refused(self, spans: int, outcome: Outcome, first: int | None) -> None:
        self.problem = f"{outcome.kind}: {outcome.detail}"
        self._notices.say(
            f"refused {outcome.kind}",
            "%d spans are lost: %s answered %s: %s",
            *(spans, self._destination, outcome.kind, outcome.detail or "no explanation"),
        )
        self._ledger.drop(spans, "refused", first)

    def _say_failing(self, outcome: Outcome) -> None:
        self.problem = f"{outcome.kind}: {outcome.detail}"
        self._notices.say(
            f"failing {outcome.kind}",
            "spans cannot be delivered to %s: %s; %s",
            self._destination,
            self.problem,
            "they wait in the spool" if self._spool is not None else "they wait, as long and as far as they may",
        )


def _jittered(seconds: float) -> float:
    """So that processes which lost the same back end do not all come back in the same instant."""
    return seconds * random.uniform(0.8, 1.2)
