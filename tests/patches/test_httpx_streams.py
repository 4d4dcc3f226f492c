"""However a streamed response is left, its span ends once."""

from __future__ import annotations

import asyncio
import gc
from typing import TYPE_CHECKING

import anyio
import httpx
import pytest

from tests.patches.http_client import clients
from tests.span_relations import assert_span

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from tests.recording import Recording

PATCHES = ["httpx"]


def _open(client: httpx.Client, url: str) -> httpx.Response:
    return client.send(client.build_request("GET", url), stream=True)


def test_closing_twice_ends_once(recorded: Recording, server: str) -> None:
    """A response that is closed again, after it was read or before, has ended already."""
    with httpx.Client(trust_env=False) as client, recorded.tracer.start_as_current_span("parent") as parent:
        for read in (True, False):
            response = _open(client, f"{server}/stream?pause=0")
            if read:
                response.read()
            response.close()
            response.close()
    assert len(clients(recorded)) == 2
    for span in clients(recorded):
        assert_span(span, parent)


@pytest.mark.asyncio
async def test_closing_in_another_task(recorded: Recording, server: str) -> None:
    """A response may be read in one task and closed in another, and at the same time: it ends once."""
    async with httpx.AsyncClient(trust_env=False) as client:
        with recorded.tracer.start_as_current_span("parent") as parent:
            response = await client.send(client.build_request("GET", f"{server}/stream?pause=0"), stream=True)
            chunks = response.aiter_raw()

            async def read() -> bytes:
                return await anext(chunks)

            assert await asyncio.create_task(read())
            await asyncio.gather(asyncio.create_task(response.aclose()), asyncio.create_task(response.aclose()))
    assert_span(recorded.only("GET"), parent)


@pytest.mark.parametrize("backend", ["asyncio", "trio"])
def test_a_reader_that_is_cancelled(recorded: Recording, server: str, backend: str) -> None:
    """A body whose reader is cancelled ends marked so, whichever event loop it is on."""

    async def read() -> None:
        async with httpx.AsyncClient(trust_env=False) as client:
            with anyio.move_on_after(0.3) as scope:
                async with client.stream("GET", f"{server}/stream?pause=30") as response:
                    await response.aread()
            assert scope.cancelled_caught

    with recorded.tracer.start_as_current_span("parent") as parent:
        anyio.run(read, backend=backend)
    assert_span(recorded.only("GET"), parent, cancelled=True)


@pytest.mark.asyncio
async def test_a_reader_that_stops_without_closing(recorded: Recording) -> None:
    """A body that is left in the middle, and then forgotten with its response, ends once, marked as abandoned."""

    class Endless(httpx.AsyncByteStream):
        async def __aiter__(self) -> AsyncIterator[bytes]:
            while True:
                yield b"more"

    async with httpx.AsyncClient(
        transport=httpx.MockTransport(lambda _: httpx.Response(200, stream=Endless()))
    ) as client:
        with recorded.tracer.start_as_current_span("parent") as parent:
            response = await client.send(client.build_request("GET", "http://example.org/"), stream=True)
            chunks = response.aiter_raw()
            await anext(chunks)
            await chunks.aclose()  # type: ignore[attr-defined]  # it is a generator
            assert clients(recorded) == []
            del chunks, response
            for _ in range(100):  # turns in which the event loop closes the generators that are forgotten
                if not clients(recorded):
                    gc.collect()
                    await asyncio.sleep(0)
    assert_span(recorded.only("GET"), parent, abandoned=True)


def test_a_response_of_an_error_is_one_span(recorded: Recording, server: str) -> None:
    """What ``raise_for_status()`` raises in the middle of a stream ends it as the status says."""
    with (
        httpx.Client(trust_env=False) as client,
        recorded.tracer.start_as_current_span("parent") as parent,
        pytest.raises(httpx.HTTPStatusError),
        client.stream("GET", f"{server}/status/418") as response,
    ):
        response.raise_for_status()
    assert_span(recorded.only("GET"), parent, error="418")
