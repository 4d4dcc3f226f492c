"""What the newest Python warns of, on the older ones too: so that a run on any of them finds it.

Names that are deprecated need no run: ruff knows them, see ``banned-api`` in ``pyproject.toml``.
"""

from __future__ import annotations

import functools
import re
import sqlite3
import warnings
from collections.abc import Mapping
from typing import Any

__all__ = ["warn_as_the_newest_does"]

_LITERAL = re.compile(r"'[^']*'")
_NAMED = re.compile(r"\?\d|[:@$][A-Za-z_]")


class _Connection(sqlite3.Connection):
    """Warns where one is not closed, as since 3.13, and of named placeholders with a sequence, an error since 3.14."""

    _closed = True

    def __init__(self, *arguments: Any, **options: Any) -> None:
        super().__init__(*arguments, **options)
        self._closed = False

    def close(self) -> None:
        self._closed = True
        super().close()

    def __del__(self) -> None:
        if not self._closed:
            warnings.warn(f"unclosed database in {self!r}", ResourceWarning, source=self, stacklevel=2)

    def execute(self, sql: str, parameters: Any = (), /) -> sqlite3.Cursor:
        _check(sql, parameters)
        return super().execute(sql, parameters)

    def executemany(self, sql: str, parameters: Any, /) -> sqlite3.Cursor:
        rows = list(parameters)
        for row in rows[:1]:
            _check(sql, row)
        return super().executemany(sql, rows)


def _check(sql: str, parameters: Any) -> None:
    if not isinstance(parameters, Mapping) and parameters and _NAMED.search(_LITERAL.sub("''", sql)):
        warnings.warn(f"named placeholders with a sequence: {sql}", DeprecationWarning, stacklevel=3)


def warn_as_the_newest_does() -> None:
    """From now on, in this process."""
    sqlite3.connect = functools.partial(sqlite3.connect, factory=_Connection)  # type: ignore[assignment]
