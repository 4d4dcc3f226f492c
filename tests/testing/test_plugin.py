"""The plugin in whole runs of pytest: what is active when, with asyncio, anyio and xdist, and what failures show."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.services.received import ReceivedSpans
from tests.testing.suites import run_suite

_SHOP = """
import causal_otel
from opentelemetry.trace import SpanKind
causal_otel.install(service_name="shop", patches=[])

QUERY = {"db.system.name": "sqlite", "db.query.text": "SELECT ?"}

def order(items):
    with causal_otel.span("order"):
        for item in range(items):
            with causal_otel.span("load", QUERY, kind=SpanKind.CLIENT):
                pass
"""


def test_nothing_is_active_until_it_is_used(tmp_path: Path) -> None:
    """A suite that uses nothing imports nothing of ours; one that has a fixture of the same name has its own."""
    run = run_suite(
        tmp_path,
        files={
            "test_own.py": """
            import sys, pytest

            @pytest.fixture
            def traces():
                return "mine"

            def test_nothing(traces, pytestconfig):
                assert traces == "mine"
                assert not [name for name in sys.modules if name.startswith(("causal_otel.", "opentelemetry"))]
                assert not pytestconfig.pluginmanager.has_plugin("causal_otel_active")
            """
        },
    )
    assert (run.code, run.outcomes) == (0, {"passed": 1}), run.output


@pytest.mark.long
def test_plugin_is_found_by_its_entry_point(tmp_path: Path) -> None:
    """An installed package is all that is needed, and -p no:causal_otel all that it takes to be without."""
    files = {"test_it.py": "def test_it(traces): assert traces.spans == ()"}
    run = run_suite(tmp_path, "-p", "no:ddtrace", "-p", "no:logfire", files=files, autoload=True)
    assert (run.code, run.outcomes) == (0, {"passed": 1}), run.output
    run = run_suite(tmp_path, "-p", "no:ddtrace", "-p", "no:logfire", "-p", "no:causal_otel", autoload=True)
    assert "fixture 'traces' not found" in run.output


def test_async_tests_have_their_own_spans(tmp_path: Path) -> None:
    """Tests of pytest-asyncio and of anyio, on asyncio and trio, have their spans alone, with loops of any scope."""
    run = run_suite(
        tmp_path,
        files={
            "test_async.py": """
            import asyncio, anyio, causal_otel, pytest, threading

            async def work(name):
                with causal_otel.span(name):
                    await anyio.sleep(0.001)

            @pytest.mark.asyncio(loop_scope="module")
            @pytest.mark.parametrize("name", ["a", "b"])
            async def test_asyncio(traces, name):
                global left
                left = asyncio.create_task(later(name))
                await asyncio.gather(work(name), work(name))
                traces.assert_tree(f"2× {name}")

            async def later(name):
                await asyncio.sleep(0.05)
                await work(f"left by {name}")

            @pytest.mark.asyncio(loop_scope="module")
            async def test_after(traces):
                await left
                assert traces.spans == ()

            @pytest.fixture
            async def used():
                await work("fixture")
                yield "c"
                await work("fixture")

            @pytest.mark.anyio
            async def test_anyio(traces, used):
                async with anyio.create_task_group() as group:
                    for _ in range(2):
                        group.start_soon(work, used)
                traces.assert_tree("2× c")

            async def block():
                import time
                time.sleep(0.3)

            @pytest.mark.asyncio
            async def test_block(traces):
                traces.assert_no_loop_block()
                await block()
            """
        },
        TRACING_LOOP_BLOCK_THRESHOLD="0.05",
    )
    assert (run.code, run.outcomes) == (1, {"passed": 5, "failed": 1}), run.output
    assert "AssertionError: the event loop was blocked for 50 ms or more:" in run.output
    assert "block() (a blocking call)" in run.output


def test_nothing_is_exported_unless_that_is_asked_for(tmp_path: Path, receiver: ReceivedSpans) -> None:
    """An application that installs when it is imported exports nothing of such a suite, but with the option."""
    files = {
        "shop.py": _SHOP,
        "test_shop.py": """
        import shop

        def test_without(): shop.order(1)

        def test_with(traces):
            shop.order(2)
            assert [span.service for span in traces.spans] == ["shop"] * 3
            assert traces.snapshot() == "order [internal]\\n╰╴2× load [sqlite]"
        """,
    }
    run = run_suite(tmp_path, files=files, OTLP_ENDPOINT=receiver.endpoint)
    assert (run.code, run.outcomes) == (0, {"passed": 2}), run.output
    assert receiver.spans() == []
    run = run_suite(tmp_path, "--causal-export", "--causal-report", OTLP_ENDPOINT=receiver.endpoint)
    assert (run.code, run.outcomes) == (0, {"passed": 2}), run.output
    assert sorted(span["name"] for span in receiver.spans()) == ["load", "load", "load", "order", "order"]
    assert (tmp_path / "causal-report.html").read_text().count("<section ") == 2


def test_failed_test_shows_its_trace_and_why(tmp_path: Path) -> None:
    """Any failure of a test that uses the fixture shows the trace, with the sentence; others show none."""
    run = run_suite(
        tmp_path,
        files={
            "shop.py": _SHOP,
            "test_shop.py": """
            import shop

            def test_fails(traces):
                shop.order(3)
                assert 1 == 2

            def test_fails_too():
                shop.order(3)
                assert 1 == 2
            """,
        },
    )
    assert run.outcomes == {"failed": 2}, run.output
    lines = run.section("trace").splitlines()
    assert [line.split("  ")[0] for line in lines[:2]] == ["order [internal]", "╰╴3× load [sqlite]"]
    assert lines[2].startswith("why: ")
    assert run.output.count("why: ") == 1


def test_tracing_that_is_switched_off_is_said(tmp_path: Path) -> None:
    """Where tracing is switched off the fixture fails with the variable that does, and budgets are not compared."""
    run = run_suite(
        tmp_path,
        files={
            "test_it.py": "def test_with(traces): pass\n\ndef test_without(): pass",
            "causal-budget.jsonl": '{"test": "test_it.py::test_without", "spans": 0}\n',
        },
        TRACING_ENABLED="false",
    )
    assert run.outcomes == {"passed": 1, "error": 1}, run.output
    assert "tests cannot be traced: switched off by TRACING_ENABLED=false" in run.output


_BUDGETED = """
import os, pytest, shop

