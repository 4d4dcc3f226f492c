"""Strategies of a service: what they inherit, what each condition means, and the answers of remote servers."""

from __future__ import annotations

import json
from typing import Any

import pytest
from opentelemetry.trace import SpanKind

from causal_otel.sampling.described import Described, default_rules, share_of_all
from causal_otel.sampling.rules import of_answer, of_file
from causal_otel.strategies import Strategies, StrategiesError

_DEFAULT = {
    "type": "probabilistic",
    "param": 0.5,
    "operation_strategies": [
        {"operation": "/health", "type": "probabilistic", "param": 0},
        {"operation": "/metrics", "type": "probabilistic", "param": 0},
    ],
}
_FILE = {
    "default_strategy": _DEFAULT,
    "service_strategies": [
        {
            "service": "foo",
            "type": "probabilistic",
            "param": 0.8,
            "operation_strategies": [
                {"operation": "op1", "type": "probabilistic", "param": 0.2},
                {"operation": "/metrics", "type": "probabilistic", "param": 1},
            ],
        },
        {"service": "bar", "type": "ratelimiting", "param": 5},
        {"service": "plain", "type": "probabilistic", "param": 0.25},
        {"service": "odd", "type": "adaptive"},
    ],
}
_SHARED = ("/health: nothing", "/metrics: nothing")


def _meaning(document: Any, service: str = "any") -> Described:
    return of_file(json.dumps(document).encode(), service)


def _fitting(described: Described, name: str, attributes: dict[str, Any] | None = None) -> str:
    """The words about the rule that a root falls under."""
    found = described.rules.strategy(name, SpanKind.INTERNAL, attributes)
    strategies = [*(rule.strategy for rule in described.rules.rules), described.rules.default]
    return described.words[[strategy is found for strategy in strategies].index(True)]


@pytest.mark.parametrize(
    ("service", "words"),
    [
        ("foo", ("op1: 20 %", "/metrics: everything", "/health: nothing", "else: 80 %")),
        ("bar", (*_SHARED, "else: 5 a second")),
        ("plain", (*_SHARED, "else: 25 %")),
        ("odd", (*_SHARED, "else: 50 %")),
        ("unlisted", (*_SHARED, "else: 50 %")),
    ],
)
def test_inheritance_is_as_jaeger_documents_it(service: str, words: tuple[str, ...]) -> None:
    """A service has its own strategy and operations, and those of the default's operations that it does not have."""
    assert _meaning(_FILE, service).words == words


@pytest.mark.parametrize(
    ("document", "words"),
    [
        ({}, ("else: everything",)),
        ({"service_strategies": []}, ("else: everything",)),
        ({"default_strategy": {"type": "probabilistic", "param": 0}}, ("else: nothing",)),
        ({"default_strategy": {"type": "ratelimiting", "param": 2.9}}, ("else: 2 a second",)),
        ({"default_strategy": {"type": "unknown"}}, ("else: everything",)),
    ],
)
def test_defaults(document: Any, words: tuple[str, ...]) -> None:
    """Without a default strategy everything is recorded; rates of services are whole numbers, as Jaeger has them."""
    assert _meaning(document).words == words


_HTTP = {"http.request.method": "GET", "url.path": "/users/7/orders"}


@pytest.mark.parametrize(
    ("match", "name", "attributes", "fits"),
    [
        ({"method": "get"}, "GET", _HTTP, True),
        ({"method": "POST"}, "GET", _HTTP, False),
        ({"method": "GET"}, "run", None, False),
        ({"path": "/users/**"}, "GET", _HTTP, True),
        ({"path": "/users/*"}, "GET", _HTTP, False),
        ({"route": "/users/{id}/orders"}, "GET", _HTTP, True),
        ({"route": "/users/{id}"}, "GET", _HTTP, False),
        ({"method": "GET", "route": "/users/{id}/orders"}, "GET", _HTTP, True),
        ({"method": "PUT", "route": "/users/{id}/orders"}, "GET", _HTTP, False),
        ({"task": "reports.*"}, "process reports.build", {"celery.task.name": "reports.build"}, True),
        ({"task": "reports.*"}, "process mail.send", {"celery.task.name": "mail.send"}, False),
        ({"queue": "slow"}, "process x", {"messaging.destination.name": "slow"}, True),
        ({"queue": "slow"}, "process x", {"messaging.destination.name": "slower"}, False),
        ({"tenant.id": 42, "beta": True}, "x", {"tenant.id": 42, "beta": True}, True),
        ({"tenant.id": 42, "beta": True}, "x", {"tenant.id": 42, "beta": False}, False),
        ({"share": 0.5}, "x", {"share": 0.5}, True),
        ({"url.path": "/users/*/orders"}, "GET", _HTTP, True),
        ({}, "anything", None, True),
    ],
)
def test_matches(match: dict[str, Any], name: str, attributes: dict[str, Any] | None, fits: bool) -> None:
    """A match is about what is known when a root starts; all of its conditions have to fit."""
    rule = {"match": match, "type": "probabilistic", "param": 0.125}
    described = _meaning({"default_strategy": {**_DEFAULT, "operation_strategies": [rule]}})
    assert described.warnings == ()
    assert (_fitting(described, name, attributes) == described.words[0]) is fits
    assert described.words[0].endswith(": 12.5 %")


