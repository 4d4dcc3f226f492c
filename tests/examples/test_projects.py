"""An example can be copied: it says what it needs, uses public names only, and can be installed."""

from __future__ import annotations

import ast
import re
import subprocess
import sys
import tomllib
from importlib.metadata import packages_distributions, version
from pathlib import Path
from typing import Any

import pytest
import yaml
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from tests.docs.pages import ROOT, read
from tests.environments import make_environment, pip_install
from tests.examples.following import copied, page
from tests.faults.programs import environment

_EXAMPLES = sorted(path.name for path in (ROOT / "examples").iterdir() if path.is_dir())
_PUBLIC = {"causal_otel", "causal_otel.logs", "causal_otel.patches.asgi", "causal_otel.testing"}
"""The modules that a program imports."""


def _project(name: str) -> dict[str, Any]:
    project: dict[str, Any] = tomllib.loads(read(f"examples/{name}/pyproject.toml"))["project"]
    return project


def _imported(name: str) -> set[str]:
    """The modules that an example imports, by their whole names."""
    found = set()
    for file in (ROOT / "examples" / name).rglob("*.py"):
        for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Import):
                found |= {alias.name for alias in node.names}
            elif isinstance(node, ast.ImportFrom):
                found.add(node.module or "")
    return found


def test_there_is_one_of_each() -> None:
    """The index of the examples has each of them."""
    assert _EXAMPLES == ["celery", "django", "fastapi", "platform", "testing"]
    assert re.findall(r"^\| \[`(\w+)/`\]\(\1/README\.md\)", read("examples/README.md"), re.MULTILINE) == [
        *("fastapi", "celery", "platform", "django", "testing")
    ]


@pytest.mark.parametrize("name", _EXAMPLES)
def test_it_says_what_it_needs(name: str) -> None:
    """What it imports is a dependency, in a range in which the version of these tests lies."""
    project = _project(name)
    optional = [each for extra in project.get("optional-dependencies", {}).values() for each in extra]
    needed = {canonicalize_name(each.name): each for each in map(Requirement, [*project["dependencies"], *optional])}
    for each in needed.values():
        assert each.specifier.contains(version(each.name)), each
    own = {path.stem for path in (ROOT / "examples" / name).iterdir()}
    others = {module.partition(".")[0] for module in _imported(name)} - own - sys.stdlib_module_names
    distributions = packages_distributions()
    brought = {"fastapi": {"pydantic", "starlette"}, "causal-otel": {"pytest"}}
    known = {*needed, *(each for name, them in brought.items() if name in needed for each in them)}
    undeclared = {
        module for module in others
        if not known & {canonicalize_name(each) for each in distributions.get(module, [module])}
    }  # fmt: skip
    assert undeclared == set()


@pytest.mark.parametrize("name", _EXAMPLES)
def test_it_uses_public_names(name: str) -> None:
    """Of causal_otel it imports what the documentation tells programs to import."""
    ours = {module for module in _imported(name) if module.partition(".")[0] == "causal_otel"}
    assert ours <= _PUBLIC


@pytest.mark.parametrize("name", _EXAMPLES)
def test_its_readme_is_short(name: str) -> None:
    """It says how to install it and what to type, on one screen."""
    assert 20 <= len(read(page(name)).splitlines()) <= 50
    assert 'pip install "../..[' in read(page(name))


def test_the_platform_finds_what_its_compose_file_starts() -> None:
    """Without variables the programs look for the servers where compose.yaml has them, with its passwords."""
    done = subprocess.run(
        [sys.executable, "-c", "from demo import settings; print(*map(vars(settings).get, settings.__all__))"],
        cwd=ROOT / "examples" / "platform", env=environment(), capture_output=True, text=True, timeout=60, check=True,
    )  # fmt: skip
    password, neo4j, user, postgres, redis, _ = done.stdout.split()
    services = yaml.safe_load(read("examples/platform/compose.yaml"))["services"]
    (its_password,) = services["postgres"]["environment"].values()
    ports = {name: service["ports"] for name, service in services.items()}
    assert ports == {name: [f"127.0.0.1:{port}:{port}"] for name, port in zip(ports, (5432, 6379, 7687), strict=True)}
    assert postgres == f"postgresql://postgres:{its_password}@127.0.0.1:5432/postgres"
    assert redis == "redis://127.0.0.1:6379/0"
    assert neo4j == "bolt://127.0.0.1:7687"
    assert services["neo4j"]["environment"] == {"NEO4J_AUTH": f"{user}/{password}"}


@pytest.mark.long
@pytest.mark.parametrize("name", _EXAMPLES)
def test_it_can_be_installed(name: str, tmp_path: Path) -> None:
    """Pip installs its modules; what it depends on is here."""
    python = make_environment(tmp_path / "environment")
    pip_install(python, "--no-deps", "--no-build-isolation", str(copied(name, tmp_path)))
    files = [path for path in (tmp_path / name).iterdir() if path.suffix == ".py" or (path / "__init__.py").exists()]
    modules = [path.stem for path in files if not path.name.startswith(("manage", "test_"))]
    code = f"import importlib.util as u; print(*(u.find_spec(name).origin for name in {modules}))"
    done = subprocess.run(
        [python, "-c", code], cwd=tmp_path, env=environment(), capture_output=True, text=True, timeout=60, check=True
    )
    assert all(Path(origin).is_relative_to(tmp_path / "environment") for origin in done.stdout.split())
