"""What there is to ask for, looked up at most every few seconds."""

from __future__ import annotations

import threading
import time
from typing import TYPE_CHECKING

from causal_otel.collector.vocabulary import Vocabulary

if TYPE_CHECKING:
    from causal_otel.collector.query import TraceReader

__all__ = ["Words"]

_KEPT_SECONDS = 10.0


class Words:
    """The vocabulary of a store.

    Args:
        reader: of the store.
    """

    def __init__(self, reader: TraceReader) -> None:
        self._reader = reader
        self._lock = threading.Lock()
        self._known = Vocabulary()
        self._until = 0.0

    def now(self) -> Vocabulary:
        """It, at most some seconds old. While one thread looks it up, others get the one before."""
        if time.monotonic() < self._until or not self._lock.acquire(blocking=not self._until):
            return self._known
        try:
            if time.monotonic() >= self._until:
                self._known = self._reader.vocabulary()
                self._until = time.monotonic() + _KEPT_SECONDS
            return self._known
        finally:
            self._lock.release()
