"""Where the time of a request of aiohttp's went: a wait that is planted in one place is in the part it belongs to."""

from __future__ import annotations

import asyncio
import socket
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import aiohttp
import pytest

from causal_otel.names import (
    CAUSAL_CONNECT,
    CAUSAL_CONNECT_DNS,
    CAUSAL_CONNECT_PROXY,
    CAUSAL_CONNECT_TLS,
    CAUSAL_FETCH,
    CAUSAL_POOL_WAIT,
    CAUSAL_SERVER,
)
from tests.patches.http_client import clients
from tests.patches.planted.http_servers import answering, certificates, full, securing, serving, tunnelling
from tests.patches.planted.waits import WAIT, assert_no_part, assert_part, parts
from tests.recording import Recording, recording
from tests.span_relations import assert_span, attributes
from tests.waiting import pause

if TYPE_CHECKING:
    from opentelemetry.sdk.trace import ReadableSpan


@pytest.fixture
def traced() -> Iterator[Recording]:
    """The patch at work."""
    with recording(["aiohttp"]) as kept:
        yield kept


def get(
    traced: Recording,
    url: str,
    error: type[Exception] | None = None,
    *,
    connector: Any = aiohttp.TCPConnector,
    **options: Any,
) -> ReadableSpan:
    """The span of a request whose body has been read, or which fails."""

    async def main() -> bytes:
        async with aiohttp.ClientSession(connector=connector()) as session, session.get(url, **options) as response:
            return await response.read()

    with traced.tracer.start_as_current_span("parent") as parent:
        if error is None:
            assert asyncio.run(main()) == b"firstlater"
        else:
            with pytest.raises(error):
                asyncio.run(main())
    span = traced.only("GET")
    assert_span(span, parent, error=None if error is None else f"{error.__module__}.{error.__name__}")
    return span


@pytest.mark.parametrize("limits", [{"limit": 1}, {"limit": 10, "limit_per_host": 1}], ids=["all", "a host"])
def test_a_pool_without_a_free_connection(traced: Recording, limits: dict[str, Any]) -> None:
    """Waiting for a connection is ``causal.pool.wait``, with how big the pool is and how many waited."""

    async def main(url: str) -> None:
        async with aiohttp.ClientSession(connector=aiohttp.TCPConnector(**limits)) as session:

            async def other() -> None:
                async with session.get(url) as response:
                    await response.read()

            async with session.get(url) as held:
                waiting = asyncio.ensure_future(other())
                await asyncio.sleep(WAIT)
                await held.read()
            await waiting

    # The second half of its body comes when it has been waited for.
    with serving(answering(between=WAIT)) as port:
        asyncio.run(main(f"http://127.0.0.1:{port}/"))
    span = max(clients(traced), key=lambda span: attributes(span).get(CAUSAL_POOL_WAIT, 0))
    assert attributes(span)[CAUSAL_POOL_WAIT] >= 0.5 * WAIT
    assert (attributes(span)["causal.pool.size"], attributes(span)["causal.pool.waiting"]) == (1, 0)


def test_a_name_that_is_looked_up_slowly(traced: Recording) -> None:
    """Looking a name up is ``causal.connect.dns``."""

    class Slow(aiohttp.abc.AbstractResolver):
        async def resolve(self, host: str, port: int = 0, family: Any = socket.AF_INET) -> list[Any]:
            await asyncio.sleep(WAIT)
            return [{"hostname": host, "host": "127.0.0.1", "port": port, "family": family, "proto": 0, "flags": 0}]

        async def close(self) -> None:
            pass

    with serving(answering()) as port:
        url = f"http://aiohttp.test:{port}/"
        assert_part(get(traced, url, connector=lambda: aiohttp.TCPConnector(resolver=Slow())), CAUSAL_CONNECT_DNS)


def test_a_server_that_accepts_late(traced: Recording) -> None:
    """A connection that TCP has to ask for again is ``causal.connect``, and no part of that."""
    listener = socket.create_server(("127.0.0.1", 0), backlog=0)
    done = threading.Event()

    def serve() -> None:
        pause(WAIT)
        with serving(answering(), listener):
            done.wait(60)

    server = threading.Thread(target=serve)
    with full(listener):
        server.start()
        try:
            span = get(traced, f"http://127.0.0.1:{listener.getsockname()[1]}/")
        finally:
            done.set()
            server.join()
    assert_part(span, CAUSAL_CONNECT)
    assert CAUSAL_CONNECT_TLS not in parts(span)


def test_a_slow_handshake_of_tls(traced: Recording) -> None:
    """Negotiating TLS is ``causal.connect.tls``."""
    server, client = certificates()
    with serving(securing(server, answering(), WAIT)) as port:
        assert_part(get(traced, f"https://127.0.0.1:{port}/", ssl=client), CAUSAL_CONNECT_TLS)


def test_a_proxy_that_connects_slowly(traced: Recording) -> None:
    """What a proxy takes over CONNECT is ``causal.connect.proxy``, and TLS behind it is told apart."""
    server, client = certificates()
    with serving(tunnelling(securing(server, answering()))) as port:
        span = get(traced, "https://127.0.0.1/", ssl=client, proxy=f"http://127.0.0.1:{port}")
    assert_part(span, CAUSAL_CONNECT_PROXY)


def test_tls_behind_a_proxy(traced: Recording) -> None:
    """Negotiating TLS through a tunnel is ``causal.connect.tls`` as well."""
    server, client = certificates()
    with serving(tunnelling(securing(server, answering(), WAIT), wait=0.0)) as port:
        span = get(traced, "https://127.0.0.1/", ssl=client, proxy=f"http://127.0.0.1:{port}")
    assert_part(span, CAUSAL_CONNECT_TLS)


def test_a_proxy_that_refuses(traced: Recording) -> None:
    """A request that a proxy refuses has waited for nothing but that, and has failed."""
    with serving(tunnelling(lambda connection: None, status=b"403 No")) as port:
        span = get(traced, "https://127.0.0.1/", aiohttp.ClientHttpProxyError, proxy=f"http://127.0.0.1:{port}")
    assert_part(span, CAUSAL_CONNECT_PROXY)


def test_a_slow_first_byte(traced: Recording) -> None:
    """What passes until the server answers is ``causal.server``."""
    with serving(answering(before=WAIT)) as port:
        assert_part(get(traced, f"http://127.0.0.1:{port}/"), CAUSAL_SERVER)


def test_a_slow_server_on_a_unix_socket(traced: Recording, tmp_path: Path) -> None:
    """So it is where the server listens on a Unix socket."""
    listener = socket.socket(socket.AF_UNIX)
    listener.bind(str(tmp_path / "http"))
    listener.listen()
    with serving(answering(before=WAIT), listener):
        span = get(traced, "http://127.0.0.1/", connector=lambda: aiohttp.UnixConnector(str(tmp_path / "http")))
    assert_part(span, CAUSAL_SERVER)


def test_a_slow_body(traced: Recording) -> None:
    """What passes until the body is complete is ``causal.fetch``."""
    with serving(answering(between=WAIT)) as port:
        assert_part(get(traced, f"http://127.0.0.1:{port}/"), CAUSAL_FETCH)


def test_a_slow_reader(traced: Recording) -> None:
    """What the application does between two chunks of a body is in no part."""

    async def main(url: str) -> None:
        async with aiohttp.ClientSession() as session, session.get(url) as response:
            async for _ in response.content.iter_any():
                await asyncio.sleep(WAIT)

    with serving(answering()) as port:
        asyncio.run(main(f"http://127.0.0.1:{port}/"))
    assert_no_part(traced.only("GET"))
