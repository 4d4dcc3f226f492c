"""The body of a response: the library's own stream, seen through, whose reading is part of the request."""

from __future__ import annotations

import functools
from collections.abc import AsyncGenerator, AsyncIterator, Generator, Iterator
from typing import TYPE_CHECKING, Any

from causal_otel._internal import faults

if TYPE_CHECKING:
    from causal_otel.instrument.operation import Running
    from causal_otel.instrument.stopwatch import Stopwatch

__all__ = ["async_body", "sync_body"]


class _Body:
    """What both kinds of bodies share: the stream behind shows through, and the operation ends once.

    Args:
        response: whose headers have arrived. It refers to its body, and the library's own stream to it, in any case.
        running: the request.
        stopwatch: began with it.
    """

    def __init__(self, response: Any, running: Running, stopwatch: Stopwatch) -> None:
        self._causal_stream = response.stream
        self._causal_response = response
        self._causal_running: Running | None = running
        self._causal_stopwatch = stopwatch

    def __getattr__(self, name: str) -> Any:
        if name.startswith(("__", "_causal_")):  # asked of a copy that is not filled yet
            raise AttributeError(name)
        return getattr(self._causal_stream, name)

    def _causal_end(self, error: BaseException | None = None) -> None:
        running, self._causal_running = self._causal_running, None
        response, self._causal_response = self._causal_response, None
        if running is None:
            return
        stopwatch = self._causal_stopwatch
        try:
            stopwatch.stop()
            running.end(response, error, stopwatch.end_time(running.span), stopwatch.total)
        except Exception:
            faults.report("httpx: body")

    def __del__(self) -> None:
        if vars(self).get("_causal_running") is not None:
            self._causal_end(GeneratorExit())


@functools.cache
def sync_body(library: Any) -> type[_Body]:
    """The class of bodies for the library's synchronous clients."""

    class TracedStream(_Body, library.SyncByteStream):  # type: ignore[misc]  # clients check for their own class
        def __iter__(self) -> Iterator[bytes]:
            stopwatch = self._causal_stopwatch
            chunks = iter(self._causal_stream)
            try:
                while True:
                    stopwatch.resume()
                    try:
                        chunk = next(chunks)
                    except StopIteration:
                        break
                    finally:
                        stopwatch.pause()
                    yield chunk
            except GeneratorExit:  # the reader has stopped: the request ends when it is closed
                if isinstance(chunks, Generator):
                    chunks.close()
                raise
            except BaseException as error:
                self._causal_end(error)
                raise
            self._causal_end()

        def close(self) -> None:
            self._causal_stopwatch.stop()
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
            stopwatch = self._causal_stopwatch
            chunks = self._causal_stream.__aiter__()
            try:
                while True:
                    stopwatch.resume()
                    try:
                        chunk = await anext(chunks)
                    except StopAsyncIteration:
                        break
                    finally:
                        stopwatch.pause()
                    yield chunk
            except GeneratorExit:
                raise
            except BaseException as error:
                self._causal_end(error)
                raise
            finally:
                if isinstance(chunks, AsyncGenerator):
                    await chunks.aclose()
            self._causal_end()

        async def aclose(self) -> None:
            self._causal_stopwatch.stop()
            try:
                await self._causal_stream.aclose()
            except BaseException as error:
                self._causal_end(error)
                raise
            self._causal_end()

    return TracedAsyncStream
