"""A request's span lasts until its body has been read, closed or lost, without the application's own time."""

from __future__ import annotations

import asyncio
import contextlib
import gc
import pickle
import time
from time import perf_counter
from typing import TYPE_CHECKING, Any, cast

import httpx
import pytest
from opentelemetry import trace

from tests.patches.http_client import Call, clients
from tests.span_relations import assert_span

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterator

    from opentelemetry.trace import Span

    from tests.recording import Recording

PATCHES = ["httpx"]


def test_the_span_lasts_until_the_body_has_been_read(recorded: Recording, server: str, call: Call) -> None:
    """A get() is not over when the headers are there."""
    with recorded.tracer.start_as_current_span("parent") as parent:
        response = call("GET", f"{server}/stream?chunks=4&pause=0.05")
    assert len(response.content) == 4000
    # Half of it: where the client is late, it has to wait for less.
    assert_span(recorded.only("GET"), parent, lasts=0.1)
    assert response.elapsed.total_seconds() > 0


class Slow(httpx.SyncByteStream, httpx.AsyncByteStream):
    """A body of four chunks, for each of which 20 ms are waited."""

    def __iter__(self) -> Iterator[bytes]:
        for _ in range(4):
            time.sleep(0.02)
            yield b"more"

    async def __aiter__(self) -> AsyncIterator[bytes]:
        for chunk in self:
            yield chunk


def test_the_application_s_own_time_is_none_of_the_span_s(recorded: Recording) -> None:
    """Waiting for chunks of a streamed response counts; what the application does between them does not."""
    worked = 0.0
    transport = httpx.MockTransport(lambda _: httpx.Response(200, stream=Slow()))
    with httpx.Client(transport=transport) as client, recorded.tracer.start_as_current_span("parent") as parent:
        began = perf_counter()
        with client.stream("GET", "http://example.org/") as response:
            for _ in response.iter_raw():
                worked -= perf_counter()
                time.sleep(0.03)
                worked += perf_counter()
        elapsed = perf_counter() - began
    assert worked >= 0.12
    assert_span(recorded.only("GET"), parent, lasts=0.08, within=elapsed - worked)


@pytest.mark.asyncio
async def test_the_application_s_own_time_is_none_of_an_async_span_s(recorded: Recording) -> None:
    """The same of an async client, whose chunks are awaited."""
    worked = 0.0
    transport = httpx.MockTransport(lambda _: httpx.Response(200, stream=Slow()))
    async with httpx.AsyncClient(transport=transport) as client:
        with recorded.tracer.start_as_current_span("parent") as parent:
            began = perf_counter()
            async with client.stream("GET", "http://example.org/") as response:
                async for _ in response.aiter_raw():
                    worked -= perf_counter()
                    await asyncio.sleep(0.03)
                    worked += perf_counter()
            elapsed = perf_counter() - began
    assert worked >= 0.12
    assert_span(recorded.only("GET"), parent, lasts=0.08, within=elapsed - worked)


def test_a_body_that_nobody_reads_is_none_of_the_span_s(recorded: Recording, server: str) -> None:
    """A response that is closed unread has the span of its headers, however late it is closed."""
    with httpx.Client(trust_env=False) as client, recorded.tracer.start_as_current_span("parent") as parent:
        began = perf_counter()
        response = client.send(client.build_request("GET", f"{server}/stream?pause=30"), stream=True)
        returned = perf_counter()
        time.sleep(0.05)
        assert clients(recorded) == []
        response.close()
    assert_span(recorded.only("GET"), parent, within=returned - began)


def test_an_unreadable_body_is_an_error(recorded: Recording, server: str, call: Call) -> None:
    """A body that breaks off is an ERROR of the request, whose status was fine."""
    with (
        recorded.tracer.start_as_current_span("parent") as parent,
        pytest.raises(httpx.RemoteProtocolError) as caught,
    ):
        call("GET", f"{server}/broken")
    found = assert_span(recorded.only("GET"), parent, error="httpx.RemoteProtocolError")
    assert found["http.response.status_code"] == 200
    assert caught.value.request.url == f"{server}/broken"


@contextlib.contextmanager
def _parent_of_stream(recorded: Recording) -> Iterator[Span]:
    """A span that is current. When the block in it is left, by a LookupError or not, the stream's span has ended."""
    with recorded.tracer.start_as_current_span("parent") as parent:
        with contextlib.suppress(LookupError):
            yield parent
        assert [span.name for span in clients(recorded)] == ["GET"]
        assert trace.get_current_span() is parent


