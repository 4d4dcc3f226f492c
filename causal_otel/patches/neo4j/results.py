"""A query of the neo4j driver: ``run``, which returns before the records arrive, and the result that they arrive in.

There are a dozen ways to read a result, and as many to leave it unread. They all fetch messages through the result's
own connection handle, and end where the driver tells the result's owner, a session or transaction, that it is closed or
has failed. A :class:`Query` stands in for both.
"""

from __future__ import annotations

import asyncio
from asyncio import CancelledError
from time import perf_counter
from typing import TYPE_CHECKING, Any

from causal_otel._internal import faults
from causal_otel.instrument.parts import take
from causal_otel.instrument.stopwatch import moment_of
from causal_otel.names import CAUSAL_CONNECT_DNS, CAUSAL_FETCH, CAUSAL_POOL_WAIT, CAUSAL_SERVER, DB_NAMESPACE
from causal_otel.patches.neo4j.connections import pool_facts
from causal_otel.patches.neo4j.operations import private
from causal_otel.patches.neo4j.summaries import learned, milliseconds
from causal_otel.patches.neo4j.unread import expect

if TYPE_CHECKING:
    from causal_otel.instrument.calls import Args
    from causal_otel.instrument.operation import Running

__all__ = ["Query"]


class Query:
    """A query under way.

    Its span lasts as long as ``run``, and the driver's waits for records while the result is being read: not while the
    application works on them, nor while its session or transaction fetches or discards what nobody has read. So the
    span of a result that nobody reads is as long as ``run`` (semantic conventions for databases, span duration).

    Args:
        running: the operation.
        runner: the session or transaction that runs it.
        args: the positional arguments that the driver is given; None: the caller's.

    Attributes:
        returned: when ``run`` returned, by ``perf_counter()``.
    """

    __slots__ = (
        "__weakref__",
        "_began",
        "_counted",
        "_fetch",
        "_fetched",
        "_noted",
        "_on_closed",
        "_on_error",
        "_result",
        "_rows",
        "_runner",
        "_running",
        "_since",
        "_started",
        "_stopped",
        "args",
        "returned",
    )

    inside = None

    def __init__(self, running: Running, runner: Any, args: Args | None = None) -> None:
        self._running: Running | None = running
        self._runner = runner
        self.args = args
        self._result: Any = None
        self._noted: dict[str, float] | None = None
        self._rows = 0
        self._counted = True
        self._fetched = 0.0
        self._since = 0.0
        self._started = self._stopped = False
        running.rows = self._number_of_records
        self._began = self.returned = perf_counter()

    def end(self, result: Any = None, error: BaseException | None = None) -> None:
        """``run`` has returned or raised."""
        self.returned = perf_counter()
        self._noted = take(self._began)
        if error is None and self._follow(result):
            self._expect(result)
        else:
            self._counted = False
            self.finish(error, result)

    def _expect(self, result: Any) -> None:
        expect(self, asyncio.get_running_loop() if hasattr(type(result), "__aiter__") else None)

    def _follow(self, result: Any) -> bool:
        """Hear how ``result`` goes on; returns whether there is anything to hear, and this version lets us."""
        on_closed, on_error = private(result, "_on_closed"), private(result, "_on_error")
        handle = private(result, "_connection")
        fetch, own = private(handle, "fetch_message"), private(handle, "__dict__")
        known = callable(on_closed) and callable(on_error) and callable(fetch) and own is not None
        if not known or private(result, "_attached") is not True:
            return False
        self._on_closed, self._on_error, self._fetch, self._result = on_closed, on_error, fetch, result
        # The driver makes a new wrapper of this method for each message, so one that stays costs less than none.
        own["fetch_message"] = self._fetch_async if hasattr(type(result), "__aiter__") else self._fetch_sync
        result._on_closed, result._on_error = self.closed, self.failed
        return True

    @classmethod
    def of(cls, result: Any) -> Query | None:
        """The query of a result that is followed."""
        owner = private(result, "_on_closed", "__self__")
        return owner if isinstance(owner, cls) else None

    # -- while it is read ---------------------------------------------------------------------------------------------

    async def _fetch_async(self) -> None:
        self._resume()
        try:
            await self._fetch()
        finally:
            self._pause()

    def _fetch_sync(self) -> None:
        self._resume()
        try:
            self._fetch()
        finally:
            self._pause()

    def _resume(self) -> None:
        """The application waits for the driver, which fetches one message."""
        self._started = True
        self._since = perf_counter()

    def _pause(self) -> None:
        self._waited()
        if private(self._result, "_streaming") is True:  # so the message was a record
            self._rows += 1

    def _waited(self) -> None:
        if self._since and not self._stopped:
            self._fetched += perf_counter() - self._since
        self._since = 0.0

    def is_read(self) -> bool:
        """Whether somebody has begun to read it, or it is over."""
        return self._started or self._running is None

    def left(self) -> None:
        """The owner of the result is about to fetch the rest of it, which nobody reads: that time does not count."""
        self._stopped = True

    def overtaken(self) -> None:
        """Its records may come while another query of its transaction is sent, and then nobody counts them."""
        self._counted = False

    def _number_of_records(self, result: Any) -> int | None:
        return self._rows if self._counted else None

    # -- its end ------------------------------------------------------------------------------------------------------

    def closed(self) -> Any:
        """Stands in for the owner's ``on_closed``; what that returns may be awaitable."""
        # After a failure the driver says closed too, but before it says failed, and while it still is streaming.
        if private(self._result, "_streaming") is not True:
            self.finish()
        return self._on_closed()

    def failed(self, error: Any) -> Any:
        """Stands in for the owner's ``on_error``; what that returns may be awaitable."""
        self.finish(error)
        return self._on_error(error)

    def cancelled(self) -> None:
        """The connection has been killed in the middle of it."""
        self.finish(CancelledError())

    def __del__(self) -> None:
        self.finish(GeneratorExit())

    def finish(self, error: BaseException | None = None, result: Any = None, *, unread: bool = False) -> None:
        """End the operation, if it has not ended. Never raises.

        Args:
            error: what the driver raises, or has raised; a cancellation too. ``GeneratorExit``: the result has died.
            result: what ``run`` has returned, where it is not followed.
            unread: whether nobody has begun to read it, so that it is not known how it will end.
        """
        running, found = self._running, self._result
        self._running = self._result = None
        if running is None:
            return
        try:
            if not self._since:
                self._counted = False  # the records came while something else was waited for
            self._waited()
            seconds = self.returned - self._began + self._fetched
            metadata = private(found, "_metadata")
            self._tell(running, metadata if isinstance(metadata, dict) else {}, whole=error is None and not unread)
            database = private(found, "_database")
            if isinstance(database, str) and database != running.operation.attributes.get(DB_NAMESPACE):
                running.learn({DB_NAMESPACE: database})
        except Exception:
            faults.report("neo4j: the end of a result")
        self._over(running, found if found is not None else result, error, seconds)

    def _tell(self, running: Running, metadata: dict[str, Any], *, whole: bool) -> None:
        """Tell the parts of its time, and what the server says of it.

        Args:
            running: the operation.
            metadata: what the server has sent.
            whole: whether that is all.
        """
        noted = self._noted
        request, fetched = self.returned - self._began, self._fetched
        if noted is not None:
            for key, seconds in noted.items():
                running.part(key, seconds)
                request -= seconds if key != CAUSAL_CONNECT_DNS else 0.0
            if CAUSAL_POOL_WAIT in noted:
                running.learn(pool_facts(self._runner))
        available = milliseconds(metadata, "t_first")
        consumed = milliseconds(metadata, "t_last") if whole else None
        # The server counts in its own time: while it waited for an application that reads slowly, too.
        server = min(consumed or 0.0, fetched)
        if fetched > server:
            running.part(CAUSAL_FETCH, fetched - server)
        # A server that has not answered has not said how long it took; then it is what was waited for it.
        server += request if available is None else min(available, request)
        if server > 0:
            running.part(CAUSAL_SERVER, server)
        if whole:
            found = learned(metadata)
            if found:
                running.learn(found)

    def _over(self, running: Running, result: Any, error: BaseException | None, seconds: float) -> None:
        """End the operation."""
        nanoseconds = int(seconds * 1e9)
        running.end(result, error, moment_of(running.span, int(self._began * 1e9), nanoseconds), nanoseconds)
