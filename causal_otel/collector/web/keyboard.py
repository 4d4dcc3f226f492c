"""What keys do on which page: the one table that the pages' help and ``/keys`` are made of.

The scripts bind the same keys. A test compares what they bind with this table.
"""

from __future__ import annotations

from typing import NamedTuple

__all__ = ["SECTIONS", "Key", "Section", "keys_of"]


class Key(NamedTuple):
    """A key, and what it does."""

    key: str
    does: str


class Section(NamedTuple):
    """The keys of some pages.

    Attributes:
        name: of the pages.
        paths: theirs; one that ends with ``/`` is of all below it. Empty: of all pages.
        keys: in the order of the help.
    """

    name: str
    paths: tuple[str, ...]
    keys: tuple[Key, ...]


SECTIONS = (
    Section(
        "Lists of traces: search, live",
        ("/", "/live"),
        (Key("j", "Next trace"), Key("k", "Previous trace")),
    ),
    Section(
        "The heat map of the search",
        ("/",),
        (
            Key("← → ↑ ↓", "Choose a cell, once the map is focused"),
            Key("Shift ←", "Choose a box, likewise →, ↑, ↓"),
            Key("Enter", "Search in it"),
            Key("Esc", "Choose none"),
        ),
    ),
    Section(
        "The map",
        ("/map",),
        (
            Key("+", "Larger drawing"),
            Key("-", "Smaller drawing"),
            Key("0", "Drawing at 100 %"),
            Key("f", "Fit the drawing into the window"),
        ),
    ),
    Section("Live", ("/live",), (Key("p", "Pause or resume"),)),
    Section(
        "A trace",
        ("/trace/",),
        (
            Key("j", "Next span (also ↓)"),
            Key("k", "Previous span (also ↑)"),
            Key("h", "Collapse, or go to the parent (also ←)"),
            Key("l", "Expand, or go to the first child (also →)"),
            Key("o", "Open or close the details (also Enter, Space)"),
            Key("n", "Next error"),
            Key("p", "Previous error"),
            Key("f", "Find in this trace (also /)"),
            Key("x", "Show the critical path"),
            Key("g", "Show the log records"),
            Key("e", "Expand all"),
            Key("w", "Collapse all"),
            Key("c", "Copy the trace's id"),
            Key("+", "Zoom in"),
            Key("-", "Zoom out"),
            Key("<", "Earlier, while zoomed in"),
            Key(">", "Later, while zoomed in"),
            Key("0", "All of the time"),
        ),
    ),
    Section(
        "Every page",
        (),
        (
            Key("/", "Go to the search field"),
            Key("?", "Show the keyboard shortcuts"),
            Key("t", "Switch between light and dark"),
        ),
    ),
)
"""All keys."""


def keys_of(path: str) -> list[Key]:
    """The keys of a page, its own before those of every page."""
    return [key for section in SECTIONS if _is_of(section, path) for key in section.keys]


def _is_of(section: Section, path: str) -> bool:
    return not section.paths or any(
        path == each or (len(each) > 1 and each.endswith("/") and path.startswith(each)) for each in section.paths
    )
