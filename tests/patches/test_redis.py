"""The redis patch, against Valkey: a command is one span without its values, and what is no command is none."""

from __future__ import annotations

import contextlib
from typing import Any

import pytest
import redis
import redis.asyncio
from opentelemetry.sdk.trace.sampling import ALWAYS_OFF
from opentelemetry.trace import SpanKind, get_current_span
from redis.asyncio.retry import Retry as AsyncRetry
from redis.backoff import NoBackoff
from redis.retry import Retry

from causal_otel.engine.context import suppress
from causal_otel.patches.redis import RedisOptions
from causal_otel.testing.process import LOOPBACK
from tests.faults.scripted import refused_port
from tests.patches.either import close, settle
from tests.patches.valkeys import SECRET, TELLS_CODES, TIMEOUT, text_of, without_parts
from tests.recording import Recording, recording
from tests.span_relations import assert_span, attributes


@pytest.mark.asyncio
async def test_a_command_is_one_client_span(client: Any, redis_port: int) -> None:
    """A command is a CLIENT span below the current one, named after the command, with the convention's attributes."""
    with recording(["redis"]) as recorded:
        with recorded.tracer.start_as_current_span("parent") as parent:
            assert await settle(client.set("key", "value")) is True
            assert await settle(client.get("key")) == b"value"
        stored, read = recorded.spans[:2]
    assert (stored.name, read.name) == ("SET", "GET")
    assert stored.kind is SpanKind.CLIENT
    assert_span(read, parent)
    assert without_parts(assert_span(stored, parent)) == {
        "db.system.name": "redis",
        "db.namespace": "0",
        "db.operation.name": "SET",
        "db.query.text": "SET ? ?",
        "server.address": LOOPBACK,
        "server.port": redis_port,
    }


def test_only_what_is_known_is_an_attribute() -> None:
    """The default port is left out, as the convention asks, and so is a database that is not known."""

    def told(**options: Any) -> dict[str, Any]:
        """The attributes of a command that does not reach its server."""
        client = redis.Redis(host="127.0.0.2", retry=Retry(NoBackoff(), 0), **options)
        with recording(["redis"]) as recorded, recorded.tracer.start_as_current_span("parent") as parent:
            with pytest.raises(redis.ConnectionError):
                client.get("key")
            return without_parts(assert_span(recorded.only("GET"), parent, error="redis.exceptions.ConnectionError"))

    assert told() == {
        "db.system.name": "redis",
        "db.namespace": "0",
        "db.operation.name": "GET",
        "db.query.text": "GET ?",
        "server.address": "127.0.0.2",
        "error.type": "redis.exceptions.ConnectionError",
    }
    with refused_port() as port:
        found = told(port=str(port), db=None)
    assert found["server.port"] == port
    assert "db.namespace" not in found


@pytest.mark.asyncio
async def test_an_unknown_command_is_other(client: Any, traced: Recording) -> None:
    """What is no command gives neither its name nor its arguments away."""
    with pytest.raises(redis.ResponseError):
        await settle(client.execute_command(SECRET, "argument"))
    found = assert_span(traced.only("OTHER"), get_current_span(), error="ERR")
    assert found["db.operation.name"] == "OTHER"
    assert "db.query.text" not in found
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
    parent = get_current_span()
    assert assert_span(traced.only("FCALL"), parent)["db.stored_procedure.name"] == "double"
    assert assert_span(traced.only("EVALSHA"), parent)["db.stored_procedure.name"] == sha
    assert assert_span(traced.only("EVAL"), parent)["db.query.text"] == "EVAL ? ?"
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
    assert traced.names() == ["SET", "HSET", "AUTH", "AUTH", "HELLO", "CONFIG", "MULTI"]
    for span in traced.spans:
        assert_span(span, get_current_span(), error=attributes(span).get("error.type"))
    assert_span(traced.only("MULTI"), get_current_span(), error="*")
    assert SECRET not in text_of(traced)


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
    assert_span(traced.only("PUBLISH"), get_current_span())
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
    parent, error = get_current_span(), "NOAUTH" if TELLS_CODES else "redis.exceptions.AuthenticationError"
    outcomes = zip(traced.spans, (None, None, error), strict=True)
    stored, read, _ = (assert_span(span, parent, error=failed) for span, failed in outcomes)
    assert (stored["db.namespace"], stored["server.port"]) == ("3", port)
    assert read["server.address"] == socket
    assert "server.port" not in read
    assert "db.namespace" not in read
    assert SECRET not in text_of(traced)
