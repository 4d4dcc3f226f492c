"""What the pytest plugin adds to suites: whole runs in processes of their own, in pairs, and single tests in one run.

The suite is generated, and is what FastAPI's documentation makes of a test with a database: three hundred tests of a
FastAPI application with SQLAlchemy's models, each of which has a fresh SQLite database in memory, and makes one request
with three queries. Nothing in it waits or computes besides. The application calls ``install()`` and exports nothing, so
that what tracing itself costs is on both sides: what is measured is the plugin. Compared with the same suite without it
are

* one that does not use it;
* one whose every test uses the fixture and asserts two things of it;
* one that has budgets.

Whole runs differ by several percent from one to the next where others share the machine. So it is also measured in one
run, in which tests that assert take turns with the same tests whose fixture does nothing: what one test costs, without
what is imported once. :mod:`benchmarks.plugin_instructions` counts instructions.
"""

from __future__ import annotations

import json
import os
import resource
import subprocess
import sys
from pathlib import Path
from statistics import median
from typing import TYPE_CHECKING

import pytest

from benchmarks.rounds import BARE, OURS

if TYPE_CHECKING:
    from collections.abc import Sequence

    from benchmarks.conftest import Record

pytestmark = pytest.mark.timeout(3600)

__all__ = ["TESTS", "WITHOUT", "run_suite", "suite"]

TESTS = 300
WITHOUT = ("-p", "no:_causal_otel_pytest")
"""Options of a run without the plugin."""
_PAIRS = 5

_APP = """
import causal_otel
causal_otel.install(exporter="none")

from collections.abc import Iterator
from fastapi import Depends, FastAPI
from pydantic import BaseModel
from sqlalchemy import ForeignKey, create_engine, select
from sqlalchemy.orm import DeclarativeBase, Mapped, Session, mapped_column
from sqlalchemy.pool import StaticPool

class Base(DeclarativeBase): pass

class Customer(Base):
    __tablename__ = "customers"
    id: Mapped[int] = mapped_column(primary_key=True)
    name: Mapped[str]

class Order(Base):
    __tablename__ = "orders"
    id: Mapped[int] = mapped_column(primary_key=True)
    customer_id: Mapped[int] = mapped_column(ForeignKey("customers.id"))

class Item(Base):
    __tablename__ = "items"
    id: Mapped[int] = mapped_column(primary_key=True)
    order_id: Mapped[int] = mapped_column(ForeignKey("orders.id"))
    product: Mapped[str]

class Shown(BaseModel):
    customer: str
    items: list[str]

app = FastAPI()

def session() -> Iterator[Session]:
    raise NotImplementedError("each test gives its own")

@app.get("/orders/{order_id}")
def order(order_id: int, session: Session = Depends(session)) -> Shown:
    found = session.scalars(select(Order).where(Order.id == order_id)).one()
    customer = session.scalars(select(Customer).where(Customer.id == found.customer_id)).one()
    items = session.scalars(select(Item).where(Item.order_id == order_id)).all()
    return Shown(customer=customer.name, items=[item.product for item in items])
"""

_CONFTEST = """
import pytest
from fastapi.testclient import TestClient
from shop import Base, Customer, Item, Order, Session, StaticPool, app, create_engine, session

@pytest.fixture
def database():
    engine = create_engine("sqlite://", poolclass=StaticPool, connect_args={"check_same_thread": False})
    Base.metadata.create_all(engine)
    with Session(engine) as made:
        made.add_all([Customer(id=7, name="Ada"), Order(id=1, customer_id=7)])
        made.add_all([Item(order_id=1, product=product) for product in ("tea", "milk")])
        made.commit()
    with Session(engine) as made:
        yield made
    engine.dispose()

@pytest.fixture
def client(database):
    app.dependency_overrides[session] = lambda: database
    yield TestClient(app)
    app.dependency_overrides.clear()
"""

_NOTHING = """
import pytest

class Nothing:
    def assert_max_queries(self, most, operation): pass
    def assert_no_n_plus_one(self): pass

@pytest.fixture
def traces(): return Nothing()
"""
"""Stands for the fixture where there is no plugin."""

