"""``causal-otel sampling check``: what a file would do, and what is wrong with it."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from causal_otel.cli import main

_RULES = [
    {"operation": "POST /charge", "type": "probabilistic", "param": 1.0},
    {"match": {"task": "reports.*", "queue": "slow"}, "type": "ratelimiting", "param": 0.5},
]
_FILE = {
    "default_strategy": {
        "type": "probabilistic",
        "param": 1,
        "operation_strategies": [{"operation": "/health", "type": "probabilistic", "param": 0.1}],
    },
    "service_strategies": [
        {"service": "billing", "type": "probabilistic", "param": 0.5, "operation_strategies": _RULES},
        {"service": "noisy", "type": "ratelimiting", "param": 5.5},
    ],
}


@pytest.fixture
def file(tmp_path: Path) -> str:
    path = tmp_path / "strategies.json"
    path.write_text(json.dumps(_FILE, indent=1))
    return str(path)


def _rows(text: str) -> list[list[str]]:
    return [[cell.strip() for cell in line.split("  ") if cell.strip()] for line in text.splitlines()]


def test_all_rules(file: str, capsys: pytest.CaptureFixture[str]) -> None:
    """Without operations every rule is shown for every service, in the order they are asked, with its line."""
    assert main(["sampling", "check", file]) == 0
    output = capsys.readouterr()
    assert _rows(output.out) == [
        ["SERVICE", "OPERATION", "RECORDED", "BECAUSE OF"],
        ["billing", "POST /charge", "everything", "line 19"],
        ["billing", "task reports.* and queue slow", "0.5 a second", "line 24"],
        ["billing", "/health", "10 %", "line 6"],
        ["billing", "(else)", "50 %", "line 14"],
        ["noisy", "/health", "10 %", "line 6"],
        ["noisy", "(else)", "5 a second", "line 34"],
        ["(any other)", "/health", "10 %", "line 6"],
        ["(any other)", "(else)", "everything", "line 2"],
    ]
    assert output.err == (f"causal-otel sampling: {file}, line 34: a service's rate is a whole number, 5.5 is 5\n")


def test_pairs(file: str, capsys: pytest.CaptureFixture[str]) -> None:
    """For each service and operation it is told what would happen, and why."""
    pairs = ["billing", "POST /charge", "billing", "process reports.build", "noisy", "GET /health", "x", "run"]
    assert main(["sampling", "check", file, *pairs, "-a", "messaging.destination.name=slow"]) == 0
    assert _rows(capsys.readouterr().out)[1:] == [
        ["billing", "POST /charge", "everything", "line 19"],
        ["billing", "process reports.build", "0.5 a second", "line 24"],
        ["noisy", "GET /health", "10 %", "line 6"],
        ["x", "run", "everything", "line 2"],
    ]


def test_attributes_decide(file: str, capsys: pytest.CaptureFixture[str]) -> None:
    """A rule whose attributes are not given does not apply."""
    assert main(["sampling", "check", file, "billing", "process reports.build"]) == 0
    assert _rows(capsys.readouterr().out)[1:] == [["billing", "process reports.build", "50 %", "line 14"]]


def test_no_default(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A file without a default strategy records everything, and the table says why."""
    path = tmp_path / "empty.json"
    path.write_text("{}")
    assert main(["sampling", "check", str(path)]) == 0
    assert _rows(capsys.readouterr().out)[1:] == [
        ["(any other)", "(else)", "everything", "there is no default_strategy"]
    ]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("{\n oops", "line 2, column 2: "),
        ('{"default_strategy":\n{"type": "probabilistic", "param": 2}}', "line 2: param must be a number from 0 to 1"),
    ],
)
def test_bad_file(tmp_path: Path, capsys: pytest.CaptureFixture[str], text: str, message: str) -> None:
    """A bad file is exit status 1, with the line and the reason."""
    path = tmp_path / "bad.json"
    path.write_text(text)
    assert main(["sampling", "check", str(path)]) == 1
    output = capsys.readouterr()
    assert output.out == ""
    assert output.err.startswith(f"causal-otel sampling: {path}, {message}")


def test_missing_file(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """So is one that cannot be read."""
    assert main(["sampling", "check", str(tmp_path / "none")]) == 1
    assert capsys.readouterr().err.endswith("none: No such file or directory\n")


@pytest.mark.parametrize("more", [["billing"], ["--attribute", "x"]])
def test_wrong_usage(file: str, capsys: pytest.CaptureFixture[str], more: list[str]) -> None:
    """A service without an operation, or an attribute without a value, is wrong usage."""
    assert main(["sampling", "check", file, *more]) == 2
    assert capsys.readouterr().err.startswith("causal-otel sampling: ")
