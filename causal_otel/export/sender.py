"""The sender: delivers encoded batches in order, again and again within their time, or puts them aside."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from causal_otel._internal import faults
from causal_otel._internal.jitter import jittered
from causal_otel._internal.throttled_log import HOUR
from causal_otel.export.attempts import Attempts
from causal_otel.export.backlog import Backlog, Batch
from causal_otel.export.signal import TRACES, Signal
from causal_otel.transports.splitting import DECIDED, halves, in_pieces
from causal_otel.transports.transport import Outcome, Verdict

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from causal_otel._internal.throttled_log import ThrottledLog
    from causal_otel.export.ledger import Ledger
    from causal_otel.export.spool import Spool
    from causal_otel.transports.transport import Request, Transport

__all__ = ["Sender"]

_FIRST_PAUSE = 0.5
_LONGEST_PAUSE = 8.0
_FIRST_SLOW_PAUSE = 5.0
_LONGEST_SLOW_PAUSE = 60.0
"""Where a setting has to be mended, which takes minutes or days."""
_SPREAD = 0.8, 1.2
"""Pauses are jittered so that processes which lost the same back end do not all come back in the same instant."""


class Sender:
    """Takes batches from one thread and delivers them on another, by :meth:`run`.

    While the back end hangs or is away, batches wait, up to ``max_bytes``; beyond that the oldest go to the spool, or
    are lost. With a spool, a batch goes there at once if nobody answers, and so do all that follow, until the spool has
    been emptied: so the order stays, and little is in memory when the process is killed. A batch that is too large is
    halved. If credentials or the endpoint are wrong, batches stay, and are tried once a minute.

    Args:
        make_transport: called on the sending thread when it starts, and again after each attempt that failed for
            credentials or endpoint.
        ledger: where to account for every span.
        log: where to say what goes wrong.
        destination: what to call the back end there.
        timeout: how long one attempt may take, in seconds.
        export_timeout: how long one batch may take, with all its attempts and the pauses between them.
        max_bytes: how much may wait.
        spool: where to put what cannot be delivered; None: nowhere.
        observe: told of every attempt: how many seconds it took and what came of it.
        signal: what is in the batches.
    """

    def __init__(
        self,
        make_transport: Callable[[], Transport],
        ledger: Ledger,
        log: ThrottledLog,
        *,
        destination: str,
        timeout: float,
        export_timeout: float,
        max_bytes: int,
        spool: Spool | None,
        observe: Callable[[float, Outcome], None],
        signal: Signal = TRACES,
    ) -> None:
        self._signal = signal
        self._attempts = Attempts(make_transport, ledger, timeout, observe)
        self._ledger = ledger
        self._log = log
        self._destination = destination
        self._timeout = timeout
        self._export_timeout = export_timeout
        self._spool = spool
        self._backlog = Backlog(max_bytes)
        self._spooling = spool is not None  # what earlier processes have left there goes first
        self._drain_at = 0.0
        self._drained = False
        self._failures = 0
        self._not_before = 0.0  # the back end asked to be left alone until then
        self._resume_at = 0.0  # nothing is tried until then, because of a misconfiguration
        self._refused_size: int | None = None  # the smallest that was too large for the back end
        self._hurried = False
        self._begun = 0.0  # when the last attempt was
        self._no_more = False
        self._stop_at: float | None = None
        self._hopeless = False  # nobody answers and the process is ending, so no further attempt is made
        self.done = False
        """Everything is accounted for, and nothing more is to come."""
        self.problem = ""
        """What went wrong last."""
        self.standing_problem = ""
        """The same, until something is delivered."""

    # -- called by others -------------------------------------------------------------------------------------------

    def put(self, batches: Iterable[Batch]) -> None:
        """Hand over batches; never waits for the back end. Called with the lock; :meth:`make_room` is to follow."""
        self._backlog.put(batches)
        self._ledger.changed.notify_all()

    def make_room(self) -> None:
        """Spool or drop the oldest, as long as too much waits. Called without the lock: it may write to the disk."""
        while True:
            with self._ledger.lock:
                if not self._backlog.overflows:
                    return
                oldest = self._backlog.take()
            self._set_aside(oldest, "queue_full")

    def floor(self) -> int | None:
        """The position of the oldest span that is not accounted for; None: there is none. Called with the lock."""
        return self._backlog.floor()

    def spans(self) -> int:
        """How many spans are not accounted for. Called with the lock."""
        return self._backlog.spans()

    def hurry(self) -> None:
        """Do not wait out the pause before the next attempt, unless the back end asked for it."""
        with self._ledger.lock:
            self._hurried = True
            self._drain_at = self._resume_at = 0.0
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
            left = self._backlog.clear()
            self._no_more = self._hopeless = self.done = True
        for batch in left:
            self._set_aside(batch, "shutdown", abandoned=True)

    def close(self) -> None:
        """Let go of connections, which may end an attempt that hangs."""
        self._attempts.close()

    def abandon(self) -> None:
        """In a forked child: let go of what was inherited."""
        self._attempts.abandon()

    # -- the sending thread -----------------------------------------------------------------------------------------

    def run(self) -> None:
        """Send what comes until there is nothing more to come."""
        self._attempts.prepare()
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
            while True:
                if self._backlog:
                    due = 0.0 if self._stop_at is not None else self._resume_at
                elif self._no_more:
                    return False
                elif self._spooling and not self._hopeless:
                    due = self._drain_at
                else:
                    ledger.changed.wait()
                    continue
                left = due - time.monotonic()
                if left <= 0:
                    return True
                ledger.changed.wait(left)

    def _next(self) -> Batch | None:
        with self._ledger.lock:
            return self._backlog.take() if self._backlog else None

    def _deliver(self, batch: Batch) -> None:
        """Send one batch, or put it aside."""
        give_up = time.monotonic() + self._export_timeout
        pause = _FIRST_PAUSE
        if not self._pause(self._not_before - time.monotonic(), give_up, patient=True):
            self._set_aside(batch)
            return
        while not self._spooling and not self._hopeless:
            outcome = self._attempt((batch.payload, batch.spans), give_up)
            if outcome.verdict is Verdict.TOO_LARGE and self._halve(batch):
                return
            if outcome.verdict in DECIDED:
                # Without the lock: who waits for it may hold that of a handler of the user's, which this waits for.
                self._say_decided((batch.payload, batch.spans), outcome)
                with self._ledger.lock:
                    if self._settles(batch):
                        self._account(batch.spans, outcome, batch.first)
                return
            self._say_failing(outcome)
            asked = outcome.retry_after
            wait = asked if asked is not None else jittered(pause, *_SPREAD)
            if outcome.verdict is Verdict.BUSY:
                self._not_before = time.monotonic() + wait
            elif self._stop_at is not None:
                self._hopeless = True
                break
            elif outcome.verdict is Verdict.MISCONFIGURED and self._spool is None:
                self._keep(batch, self._pause_after(outcome))
                return
            elif self._spool is not None:
                self._postpone(self._pause_after(outcome))
                break
            if not self._pause(wait, give_up, patient=asked is not None):
                if self._spool is not None:
                    self._postpone(wait)
                break
            pause = min(pause * 2, _LONGEST_PAUSE)
        self._set_aside(batch)

    def _halve(self, batch: Batch) -> bool:
        """Put the halves of a batch back in its place; False: it is a single span."""
        parts = halves(batch.payload, self._signal.kind)
        if parts is not None:
            with self._ledger.lock:
                if not self.done:
                    self._backlog.put_back(batch, *(Batch(*part, batch.first) for part in parts))
        return parts is not None

    def _keep(self, batch: Batch, wait: float) -> None:
        """Put a batch back as the first to be sent, after ``wait`` seconds, and the first to be dropped."""
        with self._ledger.lock:
            if self.done:
                return
            self._backlog.put_back(batch)
            if not self._hurried:  # who has asked meanwhile is owed an attempt that begins after that
                self._resume_at = time.monotonic() + wait
            self._ledger.stall(batch.first, self._begun)
        self.make_room()

    def _pause_after(self, outcome: Outcome) -> float:
        """How long to do nothing after one of several failures in a row, in seconds."""
        self._failures += 1
        if outcome.retry_after is not None:
            return outcome.retry_after
        slow = outcome.verdict is Verdict.MISCONFIGURED
        first, longest = (_FIRST_SLOW_PAUSE, _LONGEST_SLOW_PAUSE) if slow else (_FIRST_PAUSE, _LONGEST_PAUSE)
        return jittered(min(first * 2 ** min(self._failures - 1, 10), longest), *_SPREAD)

    def _postpone(self, wait: float) -> None:
        """Everything goes to the spool from now on, which is tried after ``wait`` seconds."""
        self._spooling = True
        self._drain_at = time.monotonic() + wait

    def _attempt(self, request: Request, deadline: float) -> Outcome:
        payload, spans = request
        if spans > 1 and self._refused_size is not None and len(payload) >= self._refused_size:
            return Outcome(Verdict.TOO_LARGE)  # no need to ask
        self._hurried = False
        self._begun = time.monotonic()
        if self._stop_at is not None:
            deadline = min(deadline, self._stop_at)
        outcome = self._attempts.send(payload, spans, deadline)
        if outcome.verdict is Verdict.TOO_LARGE and spans > 1:
            self._refused_size = len(payload)
            message = "%s takes no request of %d bytes: %s; larger ones are halved from now on"
            self._log.say("halved", message, self._destination, len(payload), outcome)
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
        self._drained = True
        self._spool.drain(self._send_spooled, self._stop_at)
        if self._drained and (self._stop_at is None or time.monotonic() < self._stop_at):
            self._spooling = False
            self._failures = 0

    def _send_spooled(self, payload: bytes, spans: int) -> bool | Request:
        """Send a batch of the spool: whether all of it is settled, or what is to stay there."""

        def attempt(piece: Request) -> Outcome | None:
            if self._stop_at is not None and (self._no_more and not self._backlog):
                return None  # the process is ending, and what is in the spool can wait for the next one
            outcome = self._attempt(piece, time.monotonic() + self._timeout)
            if outcome.verdict not in DECIDED:
                self._say_failing(outcome)
                self._drain_at = time.monotonic() + self._pause_after(outcome)
                return None
            return outcome

        def settle(piece: Request, outcome: Outcome) -> None:
            self._say_decided(piece, outcome)
            self._account(piece[1], outcome, None)

        left = in_pieces((payload, spans), attempt, settle, self._signal.kind)
        if left is None:
            return True
        self._drained = False
        return left if left[1] < spans else False

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
            message = "%d spans are lost: %s has not taken them: %s"
            self._log.say(reason, message, batch.spans, self._destination, self.problem)

    # -- accounting -------------------------------------------------------------------------------------------------

    def _settles(self, batch: Batch, *, abandoned: bool = False) -> bool:
        """Whether to account for ``batch``: after :meth:`give_up` the sending thread has no say. With the lock."""
        if self.done and not abandoned:
            return False
        self._backlog.settle(batch)
        return True

    def _account(self, spans: int, outcome: Outcome, first: int | None) -> None:
        """The back end has decided about a request of ``spans``; one from the spool has no ``first``."""
        if outcome.verdict is not Verdict.DELIVERED:
            self._ledger.drop(spans, outcome.verdict.value, first)
            return
        self._failures = 0
        self.standing_problem = ""
        self._ledger.deliver(spans, min(outcome.rejected, spans), first)

    def _say_decided(self, request: Request, outcome: Outcome) -> None:
        """Whatever there is to say of a decision, before anybody learns of it who waits for it."""
        payload, spans = request
        if outcome.verdict is not Verdict.DELIVERED:
            self.problem = str(outcome)
            reason, message = outcome.verdict.value, "%d spans are lost, in a request of %d bytes: %s answered %s"
            self._log.say(f"{reason} {outcome.kind}", message, spans, len(payload), self._destination, outcome)
        elif outcome.rejected:
            rejected, message = min(outcome.rejected, spans), "%s rejected %d of %d spans: %s"
            # What a back end does not want, such as our collector records from outside a span, comes again and again.
            self._log.say("rejected", message, self._destination, rejected, spans, outcome.detail, every=HOUR)
        elif outcome.detail:
            self._log.say("warning", "%s took the spans and says: %s", self._destination, outcome.detail)

    def _say_failing(self, outcome: Outcome) -> None:
        self.problem = self.standing_problem = str(outcome)
        if self._spool is not None:
            what = "they wait in the spool"
        elif outcome.verdict is Verdict.MISCONFIGURED:
            what = "they wait in memory, where the oldest go first; TRACING_SPOOL_DIRECTORY would keep them on disk"
        else:
            what = "they are tried again until the export timeout, and wait in memory, where the oldest go first"
        self._log.say(
            f"failing {outcome.kind}", "spans cannot be delivered to %s: %s; %s", self._destination, self.problem, what
        )
