"""Attempts to send: with a transport that is made in time, measured, and never raising."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from causal_otel._internal import faults
from causal_otel.transports.transport import Outcome, Verdict, importing

if TYPE_CHECKING:
    from collections.abc import Callable

    from causal_otel.export.ledger import Ledger
    from causal_otel.transports.transport import Transport

__all__ = ["Attempts"]


class Attempts:
    """Sends requests by the transport of one process. For the sending thread; others only close.

    Args:
        make_transport: imports the transport's libraries and makes it; called again where one could not be made.
        ledger: is told how many spans are on their way.
        timeout: how long one attempt may take, in seconds.
        observe: told of every attempt: how many seconds it took and what came of it.
    """

    def __init__(
        self,
        make_transport: Callable[[], Transport],
        ledger: Ledger,
        timeout: float,
        observe: Callable[[float, Outcome], None],
    ) -> None:
        self._make_transport = make_transport
        self._ledger = ledger
        self._timeout = timeout
        self._observe = observe
        self._transport: Transport | None = None

    def prepare(self) -> None:
        """Make the transport while there is nothing to send yet.

        The imports take some tenths of a second, which the end of a short program would have to wait for; and some
        modules cannot be imported any more by then, since Python starts no threads.
        """
        try:
            self._made()
        except Exception:
            faults.report("export: transport")

    def _made(self) -> Transport:
        transport = self._transport
        if transport is None:
            with importing.held():
                transport = self._transport = self._make_transport()
        return transport

    def send(self, payload: bytes, spans: int, deadline: float) -> Outcome:
        """Try once.

        Args:
            payload: an encoded ``ExportTraceServiceRequest``.
            spans: how many spans are in it.
            deadline: when to give up, by ``time.monotonic()``, if the timeout of an attempt is not over before.
        """
        started = time.monotonic()
        self._ledger.in_flight = spans
        try:
            outcome = self._made().send(payload, min(deadline, started + self._timeout))
        except Exception as error:
            faults.report("export: transport")
            outcome = Outcome(Verdict.UNREACHABLE, type(error).__qualname__, str(error))
        finally:
            self._ledger.in_flight = 0
        try:
            self._observe(time.monotonic() - started, outcome)
        except Exception:
            faults.report("export: metrics")
        if outcome.verdict is Verdict.MISCONFIGURED:
            self._renew()
        return outcome

    def _renew(self) -> None:
        """Make another transport for the next attempt, which reads certificates and ``.netrc`` anew."""
        self.close()
        self._transport = None

    def close(self) -> None:
        """Let go of connections, which may end an attempt that hangs."""
        if (transport := self._transport) is not None:
            try:
                transport.close()
            except Exception:
                faults.report("export: closing the transport")

    def abandon(self) -> None:
        """In a forked child: let go of what was inherited."""
        if (transport := self._transport) is not None:
            try:
                transport.abandon()
            except Exception:
                faults.report("export: connections of the parent process")
