"""The blocks of code of the documentation, each with what its page says about running it."""

from __future__ import annotations

import re
import textwrap
from collections.abc import Iterator
from typing import NamedTuple

from tests.docs.pages import PAGES, read

__all__ = ["ALL", "COMMANDS", "ELSEWHERE", "Block", "Command", "blocks", "commands", "elsewhere"]

COMMANDS = ("bash", "console", "sh")
"""Languages whose blocks are commands of a shell."""

ELSEWHERE = {
    r"docs/tutorial/first-trace\.md": "tests/docs/test_tutorial.py",
    r"docs/how-to/write-a-patch\.md": "tests/docs/test_examples.py",
    r"docs/how-to/(deploy[\w-]*|monitor)\.md": "tests/docs/test_deploying.py",
    r"examples/\w+/README\.md": "tests/examples/test_readmes.py",
}
"""Pages with a test of their own that runs all of their blocks."""

_BLOCK = re.compile(
    r"^(?P<marker> *<!-- (?P<what>not run|file): (?P<said>[^\n]+?) -->\n+)?^(?P<indent> *)```(?P<language>\w*)\n"
    r"(?P<code>.*?)^(?P=indent)```$",
    re.MULTILINE | re.DOTALL,
)


class Block(NamedTuple):
    """A fenced block of a page."""

    page: str
    line: int
    """Where its code begins."""
    language: str
    """Empty: none, so that nobody runs it."""
    code: str
    not_run: str
    """Why no test runs it, as the comment before it says; empty: a test does."""
    file: str
    """The name of the file that the comment before it says it is; empty: it is none."""

    @property
    def is_code(self) -> bool:
        """Whether somebody would run it."""
        return self.language == "python" or self.language in COMMANDS

    @property
    def place(self) -> str:
        """The page and the line, for messages."""
        return f"{self.page}:{self.line}"


def blocks(page: str) -> list[Block]:
    """All fenced blocks of a page, in their order."""
    text = read(page)
    return [
        Block(
            page,
            text.count("\n", 0, match.start("code")) + 1,
            match["language"],
            textwrap.dedent(match["code"]),
            match["said"] if match["what"] == "not run" else "",
            match["said"] if match["what"] == "file" else "",
        )
        for match in _BLOCK.finditer(text)
    ]


class Command(NamedTuple):
    """A command that a page tells its reader to type."""

    text: str
    shown: list[str]
    """Lines that the page shows it to print."""


def commands(block: Block) -> Iterator[Command]:
    """The commands of a block, in their order."""
    if block.language != "console":
        yield Command(block.code, [])
        return
    for part in re.split(r"^\$ ", block.code, flags=re.MULTILINE)[1:]:
        found = re.match(r"(?:.*\\\n)*.*\n?", part)
        assert found is not None
        shown = [line for line in part[found.end() :].splitlines() if line.strip()]
        yield Command(found[0].strip(), shown)


def elsewhere(page: str) -> str:
    """The test that runs all blocks of a page; empty: it has none of its own."""
    return next((test for pattern, test in ELSEWHERE.items() if re.fullmatch(pattern, page)), "")


ALL = [block for page in PAGES for block in blocks(page)]
"""Every block of every page."""
