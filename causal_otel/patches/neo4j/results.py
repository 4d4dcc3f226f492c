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
from causal_otel.instrument.parts import LEAST, together
from causal_otel.instrument.stopwatch import moment_of
from causal_otel.names import (
    CAUSAL_FETCH,
    CAUSAL_NEO4J_QUERY_TYPE,
    CAUSAL_SERVER,
    DB_NAMESPACE,
    DB_RESPONSE_RETURNED_ROWS,
)
from causal_otel.patches.neo4j.connections import pool_facts, take
from causal_otel.patches.neo4j.internals import followed, owner_of, summary_of
from causal_otel.patches.neo4j.summaries import milliseconds, query_type, told_besides
from causal_otel.patches.neo4j.unread import expect, expect_no_more

if TYPE_CHECKING:
    from collections.abc import Callable

    from causal_otel.instrument.calls import Args
    from causal_otel.instrument.operation import Running

__all__ = ["AsyncQuery", "Query"]


class Query:
    """A query under way.

    Its span lasts as long as ``run``, and the driver's waits for records while the result is being read: not while the
    application works on them, nor while its session or transaction fetches or discards what nobody has read. So the
    span of a result that nobody reads is as long as ``run`` (semantic conventions for databases, span duration).

    Args:
        running: the operation.
        args: the positional arguments that the driver is given; None: the caller's.

    Attributes:
        returned: when ``run`` returned, by ``perf_counter()``.
        tells_rows: whether how many records it has is an attribute of the operation.
    """

    __slots__ = (
        "__weakref__",
        "_began",
        "_counted",
        "_fetch",
        "_fetched",
        "_handle",
        "_noted",
        "_on_closed",
        "_on_error",
        "_result",
        "_rows",
        "_running",
        "_since",
        "_started",
        "_stopped",
        "args",
        "returned",
    )

    inside = None
    tells_rows = True

    def __init__(self, running: Running, args: Args | None = None) -> None:
        self._running: Running | None = running
        self.args = args
        self._result: Any = None
        self._rows = 0
        self._counted = True
        self._fetched = self._since = 0.0
        self._started = self._stopped = False
        self._noted: dict[str, float] | None = None
        self._began = self.returned = perf_counter()

    def end(self, result: Any = None, error: BaseException | None = None) -> None:
        """``run`` has returned or raised."""
        self.returned = returned = perf_counter()
        if returned - self._began >= LEAST:  # a shorter one has no parts
            self._noted = take(self._began)
        known = None if error is not None else followed(result)
        if known is None:
            self.finish(error, result)
            return
        # The driver makes a new wrapper of ``fetch_message`` for each message, so one that stays costs less than none.
        self._on_closed, self._on_error, self._fetch, self._handle = known
        self._handle["fetch_message"] = self._fetch_message
        result._on_closed, result._on_error = self.closed, self.failed
        self._result = result
        self._expect()

    def _expect(self) -> None:
        """Expect that somebody reads it."""
        expect(self, None)

    @staticmethod
    def of(result: Any) -> Query | None:
        """The query of a result that is followed."""
        owner = owner_of(result)
        return owner if isinstance(owner, Query) else None

    # -- while it is read ---------------------------------------------------------------------------------------------

    def _fetch_message(self) -> Any:
        """The application waits for the driver, which fetches one message."""
        self._started = True
        self._since = since = perf_counter()
        try:
            self._fetch()
        finally:
            if self._since:  # or it is over
                self._since = 0.0
                if not self._stopped:
                    self._fetched += perf_counter() - since
        result = self._result
        if result is not None:
            if result._streaming is True:  # so the message was a record
                self._rows += 1
            else:
                self._ask_for_more(result)

    def _ask_for_more(self, result: Any) -> None:
        """There is another batch of records: asking for it is waited for, too."""
        own = vars(result._connection)
        if "send_all" not in own:
            own["send_all"] = self._waiting_for(result._connection.send_all)

    def _waiting_for(self, send: Callable[[], Any]) -> Callable[[], Any]:
        """``send``, whose time counts."""

        def send_all() -> None:
            began = perf_counter()
            try:
                send()
            finally:
                self._waited(began)

        return send_all

    def _waited(self, since: float) -> None:
        if not self._stopped:
            self._fetched += perf_counter() - since

    def is_read(self) -> bool:
        """Whether somebody has begun to read it."""
        return self._started

    def left(self) -> None:
        """The owner of the result is about to fetch the rest of it, which nobody reads: that time does not count."""
        self._stopped = True

    def overtaken(self) -> None:
        """Its records may come while another query of its transaction is sent, and then nobody counts them."""
        self._counted = False

    def number_of_records(self, result: Any) -> int | None:
        """How many have come; None: nobody has counted them."""
        return self._rows if self._counted else None

    # -- its end ------------------------------------------------------------------------------------------------------

    def closed(self) -> Any:
        """Stands in for the owner's ``on_closed``; what that returns may be awaitable."""
        # After a failure the driver says closed too, but before it says failed, and while it still is streaming.
        if self._result is not None and self._result._streaming is not True:
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
        if self._running is not None:
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
                self._counted = False  # the records came while something else was waited for, if they did
            elif not self._stopped:
                self._fetched += perf_counter() - self._since
            self._since = 0.0
        finally:
            seconds = self.returned - self._began + self._fetched
        try:
            if found is not None:
                # The driver leaves a result to the garbage collector, and everything that it refers to.
                found._on_closed, found._on_error = self._on_closed, self._on_error
                self._handle.pop("fetch_message", None)
                expect_no_more(self)
                self._learn(running, found, seconds, whole=error is None and not unread)
            elif seconds >= LEAST:
                self._tell_parts(running, {}, seconds, whole=False)
        except Exception:
            faults.report("neo4j: the end of a result")
        self._over(running, result if found is None else found, error, seconds)

    def _learn(self, running: Running, result: Any, seconds: float, *, whole: bool) -> None:
        metadata, database = summary_of(result)
        if seconds >= LEAST:
            self._tell_parts(running, metadata, seconds, whole=whole)
        if database == running.operation.attributes.get(DB_NAMESPACE):
            database = None
        rows = self._rows if whole and self._counted and self.tells_rows else None
        kind = query_type(metadata) if whole else None
        told: dict[str, Any] = {}
        if database is not None:
            told[DB_NAMESPACE] = database
        if rows is not None:
            told[DB_RESPONSE_RETURNED_ROWS] = rows
        if kind is not None:
            told[CAUSAL_NEO4J_QUERY_TYPE] = kind
        besides = told_besides(metadata) if whole else None
        if besides is not None:
            running.learn({**told, **besides})
        elif told:
            running.learn_outcome((database, rows, kind), told)

    def _tell_parts(self, running: Running, metadata: dict[str, Any], seconds: float, *, whole: bool) -> None:
        """Tell the parts of its time.

        Args:
            running: the operation.
            metadata: what the server has sent.
            seconds: how long it took.
            whole: whether that is all that the server will send.
        """
        noted, fetched = self._noted, self._fetched
        request = seconds - fetched
        if noted is not None:
            for key, value in noted.items():
                running.part(key, value)
            request -= together(noted)
            facts = pool_facts(noted)
            if facts:
                running.learn(facts)
        available = milliseconds(metadata, "t_first")
        consumed = milliseconds(metadata, "t_last") if whole else None
        # The server counts in its own time: while it waited for an application that reads slowly, too.
        server = min(consumed or 0.0, fetched)
        running.part(CAUSAL_FETCH, fetched - server)
        # A server that has not answered has not said how long it took; then it is what was waited for it.
        running.part(CAUSAL_SERVER, server + (request if available is None else min(available, request)))

    def _over(self, running: Running, result: Any, error: BaseException | None, seconds: float) -> None:
        """End the operation."""
        if result is None:  # it has failed at once
            running.end(None, error)
            return
        nanoseconds = int(seconds * 1e9)
        at = moment_of(running.span, int(self._began * 1e9), nanoseconds)
        running.end(result, error, at, nanoseconds, self._rows if error is None and self._counted else None)


class AsyncQuery(Query):
    """The same of the asynchronous driver."""

    __slots__ = ()

    def _expect(self) -> None:
        expect(self, asyncio.get_running_loop())

    async def _fetch_message(self) -> None:
        self._started = True
        self._since = since = perf_counter()
        try:
            await self._fetch()
        finally:
            if self._since:
                self._since = 0.0
                if not self._stopped:
                    self._fetched += perf_counter() - since
        result = self._result
        if result is not None:
            if result._streaming is True:
                self._rows += 1
            else:
                self._ask_for_more(result)

    def _waiting_for(self, send: Callable[[], Any]) -> Callable[[], Any]:
        async def send_all() -> None:
            began = perf_counter()
            try:
                await send()
            finally:
                self._waited(began)

        return send_all
