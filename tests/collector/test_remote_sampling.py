"""Remote sampling: what a strategies file means, and what becomes of one that changes."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import httpx
import pytest
from starlette.applications import Starlette

from causal_otel.collector.remote_sampling import ServedStrategies, answer, left_out, routes
from causal_otel.strategies import Strategies, StrategiesError
from tests.patches.http_server import serve

_SHOP = {
    "default_strategy": {
        "type": "probabilistic",
        "param": 0.5,
        "operation_strategies": [{"operation": "/health", "type": "probabilistic", "param": 0}],
    },
    "service_strategies": [
        {
            "service": "shop-web",
            "type": "probabilistic",
            "param": 0.8,
            "operation_strategies": [
                {"operation": "GET /", "type": "probabilistic", "param": 0.2},
                {"operation": "POST /order", "type": "probabilistic", "param": 1},
            ],
        },
        {"service": "shop-db", "type": "probabilistic", "param": 0.25},
        {"service": "shop-cart", "type": "ratelimiting", "param": 5},
        {
            "service": "shop-pay",
            "type": "ratelimiting",
            "param": 2.9,
            "operation_strategies": [{"operation": "/health", "type": "probabilistic", "param": 0.1}],
        },
    ],
}


def _operations(answer: dict[str, Any]) -> tuple[float, dict[str, float]]:
    sampling = answer["operationSampling"]
    return sampling["defaultSamplingProbability"], {
        each["operation"]: each["probabilisticSampling"]["samplingRate"] for each in sampling["perOperationStrategies"]
    }


# What Jaeger 2 answered for the same strategies, but for shop-pay, which is what its source says.
@pytest.mark.parametrize(
    ("service", "kind", "rate", "operations"),
    [
        ("nope", "PROBABILISTIC", 0.5, (0.5, {"/health": 0})),
        ("", "PROBABILISTIC", 0.5, (0.5, {"/health": 0})),
        ("shop-db", "PROBABILISTIC", 0.25, (0.25, {"/health": 0})),
        ("shop-web", "PROBABILISTIC", 0.8, (0.8, {"GET /": 0.2, "POST /order": 1, "/health": 0})),
        ("shop-cart", "RATE_LIMITING", 5, (0.5, {"/health": 0})),
        ("shop-pay", "RATE_LIMITING", 2, (0.001, {"/health": 0.1})),
    ],
)
def test_answers_are_jaegers(service: str, kind: str, rate: float, operations: tuple[float, dict[str, float]]) -> None:
    """A strategies file means what it means to Jaeger: defaults are inherited, a service's own beat them."""
    said = answer(Strategies(json.dumps(_SHOP)), service)
    assert said["strategyType"] == kind
    if kind == "PROBABILISTIC":
        assert said["probabilisticSampling"] == {"samplingRate": rate}
        assert "rateLimitingSampling" not in said
    else:
        assert said["rateLimitingSampling"] == {"maxTracesPerSecond": rate}
        assert "probabilisticSampling" not in said
    assert _operations(said) == operations
    assert said["operationSampling"]["defaultLowerBoundTracesPerSecond"] == 0


def test_without_a_file_everything_is_recorded() -> None:
    """Without strategies every service records all of its traces."""
    everything = {"strategyType": "PROBABILISTIC", "probabilisticSampling": {"samplingRate": 1.0}}
    assert ServedStrategies(None).answer("any") == everything
    assert answer(Strategies("{}"), "any") == everything


def test_what_nobody_knows_is_left_out_with_a_warning() -> None:
    """An unknown type means the default strategy, a rate limited operation is skipped; both are said, with the line."""
    strategies = Strategies(
        """{"default_strategy": {"type": "probabilistic", "param": 0.5},
        "service_strategies": [
          {"service": "odd", "type": "adaptive"},
          {"service": "web", "type": "probabilistic", "param": 0.1,
           "operation_strategies": [
             {"operation": "a", "type": "ratelimiting", "param": 1}]}]}"""
    )
    assert answer(strategies, "odd") == answer(strategies, "unknown")
    assert _operations(answer(strategies, "web")) == (0.1, {})
    assert strategies.warnings == [
        "line 3: there is no type 'adaptive', the default strategy is used",
        "line 6: operations can only be probabilistic without a \"match\", 'a' is left out",
    ]