@pytest.mark.parametrize("number", [1, 2, 3])
def test_order(number):
    shop.order(number + int(os.environ.get("MORE", "0")))

def test_nothing(): pass
"""


@pytest.mark.long
def test_life_of_the_budgets(tmp_path: Path) -> None:
    """Budgets are recorded, compared, exceeded with a difference that is read, accepted, and go with their tests."""
    budget = tmp_path / "causal-budget.jsonl"
    files = {"shop.py": _SHOP, "test_shop.py": _BUDGETED}

    run = run_suite(tmp_path, "--causal-budget=update", files=files)
    assert "causal_otel: the budgets of 4 tests are in causal-budget.jsonl" in run.output
    lines = [json.loads(line) for line in budget.read_text().splitlines()]
    assert lines == [
        {"test": f"test_shop.py::test_order[{n}]", "queries": {"order": n}, "external": 0, "spans": n + 1}
        for n in (1, 2, 3)
    ]

    run = run_suite(tmp_path)
    assert (run.code, "causal_otel:" in run.output) == (0, False), run.output

    run = run_suite(tmp_path, MORE="2")
    assert (run.code, run.outcomes) == (1, {"passed": 1, "failed": 3}), run.output
    assert "  queries of order  1 → 3  (+2)\n" in run.output
    assert "    3× SELECT ?\n" in run.output
    assert "If that is meant: pytest --causal-budget=update 'test_shop.py::test_order[1]'" in run.output
    assert "3× load" in run.section("trace")
    assert run_suite(tmp_path, "--causal-budget=off", MORE="2").code == 0

    run_suite(tmp_path, "--causal-budget=update", "test_shop.py::test_order[1]", MORE="2")
    run = run_suite(tmp_path)
    assert (run.code, run.outcomes) == (0, {"passed": 4}), run.output
    assert "causal_otel: 1 tests call less than their budgets allow: pytest --causal-budget=update" in run.output
    assert len(budget.read_text().splitlines()) == 3

    (tmp_path / "test_shop.py").write_text(_BUDGETED.replace("test_order", "test_buy"))
    run = run_suite(tmp_path)
    assert "causal_otel: 3 tests have no budget yet: pytest --causal-budget=update" in run.output
    run_suite(tmp_path, "--causal-budget=update")
    assert [json.loads(line)["test"] for line in budget.read_text().splitlines()] == [
        f"test_shop.py::test_buy[{number}]" for number in (1, 2, 3)
    ]


@pytest.mark.long
def test_budgets_of_workers_are_one_file(tmp_path: Path) -> None:
    """Under pytest-xdist the controller writes what all workers have found, and workers compare."""
    files = {"shop.py": _SHOP, "test_shop.py": _BUDGETED}
    run = run_suite(tmp_path, "-n", "2", "--causal-budget=update", "--causal-report", files=files)
    assert (run.code, run.outcomes) == (0, {"passed": 4}), run.output
    assert len((tmp_path / "causal-budget.jsonl").read_text().splitlines()) == 3
    report = (tmp_path / "causal-report.html").read_text()
    assert [f"test_order[{number}]" in report for number in (1, 2, 3)] == [True, True, True]
    run = run_suite(tmp_path, "-n", "2", MORE="1")
    assert (run.code, run.outcomes) == (1, {"passed": 1, "failed": 3}), run.output
    assert "  queries of order  1 → 2  (+1)\n" in run.output


def test_mistakes_are_told_before_any_test_runs(tmp_path: Path) -> None:
    """A file that is no budget, and a report that would take a test's path for its name, are errors of usage."""
    files = {"test_it.py": "def test_it(): pass", "causal-budget.jsonl": "<<<<<<< HEAD\n"}
    run = run_suite(tmp_path, files=files)
    assert (run.code, "a merge has left a conflict" in run.output) == (4, True), run.output
    run = run_suite(tmp_path, "--causal-budget=off", "--causal-report", "test_it.py")
    assert (run.code, "write --causal-report=FILE.html" in run.output) == (4, True), run.output


