"""The pytest plugin while it is at work: a test uses the fixture ``traces``, or an option asks for something.

What pytest loads in every run is ``_causal_otel_pytest.py``; that registers this. Under pytest-xdist the workers record
and compare, and send what they have found with the reports of their tests; the controller writes files.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from causal_otel._internal import faults
from causal_otel.testing import budgets
from causal_otel.testing.assertions import counted
from causal_otel.testing.calls import queries
from causal_otel.testing.figures import Figures, figures
from causal_otel.testing.recording import NotTraced, Recording
from causal_otel.testing.traces import Traces

if TYPE_CHECKING:
    from collections.abc import Generator, Sequence
    from pathlib import Path

    from causal_otel.testing.report import Slowest

__all__ = ["Plugin"]

_TRACES = pytest.StashKey[Traces]()
_FIGURES = pytest.StashKey[Figures]()
_COLLECTED = "causal_otel_collected"


class Plugin:
    """Hooks of pytest.

    Args:
        config: pytest's.
        file: of the budgets.
        mode: what is done with them: ``check``, ``update`` or ``off``.
    """

    def __init__(self, config: pytest.Config, file: Path, mode: str) -> None:
        self._config = config
        self._file = file
        self._mode = mode
        self._report: str | None = config.getoption("causal_report")
        self._is_worker = hasattr(config, "workerinput")
        self._recording = Recording(export=config.getoption("causal_export"))
        self._budgets: dict[str, Figures] = {}
        self._found: dict[str, Figures] = {}
        self._collected: set[str] = set()
        self._whole = True
        self._slowest: Slowest | None = None
        self._untraced = ""

    def begin(self) -> None:
        """Read the budgets, and record from now on."""
        if self._mode != "off":
            try:
                self._budgets = budgets.read(self._file)
            except budgets.BudgetError as error:
                raise pytest.UsageError(str(error)) from None
        if self._report:
            from causal_otel.testing.report import Slowest

            self._slowest = Slowest()
        self._recording.begin()

    # -- a test --------------------------------------------------------------------------------------------------------

    def traces(self, item: pytest.Item) -> Traces:
        """What the fixture gives."""
        try:
            self._recording.ensure()
        except NotTraced as error:
            pytest.fail(str(error), pytrace=False)
        return item.stash.setdefault(_TRACES, Traces(self._recording.recorder, item.nodeid))

    @pytest.hookimpl(wrapper=True, tryfirst=True)
    def pytest_runtest_call(self, item: pytest.Item) -> Generator[None, Any, Any]:
        """Record a test's call, where somebody looks at it; and compare it with its budget."""
        if _TRACES not in item.stash and not self._records(item):
            return (yield)
        traces = item.stash[_TRACES]
        end = self._recording.recorder.begin(traces.begin())
        try:
            result = yield
        finally:
            end()
        for check in traces.scope.at_end:
            check()
        if self._mode != "off":
            item.stash[_FIGURES] = found = figures(traces.unread())
            if self._mode == "check":
                self._compare(item.nodeid, found, traces)
        return result

    def _records(self, item: pytest.Item) -> bool:
        """Whether a test that does not use the fixture is recorded all the same, for a budget or the report."""
        if (self._mode == "off" and not self._report) or self._untraced:
            return False
        try:
            self._recording.ensure()
        except NotTraced as error:
            self._untraced = str(error)
            return False
        item.stash[_TRACES] = Traces(self._recording.recorder, item.nodeid)
        return True

    def _compare(self, test: str, found: Figures, traces: Traces) -> None:
        __tracebackhide__ = True
        budget = self._budgets.get(test)
        if budget is not None and found.exceeds(budget):
            pytest.fail(budgets.over(test, found, budget, counted(queries(traces.spans))), pytrace=False)

    @pytest.hookimpl(wrapper=True)
    def pytest_runtest_makereport(
        self, item: pytest.Item, call: pytest.CallInfo[None]
    ) -> Generator[None, pytest.TestReport, pytest.TestReport]:
        """Show a failed test's traces, and send along what the files are made of."""
        report = yield
        traces = item.stash.get(_TRACES, None)
        if report.when == "call" and traces is not None:
            try:
                self._tell(report, item, traces)
            except Exception:
                faults.report("testing: a test's report")
        if report.when == "teardown" and traces is not None:
            del item.stash[_TRACES]  # a session keeps its items until it ends
        return report

    def _tell(self, report: pytest.TestReport, item: pytest.Item, traces: Traces) -> None:
        if report.failed:
            report.sections.append(("trace", str(traces)))
        told: dict[str, Any] = {}
        if report.passed and (found := item.stash.get(_FIGURES, None)) is not None:
            told["figures"] = found.document()
        slowest = self._slowest
        if slowest is not None and slowest.is_one(report.duration) and traces.all:
            if self._is_worker:  # each worker sends those that are the slowest of its own so far
                slowest.add(report.duration, report.nodeid, report.outcome)
            from causal_otel.testing.report import packed

            told["trace"] = packed(traces.messages())
        if told:
            report.causal_otel = told  # type: ignore[attr-defined]  # pytest-xdist sends whatever a report has

    # -- all tests -----------------------------------------------------------------------------------------------------

    def pytest_collection_modifyitems(self, items: Sequence[pytest.Item]) -> None:
        """Note which tests there are."""
        self._collected.update(item.nodeid for item in items)

    def pytest_deselected(self, items: Sequence[pytest.Item]) -> None:
        """Those that are not to run are there as well."""
        self._collected.update(item.nodeid for item in items)

    def pytest_collectreport(self, report: pytest.CollectReport) -> None:
        """Note whether all could be found."""
        self._whole = self._whole and not report.failed

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        """Take what a test's report says, here and from workers."""
        told: dict[str, Any] = getattr(report, "causal_otel", {})
        if self._is_worker or report.when != "call":
            return
        if "figures" in told:
            self._found[report.nodeid] = Figures.of(told["figures"])
        if self._slowest is not None and "trace" in told:
            self._slowest.add(report.duration, report.nodeid, report.outcome, told["trace"])

    @pytest.hookimpl(optionalhook=True)
    def pytest_testnodedown(self, node: Any, error: object) -> None:
        """A worker of pytest-xdist ends: which tests has it seen, and did it see all?"""
        output = getattr(node, "workeroutput", {})
        self._collected.update(output.get(_COLLECTED, ()))
        self._whole = self._whole and output.get(f"{_COLLECTED}_whole", False)

    def pytest_sessionfinish(self) -> None:
        """Write the files."""
        if self._is_worker:
            self._config.workeroutput[_COLLECTED] = sorted(self._collected)  # type: ignore[attr-defined]
            self._config.workeroutput[f"{_COLLECTED}_whole"] = self._whole  # type: ignore[attr-defined]
            return
        if self._mode == "update":
            whole = self._whole and not any("::" in argument for argument in self._config.args)
            stay = budgets.kept(self._budgets, self._collected, self._config.rootpath, whole=whole)
            budgets.write(self._file, {**stay, **self._found})
        if self._report and self._slowest is not None:
            from causal_otel.testing.report import write

            write(self._config.rootpath / self._report, self._slowest.all())

    def pytest_terminal_summary(self, terminalreporter: pytest.TerminalReporter) -> None:
        """Say what was written, and what the budgets do not say of these tests."""
        for line in self._remarks():
            terminalreporter.write_line(f"causal_otel: {line}")

    def _remarks(self) -> list[str]:
        found = [self._untraced] if self._untraced else []
        if self._mode == "update":
            found.append(f"the budgets of {len(self._found)} tests are in {self._file.name}")
        elif self._mode == "check":
            new = [test for test, each in self._found.items() if each and test not in self._budgets]
            below = [
                test
                for test, each in self._found.items()
                if (budget := self._budgets.get(test)) is not None and budget.exceeds(each)
            ]
            for some, says in ((new, "have no budget yet"), (below, "call less than their budgets allow")):
                if some:
                    found.append(f"{len(some)} tests {says}: pytest --causal-budget=update")
        if self._report:
            found.append(f"the traces of the slowest tests are in {self._report}")
        return found

    def pytest_unconfigure(self) -> None:
        """Leave the process as it was."""
        self._recording.end()
