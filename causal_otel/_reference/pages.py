"""Which pages are generated, and from what."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path

import causal_otel.collector.config
from causal_otel._reference import api, attributes, cli, metrics, patches, privacy, settings, sizing

__all__ = ["BLOCKS", "FIGURES", "PAGES", "ROOT", "generated", "with_block"]

ROOT = Path(__file__).parents[2]
"""The checkout."""

FIGURES = "docs/explanation/figures.md"
"""What the last ``make bench`` has measured, which writes this page (``benchmarks/table.py``)."""

PAGES: Mapping[str, Callable[[], str]] = {
    "docs/reference/api.md": api.reference,
    "docs/reference/cli.md": cli.reference,
    "docs/reference/attributes.md": attributes.reference,
    "docs/reference/metrics.md": metrics.reference,
    "docs/reference/privacy.md": privacy.reference,
    "docs/reference/settings.md": settings.reference,
    **patches.pages(),
}
"""Pages that are generated as a whole."""


def _figures() -> str:
    """The table of :data:`FIGURES`."""
    lines = (ROOT / FIGURES).read_text(encoding="utf-8").splitlines()
    return "\n".join(line for line in lines if line.startswith("|")) + "\n"


BLOCKS: Mapping[tuple[str, str], Callable[[], str]] = {
    ("README.md", "figures"): _figures,
    ("docs/how-to/production.md", "sizing"): sizing.reference,
    ("docs/reference/collector.md", "options"): causal_otel.collector.config.reference,
}
"""Blocks of pages that are written by hand otherwise, by page and name."""


def generated() -> dict[str, str]:
    """Every page, or page with a block, as it should be: its text by its path in the checkout."""
    pages = {path: page() for path, page in PAGES.items()}
    for (path, name), block in BLOCKS.items():
        text = pages.get(path) or (ROOT / path).read_text(encoding="utf-8")
        pages[path] = with_block(text, name, block())
    return pages


def with_block(text: str, name: str, block: str) -> str:
    """A page with ``block`` in the place of what stands between its two comments.

    Raises:
        ValueError: the page has no such comments.
    """
    before, begin, rest = text.partition(f"<!-- {name}: written by make docs -->\n")
    _, end, after = rest.partition(f"<!-- end of {name} -->\n")
    if not (begin and end):
        raise ValueError(f"there is no block {name!r}")
    return f"{before}{begin}{block}{end}{after}"