@pytest.mark.parametrize("how", ["read", "break", "raise", "nothing"])
def test_a_streamed_response_ends_once_and_is_not_current(recorded: Recording, server: str, how: str) -> None:
    """However the block of a stream is left, its span has ended then, and was current in none of it."""
    with (
        httpx.Client(trust_env=False) as client,
        _parent_of_stream(recorded) as parent,
        client.stream("GET", f"{server}/stream") as response,
    ):
        assert trace.get_current_span() is parent
        assert clients(recorded) == []
        for _ in response.iter_bytes() if how != "nothing" else ():
            assert trace.get_current_span() is parent
            if how == "break":
                break
            if how == "raise":
                raise LookupError
    del response
    gc.collect()
    assert_span(recorded.only("GET"), parent)


@pytest.mark.parametrize("how", ["read", "break", "raise", "nothing"])
@pytest.mark.asyncio
async def test_an_async_stream_ends_once_and_is_not_current(recorded: Recording, server: str, how: str) -> None:
    """However the block of an async stream is left, its span has ended then, and was current in none of it."""
    async with httpx.AsyncClient(trust_env=False) as client:
        with _parent_of_stream(recorded) as parent:
            async with client.stream("GET", f"{server}/stream") as response:
                assert trace.get_current_span() is parent
                assert clients(recorded) == []
                if how != "nothing":
                    async for _ in response.aiter_bytes():
                        assert trace.get_current_span() is parent
                        if how == "break":
                            break
                        if how == "raise":
                            raise LookupError
    del response
    gc.collect()
    assert_span(recorded.only("GET"), parent)


@pytest.mark.asyncio
async def test_a_stream_cancelled_while_read_is_marked(recorded: Recording, server: str) -> None:
    """A timeout of the caller's own in the middle of a body leaves the span unset and marked as cancelled."""
    async with httpx.AsyncClient(trust_env=False) as client:
        began = perf_counter()
        with recorded.tracer.start_as_current_span("parent") as parent, pytest.raises(TimeoutError):
            async with asyncio.timeout(0.3), client.stream("GET", f"{server}/stream?pause=30") as response:
                await response.aread()
    assert_span(recorded.only("GET"), parent, cancelled=True, within=perf_counter() - began)


def test_a_response_that_nobody_closes_ends_when_it_is_collected(recorded: Recording) -> None:
    """An abandoned stream's span is not lost: it ends with its object, marked so."""

    class Endless(httpx.SyncByteStream):
        def __iter__(self) -> Iterator[bytes]:
            yield b"more"

    transport = httpx.MockTransport(lambda _: httpx.Response(200, stream=Endless()))
    with httpx.Client(transport=transport) as client, recorded.tracer.start_as_current_span("parent") as parent:
        response = client.send(client.build_request("GET", "http://example.org/"), stream=True)
        assert clients(recorded) == []
        del response
        gc.collect()
    assert_span(recorded.only("GET"), parent, abandoned=True)


def test_a_traced_body_is_still_the_library_s_own_stream(recorded: Recording) -> None:
    """response.stream satisfies the library's checks, and shows what the stream behind it has."""

    class Tagged(httpx.SyncByteStream):
        tag = "mine"

        def __iter__(self) -> Iterator[bytes]:
            yield b"body"

    transport = httpx.MockTransport(lambda _: httpx.Response(200, stream=Tagged()))
    with httpx.Client(transport=transport) as client, recorded.tracer.start_as_current_span("parent") as parent:
        with client.stream("GET", "http://example.org/") as response:
            assert isinstance(response.stream, httpx.SyncByteStream)
            stream = cast("Any", response.stream)
            assert stream._stream.tag == "mine"
            assert not hasattr(stream, "nonsense")
            assert response.read() == b"body"
        assert pickle.loads(pickle.dumps(response)).content == b"body"
    assert_span(recorded.only("GET"), parent)


@pytest.mark.asyncio
async def test_an_async_body_and_upload_stream_come_through(recorded: Recording, server: str) -> None:
    """A streamed upload reaches the server whole, read once."""

    async def chunks() -> AsyncIterator[bytes]:
        for _ in range(3):
            yield b"abc"

    async with httpx.AsyncClient(trust_env=False) as client:
        with recorded.tracer.start_as_current_span("parent") as parent:
            response = await client.put(f"{server}/echo", content=chunks())
    assert response.json()["body"] == "abcabcabc"
    assert_span(recorded.only("PUT"), parent)