@pytest.mark.long
@pytest.mark.parametrize(
    ("plugin", "update", "code"),
    [
        ("inline_snapshot.pytest_plugin", "--inline-snapshot=create", "from inline_snapshot import snapshot"),
        ("syrupy", "--snapshot-update", ""),
    ],
)
def test_snapshots_are_what_libraries_for_them_hold(tmp_path: Path, plugin: str, update: str, code: str) -> None:
    """inline-snapshot and syrupy record a snapshot, find it again, and tell what differs."""
    argument = "snapshot" if not code else "traces"
    compared = "snapshot()" if code else "snapshot"
    files = {
        "shop.py": _SHOP,
        "test_shop.py": f"""
        import os, shop
        {code}

        def test_order(traces, {argument if argument != "traces" else "request"}):
            shop.order(int(os.environ["ITEMS"]))
            assert traces.snapshot() == {compared}
        """,
    }
    plugins = ("_causal_otel_pytest", plugin)
    run_suite(tmp_path, update, files=files, plugins=plugins, ITEMS="2")
    run = run_suite(tmp_path, plugins=plugins, ITEMS="2")
    assert run.code == 0, run.output
    held = "".join(path.read_text() for path in tmp_path.rglob("*") if path.suffix in (".py", ".ambr"))
    assert "╰╴2× load [sqlite]" in held
    run = run_suite(tmp_path, plugins=plugins, ITEMS="3")
    assert (run.code, "3× load [sqlite]" in run.output) == (1, True), run.output
