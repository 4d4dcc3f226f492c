"""Hands heavy requests over to the workers, and gives a worker up when nobody waits for it any more."""

from __future__ import annotations

import asyncio
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

from anyio import to_thread
from starlette.requests import Request

from causal_otel._internal.log import logger
from causal_otel.collector.heavy.rules import key_of, traces_of
from causal_otel.collector.heavy.workers import CannotStart, WorkerLost
from causal_otel.collector.web.errors import error_page

if TYPE_CHECKING:
    from collections.abc import Callable

    from starlette.types import ASGIApp, Message, Receive, Scope, Send

    from causal_otel.collector.heavy.workers import Answer, Workers
    from causal_otel.collector.query import TraceReader
    from causal_otel.collector.troubles import Trouble

__all__ = ["HeavyReads"]

_LOG = logger(__name__)
_HEADERS = ("accept", "accept-encoding", "host", "if-none-match")
"""Those that an answer may depend on."""


class HeavyReads:
    """ASGI middleware: has heavy requests answered by workers, all others by ``app``.

    Args:
        app: answers whatever is not heavy; and all, where no worker can be started.
        workers: the others.
        reader: says how large a trace is.
        addresses: where the collector listens.
        troubles: what every page is to say.
    """

    def __init__(
        self,
        app: ASGIApp,
        workers: Workers,
        reader: TraceReader,
        addresses: dict[str, str],
        troubles: Callable[[], list[Trouble]],
    ) -> None:
        self._app = app
        self._workers = workers
        self._reader = reader
        self._addresses = addresses
        self._troubles = troubles
        self._said = False

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer a request."""
        if _is_for_people(scope):
            self._workers.be_ready()
        key = await self._key(scope)
        if not key:
            await self._app(scope, receive, send)
            return
        gone = asyncio.ensure_future(_gone(receive))
        asking = asyncio.ensure_future(self._ask(scope, key))
        try:
            await asyncio.wait((gone, asking), return_when=asyncio.FIRST_COMPLETED)
            if not asking.done():
                return
            answer = asking.result()
        except CannotStart as error:
            self._say(error)
            await self._app(scope, _only_once(receive), send)
            return
        except TimeoutError:
            await _refuse(scope, receive, send, f"This took longer than {self._workers.seconds:g} s and was given up.")
            return
        except WorkerLost as error:
            _LOG.warning("a process that was reading for %s was lost: %s", scope["path"], error)
            await _refuse(scope, receive, send, "The process that was reading was lost; the collector's log says how.")
            return
        finally:
            gone.cancel()
            asking.cancel()  # which kills the worker, if it is still at work
            await asyncio.gather(gone, asking, return_exceptions=True)
        await send({"type": "http.response.start", "status": answer.status, "headers": answer.headers})
        await send({"type": "http.response.body", "body": answer.body})

    async def _key(self, scope: Scope) -> str:
        if scope["type"] != "http" or scope["method"] != "GET":
            return ""
        path, parameters = scope["path"], Request(scope).query_params
        traces = traces_of(path, parameters)
        count = await to_thread.run_sync(self._reader.span_count, traces) if traces else 0
        return key_of(path, parameters, lambda: count)

    async def _ask(self, scope: Scope, key: str) -> Answer:
        troubles = await to_thread.run_sync(self._troubles)
        request: dict[str, Any] = {
            "scheme": scope["scheme"],
            "path": scope["path"],
            "query": scope["query_string"].decode("latin-1"),
            "headers": [
                (name.decode("latin-1"), value.decode("latin-1"))
                for name, value in scope["headers"]
                if name.decode("latin-1") in _HEADERS
            ],
            "logged_in": bool(scope.get("causal_otel.logged_in")),
            "addresses": self._addresses,
            "troubles": [asdict(each) for each in troubles],
        }
        return await self._workers.answer(request, key)

    def _say(self, error: CannotStart) -> None:
        if not self._said:
            self._said = True
            _LOG.warning("large traces are read in the collector's own process, as no other can be started: %s", error)


def _is_for_people(scope: Scope) -> bool:
    """Whether a browser asks for a page: the next may be a heavy one."""
    return scope["type"] == "http" and any(
        name == b"accept" and b"text/html" in value for name, value in scope["headers"]
    )


async def _gone(receive: Receive) -> None:
    """Return once the client has left."""
    while (await receive())["type"] != "http.disconnect":
        pass


def _only_once(receive: Receive) -> Receive:
    """What is received after the request, which has been received already: it has no body."""
    first = True

    async def again() -> Message:
        nonlocal first
        if first:
            first = False
            return {"type": "http.request", "body": b"", "more_body": False}
        return await receive()

    return again


async def _refuse(scope: Scope, receive: Receive, send: Send, message: str) -> None:
    response = await to_thread.run_sync(lambda: error_page(Request(scope), 503, message, headers={"Retry-After": "10"}))
    await response(scope, receive, send)
