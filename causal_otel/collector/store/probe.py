"""Whether a directory takes a file now: asked by writing one, since permissions and free space tell only half of it."""

from __future__ import annotations

import os
import threading
import time
from typing import TYPE_CHECKING

from causal_otel.collector.store.committing import store_error

if TYPE_CHECKING:
    from pathlib import Path

__all__ = ["Probe"]

_NAME = "ready.probe"
_BYTES = bytes(64 * 1024)
"""More than a small transaction takes, so that a disk which takes the file takes spans as well."""
_VALID_SECONDS = 1.0
"""An answer is given again for so long: whoever asks needs no token, and is not to keep the disk busy."""


class Probe:
    """Writes a file and removes it. Safe from several threads.

    Args:
        directory: where.
    """

    def __init__(self, directory: Path) -> None:
        self._directory = directory
        self._lock = threading.Lock()
        self._asked_at = float("-inf")
        self._failure = ""

    def failure(self) -> str:
        """Why the directory takes no file, for people; empty: it does."""
        with self._lock:
            if time.monotonic() - self._asked_at >= _VALID_SECONDS:
                self._failure = self._write()
                self._asked_at = time.monotonic()
            return self._failure

    def _write(self) -> str:
        path = self._directory / _NAME
        try:
            try:
                # Buffers would be written by close(), and fail where nobody expects it.
                file = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_NOFOLLOW, 0o600)
                try:
                    left = memoryview(_BYTES)
                    while left:
                        left = left[os.write(file, left) :]
                finally:
                    os.close(file)
            finally:
                path.unlink(missing_ok=True)
        except OSError as error:
            return str(store_error(self._directory, error))
        return ""
