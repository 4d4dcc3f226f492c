"""Where the time of a request went: a wait that is planted in one place is in the part that it belongs to."""

from __future__ import annotations

import socket
import threading
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING, Any

import anyio
import httpx
import httpx2
import pytest

from causal_otel.names import (
    CAUSAL_CONNECT,
    CAUSAL_CONNECT_DNS,
    CAUSAL_CONNECT_PROXY,
    CAUSAL_CONNECT_TLS,
    CAUSAL_FETCH,
    CAUSAL_POOL_WAIT,
    CAUSAL_RETRY_WAIT,
    CAUSAL_SERVER,
)
from tests.faults.scripted import refused_port
from tests.patches.http_client import clients
from tests.patches.planted.http_servers import (
    answering,
    certificates,
    full,
    http2,
    securing,
    serving,
    socks,
    tunnelling,
)
from tests.patches.planted.waits import WAIT, assert_no_part, assert_part, parts
from tests.recording import Recording, recording
from tests.span_relations import assert_span, attributes
from tests.waiting import pause, wait_until

if TYPE_CHECKING:
    from opentelemetry.sdk.trace import ReadableSpan

HOST = "httpx.test"


@dataclass(frozen=True)
class Kind:
    """A kind of clients.

    Args:
        library: whose.
        backend: the event loop's; None: they are synchronous.
    """

    library: ModuleType
    backend: str | None

    def get(self, traced: Recording, url: str, fails: type[Exception] | None = None, **options: Any) -> ReadableSpan:
        """The span of a request of a client with these options, whose body has been read, or which fails."""
        with traced.tracer.start_as_current_span("parent") as parent:
            if fails is None:
                assert self._get(url, options) == b"firstlater"
            else:
                with pytest.raises(fails):
                    self._get(url, options)
        span = traced.only("GET")
        assert_span(span, parent, error=None if fails is None else f"{fails.__module__}.{fails.__name__}")
        return span

    def _get(self, url: str, options: dict[str, Any]) -> bytes:
        if self.backend is None:
            with self.library.Client(trust_env=False, **options) as client:
                return bytes(client.get(url).content)

        async def get() -> bytes:
            async with self.library.AsyncClient(trust_env=False, **options) as client:
                return bytes((await client.get(url)).content)

        return anyio.run(get, backend=self.backend)

    def transport(self, **options: Any) -> Any:
        """A transport of its own."""
        return (self.library.HTTPTransport if self.backend is None else self.library.AsyncHTTPTransport)(**options)


KINDS = {
    "httpx sync": Kind(httpx, None),
    "httpx asyncio": Kind(httpx, "asyncio"),
    "httpx trio": Kind(httpx, "trio"),
    "httpx2 sync": Kind(httpx2, None),
    "httpx2 asyncio": Kind(httpx2, "asyncio"),
    "httpx2 trio": Kind(httpx2, "trio"),
}


@pytest.fixture(
    params=[
        pytest.param(kind, id=name, marks=[pytest.mark.long] * (kind.library is httpx2)) for name, kind in KINDS.items()
    ]
)
def kind(request: pytest.FixtureRequest) -> Kind:
    """Each of them."""
    found: Kind = request.param
    return found


@pytest.fixture
def traced() -> Iterator[Recording]:
    """The patch at work."""
    with recording(["httpx"]) as kept:
        yield kept


@pytest.fixture
def slow_name(monkeypatch: pytest.MonkeyPatch) -> None:
    """The name of the host is looked up slowly."""
    lookup = socket.getaddrinfo

    def getaddrinfo(host: Any, *args: Any, **kwargs: Any) -> Any:
        if host in (HOST, HOST.encode()):
            pause(WAIT)
            host = "127.0.0.1"
        return lookup(host, *args, **kwargs)

    monkeypatch.setattr(socket, "getaddrinfo", getaddrinfo)


def test_a_pool_without_a_free_connection(kind: Kind, traced: Recording) -> None:
    """Waiting for a connection of the pool is ``causal.pool.wait``, with how big that is and how many waited."""
    transport = kind.transport(limits=kind.library.Limits(max_connections=1))

    def waiting() -> bool:
        return any(each.is_queued() for each in list(transport._pool._requests))

    def plain(url: str) -> None:
        with kind.library.Client(transport=transport) as client, client.stream("GET", url) as held:
            other = threading.Thread(target=client.get, args=(url,))
            other.start()
            wait_until(waiting)
            pause(WAIT)
            held.read()
            other.join()

    async def asynchronous(url: str) -> None:
        async with (
            kind.library.AsyncClient(transport=transport) as client,
            anyio.create_task_group() as tasks,
            client.stream("GET", url) as held,
        ):
            tasks.start_soon(client.get, url)
            await anyio.to_thread.run_sync(wait_until, waiting)
            await anyio.sleep(WAIT)
            await held.aread()

    with serving(answering()) as port:
        if kind.backend is None:
            plain(f"http://127.0.0.1:{port}/")
        else:
            anyio.run(asynchronous, f"http://127.0.0.1:{port}/", backend=kind.backend)
    span = clients(traced)[-1]
    assert_part(span, CAUSAL_POOL_WAIT)
    assert (attributes(span)["causal.pool.size"], attributes(span)["causal.pool.waiting"]) == (1, 0)


