"""What strategies mean: rules for our sampler, and words for people."""

from __future__ import annotations

import json
import re
from typing import TYPE_CHECKING, Any

from causal_otel.engine.samplers import Rate, Rule, Rules, Share, pattern
from causal_otel.names import HTTP_REQUEST_METHOD, URL_PATH
from causal_otel.sampling.described import Described, shown
from causal_otel.strategies import (
    ALIASES,
    OperationStrategy,
    Probabilistic,
    RateLimiting,
    ServiceStrategies,
    Strategies,
    StrategiesError,
    decoded,
)

if TYPE_CHECKING:
    from collections.abc import Mapping

    from causal_otel.engine.samplers import RootStrategy
    from causal_otel.strategies import Strategy

__all__ = ["of_answer", "of_file", "of_service", "words"]


def of_file(data: bytes, service: str) -> Described:
    """What a strategies file says to a service.

    Raises:
        StrategiesError: it makes no sense.
    """
    strategies = Strategies(decoded(data))
    return of_service(strategies.of(service), tuple(strategies.warnings))


def of_service(service: ServiceStrategies, warnings: tuple[str, ...] = ()) -> Described:
    """What strategies say to a service."""
    listed = service.operations or ()
    rules = tuple(Rule(_root_strategy(each.strategy), each.operation, _patterns(each.match)) for each in listed)
    said = [f"{_conditions(each)}: {words(each.strategy)}" for each in listed]
    return Described(
        Rules(rules, _root_strategy(service.strategy)), (*said, f"else: {words(service.strategy)}"), warnings
    )


def words(strategy: Strategy) -> str:
    """A strategy for people."""
    if isinstance(strategy, RateLimiting):
        return f"{strategy.per_second:g} a second" if strategy.per_second else "nothing"
    return shown(strategy.share)


def _conditions(operation: OperationStrategy) -> str:
    named = [] if operation.operation is None else [operation.operation]
    return " and ".join([*named, *(f"{key} {text}" for key, text in (operation.match or {}).items())]) or "any"


def _root_strategy(strategy: Strategy) -> RootStrategy:
    return Rate(strategy.per_second) if isinstance(strategy, RateLimiting) else Share(strategy.share)


def _patterns(match: Mapping[str, str] | None) -> dict[str, re.Pattern[str]]:
    found = {}
    for key, text in (match or {}).items():
        attribute = ALIASES.get(key, key)
        wanted = text.upper() if attribute == HTTP_REQUEST_METHOD else text
        found[attribute] = pattern(wanted, path=attribute == URL_PATH)
    return found


# -- Jaeger's protocol --------------------------------------------------------------------------------------------

_RATE_LIMITING = ("RATE_LIMITING", 1)
_PROBABILISTIC = ("PROBABILISTIC", 0, None)  # protobuf's JSON may leave out what is zero


def of_answer(data: bytes) -> Described:
    """What a server of Jaeger's remote sampling says: a ``jaeger.api_v2.SamplingStrategyResponse`` in JSON.

    Raises:
        StrategiesError: it is something else.
    """
    try:
        answer = json.loads(decoded(data))
    except json.JSONDecodeError as error:
        raise StrategiesError(f"line {error.lineno}, column {error.colno}: {error.msg}") from None
    except RecursionError:
        raise StrategiesError("line 1: it is nested too deeply") from None
    kind = _object(answer, "it").get("strategyType")
    by_operation = _part(answer, "operationSampling")
    strategy: Strategy
    if kind in _RATE_LIMITING:
        limit = _part(answer, "rateLimitingSampling")
        if limit is None:
            raise StrategiesError("line 1: rateLimitingSampling is not there")
        strategy = RateLimiting(_number(limit, "maxTracesPerSecond", float("inf")))
    elif kind in _PROBABILISTIC:
        share = _part(answer, "probabilisticSampling")
        if by_operation is not None:
            strategy = Probabilistic(_number(by_operation, "defaultSamplingProbability", 1))
        elif share is not None:
            strategy = Probabilistic(_number(share, "samplingRate", 1))
        else:
            raise StrategiesError("line 1: probabilisticSampling is not there")
    else:
        raise StrategiesError("line 1: strategyType must be PROBABILISTIC or RATE_LIMITING")
    operations: list[OperationStrategy] = []
    warnings: tuple[str, ...] = ()
    if by_operation is not None:
        listed = by_operation.get("perOperationStrategies") or []
        if not isinstance(listed, list):
            raise StrategiesError("line 1: perOperationStrategies must be a list")
        for each in listed:
            name = _object(each, "each of perOperationStrategies").get("operation")
            if not isinstance(name, str):
                raise StrategiesError("line 1: operation must be a string")
            share = _part(each, "probabilisticSampling") or {}
            operations.append(OperationStrategy(Probabilistic(_number(share, "samplingRate", 1)), name))
        if _number(by_operation, "defaultLowerBoundTracesPerSecond", float("inf")):
            warnings = ("it asks for a least number of traces a second, which is not supported: shares alone count",)
    return of_service(ServiceStrategies(strategy, tuple(operations)), warnings)


def _object(value: Any, name: str) -> dict[str, Any]:
    if not isinstance(value, dict):
        raise StrategiesError(f"line 1: {name} must be a JSON object")
    return value


def _part(owner: dict[str, Any], key: str) -> dict[str, Any] | None:
    value = owner.get(key)
    return None if value is None else _object(value, key)


def _number(owner: dict[str, Any], key: str, largest: float) -> float:
    value = owner.get(key, 0)
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 <= value <= largest:
        raise StrategiesError(f"line 1: {key} must be a number from 0 to {largest:g}")
    return value
