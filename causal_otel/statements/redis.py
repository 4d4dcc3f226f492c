"""The names of Redis commands, and texts without arguments.

A word that a caller passes is recorded only if it is in this list, because it may be a key or a value by mistake. The
list contains the commands of Valkey 9.1 (``COMMAND LIST``), those that only redis-py 8.1 sends, and Sentinel's.
Commands of modules are recognised by their prefix.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

from causal_otel.statements._redis_keys import keys_of

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

__all__ = ["COMPLETE", "MAX_SHOWN", "OTHER", "command", "text", "text_with_keys"]

MAX_SHOWN = 20
"""How many arguments of a command and how many commands of a pipeline a text shows."""

OTHER = "OTHER"
"""The name of everything that is not a known command."""

_CONTAINERS = {
    "ACL": "CAT DELUSER DRYRUN GENPASS GETUSER HELP LIST LOAD LOG SAVE SETUSER USERS WHOAMI",
    "CLIENT": """
        CACHING CAPA GETNAME GETREDIR HELP ID IMPORT-SOURCE INFO KILL LIST NO-EVICT NO-TOUCH PAUSE REPLY SETINFO
        SETNAME TRACKING TRACKINGINFO UNBLOCK UNPAUSE
    """,
    "CLUSTER": """
        ADDSLOTS ADDSLOTSRANGE BUMPEPOCH CANCELSLOTMIGRATIONS COUNT-FAILURE-REPORTS COUNTKEYSINSLOT DELSLOTS
        DELSLOTSRANGE FAILOVER FLUSHSLOT FLUSHSLOTS FORGET GETKEYSINSLOT GETSLOTMIGRATIONS HELP INFO KEYSLOT LINKS
        MEET MIGRATESLOTS MYID MYSHARDID NODES REPLICAS REPLICATE RESET SAVECONFIG SET-CONFIG-EPOCH SETSLOT SHARDS
        SLAVES SLOT-STATS SLOTS SYNCSLOTS
    """,
    "COMMAND": "COUNT DOCS GETKEYS GETKEYSANDFLAGS HELP INFO LIST",
    "COMMANDLOG": "GET HELP LEN RESET",
    "CONFIG": "GET HELP RESETSTAT REWRITE SET",
    "DEBUG": "HELP OBJECT SEGFAULT SLEEP",
    "FUNCTION": "DELETE DUMP FLUSH HELP KILL LIST LOAD RESTORE STATS",
    "HIMPORT": "DISCARD DISCARDALL PREPARE SET",
    "HOTKEYS": "GET RESET START STOP",
    "LATENCY": "DOCTOR GRAPH HELP HISTOGRAM HISTORY LATEST RESET",
    "MEMORY": "DOCTOR HELP MALLOC-STATS PURGE STATS USAGE",
    "MODULE": "HELP LIST LOAD LOADEX UNLOAD",
    "OBJECT": "ENCODING FREQ HELP IDLETIME REFCOUNT",
    "PUBSUB": "CHANNELS HELP NUMPAT NUMSUB SHARDCHANNELS SHARDNUMSUB",
    "SCRIPT": "DEBUG EXISTS FLUSH HELP KILL LOAD SHOW",
    "SENTINEL": """
        CKQUORUM FAILOVER FLUSHCONFIG GET-MASTER-ADDR-BY-NAME MASTER MASTERS MONITOR MYID REMOVE REPLICAS RESET
        SENTINELS SET SLAVES
    """,
    "SLOWLOG": "GET HELP LEN RESET",
    "XGROUP": "CREATE CREATECONSUMER DELCONSUMER DESTROY HELP SETID",
    "XINFO": "CONSUMERS GROUPS HELP STREAM",
}

_WORDS = """
APPEND ARCOUNT ARDEL ARDELRANGE ARGET ARGETRANGE ARGREP ARINFO ARINSERT ARLASTITEMS ARLEN ARMGET ARMSET ARNEXT AROP
ARRING ARSCAN ARSEEK ARSET ASKING AUTH BGREWRITEAOF BGSAVE BITCOUNT BITFIELD BITFIELD_RO BITOP BITPOS BLMOVE BLMOVEM
BLMPOP BLPOP BRPOP BRPOPLPUSH BZMPOP BZPOPMAX BZPOPMIN CLUSTERSCAN COPY DBSIZE DECR DECRBY DEL DELEX DELIFEQ DIGEST
DISCARD DUMP ECHO EVAL EVALSHA EVALSHA_RO EVAL_RO EXEC EXISTS EXPIRE EXPIREAT EXPIRETIME FAILOVER FCALL FCALL_RO
FLUSHALL FLUSHDB GEOADD GEODIST GEOHASH GEOPOS GEORADIUS GEORADIUSBYMEMBER GEORADIUSBYMEMBER_RO GEORADIUS_RO GEOSEARCH
GEOSEARCHSTORE GET GETBIT GETDEL GETEX GETRANGE GETSET HDEL HELLO HEXISTS HEXPIRE HEXPIREAT HEXPIRETIME HGET HGETALL
HGETDEL HGETEX HINCRBY HINCRBYFLOAT HKEYS HLEN HMGET HMSET HPERSIST HPEXPIRE HPEXPIREAT HPEXPIRETIME HPTTL HRANDFIELD
HSCAN HSET HSETEX HSETNX HSTRLEN HTTL HVALS INCR INCRBY INCRBYFLOAT INCREX INFO KEYS LASTSAVE LCS LINDEX LINSERT LLEN
LMOVE LMOVEM LMPOP LOLWUT LPOP LPOS LPUSH LPUSHX LRANGE LREM LSET LTRIM MGET MIGRATE MONITOR MOVE MSET MSETEX MSETNX
MULTI PERSIST PEXPIRE PEXPIREAT PEXPIRETIME PFADD PFCOUNT PFDEBUG PFMERGE PFSELFTEST PING PSETEX PSUBSCRIBE PSYNC PTTL
PUBLISH PUNSUBSCRIBE QUIT RANDOMKEY READONLY READWRITE RENAME RENAMENX REPLCONF REPLICAOF RESET RESTORE RESTORE-ASKING
ROLE RPOP RPOPLPUSH RPUSH RPUSHX SADD SAVE SCAN SCARD SDIFF SDIFFCARD SDIFFSTORE SELECT SET SETBIT SETEX SETNX
SETRANGE SHUTDOWN SINTER SINTERCARD SINTERSTORE SISMEMBER SLAVEOF SMEMBERS SMISMEMBER SMOVE SORT SORT_RO SPOP SPUBLISH
SRANDMEMBER SREM SSCAN SSUBSCRIBE STRALGO STRLEN SUBSCRIBE SUBSTR SUNION SUNIONCARD SUNIONSTORE SUNSUBSCRIBE SWAPDB
SYNC TIME TOUCH TTL TYPE UNLINK UNSUBSCRIBE UNWATCH VADD VCARD VDIM VEMB VGETATTR VINFO VISMEMBER VLINKS VRANDMEMBER
VRANGE VREM VSETATTR VSIM WAIT WAITAOF WATCH XACK XACKDEL XADD XAUTOCLAIM XCFGSET XCLAIM XDEL XDELEX XLEN XNACK
XPENDING XRANGE XREAD XREADGROUP XREVRANGE XSETID XTRIM ZADD ZCARD ZCOUNT ZDIFF ZDIFFSTORE ZINCRBY ZINTER ZINTERCARD
ZINTERSTORE ZLEXCOUNT ZMPOP ZMSCORE ZPOPMAX ZPOPMIN ZRANDMEMBER ZRANGE ZRANGEBYLEX ZRANGEBYSCORE ZRANGESTORE ZRANK
ZREM ZREMRANGEBYLEX ZREMRANGEBYRANK ZREMRANGEBYSCORE ZREVRANGE ZREVRANGEBYLEX ZREVRANGEBYSCORE ZREVRANK ZSCAN ZSCORE
ZUNION ZUNIONSTORE
"""

_COMMANDS = {
    *_CONTAINERS,
    *(f"{container} {word}" for container, words in _CONTAINERS.items() for word in words.split()),
    *_WORDS.split(),
}
_MODULE_COMMAND = re.compile(r"(?:BF|CF|CMS|FT|JSON|TDIGEST|TOPK|TS)\.[A-Z_]{1,24}")
_MAX_NAME = 64  # characters of an argument that are read
_MAX_KEY = 4096  # bytes of a key that are looked at
COMPLETE = _COMMANDS - set(_CONTAINERS)
"""Commands spelled as redis-py does: these need no parsing."""


def _word(value: Any) -> str:
    """The start of an argument in capitals; empty if the argument is no text."""
    if isinstance(value, bytes):
        value = value[:_MAX_NAME].decode("latin-1")
    return value[:_MAX_NAME].upper() if isinstance(value, str) else ""


def command(args: Sequence[Any]) -> tuple[str, int]:
    """The name of a command and the number of its arguments.

    Args:
        args: what the caller passed to ``execute_command``: the command in one word or two, then its arguments.

    Returns:
        A known name in capitals, or :data:`OTHER`; and how many of ``args`` are arguments.
    """
    first = args[0]
    if isinstance(first, str) and first in COMPLETE:
        return first, len(args) - 1
    words = _word(first).split()
    if not words:
        return OTHER, len(args)
    if words[0] in _CONTAINERS:
        # redis-py passes "CLIENT LIST" as one argument, callers of execute_command() may pass two.
        two = f"{words[0]} {words[1]}" if words[1:] else f"{words[0]} {_word(args[1])}" if args[1:] else ""
        if two in _COMMANDS:
            return two, len(args) - (1 if words[1:] else 2)
    if words[0] in _COMMANDS or _MODULE_COMMAND.fullmatch(words[0]):
        return words[0], len(args) - 1
    return OTHER, len(args)


def text(name: str, arguments: int) -> str:
    """A command's text with ``?`` for each argument, of which :data:`MAX_SHOWN` are shown."""
    return name + " ?" * min(arguments, MAX_SHOWN) + (" ..." if arguments > MAX_SHOWN else "")


