"""What starts no trace in Redis (see ``__init__.py``): pings, waits for work, and what Celery does on its own account.

Celery's broker (kombu) and its result backend use clients of redis-py, whose commands look like anybody's. So their
connection pools are marked where they are made, with their :mod:`owner <causal_otel.instrument.bookkeeping>`.
"""

from __future__ import annotations

import functools
from typing import TYPE_CHECKING, Any

from causal_otel._internal import faults
from causal_otel.instrument.bookkeeping import BROKER, RESULT_BACKEND
from causal_otel.instrument.declaration import Wrap

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from causal_otel.instrument.calls import Wrapper
    from causal_otel.instrument.tracing import Tracing

__all__ = ["MAY_BLOCK", "OWNER", "POOLS", "blocks", "is_background"]

_CONNECTION = "ASKING AUTH ECHO HELLO PING QUIT READONLY READWRITE RESET SELECT"
_BLOCKING = "BLMOVE BLMOVEM BLMPOP BLPOP BRPOP BRPOPLPUSH BZMPOP BZPOPMAX BZPOPMIN WAIT WAITAOF"
_LISTENING = "MONITOR RECEIVE PSUBSCRIBE PUNSUBSCRIBE SSUBSCRIBE SUBSCRIBE SUNSUBSCRIBE UNSUBSCRIBE"

_BACKGROUND = frozenset(f"{_CONNECTION} {_BLOCKING} {_LISTENING}".split())

MAY_BLOCK = frozenset({"XREAD", "XREADGROUP"})
"""Commands that wait if an argument says so."""

OWNER = "_causal_otel_owner"
"""The attribute of a pool that is a broker's or a result backend's."""


def is_background(name: str) -> bool:
    """Whether a command is about the connection, waits for work, or begins to listen."""
    return name in _BACKGROUND or name.startswith("CLIENT ")


def blocks(args: Sequence[Any]) -> bool:
    """Whether a command of :data:`MAY_BLOCK` waits: ``BLOCK`` comes before the streams, whose names may be anything."""
    for argument in args[1:]:
        word = argument.decode("latin-1") if isinstance(argument, bytes) else argument
        word = word.upper() if isinstance(word, str) else ""
        if word in ("BLOCK", "STREAMS"):
            return word == "BLOCK"
    return False


def _marking(owner: str) -> Wrapper:
    """For a method that makes a connection pool.

    Args:
        owner: what for.
    """

    def wrap(tracing: Tracing[Any], original: Callable[..., Any]) -> Callable[..., Any]:
        @functools.wraps(original)
        def _get_pool(self: Any, /, *args: Any, **kwargs: Any) -> Any:
            pool = original(self, *args, **kwargs)
            try:
                setattr(pool, OWNER, owner)
            except Exception:
                faults.report("redis: a pool of Celery")
            return pool

        return _get_pool

    return wrap


POOLS = tuple(
    Wrap(module, f"{made_by}._get_pool", _marking(owner), optional=True)
    for module, owner, classes in (
        ("kombu.transport.redis", BROKER, ("Channel", "SentinelChannel")),
        ("celery.backends.redis", RESULT_BACKEND, ("RedisBackend", "SentinelBackend")),
    )
    for made_by in classes
)
"""Where those pools are made."""