_TEST = """
import pytest

@pytest.mark.parametrize("number", range({tests}))
def test_order(client{fixture}, number):
    assert client.get("/orders/1").json() == {{"customer": "Ada", "items": ["tea", "milk"]}}
    {asserts}
"""
_ASSERTS = """traces.assert_max_queries(3, operation="GET /orders/*")
    traces.assert_no_n_plus_one()"""

_TURNS = """
import json, time
from collections import defaultdict
from pathlib import Path
import pytest

times = defaultdict(list)

def pytest_collection_modifyitems(items):
    items.sort(key=lambda item: item.callspec.params["number"])

@pytest.hookimpl(wrapper=True, tryfirst=True)
def pytest_runtest_protocol(item):
    began = time.process_time()
    try:
        return (yield)
    finally:
        times[item.path.stem].append(time.process_time() - began)

def pytest_sessionfinish():
    Path("times.json").write_text(json.dumps(times))
"""
"""Has the tests of several files take turns, and notes the CPU time of each."""


def _test(*, uses: bool) -> str:
    fixture, asserts = (", traces", _ASSERTS) if uses else ("", "")
    return _TEST.format(tests=TESTS, fixture=fixture, asserts=asserts)


def suite(place: Path, *, uses: bool, **more: str) -> Path:
    """A suite in that folder; ``uses``: whether its tests use the fixture. ``more`` are further files."""
    place.mkdir()
    more["test_shop"] = _test(uses=uses)
    (place / "pytest.ini").write_text("[pytest]\n")
    for name, text in {"shop": _APP, "conftest": _CONFTEST, "nothing": _NOTHING, "turns": _TURNS, **more}.items():
        (place / f"{name}.py").write_text(text)
    return place


def run_suite(
    place: Path, *options: str, under: Sequence[str] = (), **variables: str
) -> subprocess.CompletedProcess[str]:
    """Run it to its end, which is good: with options of pytest, ``under`` a command, with more of an environment."""
    variables = {**os.environ, "PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1", "PYTHONPATH": str(place), **variables}
    done = subprocess.run(
        [*under, sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", *options],
        cwd=place, env=variables, capture_output=True, text=True, timeout=1800,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout
    return done


def _run(place: Path, *options: str) -> float:
    """Seconds of CPU that a run of the suite takes."""
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    run_suite(place, *options)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return (after.ru_utime + after.ru_stime) - (before.ru_utime + before.ru_stime)


def _compare(record: Record, row: str, place: Path, without: tuple[str, ...], options: tuple[str, ...]) -> None:
    _run(place, *without)
    _run(place, *options)
    pairs = [(_run(place, *without), _run(place, *options)) for _ in range(_PAIRS)]
    record(row, {BARE: min(bare for bare, _ in pairs), OURS: min(ours for _, ours in pairs)})


def _take_turns(record: Record, row: str, place: Path) -> None:
    _run(place, "-p", "_causal_otel_pytest", "-p", "turns")
    times = json.loads((place / "times.json").read_text())
    record(row, {BARE: median(times["test_plain"]), OURS: median(times["test_shop"])})


def test_suite_that_does_not_use_it(record: Record, tmp_path: Path) -> None:
    """The plugin is there, and nothing of it is used."""
    place = suite(tmp_path / "suite", uses=False)
    _compare(record, "pytest unused", place, WITHOUT, ("-p", "_causal_otel_pytest"))


def test_suite_that_uses_it(record: Record, tmp_path: Path) -> None:
    """Every test uses the fixture, and asserts two things."""
    place = suite(tmp_path / "suite", uses=True)
    _compare(record, "pytest used", place, ("-p", "nothing"), ("-p", "_causal_otel_pytest"))


def test_suite_with_budgets(record: Record, tmp_path: Path) -> None:
    """Every test is compared with its budget."""
    place = suite(tmp_path / "suite", uses=False)
    _run(place, "-p", "_causal_otel_pytest", "--causal-budget=update")
    _compare(record, "pytest budgets", place, WITHOUT, ("-p", "_causal_otel_pytest"))


def test_test_that_asserts(record: Record, tmp_path: Path) -> None:
    """A test that uses the fixture and asserts two things, beside one whose fixture does nothing."""
    place = suite(tmp_path / "suite", uses=True, test_plain=_NOTHING + _test(uses=True))
    _take_turns(record, "pytest test", place)