def _cut(key: str, longest: int) -> str:
    return key[:longest]


def text_with_keys(args: Sequence[Any], shortened: Callable[[str, int], str] = _cut) -> str:
    """A command's text with its keys, and ``?`` for every other argument.

    Args:
        args: as of :func:`command`.
        shortened: what is shown of a long key, from it and the number of characters.
    """
    name, number = command(args)
    if name is OTHER:
        return name
    arguments = args[len(args) - number :]
    keys = keys_of(name, arguments)
    words = [_key(each, shortened) if at in keys else "?" for at, each in enumerate(arguments[:MAX_SHOWN])]
    return " ".join([name, *words]) + (" ..." if number > MAX_SHOWN else "")


def _key(value: Any, shortened: Callable[[str, int], str]) -> str:
    """A key in one word: what is no text or number is ``?``, what cannot be printed is escaped."""
    if isinstance(value, bytes):
        value = value[:_MAX_KEY].decode(errors="backslashreplace")
    if not isinstance(value, str | int | float):
        return "?"
    key = str(value)
    shown = key if len(key) <= _MAX_NAME else shortened(key, _MAX_NAME)
    shown = shown.encode("unicode_escape").decode().replace(" ", "\\x20")
    return shown + ("…" if len(key) > _MAX_NAME else "")