def test_operation_and_match_both_have_to_fit() -> None:
    """A match may stand beside an operation, and makes rate limiting possible, in fractions as well."""
    rule = {"operation": "GET /users/{id}/orders", "match": {"tier": "free"}, "type": "ratelimiting", "param": 0.5}
    described = _meaning({"default_strategy": {**_DEFAULT, "operation_strategies": [rule]}})
    assert described.words == ("GET /users/{id}/orders and tier free: 0.5 a second", "else: 50 %")
    assert _fitting(described, "GET", {**_HTTP, "tier": "free"}) == described.words[0]
    assert _fitting(described, "GET", _HTTP) == described.words[1]
    assert _fitting(described, "run", {"tier": "free"}) == described.words[1]


def test_own_match_beats_the_same_of_the_default() -> None:
    """A service's rules come first; a default's about the very same is not inherited."""
    rule = {"match": {"path": "/a", "method": "GET"}, "type": "probabilistic"}
    other = {**rule, "match": {"path": "/b"}, "param": 0.2}
    document = {
        "default_strategy": {**_DEFAULT, "operation_strategies": [{**rule, "param": 0.1}, other]},
        "service_strategies": [
            {
                "service": "s",
                "type": "probabilistic",
                "param": 1,
                "operation_strategies": [{**rule, "match": {"method": "GET", "path": "/a"}, "param": 0.3}],
            }
        ],
    }
    assert _meaning(document, "s").words == ("method GET and path /a: 30 %", "path /b: 20 %", "else: everything")


@pytest.mark.parametrize(
    ("rule", "message"),
    [
        ('{"match": 3, "type": "probabilistic", "param": 1}', "line 2: match must be an object, not 3"),
        (
            '{"match": {"path": null}, "type": "probabilistic", "param": 1}',
            "line 2: path must be a string, a number, true or false, not null",
        ),
        (
            '{"match": {"path": "/a", "route": "/b"}, "type": "probabilistic", "param": 1}',
            "line 2: path and route both mean url.path, keep one",
        ),
        ('{"type": "probabilistic", "param": 1}', "line 2: operation must be a string, it is not there"),
        ('{"match": {}, "operation": 1, "type": "probabilistic", "param": 1}', "line 2: operation must be "),
        ('{"match": {}, "type": "ratelimiting", "param": -1}', "line 2: param must be a number from 0 to 2147483647"),
    ],
)
def test_bad_match_is_explained(rule: str, message: str) -> None:
    """What makes no sense in a match is refused with its line."""
    text = f'{{"default_strategy": {{"type": "probabilistic", "param": 1, "operation_strategies": [\n{rule}]}}}}'
    with pytest.raises(StrategiesError) as caught:
        Strategies(text)
    assert str(caught.value).startswith(message)


def test_what_is_left_out_is_said() -> None:
    """Entries that Jaeger skips are skipped here as well, with a warning."""
    rules = [
        {"operation": "a", "type": "ratelimiting", "param": 1},
        {"operation": "b", "type": "adaptive"},
        {"match": {"path": "/"}, "type": "adaptive"},
    ]
    described = _meaning({"default_strategy": {**_DEFAULT, "operation_strategies": rules}})
    assert described.words == ("else: 50 %",)
    assert len(described.warnings) == 3


