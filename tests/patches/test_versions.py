"""Which versions are supported: one answer from the patches, the extras, and what the drivers themselves ask for.

A patch takes hold as a whole or not at all; the driver's version is faked by metadata that is found first.
"""

from __future__ import annotations

import json
import tomllib
from importlib import metadata
from pathlib import Path
from typing import Any

import pytest
from packaging.requirements import Requirement
from packaging.specifiers import SpecifierSet
from packaging.version import Version

from causal_otel.instrument.registry import BUILT_IN
from tests.faults.programs import run

PROJECT: dict[str, Any] = tomllib.loads((Path(__file__).parents[2] / "pyproject.toml").read_text())["project"]

# What the oldest version that we support of one driver asks of another, where a patch covers both.
OLDEST = {("fastapi", "0.110"): Requirement("starlette<0.37.0,>=0.36.3")}


def _supported(name: str, distribution: str) -> SpecifierSet:
    first, last = BUILT_IN[name].load().versions[distribution]
    return SpecifierSet(f">={first},<{last}")


@pytest.mark.parametrize(
    ("name", "extra"),
    [
        (name, {"asgi": "fastapi", "grpc": "grpcio", "wsgi": "flask"}.get(name, name))
        for name in BUILT_IN
        if BUILT_IN[name].load().versions  # the standard library has none
    ],
)
def test_an_extra_is_what_its_patch_supports(name: str, extra: str) -> None:
    """Whatever ``causal-otel[extra]`` lets pip install is traced, and nothing that is traced is kept out."""
    (requirement,) = (Requirement(each) for each in PROJECT["optional-dependencies"][extra])
    assert requirement.specifier == _supported(name, requirement.name)


@pytest.mark.parametrize("name", [name for name in BUILT_IN if len(BUILT_IN[name].load().versions) > 1])
def test_ranges_fit_each_other(name: str) -> None:
    """A supported driver, the oldest and the one installed, can be had with supported versions of the others."""
    versions = BUILT_IN[name].load().versions
    for distribution, (first, _) in versions.items():
        assert metadata.version(distribution) in _supported(name, distribution)
        oldest = [
            requirement for (of, version), requirement in OLDEST.items() if (of, version) == (distribution, first)
        ]
        installed = [Requirement(each) for each in metadata.requires(distribution) or ()]
        others = [each for each in installed if each.name in versions and each.marker is None]
        assert [each.name for each in oldest] == [each.name for each in others], "a driver was added: look it up"
        for requirement in (*oldest, *others):
            first_of_other, last_of_other = versions[requirement.name]
            bounds = {Version(each.version) for each in requirement.specifier} | {Version(first_of_other)}
            assert any(
                bound in requirement.specifier and Version(first_of_other) <= bound < Version(last_of_other)
                for bound in bounds
            ), requirement


# -- whole, or not at all ----------------------------------------------------------------------------------------------

_PROGRAM = """
    import json, logging, sys
    sys.path.insert(0, {faked!r})
    lines = []
    handler = logging.Handler(logging.WARNING)
    handler.emit = lambda record: lines.append(record.getMessage())
    logging.getLogger("causal_otel").addHandler(handler)
    import causal_otel
    from causal_otel.engine.provider import TracerProvider

    if {imported!r}:
        {imports}
    installed = causal_otel.install(patches=[{patch!r}], tracer_provider=TracerProvider())
    {imports}
    from tests.patches.checks import originals
    from causal_otel.instrument.registry import BUILT_IN

    placed = [name for name, found in originals(BUILT_IN[{patch!r}].load()).items() if found is not None
              and getattr(found, "__code__", None) is not None and "causal_otel" in found.__code__.co_filename]
    (status,) = [each for each in causal_otel.status().patches if each.name == {patch!r}]
    print(json.dumps([lines, str(status), status.state, placed]))
"""


def _installed(
    directory: Path, patch: str, imports: str, imported: bool, **faked: str
) -> tuple[list[str], str, str, list[str]]:
    """What a program says and has patched in which drivers have other versions than they have."""
    for name, version in faked.items():
        where = directory / f"{name}-{version}.dist-info"
        where.mkdir()
        (where / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n")
    code = _PROGRAM.format(faked=str(directory), patch=patch, imports=imports, imported=imported)
    program = run(code, PYTHONPATH=str(Path(__file__).parents[2]))
    assert program.returncode == 0, program.stderr
    lines, status, state, placed = json.loads(program.stdout)
    return lines, status, state, placed


@pytest.mark.long
@pytest.mark.parametrize("imported", [True, False], ids=["imported before", "imported later"])
@pytest.mark.parametrize(
    ("faked", "problem"),
    [
        ({"fastapi": "0.109.2"}, "fastapi 0.109.2 is not supported (from 0.110, below 1)"),
        ({"starlette": "0.35.1"}, "starlette 0.35.1 is not supported (from 0.36.3, below 2)"),
        ({"fastapi": "1.0", "starlette": "2.0"}, "starlette 2.0 is not supported (from 0.36.3, below 2)"),
    ],
)
def test_one_driver_out_of_range_leaves_all_alone(
    tmp_path: Path, imported: bool, faked: dict[str, str], problem: str
) -> None:
    """FastAPI and Starlette are traced together or not at all; one line says so, and the status."""
    lines, status, state, placed = _installed(tmp_path, "asgi", "import fastapi, starlette.routing", imported, **faked)
    assert lines == [f"causal_otel: asgi is not traced: {problem}"]
    assert state == "unsupported"
    assert status.endswith(problem)
    assert placed == []


@pytest.mark.parametrize("imported", [True, False], ids=["imported before", "imported later"])
def test_in_range_all_is_placed(tmp_path: Path, imported: bool) -> None:
    """The oldest supported versions, by their numbers, are traced in every place."""
    faked = {"fastapi": "0.110.0", "starlette": "0.36.3"}
    lines, status, state, placed = _installed(tmp_path, "asgi", "import fastapi, starlette.routing", imported, **faked)
    assert (lines, state) == ([], "on")
    assert status == "asgi: on starlette 0.36.3 fastapi 0.110.0"
    assert len(placed) == 12


@pytest.mark.parametrize("imported", [True, False], ids=["imported before", "imported later"])
def test_drivers_that_do_not_need_each_other(tmp_path: Path, imported: bool) -> None:
    """HTTPX is traced whatever HTTPX2 is beside it, and the status tells of both."""
    problem = "httpx2 9.0 is not supported (from 2, below 3)"
    lines, status, state, placed = _installed(tmp_path, "httpx", "import httpx, httpx2", imported, httpx2="9.0")
    assert lines == [f"causal_otel: httpx2 is not traced: {problem}"]
    assert state == "partial"
    assert status.endswith(problem)
    assert {name.partition(".")[0] for name in placed} == {"httpx"}
    assert len(placed) == 6
