"""The documentation as the tests read it."""

from __future__ import annotations

import re
import textwrap
from pathlib import Path

__all__ = ["PAGES", "ROOT", "anchors", "code_blocks", "links", "read"]

ROOT = Path(__file__).parents[2]

PAGES = [
    *sorted(str(page.relative_to(ROOT)) for page in (ROOT / "docs").rglob("*.md")),
    *sorted(str(page.relative_to(ROOT)) for page in (ROOT / "examples").rglob("README.md")),
    *("README.md", "CONTRIBUTING.md", "CHANGELOG.md"),
]
"""All pages, by their paths in the checkout."""

_FENCE = re.compile(r"^ *```(\w*)\n(.*?)^ *```$", re.MULTILINE | re.DOTALL)


def read(page: str) -> str:
    """The text of a page."""
    return (ROOT / page).read_text(encoding="utf-8")


def code_blocks(page: str, language: str) -> list[str]:
    """The blocks of code of one language."""
    return [textwrap.dedent(code) for found, code in _FENCE.findall(read(page)) if found == language]


def links(page: str) -> list[str]:
    """Where the links of a page lead, but for those to the web."""
    prose = re.sub(r"`[^`\n]*`", "", _FENCE.sub("", read(page)))
    found = re.findall(r"\]\(([^)\s]+)\)", prose)
    return [link for link in found if not re.match(r"https?://", link)]


def anchors(page: str) -> set[str]:
    """The headings of a page, as links name them on GitHub."""
    headings = re.findall(r"^#+ (.*)$", _FENCE.sub("", read(page)), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}
