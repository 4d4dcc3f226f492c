"""What the console has printed, taken apart."""

from __future__ import annotations

__all__ = ["names_in_tree"]


def names_in_tree(text: str) -> list[str]:
    """What stands in the tree's column, indented, of each line that is no header."""
    return [line.split("  INTERNAL")[0].rstrip() for line in text.splitlines() if not line.startswith("trace ")]
