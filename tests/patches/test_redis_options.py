"""What the options of the redis patch show and refuse, and what a transaction that was undone leaves behind."""

from __future__ import annotations

from typing import Any

import pytest
import redis
from opentelemetry.trace import get_current_span

from causal_otel.patches.redis import RedisOptions
from causal_otel.patches.valkey import ValkeyOptions
from tests.patches.either import settle
from tests.patches.valkeys import SECRET, text_of
from tests.recording import Recording, recording
from tests.span_relations import assert_span, attributes


@pytest.mark.asyncio
async def test_keys_are_shown_if_asked_for(client: Any) -> None:
    """With ``keys`` a text shows keys and nothing else, of commands and of pipelines."""
    with recording({"redis": RedisOptions(keys=True)}) as recorded:
        await settle(client.mset({"one": SECRET, "two words": SECRET}))
        await settle(client.hset("hash", SECRET, SECRET))
        await settle(client.eval(f"return '{SECRET}'", 1, "key", SECRET))
        await settle(client.get(b"\xff\n" + b"k" * 70))
        await settle(client.pipeline().set("one", SECRET).incr("number").execute())
        await settle(client.ping())
        texts = [assert_span(span, None)["db.query.text"] for span in recorded.spans]
        assert SECRET not in text_of(recorded)
    assert texts == [
        "MSET one ? two\\x20words ?",
        "HSET hash ? ?",
        "EVAL ? ? key ?",
        "GET \\\\xff\\n" + "k" * 59 + "…",
        "SET one ?; INCRBY number ?",
    ]


@pytest.mark.asyncio
async def test_texts_are_left_out_if_asked_for(client: Any) -> None:
    """Without ``query_text`` there is no text, whatever else is asked for."""
    with recording({"redis": RedisOptions(query_text=False, keys=True)}) as recorded:
        await settle(client.set("one", 1))
        await settle(client.pipeline().set("one", 1).get("one").execute())
        assert recorded.names() == ["SET", "MULTI"]
        for span in recorded.spans:
            assert "db.query.text" not in assert_span(span, None)


@pytest.mark.parametrize("options", [RedisOptions, ValkeyOptions])
def test_what_redis_has_no_place_for_is_refused(options: Any) -> None:
    """Options of databases that mean nothing in Redis are refused with a sentence, not ignored."""
    with pytest.raises(ValueError, match="keys=True shows keys"):
        options(parameters=True)
    with pytest.raises(ValueError, match="no place"):
        options(traceparent=True)


@pytest.mark.asyncio
async def test_a_transaction_that_a_changed_key_undid(client: Any, traced: Recording) -> None:
    """A lost ``WATCH`` is an event on the span that is current, once for each attempt, and no error of any span."""
    pipeline = client.pipeline()
    await settle(pipeline.watch("watched"))
    await settle(client.set("watched", 1))
    pipeline.multi()
    pipeline.set("watched", 2)
    with traced.tracer.start_as_current_span("work") as work, pytest.raises(redis.WatchError):
        await settle(pipeline.execute())
    assert [event.name for event in work.events] == ["causal.transaction.rolled_back"]  # type: ignore[attr-defined]
    multi = traced.only("MULTI SET")
    assert_span(multi, work)
    assert not multi.events


@pytest.mark.asyncio
async def test_a_mixed_pipeline_is_described_by_its_first_commands(client: Any, traced: Recording) -> None:
    """A pipeline is named after a command only if all of it is that one, however long; words of callers are OTHER."""
    long = client.pipeline()
    for number in range(30):
        long.set("k", number)
    await settle(long.execute())
    mixed = client.pipeline()
    for number in range(30):
        mixed.set("k", number)
    mixed.get("k")
    await settle(mixed.execute())
    odd = client.pipeline(transaction=False)
    odd.execute_command("set", "k", 1)
    odd.execute_command(SECRET, 1)
    await settle(odd.execute(raise_on_error=False))
    pings = client.pipeline(transaction=False)
    for _ in range(25):
        pings.ping()
    pings.set("k", 1)
    await settle(pings.execute())
    assert traced.names() == ["MULTI SET", "MULTI", "PIPELINE", "PIPELINE"]
    first, second, third, _ = traced.spans
    twenty = "; ".join(["SET ? ?"] * 20) + "; ..."
    for span, size in ((first, 30), (second, 31)):
        found = assert_span(span, get_current_span())
        assert (found["db.operation.batch.size"], found["db.query.text"]) == (size, twenty)
    assert assert_span(third, get_current_span(), error="ERR")["db.query.text"] == "SET ? ?; OTHER ? ?"
    assert SECRET not in text_of(traced)


@pytest.mark.asyncio
async def test_a_lock_is_one_operation(client: Any, redis_port: int, traced: Recording) -> None:
    """Taking a lock is LOCK, whether or not it is had; extending it is the call of a script; its name is not shown."""
    lock, other = client.lock(SECRET, timeout=10), client.lock(SECRET, timeout=10)
    assert await settle(lock.acquire()) is True
    assert await settle(other.acquire(blocking=False)) is False
    await settle(lock.extend(5))
    had, refused = traced.spans[:2]
    for span, acquired in ((had, True), (refused, False)):
        found = assert_span(span, get_current_span())
        assert found["causal.lock.acquired"] is acquired
        assert (span.name, found["db.operation.name"], found["server.port"]) == ("LOCK", "LOCK", redis_port)
        assert "db.query.text" not in found
    assert set(traced.names()[2:]) <= {"EVALSHA", "SCRIPT LOAD"}
    assert SECRET not in text_of(traced)
    assert "causal.lock.wait" not in attributes(had)
