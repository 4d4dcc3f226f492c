"""What other installed packages offer: their entry points.

Reading the metadata of all packages takes 10 ms. The API has done so by now, for its own context, and keeps what it has
read; its module is private, so that without it the metadata are read again.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from importlib.metadata import EntryPoints

__all__ = ["entry_points"]


def entry_points(group: str) -> EntryPoints:
    """The entry points of ``group``, of all packages; raises whatever a package's broken metadata raises."""
    try:
        from opentelemetry.util._importlib_metadata import entry_points as read
    except ImportError:
        from importlib.metadata import entry_points as read  # type: ignore[assignment]
    return read(group=group)
