"""How errors of Redis are told: by the prefix of the server's message, which redis-py takes off in many ways."""

from __future__ import annotations

import re

from opentelemetry.context import Context, create_key

from causal_otel.engine import context
from causal_otel.instrument.errors import Errors, error_name
from causal_otel.names import DB_RESPONSE_STATUS_CODE

__all__ = ["PLUMBING", "RAISED", "RETURNED", "handling_noscript", "is_lost_watch"]

_SCRIPTED = create_key("causal-otel-redis-scripted")

# redis-py takes these prefixes off the message, and tells them since 7.2 only (``status_code``).
_CODES = {
    "AskError": "ASK",
    "BusyLoadingError": "LOADING",
    "ClusterCrossSlotError": "CROSSSLOT",
    "ClusterDownError": "CLUSTERDOWN",
    "ExecAbortError": "EXECABORT",
    "MasterDownError": "MASTERDOWN",
    "MovedError": "MOVED",
    "NoPermissionError": "NOPERM",
    "NoScriptError": "NOSCRIPT",
    "OutOfMemoryError": "OOM",
    "ReadOnlyError": "READONLY",
    "TryAgainError": "TRYAGAIN",
}
# Prefixes that redis-py does not strip. Before 7.2 any other first word of a message follows a stripped ``ERR``.
_UNSTRIPPED = re.compile(
    "BUSY|BUSYGROUP|BUSYKEY|DENIED|FAILOVER|INPROG|INVALIDOBJ|IOERR|MISCONF|NOADDR|NOGOODSLAVE|NOGROUP|NOMASTERLINK|"
    "NOPROTO|NOQUORUM|NOREPLICAS|NOTBUSY|NOTREADY|UNBLOCKED|UNKILLABLE|WRONGTYPE"
)
_PREFIX = re.compile(r"[A-Z][A-Z0-9_]{1,31}(?![^ :'\"])")


def _is(error: BaseException, *names: str) -> bool:
    """Whether an error is one of the driver's of such a name, or of valkey-py's, which has the same ones."""
    return any(kind.__name__ in names and kind.__module__.endswith(".exceptions") for kind in type(error).__mro__)


def _code(error: BaseException) -> str:
    """The prefix of the server's error, or the name of the class."""
    code = getattr(error, "status_code", None) or _CODES.get(type(error).__name__)
    if code is not None:
        return str(code)
    if not _is(error, "ResponseError"):
        return error_name(error)
    # A pipeline puts the command in front of the message, and asyncio's the representation of a tuple.
    message = str(error).rpartition(" caused error: ")[2].lstrip("('\"")
    if message == "{exception.args}":  # 6.x forgets to fill it in, and so loses what asyncio's pipeline was told
        return error_name(error)
    found = _PREFIX.match(message)
    if found and (_UNSTRIPPED.fullmatch(found.group()) or hasattr(error, "status_code")):
        return found.group()
    return "ERR"


def is_lost_watch(error: BaseException | None) -> bool:
    """Whether a key that was watched has changed, so that the ``MULTI`` was undone."""
    return error is not None and _is(error, "WatchError")


def _failure(error: BaseException) -> str | None:
    """The code of an error, unless it is how the driver says something that is none."""
    if is_lost_watch(error) or (_is(error, "NoScriptError") and context.current().get(_SCRIPTED)):
        return None
    return _code(error)


def _plumbing_failure(error: BaseException) -> str | None:
    """The code of an error of Redis or of the connection; None for a refused argument, which is no failure."""
    theirs = _is(error, "RedisError", "RedisClusterException", "ValkeyError", "ValkeyClusterException")
    return _code(error) if theirs or isinstance(error, OSError) else None


RAISED = Errors(_failure, DB_RESPONSE_STATUS_CODE)
"""What a call raises."""
RETURNED = Errors(_code, DB_RESPONSE_STATUS_CODE)
"""What a pipeline that is told not to raise has among its results."""
PLUMBING = Errors(_plumbing_failure, DB_RESPONSE_STATUS_CODE)
"""What plumbing raises."""


def handling_noscript() -> Context:
    """The context of what loads its script if the server does not know it: ``NOSCRIPT`` is no failure there."""
    return Context({**context.current(), _SCRIPTED: True})
