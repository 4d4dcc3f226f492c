"""Every block of code of the documentation is run: the blocks of a page in one process, in their order.

What cannot be run has a comment just before it in the page: ``<!-- not run: reason -->``. With ``<!-- file: NAME -->``
a block is written to a file of that name, for the commands of the page. Pages with a test of their own are in
``ELSEWHERE`` of ``blocks.py``.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

import pytest
import trustme

from causal_otel.testing.process import LOOPBACK, claim_port
from tests.docs import seed
from tests.docs.blocks import ALL, COMMANDS, Command, commands, elsewhere
from tests.docs.pages import ROOT
from tests.docs.terminal import Terminal
from tests.faults.programs import environment

_MINE = [block for block in ALL if not elsewhere(block.page) and not block.not_run]

_PRELUDE = "import asyncio, causal_otel\ncausal_otel.install()\n"
_PRELUDES = {
    "README.md": """
from causal_otel.engine.provider import TracerProvider
provider, headers = TracerProvider(), {}
async def poll(): ...
""",
    "docs/how-to/own-spans.md": """
headers = {}
async def poll(): ...
""",
}
"""What the prose around the blocks of a page supposes to be there."""

_SEARCHING = {
    "docs/how-to/terminal.md",
    "docs/how-to/find-traces.md",
    "docs/how-to/errors.md",
    "docs/how-to/why.md",
    "docs/how-to/coding-agents.md",
}
"""Pages whose commands search: they find the traces of ``seed.py``."""


def _pages(languages: Iterable[str]) -> list[str]:
    return list(dict.fromkeys(block.page for block in _MINE if block.language in languages and not block.file))


# -- which blocks are run ----------------------------------------------------------------------------------------------


def test_every_block_has_a_language_that_says_whether_to_run_it() -> None:
    """A block with commands in it says so, and so is run or is marked: none evades this test for want of a language."""
    begins = re.compile(r"^(?:\$ |#!|pip |causal-otel |export |docker |python3? )", re.MULTILINE)
    evading = [block.place for block in ALL if not block.is_code and not block.not_run and begins.search(block.code)]
    assert evading == []


def test_reasons_are_sentences_and_stand_before_code() -> None:
    """A mark that a block is not run gives its reason in words, and every mark stands just before a block."""
    marks = {block.page: 0 for block in ALL}
    for block in ALL:
        marks[block.page] += bool(block.not_run) + bool(block.file)
        assert not block.not_run or len(block.not_run.split()) >= 3, block.place
    found = dict.fromkeys(marks, 0) | Counter(block.page for block in ALL)
    for page, number in marks.items():
        text = (ROOT / page).read_text(encoding="utf-8")
        assert len(re.findall(r"^ *<!-- (?:not run|file): ", text, re.MULTILINE)) == number, page
        assert len(re.findall(r"^ *(?:```|~~~)", text, re.MULTILINE)) == 2 * found[page], f"{page}: a block is not seen"


def test_pages_that_are_run_elsewhere_are_named_there() -> None:
    """The test that runs all blocks of a page is there, and is about that page."""
    for page in {block.page for block in ALL}:
        if test := elsewhere(page):
            assert (ROOT / test).exists(), page
            text = (ROOT / test).read_text(encoding="utf-8")
            assert page in text or re.search(r"how-to/\(?deploy", text), page


# -- Python ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("page", _pages(["python"]))
def test_python_of_a_page_runs(page: str, tmp_path: Path) -> None:
    """The blocks of a page run, one after the other; our log says nothing and nothing of ours fails."""
    blocks = [block for block in _MINE if block.page == page and block.language == "python" and not block.file]
    told = {
        "page": page,
        "prelude": _PRELUDE + _PRELUDES.get(page, ""),
        "blocks": [(block.line, block.code) for block in blocks],
    }
    done = subprocess.run(
        [sys.executable, "-m", "tests.docs.run_python"],
        input=json.dumps(told), cwd=tmp_path, capture_output=True, text=True, timeout=120,
        env=environment(TRACING_EXPORTER="none", PYTHONPATH=str(ROOT), OTEL_SDK_DISABLED=""),
    )  # fmt: skip
    assert done.returncode == 0, done.stderr


# -- commands ----------------------------------------------------------------------------------------------------------


@dataclass
class _Place:
    """Where the commands of a page run: a directory with what pages suppose to be there, and free ports."""

    directory: Path
    ports: dict[str, int]
    redis: str

    def here(self, text: str) -> str:
        """A text of a page, with the ports, the home and the last trace of this place."""
        for shown, port in self.ports.items():
            text = re.sub(rf"(?<=:){shown}\b", str(port), text)
        text = text.replace("0.0.0.0", LOOPBACK).replace("/home/me", str(self.directory / "home"))
        text = re.sub(r"(?<=causal-otel trace )ID\b", f"$({_LAST_ID})", text)
        return text.replace("redis://127.0.0.1:6379/0", self.redis)

    def write(self, name: str, text: str) -> None:
        """Make a file of that name."""
        path = self.directory / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(self.here(text), encoding="utf-8")

    def variables(self) -> dict[str, str]:
        """The environment: this Python's commands first, and nothing that pages set themselves."""
        return environment(
            PATH=f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}",
            HOME=str(self.directory / "home"),
            PYTHONPATH=str(self.directory),
            PYTHONDONTWRITEBYTECODE="1",
            CAUSAL_OTEL_COLLECTOR_PORT=str(self.ports["16686"]),
            CAUSAL_OTEL_COLLECTOR_OTLP_HTTP_PORT=str(self.ports["4318"]),
            CAUSAL_OTEL_COLLECTOR_OTLP_GRPC_PORT=str(self.ports["4317"]),
            OTLP_ENDPOINT=f"http://{LOOPBACK}:{self.ports['4318']}",
            OTEL_BSP_SCHEDULE_DELAY="100",
            UVICORN_PORT=str(self.ports["8000"]),
            **dict.fromkeys(("TOKEN", "OLD_TOKEN"), "an-old-token"),
            NEW_TOKEN="a-new-token",
        )


