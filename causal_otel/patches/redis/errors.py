"""How errors of Redis are told: by the prefix of the server's message, which redis-py takes off in many ways."""

from __future__ import annotations

import re

from opentelemetry.context import Context, create_key

from causal_otel.engine import context
from causal_otel.instrument.errors import Errors, error_name
from causal_otel.names import DB_RESPONSE_STATUS_CODE

__all__ = ["RAISED", "RETURNED", "code", "handling_noscript"]

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


def code(error: BaseException) -> str:
    """The prefix of the server's error, or the name of the class."""
    from redis.exceptions import ResponseError

    code = getattr(error, "status_code", None) or _CODES.get(type(error).__name__)
    if code is not None:
        return str(code)
    if not isinstance(error, ResponseError):
        return error_name(error)
    # A pipeline puts the command in front of the message, and asyncio's the representation of a tuple.
    message = str(error).rpartition(" caused error: ")[2].lstrip("('\"")
    if message == "{exception.args}":  # 6.x forgets to fill it in, and so loses what asyncio's pipeline was told
        return error_name(error)
    found = _PREFIX.match(message)
    if found and (_UNSTRIPPED.fullmatch(found.group()) or hasattr(error, "status_code")):
        return found.group()
    return "ERR"


def _failure(error: BaseException) -> str | None:
    """The code of an error, unless it is how the driver says something that is none."""
    from redis.exceptions import NoScriptError, WatchError

    if isinstance(error, WatchError) or (isinstance(error, NoScriptError) and context.current().get(_SCRIPTED)):
        return None
    return code(error)


RAISED = Errors(_failure, DB_RESPONSE_STATUS_CODE)
"""What a call raises."""
RETURNED = Errors(code, DB_RESPONSE_STATUS_CODE)
"""What a pipeline that is told not to raise has among its results."""


def handling_noscript() -> Context:
    """The context of what loads its script if the server does not know it: ``NOSCRIPT`` is no failure there."""
    return Context({**context.current(), _SCRIPTED: True})
