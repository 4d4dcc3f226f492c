"""Steps of the sequences for redis-py and valkey-py, of either half: commands, pipelines and scripts."""

from __future__ import annotations

import contextlib
import importlib
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from tests.patches.either import settle

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = ["COMMANDS", "State"]


@dataclass
class State:
    """What a sequence uses.

    Attributes:
        url: the server's.
        half: the module with the classes.
        errors: the module with the exceptions.
        client: a client.
        subscriptions: subscriptions that were not ended.
    """

    url: str
    half: Any
    errors: Any
    client: Any
    subscriptions: list[Any]

    def make(self, retries: int = 0, **options: Any) -> Any:
        """A client that tries again so often, at once."""
        package = self.errors.__name__
        retry = _module(package, self.half, "retry").Retry(
            _module(package, self.errors, "backoff").NoBackoff(), retries
        )
        kind: Any = getattr(self.half, package.capitalize())
        return kind.from_url(self.url, retry=retry, **{"socket_timeout": None, **options})


def _module(package: str, half: Any, name: str) -> Any:
    return importlib.import_module(f"{half.__name__}.{name}")


def _commands(state: State) -> Any:
    return state.client.set("string", 1)


async def _several(state: State) -> Any:
    await settle(state.client.delete("hash"))
    await settle(state.client.hset("hash", mapping={"a": "1", "b": "2"}))
    return await settle(state.client.hgetall("hash"))


async def _wrong_type(state: State) -> Any:
    await settle(state.client.set("string", "x"))
    return await settle(state.client.lpush("string", 1))


async def _unknown(state: State) -> Any:
    return await settle(state.client.execute_command("NOSUCH", 1))


async def _wrong_argument(state: State) -> Any:
    return await settle(state.client.set("string", object()))


async def _no_argument(state: State) -> Any:
    return await settle(state.client.execute_command())


async def _scan(state: State) -> Any:
    keys = state.client.scan_iter()
    async with contextlib.aclosing(keys) if hasattr(keys, "aclose") else contextlib.nullcontext():
        return [key async for key in keys] == [] if hasattr(keys, "__aiter__") else list(keys) == []


async def _scan_left(state: State) -> Any:
    await settle(state.client.set("string", 1))
    keys = state.client.scan_iter(count=1)
    if not hasattr(keys, "__aiter__"):
        next(keys)
        keys.close()
        return
    await anext(keys)
    await keys.aclose()


async def _pipeline(state: State) -> Any:
    return await settle(state.client.pipeline().set("string", 1).get("string").execute())


async def _empty_pipeline(state: State) -> Any:
    return await settle(state.client.pipeline().execute())


async def _failing_pipeline(state: State) -> Any:
    return await settle(state.client.pipeline().set("string", 1).lpush("string", 1).execute())


async def _pipeline_that_returns_errors(state: State) -> Any:
    pipeline = state.client.pipeline(transaction=False).set("string", 1).lpush("string", 1).execute_command("NOSUCH")
    return await settle(pipeline.execute(raise_on_error=False))


async def _aborted_transaction(state: State) -> Any:
    return await settle(state.client.pipeline().set("string", 1).execute_command("NOSUCH").execute())


async def _pipeline_left(state: State) -> Any:
    pipeline = state.client.pipeline()
    pipeline.set("string", 2)
    await settle(pipeline.reset())
    return len(pipeline)


async def _watched(state: State) -> Any:
    pipeline = state.client.pipeline()
    await settle(pipeline.watch("watched"))
    before = await settle(pipeline.get("watched"))
    pipeline.multi()
    return before, await settle(pipeline.set("watched", 1).execute())


async def _lost(state: State) -> Any:
    pipeline = state.client.pipeline()
    await settle(pipeline.watch("watched"))
    await settle(state.client.append("watched", "x"))
    pipeline.multi()
    return await settle(pipeline.set("watched", 2).execute())


async def _error_while_watching(state: State) -> Any:
    pipeline = state.client.pipeline()
    await settle(state.client.set("string", 1))
    await settle(pipeline.watch("string"))
    try:
        await settle(pipeline.lpush("string", 1))
    finally:
        await settle(pipeline.reset())


async def _unwatched(state: State) -> Any:
    pipeline = state.client.pipeline()
    await settle(pipeline.watch("watched"))
    await settle(pipeline.unwatch())
    return await settle(pipeline.get("watched").execute())


async def _tried_again(state: State) -> Any:
    attempts = []

    def work(pipeline: Any) -> Any:
        attempts.append(pipeline)
        if len(attempts) == 1:
            with contextlib.closing(getattr(state.errors, type(state.client).__name__).from_url(state.url)) as other:
                other.append("watched", "x")
        pipeline.multi()
        return pipeline.set("watched", 3)

    async def awaited(pipeline: Any) -> Any:
        return work(pipeline)

    unit = work if state.half is state.errors else awaited
    return await settle(state.client.transaction(unit, "watched")), len(attempts)


async def _script(state: State) -> Any:
    return await settle(state.client.register_script("return ARGV[1]")(args=[1]))


async def _forget_scripts(state: State) -> Any:
    return await settle(state.client.script_flush())


async def _failing_script(state: State) -> Any:
    return await settle(state.client.register_script("return redis.call('NOSUCH')")())


async def _script_in_a_pipeline(state: State) -> Any:
    script = state.client.register_script("return redis.call('GET', KEYS[1])")
    pipeline = state.client.pipeline().set("string", 1)
    await settle(script(keys=["string"], client=pipeline))
    return await settle(pipeline.execute())


async def _wrong_script(state: State) -> Any:
    return await settle(state.client.eval("no lua", 0))


async def _unknown_script(state: State) -> Any:
    return await settle(state.client.evalsha("0" * 40, 0))


async def _nothing_to_pop(state: State) -> Any:
    return await settle(state.client.blpop("empty", timeout=0.01))


COMMANDS: dict[str, Callable[[State], Any]] = {
    "set": _commands,
    "several": _several,
    "wrong type": _wrong_type,
    "unknown": _unknown,
    "wrong argument": _wrong_argument,
    "no argument": _no_argument,
    "scan": _scan,
    "scan left": _scan_left,
    "pipeline": _pipeline,
    "empty pipeline": _empty_pipeline,
    "failing pipeline": _failing_pipeline,
    "pipeline that returns errors": _pipeline_that_returns_errors,
    "aborted transaction": _aborted_transaction,
    "pipeline left": _pipeline_left,
    "watched": _watched,
    "lost": _lost,
    "error while watching": _error_while_watching,
    "unwatched": _unwatched,
    "tried again": _tried_again,
    "script": _script,
    "forget scripts": _forget_scripts,
    "failing script": _failing_script,
    "script in a pipeline": _script_in_a_pipeline,
    "wrong script": _wrong_script,
    "unknown script": _unknown_script,
    "nothing to pop": _nothing_to_pop,
}
