"""A driver is registered with all that belongs to it: planted secrets, its pages, its version range, its tests."""

from __future__ import annotations

import tomllib
from collections.abc import Iterator
from typing import Any

import pytest
from packaging.requirements import Requirement
from packaging.version import Version

from causal_otel._reference.patches import EXTRAS
from causal_otel.instrument.registry import BUILT_IN
from tests.docs.pages import ROOT, read
from tests.planted import PLANTED

_PROJECT: dict[str, Any] = tomllib.loads(read("pyproject.toml"))["project"]
_PINS = dict(line.lower().split("==") for line in read("constraints.txt").splitlines() if "==" in line)
_STANDARD = ("event_loop", "locks", "threads")
"""Patches of the standard library, which is there in one version and records no secrets that a driver is given."""
_NOT_IN_DEMO = {"aiohttp", "aiokafka", "grpc", "psycopg", "taskiq", "wsgi"}


def _lacking(name: str) -> Iterator[str]:
    """What is missing of a patch of that name."""
    if name not in PLANTED and name not in _STANDARD:
        yield "planted secrets: PLANTED of tests/planted.py"
    if not (ROOT / f"docs/reference/patches/{name}.md").exists():
        yield "its page: make docs"
    if f"\n| `{name}` | " not in read("docs/reference/privacy.md"):
        yield "its row of the page of privacy: make docs"
    if f"\n| `{name}` | " not in read("README.md"):
        yield "its row of the README's table"
    if f"┌ {name}: " not in read("docs/explanation/architecture.md"):
        yield "its box on the architecture page"
    if not (ROOT / f"tests/patches/test_{name}.py").exists():
        yield "its tests"
    if name not in _STANDARD:
        yield from _range_lacking(name)


def _range_lacking(name: str) -> Iterator[str]:
    versions = BUILT_IN[name].load().versions if name in BUILT_IN else {}
    if not versions or not all(Version(first) < Version(last) for first, last in versions.values()):
        yield "its version range: PATCH"
    for distribution, (first, last) in versions.items():
        if not Version(first) <= Version(_PINS.get(distribution, "0")) < Version(last):
            yield f"a pin of {distribution} in that range: constraints.txt"
    extra, extras = EXTRAS.get(name, name), _PROJECT["optional-dependencies"]
    if extra not in extras:
        yield "its extra"
    for of in ("all", "demo"):
        if name in _NOT_IN_DEMO and of == "demo":
            continue
        if not any(extra in Requirement(each).extras for each in extras[of]):
            yield f"its extra in the extra {of}"


@pytest.mark.parametrize("name", BUILT_IN)
def test_a_registered_driver_has_all_that_belongs_to_it(name: str) -> None:
    """Nothing is missing of a patch that is registered."""
    assert list(_lacking(name)) == []


def test_a_driver_with_nothing_lacks_all_of_it() -> None:
    """The check finds each thing that is missing of a driver that has none."""
    assert len(list(_lacking("acmedb"))) == 10


@pytest.mark.parametrize("version", ["0.28", "1.0", None])
def test_a_pin_outside_of_the_range_is_found(version: str | None, monkeypatch: pytest.MonkeyPatch) -> None:
    """What CI installs of a driver is something that its patch supports."""
    if version is None:
        monkeypatch.delitem(_PINS, "asyncpg")
    else:
        monkeypatch.setitem(_PINS, "asyncpg", version)
    assert list(_lacking("asyncpg")) == ["a pin of asyncpg in that range: constraints.txt"]
