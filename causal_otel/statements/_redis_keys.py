"""Which arguments of a command of Redis are keys, as the server's own table says (``COMMAND INFO``)."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Sequence

__all__ = ["keys_of"]


def _words(text: str) -> frozenset[str]:
    return frozenset(text.split())


_NONE = _words(
    """
    ASKING AUTH BGREWRITEAOF BGSAVE DBSIZE DISCARD ECHO EXEC FAILOVER FLUSHALL FLUSHDB HELLO INFO KEYS LASTSAVE LOLWUT
    MIGRATE MONITOR MULTI PFDEBUG PFSELFTEST PING PSUBSCRIBE PSYNC PUBLISH PUNSUBSCRIBE QUIT RANDOMKEY READONLY
    READWRITE REPLCONF REPLICAOF RESET ROLE SAVE SCAN SELECT SHUTDOWN SLAVEOF SPUBLISH SSUBSCRIBE STRALGO SUBSCRIBE
    SUNSUBSCRIBE SWAPDB SYNC TIME UNSUBSCRIBE UNWATCH WAIT WAITAOF
    ACL CLIENT CLUSTER COMMAND COMMANDLOG CONFIG DEBUG FUNCTION HIMPORT HOTKEYS LATENCY MEMORY MODULE OBJECT PUBSUB
    SCRIPT SENTINEL SLOWLOG XGROUP XINFO
    """
)
_ALL = _words(
    """
    DEL EXISTS MGET PFCOUNT PFMERGE SDIFF SDIFFSTORE SINTER SINTERSTORE SUNION SUNIONSTORE TOUCH UNLINK WATCH
    """
)
_ALL_BUT_LAST = _words("BLPOP BRPOP BZPOPMAX BZPOPMIN")
_ALTERNATING = _words("MSET MSETNX")
_TWO = _words(
    """
    BLMOVE BRPOPLPUSH COPY GEOSEARCHSTORE LCS LMOVE RENAME RENAMENX RPOPLPUSH SMOVE ZRANGESTORE
    """
)
_OF_CONTAINERS = ("HIMPORT SET", "MEMORY USAGE", "OBJECT ", "XGROUP ", "XINFO ")
_COUNTED = {
    **dict.fromkeys(_words("LMPOP MSETEX SDIFFCARD SINTERCARD SUNIONCARD ZDIFF ZINTER ZINTERCARD ZMPOP ZUNION"), 0),
    **dict.fromkeys(_words("BLMPOP BZMPOP EVAL EVALSHA EVALSHA_RO EVAL_RO FCALL FCALL_RO"), 1),
    **dict.fromkeys(_words("ZDIFFSTORE ZINTERSTORE ZUNIONSTORE"), 1),
}
"""Where an argument says how many keys follow."""


def keys_of(name: str, arguments: Sequence[Any]) -> range:
    """The positions of a command's keys among its arguments.

    A destination in front of a counted list (``ZUNIONSTORE``) and keys behind an option (``SORT … STORE``) are left
    out, and so is every key of a module's command: its arguments may be anything.

    Args:
        name: the command as :func:`causal_otel.statements.redis.command` names it.
        arguments: its arguments.
    """
    number = len(arguments)
    if not number or name in _NONE or "." in name:
        return range(0)
    if " " in name:
        return range(1) if name.startswith(_OF_CONTAINERS) else range(0)
    if name in _ALL:
        return range(number)
    if name in _ALL_BUT_LAST:
        return range(number - 1)
    if name in _ALTERNATING:
        return range(0, number, 2)
    if name in _TWO:
        return range(min(2, number))
    if name == "BITOP":
        return range(1, number)
    if name in _COUNTED:
        return _counted(_COUNTED[name], arguments, 2 if name == "MSETEX" else 1)
    if name in ("XREAD", "XREADGROUP"):
        return _streams(arguments)
    return range(1)


def _counted(position: int, arguments: Sequence[Any], step: int) -> range:
    try:
        count = int(arguments[position])
    except (IndexError, TypeError, ValueError):
        return range(0)
    first = position + 1
    return range(first, min(first + max(count, 0) * step, len(arguments)), step)


def _streams(arguments: Sequence[Any]) -> range:
    """The keys of ``… STREAMS key key id id``: group, consumer and count come before, and are none."""
    for position, argument in enumerate(arguments):
        word = argument.decode("latin-1") if isinstance(argument, bytes) else argument
        if isinstance(word, str) and word.upper() == "STREAMS":
            first = position + 1
            return range(first, first + (len(arguments) - first) // 2)
    return range(0)
