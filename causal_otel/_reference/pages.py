"""Which pages are generated, and from what."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path

import causal_otel.collector.config
from causal_otel._reference import api, attributes, cli, findings, metrics, patches, privacy, settings, sizing

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


_COMPARED = (
    "**a whole request**: FastAPI, one query, one GET",
    "requests a second that one core serves",
    "**a Celery task** through Valkey: its publisher",
    "the same: its worker, solo pool",
    "child span, 7 attributes, made current and ended",
    "asyncpg `fetchval`, recorded and exported",
    "redis `GET`, recorded and exported",
    "httpx `GET`, recorded and exported",
    "SQLAlchemy `session.execute` on asyncpg",
    "FastAPI request, recorded and exported",
    "FastAPI request, not sampled",
    "event loop stalled by exporting 5,000 spans/s (p99.9)",
    "import, on top of opentelemetry-api",
)
"""The rows of :data:`FIGURES` that compare what a service feels."""


def _comparison() -> str:
    """Those rows, without the bars that we set ourselves."""
    heading, rule, *rows = _figures().splitlines()
    found = {row.split("|")[1].strip(): row for row in rows}
    cells = [row.strip("|").split("|")[:-1] for row in (heading, rule, *(found[label] for label in _COMPARED))]
    return "".join(f"|{'|'.join(row)}|\n" for row in cells)


BLOCKS: Mapping[tuple[str, str], Callable[[], str]] = {
    ("README.md", "figures"): _figures,
    ("docs/explanation/comparison.md", "comparison"): _comparison,
    ("docs/how-to/doctor.md", "findings"): findings.reference,
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
