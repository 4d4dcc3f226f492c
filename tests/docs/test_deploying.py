"""The commands of the pages about deploying: run here where that can be, else said why not."""

from __future__ import annotations

import base64
import os
import re
import shutil
import subprocess
from pathlib import Path

import pytest

from tests.docs.pages import PAGES, ROOT, code_blocks, read
from tests.interop.running import needed

_PAGES = [page for page in PAGES if re.search(r"how-to/(deploy[\w-]*|monitor)\.md$", page)]
_NEEDED = ("openssl", "promtool")
_NOT_HERE = {
    "docker": "there is no docker daemon",
    "kubectl": "there is no cluster",
    "systemctl": "this machine's services are not the test's; the unit is checked by tests/deploy/test_systemd.py",
    "install": "it writes into /etc",
    "umask": "it writes into /etc",
    "python3": "the package is installed in the tests already",
    "/opt/causal-otel/bin/pip": "the package is installed in the tests already",
}
"""Commands that no test runs, by their first word, and why. What they are given is checked by tests/deploy."""


def _commands(page: str) -> list[str]:
    blocks = [*code_blocks(page, "sh"), *(block.replace("$ ", "") for block in code_blocks(page, "console"))]
    return [line for block in blocks for line in re.sub(r"\\\n\s*", "", block).splitlines()]


def _program(command: str) -> str:
    """The program that a line runs, after variables that it sets."""
    return re.sub(r"^(?:[A-Z_]+=(?:\$\([^)]*\)|\S)+ )+", "", command).split()[0]


def _needed(page: str) -> list[str]:
    return [name for name in _NEEDED if re.search(rf"\b{name}\b", "\n".join(_commands(page)))]


@pytest.mark.parametrize(
    "page", [pytest.param(page, marks=[pytest.mark.interop] if _needed(page) else []) for page in _PAGES]
)
def test_every_command_runs_or_says_why_not(page: str, tmp_path: Path) -> None:
    """Each command of a page ends well, in a copy of deploy/, or is one of those that cannot be run here."""
    shutil.copytree(ROOT / "deploy", tmp_path / "deploy")
    folders = [str(needed(name).parent) for name in _needed(page)]
    commands = [command for command in _commands(page) if _program(command) not in _NOT_HERE]
    script = "\n".join(["set -eu", *commands, "env -0"])
    environ = {"PATH": os.pathsep.join([os.environ["PATH"], *folders]), "SHOP_PASSWORD": "s3cret", "TOKEN": "a-token"}
    done = subprocess.run(
        ["bash", "-c", script], cwd=tmp_path, env=environ, capture_output=True, text=True, timeout=120
    )
    assert done.returncode == 0, done.stderr
    variables = dict(entry.partition("=")[::2] for entry in done.stdout.rpartition("SUCCESS")[2].split("\0") if entry)
    headers = variables.get("OTEL_EXPORTER_OTLP_HEADERS", "authorization=")
    assert headers.startswith("authorization=")
    if "Basic" in headers:
        assert base64.b64decode(headers.partition("%20")[2]) == b"shop:s3cret"


def test_files_that_the_pages_name_exist() -> None:
    """A file of deploy/ that a page names is there, but for those that its commands make."""
    for page in _PAGES:
        named = set(re.findall(r"deploy/[\w./-]+[\w/]", read(page)))
        made = {name for name in named if name.startswith(("deploy/certs", "deploy/secrets"))}
        assert [name for name in named - made if not (ROOT / name).exists()] == [], page


def test_every_alert_is_in_the_table() -> None:
    """The page about monitoring has each alert of the rules, and no others."""
    rules = (ROOT / "deploy" / "prometheus" / "rules.yml").read_text(encoding="utf-8")
    table = read("docs/how-to/monitor.md").partition("|---|---|\n")[2].partition("\n\n")[0]
    named = [name for row in table.splitlines() for name in re.findall(r"`(\w+)`", row.split("|")[1])]
    assert sorted(named) == sorted(re.findall(r"alert: (\w+)", rules))
