"""The Dockerfile: what a linter says, and what its instructions do, run here one after the other."""

from __future__ import annotations

import json
import os
import shutil
import stat
import subprocess
import sys
from pathlib import Path

import pytest

from tests.collector.running import one_span, running
from tests.deploy.files import DEPLOY, dockerfile
from tests.docs.pages import ROOT


def test_a_linter_has_nothing_to_say() -> None:
    """Hadolint accepts every instruction, and each shell command in them; it does not accept a wrong one."""
    text = (DEPLOY / "Dockerfile").read_text(encoding="utf-8")
    assert _linted(text) == ""
    assert "missing whitespace" in _linted(text.replace("EXPOSE 16686", "EXPOSED 16686"))


def _linted(text: str) -> str:
    command = [str(Path(sys.executable).with_name("hadolint")), "-"]
    return subprocess.run(command, input=text, capture_output=True, text=True, timeout=60).stdout


def test_the_image_is_without_rights() -> None:
    """It runs as a user of its own, writes to its volume alone, and takes from the checkout what is there."""
    assert dockerfile("USER") == ["10001:10001"]
    assert dockerfile("VOLUME") == ["/var/lib/causal-otel"]
    copied = [word for line in dockerfile("COPY") if not line.startswith("--") for word in line.split()[:-1]]
    assert [word for word in copied if not (ROOT / word).exists()] == []
    assert "causal_otel" in copied
    ignored = (DEPLOY / "Dockerfile.dockerignore").read_text(encoding="utf-8").splitlines()
    assert ignored[1] == "*"
    assert {line[1:] for line in ignored if line.startswith("!")} == set(copied)


@pytest.mark.long
def test_what_is_built_is_a_collector(tmp_path: Path) -> None:
    """The first RUN, with no more of the checkout than is copied, makes a program that takes and shows spans."""
    for line in dockerfile("COPY"):
        if line.startswith("--"):
            continue
        for word in line.split()[:-1]:
            copy = shutil.copytree if (ROOT / word).is_dir() else shutil.copy
            copy(ROOT / word, tmp_path / word)
    target = tmp_path / "opt"
    command = dockerfile("RUN")[0].replace("/opt/causal-otel", str(target)).replace("--no-cache-dir ", "--quiet ")
    environ = {**os.environ, "PATH": os.pathsep.join((str(Path(sys.executable).parent), os.environ["PATH"]))}
    done = subprocess.run(
        ["sh", "-ec", command],
        cwd=tmp_path,
        env=environ,
        capture_output=True,
        text=True,
        timeout=280,
    )
    assert done.returncode == 0, done.stderr
    (program,) = json.loads(dockerfile("ENTRYPOINT")[-1])
    (subcommand,) = json.loads(dockerfile("CMD")[-1])
    with running(tmp_path / "traces", command=(str(target / "bin" / program), subcommand)) as collector:
        assert collector.post(one_span(7)).status_code == 200
        assert collector.trace(7) == ["work"]
        assert collector.grpc.rpartition(":")[2] != "0"


@pytest.mark.skipif(os.geteuid() != 0, reason="only root makes users")
@pytest.mark.long
def test_the_user_and_its_directory_are_made(tmp_path: Path) -> None:
    """The second RUN makes the user that USER names, without a shell, and the volume's directory, which is its own."""
    (tmp_path / "etc").mkdir()
    for name in ("passwd", "group", "shadow", "gshadow"):
        (tmp_path / "etc" / name).touch()
    command = dockerfile("RUN")[1].replace("/var/lib", str(tmp_path))
    for program in ("groupadd", "useradd"):
        command = command.replace(f"{program} ", f"{program} --prefix {tmp_path} ")
    done = subprocess.run(["sh", "-ec", command], capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "etc" / "passwd").read_text().split(":")[2:] == [
        *("10001", "10001", "", "/nonexistent"),
        "/usr/sbin/nologin\n",
    ]
    found = (tmp_path / "causal-otel").stat()
    assert (found.st_uid, found.st_gid, stat.S_IMODE(found.st_mode)) == (10001, 10001, 0o700)