_LAST_ID = "causal-otel traces --limit 1 --json | python -c 'import json; print(json.loads(input())[\"trace_id\"])'"
_SHOP = [block for block in ALL if block.page == "docs/tutorial/set-up.md" and block.file]
"""The service that pages suppose their reader to have."""


@pytest.fixture
def place(page: str, tmp_path: Path, request: pytest.FixtureRequest) -> _Place:
    """A place with a certificate, tokens, the tutorial's service, traces to import, and a Redis if that is needed."""
    text = "".join(block.code for block in _MINE if block.page == page and block.language in COMMANDS)
    if "curl" in text and shutil.which("curl") is None and not os.environ.get("CI"):
        pytest.skip("there is no curl, which the page asks with")
    redis = request.getfixturevalue("redis_url") if "shop." in text else ""
    place = _Place(
        tmp_path, {port: claim_port(None, port) for port in ("16686", "4318", "4317", "8000", "8001")}, redis
    )
    (tmp_path / "home").mkdir()
    if "cert.pem" in text:
        certificate = trustme.CA().issue_cert("localhost", LOOPBACK)
        certificate.private_key_pem.write_to_path(str(tmp_path / "key.pem"))
        for number, blob in enumerate(certificate.cert_chain_pems):
            blob.write_to_path(str(tmp_path / "cert.pem"), append=number > 0)
    for block in _SHOP:
        place.write(block.file, block.code)
    place.write("tokens", "an-old-token\n")
    place.write("seed.jsonl", seed.lines())
    return place


@pytest.mark.long
@pytest.mark.parametrize("page", _pages(COMMANDS))
def test_commands_of_a_page_run(page: str, place: _Place) -> None:
    """Each command of a page ends well, or starts; what the page shows it to print, it prints."""
    told: list[Command] = []
    for block in (block for block in _MINE if block.page == page):
        if block.file:
            place.write(block.file, block.code)
        elif block.language in COMMANDS:
            told += commands(block)
    with Terminal(place.directory, place.variables()) as terminal:
        if page in _SEARCHING:
            terminal.run("causal-otel import seed.jsonl")
        for command in told:
            terminal.run(place.here(command.text), [place.here(line) for line in command.shown])
