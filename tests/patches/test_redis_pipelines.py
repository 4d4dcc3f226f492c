"""Pipelines, transactions, scripts and locks: a pipeline is one span, and what it has to prepare is none."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
import redis
import redis.asyncio
from opentelemetry.trace import get_current_span

from causal_otel.engine.context import suppress
from causal_otel.testing.process import LOOPBACK
from tests.patches.either import settle
from tests.patches.valkeys import SECRET, TELLS_CODES, text_of
from tests.span_relations import assert_span

if TYPE_CHECKING:
    from tests.recording import Recording


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
    first, second, third = (assert_span(span, get_current_span()) for span in traced.spans)
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
    found = assert_span(traced.only("MULTI"), get_current_span())
    assert found["db.operation.batch.size"] == 1000
    assert found["db.query.text"] == "; ".join(["SET ? ?; GET ?"] * 10) + "; ..."


@pytest.mark.asyncio
async def test_a_command_that_no_text_shows_counts(client: Any, traced: Recording) -> None:
    """A pipeline is named after a command only if all are that one; its size is its own, whatever others were like."""
    for size, last in ((21, "set"), (22, "set"), (21, "delete")):
        pipeline = client.pipeline(transaction=False)
        for number in range(size - 1):
            pipeline.set("k", number)
        pipeline.set("k", size) if last == "set" else pipeline.delete("k")
        await settle(pipeline.execute())
    assert traced.names() == ["PIPELINE SET", "PIPELINE SET", "PIPELINE"]
    found = [assert_span(span, get_current_span()) for span in traced.spans]
    assert [each["db.operation.batch.size"] for each in found] == [21, 22, 21]
    assert {each["db.query.text"] for each in found} == {"; ".join(["SET ? ?"] * 20) + "; ..."}


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
    assert assert_span(returned, get_current_span(), error=code)["db.response.status_code"] == code
    found = assert_span(raised, get_current_span(), error="*")
    if TELLS_CODES:
        assert found["error.type"] == found["db.response.status_code"] == code
    assert found["error.type"] in (code, "redis.exceptions.ResponseError")
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
    for span in traced.spans:
        assert_span(span, get_current_span())
    await settle(pipeline.reset())


@pytest.mark.asyncio
async def test_loading_a_script_is_no_error(client: Any, traced: Recording) -> None:
    """The first use of a script object, which finds that the server does not have it, shows no error."""
    script = client.register_script("return 7")
    assert await settle(script()) == 7
    assert traced.names() == ["EVALSHA", "SCRIPT LOAD", "EVALSHA"]
    for span in traced.spans:
        assert_span(span, get_current_span())
    traced.clear()
    with pytest.raises(redis.ResponseError):
        await settle(client.register_script("return redis.call('LPUSH')")())
    assert_span(traced.spans[-1], get_current_span(), error="ERR")


@pytest.mark.asyncio
async def test_a_lock_shows_no_error(client: Any, traced: Recording) -> None:
    """Taking and releasing a lock for the first time shows no error."""
    lock = client.lock("lock", timeout=10)
    assert await settle(lock.acquire())
    await settle(lock.release())
    assert traced.names() == ["LOCK", "EVALSHA", "SCRIPT LOAD", "EVALSHA"]
    for span in traced.spans:
        assert_span(span, get_current_span())


@pytest.mark.asyncio
async def test_scripts_of_a_pipeline_are_checked_silently(client: Any, traced: Recording) -> None:
    """Making sure that the server has a pipeline's scripts is part of the pipeline's span."""
    script = client.register_script("return 7")
    pipeline = client.pipeline()
    await settle(script(client=pipeline))
    assert await settle(pipeline.execute()) == [7]
    assert traced.names() == ["MULTI EVALSHA"]
    assert_span(traced.only(), get_current_span())
