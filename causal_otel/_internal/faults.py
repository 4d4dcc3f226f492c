"""Our own failures: counted by site, logged once per site, and never raised into user code."""

from __future__ import annotations

import sys
from collections import Counter
from typing import TYPE_CHECKING

from causal_otel._internal.log import logger

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = ["counts", "pass_on", "report"]

_logger = logger()
_counts: Counter[str] = Counter()
_passed_on: tuple[type[Exception], ...] = ()


def pass_on(kind: type[Exception]) -> Callable[[], None]:
    """Let exceptions of a kind through :func:`report`, until what is returned is called.

    They are no failures of ours: a handler of signals raises them in whatever code runs, to be seen by the user's.
    """
    global _passed_on
    _passed_on = (*_passed_on, kind)

    def undo() -> None:
        global _passed_on
        _passed_on = tuple(each for each in _passed_on if each is not kind)

    return undo


def report(site: str) -> None:
    """Take note of the exception being handled.

    Call it inside an ``except`` block that then goes on as if tracing were not there. It raises nothing, but what is
    to be passed on.

    Args:
        site: where it happened, as a stable short name such as ``"asyncpg: Connection.fetch"``.
    """
    if _passed_on and isinstance(sys.exception(), _passed_on):
        raise  # the one being handled
    _counts[site] += 1
    if _counts[site] == 1:
        _logger.warning(
            "tracing failed in %s; the call itself is not affected, and further failures here are only counted",
            site,
            exc_info=True,
        )


def counts() -> dict[str, int]:
    """How often each site has failed since the process started."""
    return dict(_counts)
