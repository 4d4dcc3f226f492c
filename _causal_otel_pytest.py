"""What pytest loads of causal_otel in every run: options, and a fixture that brings the rest once it is asked for.

It stands outside the package, because importing anything of that imports OpenTelemetry. So a suite that does not use
the plugin pays for reading this file and for one look at its tests.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from causal_otel.testing.plugin import Plugin
    from causal_otel.testing.traces import Traces

__all__ = [
    "pytest_addoption",
    "pytest_collection_finish",
    "pytest_configure",
    "traces",
]

BUDGET_FILE = "causal-budget.jsonl"
"""Where budgets are, unless the ini option ``causal_budget_file`` says otherwise."""

_ACTIVE = "causal_otel_active"


def pytest_addoption(parser: pytest.Parser, pluginmanager: pytest.PytestPluginManager) -> None:
    """Add the options; and have our modules imported as they are."""
    group = parser.getgroup("causal_otel", "traces (causal_otel)")
    group.addoption(
        "--causal-budget",
        choices=("check", "update", "off"),
        help="compare what each test calls with its budget (default where the file exists), or write the budgets anew",
    )
    group.addoption(
        "--causal-report",
        metavar="FILE.html",
        nargs="?",
        const="causal-report.html",
        help="write the traces of the slowest tests as one HTML file",
    )
    group.addoption(
        "--causal-export",
        action="store_true",
        help="export the spans of tests as the application is configured to; by default they stay here",
    )
    parser.addini("causal_budget_file", f"file of the budgets, relative to the root directory: {BUDGET_FILE}")
    _import_as_usual(pluginmanager)


def _import_as_usual(pluginmanager: pytest.PytestPluginManager) -> None:
    """Do not have pytest rewrite the assertions of all our modules, as it does with every package that has a plugin.

    An application that imports us would wait for that in each run without a cache. Whatever pytest is changed to, the
    worst that can happen here is that it does so.
    """
    marked = getattr(getattr(pluginmanager, "rewrite_hook", None), "_must_rewrite", None)
    if isinstance(marked, set):
        marked.discard("causal_otel")


def pytest_configure(config: pytest.Config) -> None:
    """Begin at once where an option asks for it."""
    report = config.getoption("causal_report")
    if report and not report.endswith(".html"):
        raise pytest.UsageError(f"--causal-report={report}: write --causal-report=FILE.html")
    if report or config.getoption("causal_export") or _budgets(config):
        _activate(config)


def pytest_collection_finish(session: pytest.Session) -> None:
    """Begin where a test uses the fixture, before the first test runs: none of them is to export anything."""
    if any(map(_uses_traces, session.items)):
        _activate(session.config)


@pytest.fixture
def traces(request: pytest.FixtureRequest) -> Traces:
    """The spans of this test, and what can be asserted of them: ``causal_otel.testing.Traces``."""
    return _activate(request.config).traces(request.node)


def _budgets(config: pytest.Config) -> bool:
    """Whether budgets are compared or written: not asked for, they are compared where there is a file."""
    asked = config.getoption("causal_budget")
    if asked is None:
        return (config.rootpath / (config.getini("causal_budget_file") or BUDGET_FILE)).is_file()
    return bool(asked != "off")


def _uses_traces(item: pytest.Item) -> bool:
    """Whether a test uses our fixture, and not one of the suite's own that is called so."""
    if "traces" not in getattr(item, "fixturenames", ()):
        return False
    known = getattr(getattr(item, "_fixtureinfo", None), "name2fixturedefs", {})
    for each in reversed(known.get("traces", ())):  # from the one that overrides all others
        if each.func.__module__ == __name__:
            return True
        if "traces" not in each.argnames:
            return False
    return False


def _activate(config: pytest.Config) -> Plugin:
    found: Plugin | None = config.pluginmanager.get_plugin(_ACTIVE)
    if found is None:
        from causal_otel.testing.plugin import Plugin

        file = config.rootpath / (config.getini("causal_budget_file") or BUDGET_FILE)
        found = Plugin(config, file, (config.getoption("causal_budget") or "check") if _budgets(config) else "off")
        config.pluginmanager.register(found, _ACTIVE)
        found.begin()
    return found
