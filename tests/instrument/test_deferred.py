"""A patch waits for its driver, and its module is not imported before."""

from __future__ import annotations

import importlib
import subprocess
import sys
import textwrap
from typing import TYPE_CHECKING, Any

import asyncpg
import pytest
from opentelemetry import trace

from causal_otel._internal import faults
from causal_otel.instrument.deferred import DeferredPatch
from causal_otel.instrument.registry import BUILT_IN, Registered
from causal_otel.instrument.tracing import Tracing

if TYPE_CHECKING:
    from collections.abc import Callable

    from causal_otel.instrument.declaration import Patch

_STANDARD = ("event_loop", "locks", "threads")
"""Patches of what is there already: the standard library, and what others are built on."""

DRIVERS = sorted(
    {
        module
        for name, patch in BUILT_IN.items()
        if name not in _STANDARD
        for module in patch.modules
        if "." not in module
    }
)
"""Whatever a patch waits for that is neither ours nor of the standard library."""


def _tracing(patch: Patch) -> Tracing[Any]:
    return Tracing(trace.NoOpTracer(), patch.options(), lambda timeout: True)


_BELOW = {"httpx": ("httpcore", "httpcore2"), "celery": ("billiard", "kombu")}
"""Packages whose modules a patch takes hold of as well, once the driver is imported."""


@pytest.mark.parametrize("name", BUILT_IN)
def test_what_it_waits_for_comes_before_whatever_it_patches(name: str) -> None:
    """The modules of all targets are, or are inside, the modules that a patch waits for, or what those stand on."""
    drivers = (*BUILT_IN[name].modules, *_BELOW.get(name, ()))
    for target in BUILT_IN[name].load().targets:
        assert any(f"{target.module}.".startswith(f"{driver}.") for driver in drivers), target.module


@pytest.mark.parametrize("driver", DRIVERS)
def test_nothing_is_imported_before_its_driver(driver: str) -> None:
    """install() imports no driver and no patch; after it, a driver brings its patches, and no other driver."""
    traced = f"""
        import importlib, sys, causal_otel
        from causal_otel.instrument.registry import BUILT_IN
        from causal_otel.instrument.untraced import _DRIVERS
        drivers = {{*_DRIVERS, *{DRIVERS!r}}}
        for name in {_STANDARD}:
            del BUILT_IN[name]
        loaded = lambda: {{name for name in BUILT_IN if f"causal_otel.patches.{{name}}" in sys.modules}}
        causal_otel.install(endpoint="http://127.0.0.1:9")
        assert not drivers & set(sys.modules), drivers & set(sys.modules)
        assert loaded() == set() and {{patch.state for patch in causal_otel.status().patches}} == {{"waiting"}}
        importlib.import_module("{driver}")
        states = {{patch.name: patch.state for patch in causal_otel.status().patches}}
        there = {{name for name, patch in BUILT_IN.items() if set(patch.modules) & set(sys.modules)}}
        rests = {{"redis"}} if "valkey" in there else set()  # on the other's modules, not on the other driver
        assert loaded() == there | rests, (loaded(), there)
        # The packages of these import little by themselves: what is patched comes with a module of theirs.
        little = {{"celery", "django", "kombu", "starlette"}}
        at_work = {{name for name in there if "{driver}" not in little}}
        assert {{name for name, state in states.items() if state != "waiting"}} == at_work, states
        assert {{states[name] for name in at_work}} <= {{"on"}}, states
        print(*sorted(drivers & set(sys.modules)))
    """
    untraced = f"""
        import sys, {driver}
        from causal_otel.instrument.untraced import _DRIVERS
        print(*sorted({{*_DRIVERS, *{DRIVERS!r}}} & set(sys.modules)))
    """
    found = [
        subprocess.run(
            [sys.executable, "-W", "error", "-c", textwrap.dedent(code)], capture_output=True, text=True, timeout=60
        )
        for code in (traced, untraced)
    ]
    assert [(done.returncode, done.stderr) for done in found] == [(0, ""), (0, "")]
    assert found[0].stdout == found[1].stdout
    assert driver in found[0].stdout.split()


def _waiting_for(*modules: str, **changes: Any) -> Registered:
    """The patch for asyncpg, which waits for other modules."""
    return BUILT_IN["asyncpg"]._replace(modules=modules, **changes)


def test_undone_before_it_began() -> None:
    """A driver that comes after that is left alone."""
    fetch = asyncpg.Connection.fetch
    waiting = DeferredPatch(_waiting_for("causal_otel_late_driver"), _tracing)
    waiting.apply()
    assert str(waiting.status) == "asyncpg: waiting"
    waiting.undo()
    _arrive("causal_otel_late_driver")
    assert str(waiting.status) == "asyncpg: waiting"
    assert asyncpg.Connection.fetch is fetch


def test_several_drivers_apply_it_once() -> None:
    """The second one finds the work done; undoing restores what stood there before the first."""
    fetch = asyncpg.Connection.fetch
    waiting = DeferredPatch(_waiting_for("causal_otel_driver_one", "causal_otel_driver_two"), _tracing)
    waiting.apply()
    _arrive("causal_otel_driver_one")
    patched = asyncpg.Connection.fetch
    assert patched is not fetch
    _arrive("causal_otel_driver_two")
    assert asyncpg.Connection.fetch is patched
    waiting.undo()
    assert asyncpg.Connection.fetch is fetch


@pytest.mark.parametrize("broken", ["the patch", "its options"])
def test_failure_is_contained(broken: str) -> None:
    """Whatever fails in us, the import of the driver does not, and the status says what happened."""

    def fail(*_: object) -> Any:
        raise RuntimeError("boom")

    tracing: Callable[[Patch], Tracing[Any]] = _tracing
    registered = _waiting_for("causal_otel_driver")
    if broken == "the patch":
        registered = registered._replace(load=fail)
    else:
        tracing = fail
    waiting = DeferredPatch(registered, tracing)
    waiting.apply()
    before = faults.counts().get("asyncpg: patching", 0)
    _arrive("causal_otel_driver")
    assert str(waiting.status) == "asyncpg: failed see the log"
    assert faults.counts()["asyncpg: patching"] == before + 1
    waiting.undo()


@pytest.fixture(autouse=True)
def _drivers(tmp_path: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(str(tmp_path))
    for name in ("late_driver", "driver", "driver_one", "driver_two"):
        (tmp_path / f"causal_otel_{name}.py").write_text("")


def _arrive(name: str) -> None:
    """Import a driver, and forget it."""
    importlib.import_module(name)
    del sys.modules[name]
