"""The pages of the documentation: generated ones are fresh, links lead somewhere, and everything is to be found."""

from __future__ import annotations

import importlib
import re
from pathlib import Path

import pytest

from benchmarks import table
from causal_otel._reference.pages import BLOCKS, FIGURES, PAGES, generated, with_block
from causal_otel._reference.patches import markdown
from causal_otel.instrument.registry import BUILT_IN
from tests.docs.pages import PAGES as ALL
from tests.docs.pages import ROOT, anchors, links, read
from tests.many_cases import many_cases

_DECISIONS = sorted(page for page in ALL if page.startswith("docs/explanation/decisions/"))
_IN_CODE = re.compile(r"\b(?:docs/[\w\-/]+|[A-Z]{4,}|[a-z\-]+)\.md\b")


def test_generated_pages_are_fresh() -> None:
    """A generated page, and a page with a generated block, is what ``make docs`` writes now."""
    now = generated()
    assert now.keys() == {*PAGES, *(page for page, _ in BLOCKS)}
    with many_cases() as case:
        for page, text in now.items():
            with case(page):
                assert read(page) == text, "renew it with make docs"


def test_a_block_is_replaced_and_nothing_else() -> None:
    """What stands between the two comments of a block is replaced; a page without them is refused."""
    text = "a\n<!-- x: written by make docs -->\nold\n<!-- end of x -->\nb\n"
    assert with_block(text, "x", "new\n") == text.replace("old", "new")
    with pytest.raises(ValueError, match="no block 'y'"):
        with_block(text, "y", "")


@pytest.mark.parametrize("name", sorted(BUILT_IN))
def test_every_patch_says_what_it_does(name: str) -> None:
    """A patch's page of the reference begins with the docstring of its module, wherever its options are."""
    module = importlib.import_module(f"causal_otel.patches.{name}")
    page = read(f"docs/reference/patches/{name}.md")
    assert page.split("\n\n")[2].startswith(markdown((module.__doc__ or "").partition("\n")[0]))


@pytest.mark.parametrize("page", ALL)
def test_links_resolve(page: str) -> None:
    """Every link of a page leads to a file that is there, and to a heading of it."""
    for link in links(page):
        path, _, anchor = link.partition("#")
        target = (ROOT / page).parent / path if path else ROOT / page
        assert target.exists(), f"{page}: {link}"
        if anchor:
            assert anchor in anchors(str(target.resolve().relative_to(ROOT))), f"{page}: {link}"


def test_pages_that_the_code_names_exist() -> None:
    """A page that a message, a help text, a docstring or a comment names is there, by its path in the checkout."""
    here = Path(__file__).parent
    files = (file for folder in ("causal_otel", "tests", "benchmarks") for file in (ROOT / folder).rglob("*.py"))
    missing = [
        f"{file.relative_to(ROOT)}: {name}"
        for file in files
        if file.parent != here
        for name in _IN_CODE.findall(re.sub(r"\]\([^)]*\)", "", file.read_text(encoding="utf-8")))
        if not ((ROOT / name).exists() or (file.parent / name).exists())
    ]
    assert missing == []


@pytest.mark.parametrize("folder", ["tutorial", "how-to", "reference", "explanation"])
def test_the_index_has_every_page(folder: str) -> None:
    """docs/README.md links to every page, but for decisions and patches, which have indexes of their own."""
    listed = {link.partition("#")[0] for link in links("docs/README.md")}
    there = {str(page.relative_to(ROOT / "docs")) for page in (ROOT / "docs" / folder).glob("*.md")}
    assert there - listed == set()
    assert [page.name for page in (ROOT / "docs").glob("*.md")] == ["README.md"], "it belongs to one of the folders"


_TOPICS = (
    *("set-up", "usage", "configuration", "sampling", "troubleshooting", "production"),
    *("monitoring", "dashboards", "alerts", "logs", "security"),
)


def test_the_readme_leads_to_every_topic() -> None:
    """The README's last table has a row for each topic of an operator's, with a link to each."""
    table = read("README.md").partition("## Where to read on\n")[2].partition("\n\nMore:")[0]
    rows = dict(re.findall(r"^\| ([\w-]+) \| (.*) \|$", table, re.MULTILINE))
    assert sorted(rows) == sorted(_TOPICS)
    assert [topic for topic, row in rows.items() if "](docs/" not in row] == []


def test_every_decision_is_listed_and_says_why() -> None:
    """Decisions are numbered without a gap, have the same three paragraphs, and the architecture page links to each."""
    assert [int(Path(page).name[:4]) for page in _DECISIONS] == list(range(1, len(_DECISIONS) + 1))
    listed = links("docs/explanation/architecture.md")
    for page in _DECISIONS:
        text = read(page)
        number = Path(page).name[:4]
        assert text.startswith(f"# {number}. "), page
        parts = re.findall(r"^\*\*(\w+)\.\*\*", text, re.MULTILINE)
        assert parts == ["Context", "Decision", "Consequences"], page
        assert page.removeprefix("docs/explanation/") in listed, page


def test_figures_are_written_by_the_benchmarks() -> None:
    """Every row of the page of figures is one that ``make bench`` measures, in its order and with its bar."""
    heading, _, rows = read(FIGURES).partition("| benchmark ")
    assert heading == table.HEADING
    bars = {row.label: row.bar() for row in table.ROWS.values()}
    cells = [[cell.strip() for cell in row.strip("|").split("|")] for row in rows.splitlines()[2:]]
    labels = [row[0] for row in cells]
    assert labels == list(bars)
    columns = rows.partition("\n")[0].count("|")
    assert [row[0] for row in cells if len(row) != columns] == []
    for label, *_, verdict in cells:
        assert re.sub(r" ?\*\*.*\*\*$", "", verdict) == bars[label], label
