"""Hooks of mkdocs for ``make site``: what is in the navigation, and links that leave the documentation.

``docs/README.md`` is the index of all pages, and is read as one: its headings are the sections. The patches' pages and
the decisions, which it leaves to indexes of their own, follow.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import TYPE_CHECKING, Any

from causal_otel.instrument.registry import BUILT_IN

if TYPE_CHECKING:
    from mkdocs.config.defaults import MkDocsConfig
    from mkdocs.structure.files import Files
    from mkdocs.structure.pages import Page

__all__ = ["on_config", "on_page_markdown"]

_INDEX = "README.md"


def on_config(config: MkDocsConfig) -> MkDocsConfig:
    """Make the navigation."""
    docs = Path(config.docs_dir)
    sections: dict[str, list[Any]] = {}
    for line in (docs / _INDEX).read_text(encoding="utf-8").splitlines():
        if line.startswith("## "):
            entries = sections[line.removeprefix("## ")] = []
        elif found := re.fullmatch(r"- \[(.+)\]\(([^#)]+)\)", line):
            entries.append({found[1]: found[2]})
    sections["Reference"].append({"Patches": [{name: f"reference/patches/{name}.md"} for name in BUILT_IN]})
    decisions = sorted((docs / "explanation" / "decisions").glob("*.md"))
    sections["Explanation"].append({"Decisions": [f"explanation/decisions/{path.name}" for path in decisions]})
    config.nav = [{"Start": _INDEX}, *({title: entries} for title, entries in sections.items())]
    return config


def on_page_markdown(markdown: str, page: Page, config: MkDocsConfig, files: Files) -> str:
    """Lead links out of the documentation to the repository, where what they name is."""
    depth = page.file.src_uri.count("/") + 1
    return re.sub(rf"\]\((?:\.\./){{{depth}}}([^)]+)\)", rf"]({config.repo_url}/blob/main/\1)", markdown)