@pytest.mark.parametrize(
    ("path", "method", "share"),
    [
        ("/health", "GET", 0.1),
        ("/healthz", "HEAD", 0.1),
        ("/ready", "GET", 0.1),
        ("/live", "GET", 0.1),
        ("/metrics", "GET", 0.1),
        ("/metrics/", "GET", 0.1),
        ("/metrics", "POST", 1.0),
        ("/healthy-recipes", "GET", 1.0),
        ("/api/health", "GET", 1.0),
        ("/", "GET", 1.0),
    ],
)
def test_usual_rules(path: str, method: str, share: float) -> None:
    """Without a file one in ten health checks is recorded, and everything else."""
    attributes = {"url.path": path, "http.request.method": method}
    assert getattr(default_rules().rules.strategy("GET", SpanKind.SERVER, attributes), "share", None) == share
    assert getattr(default_rules().rules.strategy("GET", SpanKind.CLIENT, attributes), "share", None) == 1.0


@pytest.mark.parametrize(
    ("answer", "words"),
    [
        ({"strategyType": "PROBABILISTIC", "probabilisticSampling": {"samplingRate": 0.5}}, ("else: 50 %",)),
        ({"strategyType": 0, "probabilisticSampling": {"samplingRate": 0.5}}, ("else: 50 %",)),
        ({"probabilisticSampling": {}}, ("else: nothing",)),
        ({"strategyType": "RATE_LIMITING", "rateLimitingSampling": {"maxTracesPerSecond": 5}}, ("else: 5 a second",)),
        ({"strategyType": 1, "rateLimitingSampling": {"maxTracesPerSecond": 5}}, ("else: 5 a second",)),
        (
            {
                "strategyType": "PROBABILISTIC",
                "probabilisticSampling": {"samplingRate": 0.5},
                "operationSampling": {
                    "defaultSamplingProbability": 0.25,
                    "defaultLowerBoundTracesPerSecond": 0,
                    "perOperationStrategies": [
                        {"operation": "a", "probabilisticSampling": {"samplingRate": 0.1}},
                        {"operation": "b", "probabilisticSampling": {}},
                    ],
                },
            },
            ("a: 10 %", "b: nothing", "else: 25 %"),
        ),
        (
            {
                "strategyType": "RATE_LIMITING",
                "rateLimitingSampling": {"maxTracesPerSecond": 5},
                "operationSampling": {"defaultSamplingProbability": 0.001, "perOperationStrategies": None},
            },
            ("else: 5 a second",),
        ),
    ],
)
def test_answers(answer: Any, words: tuple[str, ...]) -> None:
    """Answers of Jaeger's protocol are understood, with names and with numbers for what is enumerated."""
    described = of_answer(json.dumps(answer).encode())
    assert (described.words, described.warnings) == (words, ())


@pytest.mark.parametrize(
    "answer",
    [
        b"",
        b"<html>",
        b"\xff",
        b"[]",
        b"null",
        b"{}",
        b'{"strategyType": "ADAPTIVE"}',
        b'{"strategyType": "RATE_LIMITING"}',
        b'{"strategyType": 0, "probabilisticSampling": 3}',
        b'{"strategyType": 0, "probabilisticSampling": {"samplingRate": 1.5}}',
        b'{"strategyType": 0, "probabilisticSampling": {"samplingRate": NaN}}',
        b'{"strategyType": 0, "probabilisticSampling": {"samplingRate": "1"}}',
        b'{"strategyType": 0, "operationSampling": {"perOperationStrategies": 3}}',
        b'{"strategyType": 0, "operationSampling": {"perOperationStrategies": [3]}}',
        b'{"strategyType": 0, "operationSampling": {"perOperationStrategies": [{}]}}',
        b"[" * 100_000,
        b" " * (4 * 1024 * 1024 + 1),
    ],
)
def test_bad_answers_are_refused(answer: bytes) -> None:
    """Anything else is no answer, and an error with a line."""
    with pytest.raises(StrategiesError, match=r"^line \d+"):
        of_answer(answer)


def test_lower_bounds_are_said_to_be_ignored() -> None:
    """A server that asks for a least number of traces is not obeyed in that, and the status says so."""
    sampling = {"defaultSamplingProbability": 1, "defaultLowerBoundTracesPerSecond": 0.5}
    described = of_answer(json.dumps({"operationSampling": sampling}).encode())
    assert described.words == ("else: everything",)
    assert "least number of traces" in described.warnings[0]


def test_share() -> None:
    """A share alone is a rule about everything."""
    assert share_of_all(0.001).words == ("else: 0.1 %",)
