"""What is missing of an extra is told with the commands that install it, which are those of the README."""

from __future__ import annotations

import ast
import re
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

import causal_otel
from causal_otel._internal.extras import how_to_install, missing
from tests.without_packages import HIDE

_PACKAGE = Path(causal_otel.__file__).parent
_ROOT = _PACKAGE.parent


def _extras() -> set[str]:
    """The extras that our code tells somebody to install."""
    found = set()
    for file in _PACKAGE.rglob("*.py"):
        for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Call) and ast.unparse(node.func) in ("how_to_install", "missing"):
                *_, extra = node.args
                if isinstance(extra, ast.Constant):
                    found.add(str(extra.value))
    return found


def test_commands_are_those_of_the_readme() -> None:
    """An extra is installed from the checkout or from a wheel, as the README says it: no index has a release."""
    readme = (_ROOT / "README.md").read_text(encoding="utf-8")
    _, checkout, wheel = (part.split('"')[0] for part in how_to_install("").split('pip install "'))
    assert f'pip install "{checkout.removesuffix("]")}collector]"' in readme
    assert f'pip install "{wheel.removesuffix("]")}fastapi,' in readme


def test_no_other_place_tells_how_to_install() -> None:
    """Every message that tells how to install something of ours is made in one place; others' packages have names."""
    named = re.compile(r'pip install (?:"\.\[|"?dist/|causal)')
    files = [file for file in _PACKAGE.rglob("*.py") if named.search(file.read_text(encoding="utf-8"))]
    assert [file.relative_to(_PACKAGE).as_posix() for file in files] == ["_internal/extras.py"]


def test_extras_exist() -> None:
    """An extra that a message names is one of pyproject.toml."""
    known = tomllib.loads((_ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]["optional-dependencies"]
    extras = _extras()
    assert extras >= {"collector", "demo", "grpc"}
    assert extras <= known.keys()


def test_missing_packages_are_named() -> None:
    """Only what is not installed is named, also below a package that is not there itself; nothing if all is there."""
    assert missing(("pytest", "absent", "absent.part", "json.absent"), "demo") == (
        f"absent and absent.part and json.absent cannot be imported; {how_to_install('demo')}"
    )
    assert missing(("pytest", "json.decoder"), "demo") == ""


@pytest.mark.parametrize("hidden", ["grpc", "opentelemetry.exporter.otlp.proto.grpc", "grpc opentelemetry.exporter"])
def test_grpc_without_its_extra(hidden: str) -> None:
    """install(protocol="grpc") without some or all of the extra stops with what is missing and how to install it."""
    program = f"""{HIDE}
import causal_otel
try:
    causal_otel.install(protocol="grpc")
except causal_otel.SettingError as error:
    print(error)
"""
    done = subprocess.run(
        [sys.executable, "-c", program, hidden], capture_output=True, text=True, timeout=60, check=True
    )
    assert done.stdout.startswith("protocol='grpc' is not possible: ")
    assert done.stdout.endswith(f" cannot be imported; {how_to_install('grpc')}\n")
    assert done.stderr == ""
