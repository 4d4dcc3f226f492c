"""What the pytest plugin adds to suites: whole runs in processes of their own, in pairs.

The suite is generated: three hundred tests of a FastAPI application with a database, each of which makes a request with
three queries. The application calls ``install()``, so that what tracing itself costs is on both sides. Three things are
compared with the same suite without the plugin:

* one that does not use it;
* one whose every test uses the fixture and asserts two things of it;
* one that has budgets.
"""

from __future__ import annotations

import os
import resource
import subprocess
import sys
import textwrap
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from benchmarks.rounds import BARE, OURS

if TYPE_CHECKING:
    from benchmarks.conftest import Record

pytestmark = pytest.mark.timeout(3600)

_TESTS = 300
_PAIRS = 5

_APP = """
import causal_otel
causal_otel.install(exporter="none")

from fastapi import FastAPI
from sqlalchemy import create_engine, text
from sqlalchemy.pool import StaticPool

app = FastAPI()
engine = create_engine("sqlite://", poolclass=StaticPool, connect_args={"check_same_thread": False})

@app.get("/orders/{order_id}")
def order(order_id: int) -> dict[str, int]:
    with engine.connect() as connection:
        return {name: connection.execute(text(f"SELECT :id AS {name}"), {"id": order_id}).scalar() for name in "abc"}
"""

_CONFTEST = """
import pytest
from fastapi.testclient import TestClient
from shop import app

@pytest.fixture
def client():
    return TestClient(app)
"""

_NOTHING = """
import pytest

class Nothing:
    def assert_max_queries(self, most, operation): pass
    def assert_no_n_plus_one(self, least): pass

@pytest.fixture
def traces(): return Nothing()
"""
"""Stands for the fixture where there is no plugin."""

_PLAIN = """
import pytest

@pytest.mark.parametrize("number", range({tests}))
def test_orders(client{fixture}, number):
    assert client.get(f"/orders/{{number}}").json() == {{"a": number, "b": number, "c": number}}
    {asserts}
"""
_ASSERTS = """traces.assert_max_queries(3, operation="GET /orders/*")
    traces.assert_no_n_plus_one(least=4)"""


def _suite(place: Path, *, uses: bool) -> Path:
    place.mkdir()
    (place / "pytest.ini").write_text("[pytest]\n")
    (place / "shop.py").write_text(_APP)
    (place / "conftest.py").write_text(_CONFTEST)
    (place / "nothing.py").write_text(_NOTHING)
    plain = textwrap.dedent(_PLAIN).format(
        tests=_TESTS, fixture=", traces" if uses else "", asserts=_ASSERTS if uses else ""
    )
    (place / "test_shop.py").write_text(plain)
    return place


def _run(place: Path, *options: str) -> float:
    """Seconds of CPU that a run of the suite takes."""
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    variables = {**os.environ, "PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1", "PYTHONPATH": str(place)}
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", *options],
        cwd=place, env=variables, capture_output=True, text=True, timeout=1200,
    )  # fmt: skip
    assert (done.returncode, f"{_TESTS} passed" in done.stdout) == (0, True), done.stdout
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return (after.ru_utime + after.ru_stime) - (before.ru_utime + before.ru_stime)


def _compare(record: Record, row: str, place: Path, without: tuple[str, ...], options: tuple[str, ...]) -> None:
    _run(place, *without)
    _run(place, *options)
    pairs = [(_run(place, *without), _run(place, *options)) for _ in range(_PAIRS)]
    record(row, {BARE: min(bare for bare, _ in pairs), OURS: min(ours for _, ours in pairs)})


def test_suite_that_does_not_use_it(record: Record, tmp_path: Path) -> None:
    """The plugin is there, and nothing of it is used."""
    place = _suite(tmp_path / "suite", uses=False)
    _compare(record, "pytest unused", place, ("-p", "no:_causal_otel_pytest"), ("-p", "_causal_otel_pytest"))


def test_suite_that_uses_it(record: Record, tmp_path: Path) -> None:
    """Every test uses the fixture, and asserts two things."""
    place = _suite(tmp_path / "suite", uses=True)
    _compare(record, "pytest used", place, ("-p", "nothing"), ("-p", "_causal_otel_pytest"))


def test_suite_with_budgets(record: Record, tmp_path: Path) -> None:
    """Every test is compared with its budget."""
    place = _suite(tmp_path / "suite", uses=False)
    _run(place, "-p", "_causal_otel_pytest", "--causal-budget=update")
    _compare(record, "pytest budgets", place, ("-p", "no:_causal_otel_pytest"), ("-p", "_causal_otel_pytest"))
