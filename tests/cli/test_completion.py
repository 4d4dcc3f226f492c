"""``causal-otel completion``: what a real shell offers at a Tab."""

from __future__ import annotations

import os
import pty
import select
import shutil
import subprocess
import sys
import time
from pathlib import Path

import pytest

from causal_otel.cli import COMMANDS
from tests.environments import run_to_end
from tests.without_packages import COMMAND

SECONDS = 60

OFFERS = [
    ("causal-otel comp", "completion"),
    ("causal-otel why --js", "--json"),
    ("causal-otel sampling ch", "check"),
    ("causal-otel completion z", "zsh"),
    ("causal-otel import acme-ord", "acme-orders.json"),
    ("causal-otel run acme-ser", "acme-server"),
    ("causal-otel run acme-server acme-ord", "acme-orders.json"),
]
"""What is typed, and the one thing that the last word can become."""


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A working directory with a file and a command."""
    folder = tmp_path_factory.mktemp("shell")
    (folder / "acme-orders.json").touch()
    (folder / "bin").mkdir()
    (folder / "bin/acme-server").write_text("#!/bin/sh\n")
    (folder / "bin/acme-server").chmod(0o755)
    return folder


def _script(shell: str) -> str:
    return run_to_end(sys.executable, "-m", "causal_otel", "completion", shell, seconds=SECONDS)


def _environment(folder: Path) -> dict[str, str]:
    path = os.pathsep.join((str(folder / "bin"), os.environ["PATH"]))
    return {**os.environ, "HOME": str(folder), "PATH": path, "TERM": "dumb", "COLUMNS": "200"}


def _asked(argv: list[str], folder: Path) -> str:
    done = subprocess.run(
        argv, cwd=folder, env=_environment(folder), capture_output=True, text=True, timeout=SECONDS, check=True
    )
    assert done.stderr == ""
    return done.stdout


def _needed(shell: str) -> str:
    found = shutil.which(shell)
    if found is None:
        pytest.skip(f"there is no {shell} (Debian: apt-get install {shell})")
    return found


def test_bash(folder: Path) -> None:
    """Bash completes commands, options, choices, files, and what is run."""
    ask = """
        ask() {
          COMP_WORDS=("$@") COMP_CWORD=$(($# - 1)) COMPREPLY=()
          "$function" causal-otel "${COMP_WORDS[COMP_CWORD]}" "${COMP_WORDS[COMP_CWORD - 1]}"
          echo "${COMPREPLY[@]}"
        }
        function=$(complete -p causal-otel | sed 's/.*-F \\([^ ]*\\).*/\\1/')
    """
    (folder / "ask.bash").write_text(
        _script("bash") + ask + "\n".join(f"ask {typed}" for typed, _ in OFFERS) + '\nask causal-otel ""\n'
    )
    *offered, every = _asked([_needed("bash"), "--noprofile", "--norc", "ask.bash"], folder).splitlines()
    assert dict(zip([typed for typed, _ in OFFERS], offered, strict=True)) == dict(OFFERS)
    assert every.split() == list(COMMANDS)


@pytest.mark.long
def test_fish(folder: Path) -> None:
    """So does fish."""
    (folder / "causal-otel.fish").write_text(_script("fish"))
    asks = "; ".join(f'complete -C "{typed}"; echo .' for typed, _ in OFFERS)
    offered = _asked([_needed("fish"), "--no-config", "-c", f"source causal-otel.fish; {asks}"], folder).split("\n.\n")
    assert [each.split("\t")[0] for each in offered if each] == [completed for _, completed in OFFERS]


@pytest.mark.long
def test_zsh(folder: Path) -> None:
    """So does zsh, in a terminal."""
    (folder / "functions").mkdir()
    (folder / "functions/_causal-otel").write_text(_script("zsh"))
    shell, (process, terminal) = _needed("zsh"), pty.fork()
    if process == 0:  # pragma: no cover
        os.chdir(folder)
        os.execve(shell, ["zsh", "-f", "-i"], _environment(folder))
    try:
        start = "fpath=($HOME/functions $fpath); autoload -Uz compinit; compinit -u -D; PS1=; echo rea''dy\n"
        _type(terminal, start, "\nready")
        for typed, completed in OFFERS:
            _type(terminal, f"\x15{typed}\t", completed)
    finally:
        os.kill(process, 9)
        os.waitpid(process, 0)
        os.close(terminal)


def _type(terminal: int, text: str, awaited: str) -> None:
    """Type, and wait until the terminal shows what is awaited."""
    os.write(terminal, text.encode())
    shown, until = "", time.monotonic() + SECONDS
    while awaited not in shown:
        assert time.monotonic() < until, (text, shown)
        if select.select([terminal], [], [], 1)[0]:
            shown += os.read(terminal, 65536).decode(errors="replace").replace("\r", "")


def test_without_the_extra() -> None:
    """Where what writes it is missing, the extra is named and the exit status is 2."""
    command = [sys.executable, "-c", COMMAND, "shtab", "completion", "bash"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=SECONDS)
    assert done.returncode == 2
    assert 'pip install ".[completion]"' in done.stderr


def test_a_shell_that_is_not_known() -> None:
    """Another shell is refused with those that are known."""
    command = [sys.executable, "-m", "causal_otel", "completion", "ksh"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=SECONDS)
    assert done.returncode == 2
    assert "'ksh'" in done.stderr
    assert "bash" in done.stderr
