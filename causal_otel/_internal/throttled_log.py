"""Log lines about exporting: one a minute and kind, or an hour, however often it happens."""

from __future__ import annotations

import time

from causal_otel._internal.log import logger

__all__ = ["HOUR", "ThrottledLog"]

_logger = logger()
HOUR = 3600.0
"""Seconds: for what nobody can do much about, and what goes on for as long as the program runs."""
_SECONDS = 60.0
_KINDS = 64


class ThrottledLog:
    """Says things through the logger ``causal_otel``, and counts what it holds back.

    Args:
        noun: what takes the place of "spans" in the messages, where they are about something else.
    """

    def __init__(self, noun: str = "spans") -> None:
        self._noun = noun
        self.muted = False
        """Say nothing: the end of the process has a line of its own."""
        self._said: dict[str, tuple[float, int]] = {}

    def say(self, kind: str, message: str, *arguments: object, every: float = _SECONDS) -> None:
        """Log a warning, unless there was one of this kind in the last minute.

        Args:
            kind: what it is about; low in cardinality.
            message: to be formatted with the arguments.
            arguments: for the message.
            every: seconds, in the place of a minute.
        """
        if self.muted:
            return
        now = time.monotonic()
        last, suppressed = self._said.get(kind, (-every, 0))
        if now - last < every:
            self._said[kind] = last, suppressed + 1
            return
        if len(self._said) >= _KINDS:
            self._said.clear()
        self._said[kind] = now, 0
        message = message.replace("spans", self._noun)
        if suppressed:
            message += " (the same %d times more since this was last said)"
            arguments += (suppressed,)
        _logger.warning(message, *arguments)
