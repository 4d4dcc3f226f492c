"""How many instructions pytest's plugin adds to a suite: by valgrind's cachegrind.

    python -m benchmarks.plugin_instructions

Whole runs differ by more than what the plugin adds, where others share the machine; instructions do not depend on that.
The suites are those of :mod:`benchmarks.bench_pytest_plugin`. Each is run with 20 and with 80 tests, which tells what a
test takes, and what the rest does. It prints both in millions of instructions.
"""

from __future__ import annotations

import re
import tempfile
from pathlib import Path

from benchmarks.bench_pytest_plugin import TESTS, WITHOUT, run_suite, suite

__all__: list[str] = []

_FEW, _MANY = 20, 80
_VALGRIND = ("valgrind", "--tool=cachegrind", "--cache-sim=no", "--cachegrind-out-file=/dev/null")
_PLUGIN = ("-p", "_causal_otel_pytest")


def _millions(place: Path, tests: int, options: tuple[str, ...]) -> float:
    names = [f"test_shop.py::test_order[{number}]" for number in range(tests)]
    done = run_suite(place, *options, *names, under=_VALGRIND, PYTHONHASHSEED="0")
    found = re.search(r"I\s+refs:\s+([\d,]+)", done.stderr)
    assert found is not None, done.stderr
    return int(found[1].replace(",", "")) / 1e6


def _tell(name: str, place: Path, options: tuple[str, ...]) -> float:
    few, many = (_millions(place, tests, options) for tests in (_FEW, _MANY))
    test = (many - few) / (_MANY - _FEW)
    whole = few + (TESTS - _FEW) * test
    print(f"{name}: {test:.3f} a test, {few - _FEW * test:.1f} besides, {whole:.0f} for {TESTS} tests", flush=True)
    return whole


def main() -> None:
    """Print each suite, and what the plugin adds."""
    with tempfile.TemporaryDirectory() as folder:
        used, unused = suite(Path(folder, "used"), uses=True), suite(Path(folder, "unused"), uses=False)
        bare = _tell("without the plugin", unused, WITHOUT)
        there = _tell("it is there and not used", unused, _PLUGIN)
        run_suite(unused, *_PLUGIN, "--causal-budget=update")
        budgets = _tell("each test has a budget", unused, _PLUGIN)
        nothing = _tell("each test uses a fixture that does nothing", used, ("-p", "nothing"))
        asserts = _tell("each test asserts", used, _PLUGIN)
    for name, ours, before in (("there", there, bare), ("budgets", budgets, bare), ("asserts", asserts, nothing)):
        print(f"{name}: {ours / before - 1:+.2%}")


if __name__ == "__main__":
    main()