def test_a_name_that_is_looked_up_slowly(kind: Kind, traced: Recording, slow_name: None) -> None:
    """Looking a name up is ``causal.connect.dns``."""
    with serving(answering()) as port:
        assert_part(kind.get(traced, f"http://{HOST}:{port}/"), CAUSAL_CONNECT_DNS)


def test_a_server_that_accepts_late(kind: Kind, traced: Recording) -> None:
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
            span = kind.get(traced, f"http://127.0.0.1:{listener.getsockname()[1]}/")
        finally:
            done.set()
            server.join()
    assert_part(span, CAUSAL_CONNECT)
    assert CAUSAL_CONNECT_TLS not in parts(span)


def test_a_slow_handshake_of_tls(kind: Kind, traced: Recording) -> None:
    """Negotiating TLS is ``causal.connect.tls``."""
    server, client = certificates()
    with serving(securing(server, answering(), WAIT)) as port:
        assert_part(kind.get(traced, f"https://127.0.0.1:{port}/", verify=client), CAUSAL_CONNECT_TLS)


def test_a_proxy_that_connects_slowly(kind: Kind, traced: Recording) -> None:
    """What a proxy takes over CONNECT is ``causal.connect.proxy``, and TLS behind it is told apart."""
    server, client = certificates()
    with serving(tunnelling(securing(server, answering()))) as port:
        span = kind.get(traced, "https://127.0.0.1/", verify=client, proxy=f"http://127.0.0.1:{port}")
    assert_part(span, CAUSAL_CONNECT_PROXY)


def test_a_proxy_that_refuses(kind: Kind, traced: Recording) -> None:
    """A request that a proxy refuses has waited for nothing but that, and has failed."""
    with serving(tunnelling(lambda connection: None, status=b"403 No")) as port:
        proxy = f"http://127.0.0.1:{port}"
        span = kind.get(traced, "https://127.0.0.1/", kind.library.ProxyError, proxy=proxy)
    assert_part(span, CAUSAL_CONNECT_PROXY)


def test_a_proxy_that_greets_slowly(kind: Kind, traced: Recording) -> None:
    """So is what a SOCKS proxy takes."""
    with serving(socks(answering())) as port:
        span = kind.get(traced, "http://127.0.0.1/", proxy=f"socks5://127.0.0.1:{port}")
    assert_part(span, CAUSAL_CONNECT_PROXY)


def test_a_slow_first_byte(kind: Kind, traced: Recording) -> None:
    """What passes until the server answers is ``causal.server``."""
    with serving(answering(before=WAIT)) as port:
        assert_part(kind.get(traced, f"http://127.0.0.1:{port}/"), CAUSAL_SERVER)


def test_a_slow_server_on_a_unix_socket(kind: Kind, traced: Recording, tmp_path: Path) -> None:
    """So it is where the server listens on a Unix socket."""
    listener = socket.socket(socket.AF_UNIX)
    listener.bind(str(tmp_path / "http"))
    listener.listen()
    with serving(answering(before=WAIT), listener):
        transport = kind.transport(uds=str(tmp_path / "http"))
        assert_part(kind.get(traced, "http://127.0.0.1/", transport=transport), CAUSAL_SERVER)


def test_a_slow_server_of_http2(kind: Kind, traced: Recording) -> None:
    """So it is over HTTP/2."""
    server, client = certificates()
    server.set_alpn_protocols(["h2"])
    with serving(securing(server, http2(WAIT))) as port:
        span = kind.get(traced, f"https://127.0.0.1:{port}/", verify=client, http2=True)
    assert attributes(span)["network.protocol.version"] == "2"
    assert_part(span, CAUSAL_SERVER)


def test_a_slow_body(kind: Kind, traced: Recording) -> None:
    """What passes until the body is complete is ``causal.fetch``."""
    with serving(answering(between=WAIT)) as port:
        assert_part(kind.get(traced, f"http://127.0.0.1:{port}/"), CAUSAL_FETCH)


def test_a_pause_between_attempts_to_connect(kind: Kind, traced: Recording) -> None:
    """What httpcore's own retries pause is ``causal.retry.wait``: half a second before the second."""
    with refused_port() as port:
        transport = kind.transport(retries=2)
        span = kind.get(traced, f"http://127.0.0.1:{port}/", kind.library.ConnectError, transport=transport)
    assert_part(span, CAUSAL_RETRY_WAIT)


def test_a_slow_reader(kind: Kind, traced: Recording) -> None:
    """What the application does between two chunks of a body is in no part."""

    def plain(url: str) -> None:
        with kind.library.Client(trust_env=False) as client, client.stream("GET", url) as response:
            for _ in response.iter_raw():
                pause(WAIT)

    async def asynchronous(url: str) -> None:
        async with kind.library.AsyncClient(trust_env=False) as client, client.stream("GET", url) as response:
            async for _ in response.aiter_raw():
                await anyio.sleep(WAIT)

    with serving(answering()) as port:
        if kind.backend is None:
            plain(f"http://127.0.0.1:{port}/")
        else:
            anyio.run(asynchronous, f"http://127.0.0.1:{port}/", backend=kind.backend)
    assert_no_part(traced.only("GET"))
