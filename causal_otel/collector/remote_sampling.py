"""Remote sampling: which share of its traces a service is to record, from a strategies file in Jaeger's format.

Operators write the file, SDKs with a Jaeger remote sampler ask for their service's part of it. What a file means is
said in :mod:`causal_otel.strategies`; without one everything is recorded. What Jaeger's protocol cannot say is left out
of the answers, and the status tells of it.
"""

from __future__ import annotations

import time
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from starlette.responses import JSONResponse, PlainTextResponse
from starlette.routing import Route

from causal_otel.collector.followed import Followed
from causal_otel.strategies import FILE_LIMIT, Probabilistic, Strategies, StrategiesError, decoded

if TYPE_CHECKING:
    from collections.abc import Callable

    from starlette.requests import Request
    from starlette.responses import Response

    from causal_otel.strategies import OperationStrategy

__all__ = ["Answer", "ServedStrategies", "answer", "left_out", "routes"]

_EVERYTHING = Strategies()

Answer = dict[str, Any]
"""A ``jaeger.api_v2.SamplingStrategyResponse`` in protobuf's JSON."""


def _sayable(operation: OperationStrategy) -> bool:
    return not operation.match and isinstance(operation.strategy, Probabilistic)


def answer(strategies: Strategies, service: str) -> Answer:
    """What ``service`` is to do, in Jaeger's words."""
    found = strategies.of(service)
    said: Answer
    if isinstance(found.strategy, Probabilistic):
        said = {"strategyType": "PROBABILISTIC", "probabilisticSampling": {"samplingRate": found.strategy.share}}
    else:
        limit = int(found.strategy.per_second)
        said = {"strategyType": "RATE_LIMITING", "rateLimitingSampling": {"maxTracesPerSecond": limit}}
    if found.operations is not None:
        said["operationSampling"] = {
            "defaultSamplingProbability": found.operations_share,
            "defaultLowerBoundTracesPerSecond": 0,
            "perOperationStrategies": [
                {"operation": each.operation, "probabilisticSampling": {"samplingRate": each.strategy.share}}
                for each in found.operations
                if not each.match and isinstance(each.strategy, Probabilistic)
            ],
            "defaultUpperBoundTracesPerSecond": 0,
        }
    return said


def left_out(strategies: Strategies) -> list[str]:
    """What the answers cannot say, with its line."""
    return [
        f"line {each.line}: Jaeger's protocol has no words for it, services that ask for it are not told of it"
        for each in strategies.operations()
        if not _sayable(each)
    ]


class ServedStrategies:
    """The strategies in force. A file that has changed is read again; while it is bad, the last good one counts.

    Args:
        path: the file; None: there is none, everything is recorded.
        clock: monotonic, in seconds.

    Raises:
        StrategiesError: the file is bad from the beginning.
        OSError: it cannot be read.
    """

    def __init__(self, path: Path | None, *, clock: Callable[[], float] = time.monotonic) -> None:
        self._path = path
        self._file = (
            None
            if path is None
            else Followed(
                [path], partial(_read, path), explain=partial(_explained, path), bad=(StrategiesError,), clock=clock
            )
        )

    def answer(self, service: str) -> Answer:
        """What ``service`` is to do now."""
        return answer(self._current(), service)

    def status(self) -> dict[str, Any]:
        """The file, what is wrong with it (empty: nothing) and what was left out of it."""
        strategies = self._current()
        warnings = [*strategies.warnings, *left_out(strategies)]
        error = self._file.error if self._file is not None else ""
        return {"file": str(self._path or ""), "error": error, "warnings": warnings}

    def _current(self) -> Strategies:
        return _EVERYTHING if self._file is None else self._file.current()


def _explained(path: Path, error: Exception) -> str:
    if isinstance(error, OSError):
        return f"cannot read {path}: {error.strerror}"
    return f"{path}, {error}; the strategies from before are used"


def _read(path: Path) -> Strategies:
    with path.open("rb") as file:
        return Strategies(decoded(file.read(FILE_LIMIT + 1)))


def routes(sampling: ServedStrategies) -> list[Route]:
    """``/api/sampling?service=``, and ``/sampling``, which is what some samplers ask for."""

    def asked(request: Request) -> Response:
        services = request.query_params.getlist("service")
        if len(services) != 1:
            return PlainTextResponse("'service' parameter must be provided once\n", status_code=400)
        return JSONResponse(sampling.answer(services[0]))

    return [Route(path, asked, methods=["GET"]) for path in ("/api/sampling", "/sampling")]
