"""The body of a response: the library's own stream, seen through, whose reading is part of the request."""

from __future__ import annotations

import functools
from collections.abc import AsyncGenerator, AsyncIterator, Generator, Iterator
from time import perf_counter_ns
from typing import TYPE_CHECKING, Any

from causal_otel._internal import faults

if TYPE_CHECKING:
    from causal_otel.patches.httpx.attempts import Attempt

__all__ = ["async_body", "sync_body"]


class _Body:
    """What both kinds of bodies share: the stream behind shows through, and the attempt ends once.

    Args:
        response: whose headers have arrived. It refers to its body, and the library's own stream to it, in any case.
        attempt: the request.
    """

    def __init__(self, response: Any, attempt: Attempt) -> None:
        self._causal_stream = response.stream
        self._causal_response = response
        self._causal_attempt: Attempt | None = attempt
        self._causal_since = 0  # when the wait began that is under way, by perf_counter_ns()

    def __getattr__(self, name: str) -> Any:
        if name.startswith(("__", "_causal_")):  # asked of a copy that is not filled yet
            raise AttributeError(name)
        return getattr(self._causal_stream, name)

    def _causal_pause(self) -> None:
        """The reader has what it waited for; after the end, nobody reads it."""
        since, self._causal_since = self._causal_since, 0
        attempt = self._causal_attempt
        if since and attempt is not None:
            attempt.waited += perf_counter_ns() - since

    def _causal_end(self, error: BaseException | None = None) -> None:
        """The last of it has arrived, or it is closed, or broken off. Only the first of these counts."""
        attempt, self._causal_attempt = self._causal_attempt, None
        response, self._causal_response = self._causal_response, None
        if attempt is None:
            return
        try:
            attempt.over(response, error)
        except Exception:
            faults.report("httpx: body")

    def __del__(self) -> None:
        if vars(self).get("_causal_attempt") is not None:
            self._causal_end(GeneratorExit())


@functools.cache
def sync_body(library: Any) -> type[_Body]:
    """The class of bodies for the library's synchronous clients."""

    class TracedStream(_Body, library.SyncByteStream):  # type: ignore[misc]  # clients check for their own class
        def __iter__(self) -> Iterator[bytes]:
            chunks = iter(self._causal_stream)
            self._causal_since = perf_counter_ns()
            try:
                for chunk in chunks:
                    self._causal_pause()
                    yield chunk
                    self._causal_since = perf_counter_ns()
            except BaseException as error:
                self._causal_pause()
                if isinstance(chunks, Generator):
                    chunks.close()
                if not isinstance(error, GeneratorExit):  # the reader has stopped: the request ends when it is closed
                    self._causal_end(error)
                raise
            self._causal_pause()
            self._causal_end()

        def close(self) -> None:
            self._causal_pause()
            try:
                self._causal_stream.close()
            except BaseException as error:
                self._causal_end(error)
                raise
            self._causal_end()

    return TracedStream


@functools.cache
def async_body(library: Any) -> type[_Body]:
    """The class of bodies for the library's asynchronous clients."""

    class TracedAsyncStream(_Body, library.AsyncByteStream):  # type: ignore[misc]
        async def __aiter__(self) -> AsyncIterator[bytes]:
            chunks = self._causal_stream.__aiter__()
            self._causal_since = perf_counter_ns()
            try:
                async for chunk in chunks:
                    self._causal_pause()
                    yield chunk
                    self._causal_since = perf_counter_ns()
            except BaseException as error:
                self._causal_pause()
                if isinstance(chunks, AsyncGenerator):
                    await chunks.aclose()
                if not isinstance(error, GeneratorExit):
                    self._causal_end(error)
                raise
            self._causal_pause()
            self._causal_end()

        async def aclose(self) -> None:
            self._causal_pause()
            try:
                await self._causal_stream.aclose()
            except BaseException as error:
                self._causal_end(error)
                raise
            self._causal_end()

    return TracedAsyncStream
