"""The days that the size's limit has cost before their time, noted in a file that a restart finds."""

from __future__ import annotations

from contextlib import suppress
from typing import TYPE_CHECKING

from causal_otel.collector.store import days

if TYPE_CHECKING:
    from pathlib import Path

__all__ = ["EarlyDays"]

_NAME = "deleted-early"


class EarlyDays:
    """The days of a store that were deleted early. A line of its file is a day, as in ``2026-11-22``.

    Args:
        directory: of the store.
    """

    def __init__(self, directory: Path) -> None:
        self._path = directory / _NAME

    def add(self, day: int) -> None:
        """Note a day that is about to be deleted.

        Raises:
            OSError: It cannot be noted.
        """
        self._write(self._read() | {day})

    def still(self, oldest: int) -> int:
        """How many of them would be kept now; those before ``oldest``, which would not, are forgotten.

        Raises:
            OSError: The file cannot be read or written.
        """
        noted = self._read()
        left = {day for day in noted if day >= oldest}
        if left != noted:
            self._write(left)
        return len(left)

    def _read(self) -> set[int]:
        found = set()
        with suppress(FileNotFoundError):
            for line in self._path.read_text("ascii", "replace").splitlines():
                with suppress(ValueError):  # what somebody else has written there
                    found.add(days.day_named(line.strip()))
        return found

    def _write(self, noted: set[int]) -> None:
        if not noted:
            self._path.unlink(missing_ok=True)
            return
        partial = self._path.with_suffix(".part")
        partial.write_text("".join(f"{days.label(day)}\n" for day in sorted(noted)))
        partial.rename(self._path)
