"""Our log: every message begins with ``causal_otel:``, which tells users whose it is in any format of theirs."""

from __future__ import annotations

import contextlib
import logging
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterator, MutableMapping

__all__ = ["Logger", "logger", "without_errors_of"]


class Logger(logging.LoggerAdapter[logging.Logger]):
    """The logger of that name, for messages of ours."""

    def process(self, msg: Any, kwargs: MutableMapping[str, Any]) -> tuple[Any, MutableMapping[str, Any]]:
        """Put the prefix into the message itself: most formats show no logger's name."""
        return f"causal_otel: {msg}", kwargs

    def log(self, level: int, msg: object, *args: object, **kwargs: Any) -> None:
        """Log it, unless a filter or a handler of the user's raises: that must not reach whoever has called us."""
        kwargs["stacklevel"] = kwargs.get("stacklevel", 1) + 1  # the place is that of our caller
        with contextlib.suppress(Exception):
            super().log(level, msg, *args, **kwargs)


def logger(name: str = "causal_otel") -> Logger:
    """Where a module of ours logs; nothing of ours calls :func:`logging.getLogger` besides.

    Args:
        name: ``causal_otel``, or below it.
    """
    return Logger(logging.getLogger(name))


@contextlib.contextmanager
def without_errors_of(name: str) -> Iterator[None]:
    """Meanwhile the logger of that name logs no errors: of a library that logs what it raises, with a traceback."""

    def below(record: logging.LogRecord) -> bool:
        return record.levelno < logging.ERROR

    theirs = logging.getLogger(name)
    theirs.addFilter(below)
    try:
        yield
    finally:
        theirs.removeFilter(below)
