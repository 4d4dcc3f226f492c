"""The valkey patch: valkey-py is traced as redis-py is, by a patch of its own."""

from __future__ import annotations

import asyncio
import subprocess
import sys
from typing import TYPE_CHECKING, Any

import pytest
import pytest_asyncio
import valkey
import valkey.asyncio
from opentelemetry.trace import SpanKind, get_current_span
from valkey.asyncio.retry import Retry as AsyncRetry
from valkey.backoff import ConstantBackoff
from valkey.retry import Retry

from causal_otel.testing.process import LOOPBACK
from tests.faults.scripted import refused_port
from tests.patches.either import close, settle
from tests.patches.planted.waits import WAIT, assert_part
from tests.patches.valkeys import SECRET, text_of, without_parts
from tests.recording import recording
from tests.services.slow import slow
from tests.span_relations import assert_span, attributes

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterator

    from tests.recording import Recording


@pytest_asyncio.fixture(params=[valkey.Valkey, valkey.asyncio.Valkey])
async def client(request: pytest.FixtureRequest, redis_port: int) -> AsyncIterator[Any]:
    """A client of either half, on an empty database."""
    made = request.param(port=redis_port)
    await settle(made.flushall())
    await settle(made.script_flush())
    yield made
    await close(made)


@pytest.fixture
def traced() -> Iterator[Recording]:
    """The patch at work, inside a span."""
    with recording(["valkey"]) as recorded, recorded.tracer.start_as_current_span("parent"):
        yield recorded


@pytest.mark.asyncio
async def test_a_command_is_one_client_span(client: Any, redis_port: int, traced: Recording) -> None:
    """A command has the attributes that one of redis-py has; ``db.system.name`` is that of the convention."""
    assert await settle(client.set(SECRET, SECRET)) is True
    span = traced.only("SET")
    assert span.kind is SpanKind.CLIENT
    assert without_parts(assert_span(span, get_current_span())) == {
        "db.system.name": "redis",
        "db.namespace": "0",
        "db.operation.name": "SET",
        "db.query.text": "SET ? ?",
        "server.address": "localhost",
        "server.port": redis_port,
    }
    assert SECRET not in text_of(traced)


@pytest.mark.asyncio
async def test_pipelines_scripts_and_transactions(client: Any, traced: Recording) -> None:
    """Pipelines, a script that has to be loaded, the server's errors and a lost ``WATCH`` are told as redis-py's."""
    with pytest.raises(valkey.ResponseError):
        await settle(client.pipeline().set("k", "text").lpush("k", 1).execute())
    assert_span(traced.only("MULTI"), get_current_span(), error="WRONGTYPE")
    traced.clear()
    assert await settle(client.register_script("return 7")()) == 7
    assert traced.names() == ["EVALSHA", "SCRIPT LOAD", "EVALSHA"]
    for span in traced.spans:
        assert_span(span, get_current_span())
    pipeline = client.pipeline()
    await settle(pipeline.watch("k"))
    await settle(client.set("k", 1))
    pipeline.multi()
    pipeline.set("k", 2)
    with traced.tracer.start_as_current_span("work") as work, pytest.raises(valkey.WatchError):
        await settle(pipeline.execute())
    assert [event.name for event in work.events] == ["causal.transaction.rolled_back"]  # type: ignore[attr-defined]
    assert_span(traced.only("MULTI SET"), work)


@pytest.mark.asyncio
async def test_where_the_time_went(redis_port: int, traced: Recording) -> None:
    """Connecting and waiting for a lock are parts, here too."""
    with slow(LOOPBACK, redis_port) as first, slow(LOOPBACK, redis_port) as second:
        client: Any = valkey.Valkey(port=first.port)
        other: Any = valkey.asyncio.Valkey(port=second.port)
        first.once = second.once = WAIT
        await asyncio.gather(asyncio.to_thread(client.set, "planted", 1), other.set("planted", 1))
        for span in traced.spans:
            assert_span(span, get_current_span())
            assert_part(span, "causal.connect")
        traced.clear()
        locks = client.lock("planted", sleep=0.01), other.lock("planted", sleep=0.01)
        limit = WAIT / 2
        found = await asyncio.gather(
            asyncio.to_thread(locks[0].acquire, blocking_timeout=limit), locks[1].acquire(blocking_timeout=limit)
        )
        assert list(found) == [False, False]
        for span in traced.spans:
            assert_span(span, get_current_span())
            assert span.name == "LOCK"
        client.close()
        await other.aclose()


@pytest.mark.asyncio
async def test_attempts(traced: Recording) -> None:
    """Pauses between attempts are parts, here too."""
    refused: Any = {"retry_on_error": [ConnectionRefusedError]}
    with refused_port() as port:
        client = valkey.Valkey(port=port, retry=Retry(ConstantBackoff(WAIT), 1), **refused)
        other = valkey.asyncio.Valkey(port=port, retry=AsyncRetry(ConstantBackoff(WAIT), 1), **refused)
        found = await asyncio.gather(asyncio.to_thread(client.get, "k"), other.get("k"), return_exceptions=True)
        assert all(isinstance(each, valkey.ConnectionError) for each in found)
        await other.aclose()
    assert len(traced.spans) == 2
    for span in traced.spans:
        assert_span(span, get_current_span(), error="valkey.exceptions.ConnectionError")
        assert attributes(span)["causal.attempts"] == 2
        assert_part(span, "causal.retry.wait")


def test_it_is_a_patch_of_its_own() -> None:
    """``status()`` tells of it by its own name and version, apart from redis."""
    program = """
        import causal_otel, valkey
        causal_otel.install(exporter="none")
        print(*(str(patch) for patch in causal_otel.status().patches), sep="\\n")
    """
    lines = "\n".join(line.strip() for line in program.splitlines())
    done = subprocess.run([sys.executable, "-c", lines], capture_output=True, text=True, timeout=60)
    found = [line for line in done.stdout.splitlines() if line.startswith(("redis:", "valkey:"))]
    assert found[0].startswith("redis: waiting"), done
    assert found[1].startswith(f"valkey: on valkey {valkey.__version__}"), done