def test_what_the_protocol_cannot_say_is_left_out() -> None:
    """Rules of ours that SDKs could not understand are not in their answers, and the status has their lines."""
    strategies = Strategies(
        """{"default_strategy": {"type": "probabilistic", "param": 0.5, "operation_strategies": [
             {"match": {"path": "/health*"}, "type": "probabilistic", "param": 0},
             {"operation": "a", "match": {}, "type": "ratelimiting", "param": 0.5},
             {"operation": "b", "match": {}, "type": "probabilistic", "param": 0.25}]},
        "service_strategies": [{"service": "web", "type": "probabilistic", "param": 0.1}]}"""
    )
    assert _operations(answer(strategies, "web")) == (0.1, {"b": 0.25})
    assert [line.partition(":")[0] for line in left_out(strategies)] == ["line 2", "line 3"]
    assert strategies.warnings == []


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "line 1, column 1"),
        ('{\n"default_strategy": {"type": }\n}', "line 2, column "),
        ("[]", "line 1: it must be a JSON object with default_strategy and service_strategies"),
        ('{\n"default_strategy": 3}', "line 1: default_strategy must be an object, not 3"),
        ('{"default_strategy":\n{}}', "line 2: type must be a string, it is not there"),
        ('{"service_strategies": {"a": 1}}', "line 1: service_strategies must be a list of objects, not "),
        (
            """{"service_strategies": [
                {"service": "a", "type": "probabilistic", "param": 0.5},
                {"service": "b", "type": "probabilistic", "param": 50}]}""",
            "line 3: param must be a number from 0 to 1, not 50",
        ),
        ('{"default_strategy": {"type": "probabilistic", "param": true}}', "line 1: param must be a number"),
        ('{"default_strategy": {"type": "probabilistic", "param": NaN}}', "line 1: param must be a number"),
        ('{"a":' * 100_000, "line 1: it is nested too deeply"),
    ],
)
def test_bad_file_is_explained(text: str, message: str) -> None:
    """A file that makes no sense is refused with the line and what should be there."""
    with pytest.raises(StrategiesError) as caught:
        Strategies(text)
    assert str(caught.value).startswith(message)


def _rate(sampling: ServedStrategies) -> float:
    rate: float = sampling.answer("any")["probabilisticSampling"]["samplingRate"]
    return rate


def _file(rate: float) -> str:
    return json.dumps({"default_strategy": {"type": "probabilistic", "param": rate}})


def test_changed_file_is_read_again(tmp_path: Path) -> None:
    """A change is seen within a second; while the file is bad or gone, what was good counts and the status says why."""
    path, time = tmp_path / "strategies.json", 0.0
    path.write_text(_file(0.1))
    sampling = ServedStrategies(path, clock=lambda: time)
    assert _rate(sampling) == 0.1

    path.write_text(_file(0.25))
    assert _rate(sampling) == 0.1, "not every request looks at the file"
    time += 1
    assert _rate(sampling) == 0.25

    path.write_text("{\n oops")
    time += 1
    assert _rate(sampling) == 0.25
    assert sampling.status()["error"].startswith(f"{path}, line 2, column 2: ")
    time += 1
    assert sampling.status()["error"], "still bad"

    path.unlink()
    time += 1
    assert _rate(sampling) == 0.25
    assert sampling.status()["error"] == f"cannot read {path}: No such file or directory"

    path.write_text(_file(0.75))
    time += 1
    assert _rate(sampling) == 0.75
    assert sampling.status() == {"file": str(path), "error": "", "warnings": []}


def test_file_replaced_by_rename_is_read_again(tmp_path: Path) -> None:
    """An editor's rename of a file with the same size and time is seen as well."""
    path, other, time = tmp_path / "strategies.json", tmp_path / "new.json", 0.0
    for each, rate in ((path, 0.1), (other, 0.2)):
        each.write_text(_file(rate))
        os.utime(each, (1, 1))
    sampling = ServedStrategies(path, clock=lambda: time)
    other.rename(path)
    time += 1
    assert _rate(sampling) == 0.2


def test_service_is_given_exactly_once() -> None:
    """A request names one service, which may be empty; else it is refused in Jaeger's words."""
    with serve(Starlette(routes=list(routes(ServedStrategies(None))))) as url:
        for path in ("/api/sampling", "/sampling"):
            for query, status in (("?service=a", 200), ("?service=", 200), ("", 400), ("?service=a&service=b", 400)):
                response = httpx.get(url + path + query, trust_env=False)
                assert response.status_code == status
                if status == 400:
                    assert response.text == "'service' parameter must be provided once\n"
                else:
                    assert response.headers["content-type"] == "application/json"
                    assert response.json()["strategyType"] == "PROBABILISTIC"
