"""Remote sampling: which share of its traces a service is to record, from a strategies file in Jaeger's format.

Operators write the file, SDKs with a Jaeger remote sampler ask for their service's part of it. What a file means is
Jaeger's to say, with three differences that lose no traces: without a file, without a ``default_strategy`` and for a
``default_strategy`` of an unknown type, everything is recorded.
"""

from __future__ import annotations

import json
import json.decoder
import json.scanner
import threading
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

from starlette.responses import JSONResponse, PlainTextResponse
from starlette.routing import Route

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from starlette.requests import Request
    from starlette.responses import Response

__all__ = ["Sampling", "Strategies", "StrategiesError", "routes"]

_PROBABILISTIC, _RATE_LIMITING = "probabilistic", "ratelimiting"
_RATE_LIMITED_OPERATIONS_DEFAULT = 0.001  # Jaeger's, for a rate limited service with operations of its own
_LARGEST_RATE = 2**31 - 1
_LOOK_SECONDS = 1.0
_FILE_LIMIT = 4 * 1024 * 1024

Answer = dict[str, Any]
"""A ``jaeger.api_v2.SamplingStrategyResponse`` in protobuf's JSON."""


class StrategiesError(ValueError):
    """A strategies file does not say what to do. The message has the line."""


# -- the file -----------------------------------------------------------------------------------------------------


class Strategies:
    """What a strategies file says.

    Args:
        text: the file's contents.

    Raises:
        StrategiesError: it is not JSON, or not what Jaeger's format has in that place.
    """

    def __init__(self, text: str = "{}") -> None:
        self.warnings: list[str] = []
        """What was left out, with its line."""
        document = _parse(text)
        default = document.get("default_strategy")
        own = None if default is None else self._service(_object(default, document, "default_strategy"))
        self._default = own or _probabilistic(1.0)
        self._services: dict[str, Answer] = {}
        for entry in _objects(document, "service_strategies"):
            name = _text(entry, "service")
            answer = self._service(entry)
            if answer is not None:
                self._services[name] = _inherit(answer, self._default.get("operationSampling"))

    def answer(self, service: str) -> Answer:
        """What ``service`` is to do."""
        return self._services.get(service, self._default)

    def _service(self, entry: _Object) -> Answer | None:
        """The answer for a service (or the default one) by itself; None for a type that nobody knows."""
        kind = _text(entry, "type")
        if kind == _PROBABILISTIC:
            answer = _probabilistic(_number(entry, "param", 1))
            rate = answer["probabilisticSampling"]["samplingRate"]
        elif kind == _RATE_LIMITING:
            limit = int(_number(entry, "param", _LARGEST_RATE))
            answer = {"strategyType": "RATE_LIMITING", "rateLimitingSampling": {"maxTracesPerSecond": limit}}
            rate = _RATE_LIMITED_OPERATIONS_DEFAULT
        else:
            self.warnings.append(f"line {entry.line}: there is no type {kind!r}, the default strategy is used")
            return None
        listed = _objects(entry, "operation_strategies")
        if listed:
            answer["operationSampling"] = _operations(rate, list(filter(None, map(self._operation, listed))))
        return answer

    def _operation(self, entry: _Object) -> Answer | None:
        name, kind = _text(entry, "operation"), _text(entry, "type")
        if kind != _PROBABILISTIC:
            self.warnings.append(f"line {entry.line}: operations can only be probabilistic, {name!r} is left out")
            return None
        return {"operation": name, "probabilisticSampling": {"samplingRate": _number(entry, "param", 1)}}


def _probabilistic(rate: float) -> Answer:
    return {"strategyType": "PROBABILISTIC", "probabilisticSampling": {"samplingRate": rate}}


def _operations(rate: float, operations: Iterable[Answer]) -> Answer:
    return {
        "defaultSamplingProbability": rate,
        "defaultLowerBoundTracesPerSecond": 0,
        "perOperationStrategies": list(operations),
        "defaultUpperBoundTracesPerSecond": 0,
    }


def _inherit(answer: Answer, default: Answer | None) -> Answer:
    """``answer`` with the default strategy's operations, save those that the service has itself."""
    if default is None:
        return answer
    own = answer.get("operationSampling")
    if own is None:
        rate = answer.get("probabilisticSampling", {}).get("samplingRate", default["defaultSamplingProbability"])
        return answer | {"operationSampling": _operations(rate, default["perOperationStrategies"])}
    known = {each["operation"] for each in own["perOperationStrategies"]}
    more = (each for each in default["perOperationStrategies"] if each["operation"] not in known)
    merged = _operations(own["defaultSamplingProbability"], [*own["perOperationStrategies"], *more])
    return answer | {"operationSampling": merged}


# -- JSON whose objects know their line ---------------------------------------------------------------------------


class _Object(dict[str, Any]):
    """A JSON object and the line that it begins on."""

    line = 0


class _Decoder(json.JSONDecoder):
    def __init__(self, text: str) -> None:
        super().__init__()

        def parse_object(state: tuple[str, int], *rest: Any) -> tuple[_Object, int]:
            value, end = json.decoder.JSONObject(state, *rest)  # type: ignore[attr-defined]
            located = _Object(value)
            located.line = text.count("\n", 0, state[1]) + 1
            return located, end

        self.parse_object = parse_object
        # The scanner written in C ignores parse_object.
        self.scan_once = json.scanner.py_make_scanner(self)  # type: ignore[attr-defined]


def _parse(text: str) -> _Object:
    try:
        document = _Decoder(text).decode(text)
    except json.JSONDecodeError as error:
        raise StrategiesError(f"line {error.lineno}, column {error.colno}: {error.msg}") from None
    except RecursionError:
        raise StrategiesError("line 1: it is nested too deeply") from None
    if not isinstance(document, _Object):
        raise StrategiesError("line 1: it must be a JSON object with default_strategy and service_strategies")
    return document


def _refused(entry: _Object, key: str, allowed: str) -> StrategiesError:
    found = f"not {json.dumps(entry[key])[:100]}" if key in entry else "it is not there"
    return StrategiesError(f"line {entry.line}: {key} must be {allowed}, {found}")


def _object(value: Any, owner: _Object, key: str) -> _Object:
    if not isinstance(value, _Object):
        raise _refused(owner, key, "an object")
    return value


def _objects(owner: _Object, key: str) -> list[_Object]:
    values = owner.get(key)
    if values is None:
        return []
    if not (isinstance(values, list) and all(isinstance(value, _Object) for value in values)):
        raise _refused(owner, key, "a list of objects")
    return values


def _text(entry: _Object, key: str) -> str:
    value = entry.get(key)
    if not isinstance(value, str):
        raise _refused(entry, key, "a string")
    return value


def _number(entry: _Object, key: str, largest: int) -> float:
    value = entry.get(key)
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 <= value <= largest:
        raise _refused(entry, key, f"a number from 0 to {largest}")
    return value


# -- serving it ---------------------------------------------------------------------------------------------------


class Sampling:
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
        self._clock = clock
        self._lock = threading.Lock()
        self._looked = clock()
        self._seen = _state(path) if path else None
        self._strategies = _read(path) if path else Strategies()
        self._error = ""

    def answer(self, service: str) -> Answer:
        """What ``service`` is to do now."""
        return self._current().answer(service)

    def status(self) -> dict[str, Any]:
        """The file, what is wrong with it (empty: nothing) and what was left out of it."""
        warnings = self._current().warnings
        return {"file": str(self._path or ""), "error": self._error, "warnings": warnings}

    def _current(self) -> Strategies:
        with self._lock:
            now = self._clock()
            if self._path is not None and now - self._looked >= _LOOK_SECONDS:
                self._looked = now
                self._look(self._path)
            return self._strategies

    def _look(self, path: Path) -> None:
        state = None
        try:
            state = _state(path)
            if state == self._seen:
                return
            self._strategies, self._error = _read(path), ""
        except OSError as error:
            state = None  # to try again
            self._error = f"cannot read {path}: {error.strerror}"
        except StrategiesError as error:
            self._error = f"{path}, {error}; the strategies from before are used"
        self._seen = state


def _state(path: Path) -> tuple[int, int, int]:
    found = path.stat()
    return found.st_mtime_ns, found.st_size, found.st_ino


def _read(path: Path) -> Strategies:
    with path.open("rb") as file:
        data = file.read(_FILE_LIMIT + 1)
    if len(data) > _FILE_LIMIT:
        raise StrategiesError(f"line 1: it is larger than {_FILE_LIMIT} bytes")
    try:
        return Strategies(data.decode("utf-8-sig"))
    except UnicodeDecodeError as error:
        line = data.count(b"\n", 0, error.start) + 1
        raise StrategiesError(f"line {line}: it is not UTF-8") from None


def routes(sampling: Sampling) -> list[Route]:
    """``/api/sampling?service=``, and ``/sampling``, which is what some samplers ask for."""

    def answer(request: Request) -> Response:
        services = request.query_params.getlist("service")
        if len(services) != 1:
            return PlainTextResponse("'service' parameter must be provided once\n", status_code=400)
        return JSONResponse(sampling.answer(services[0]))

    return [Route(path, answer, methods=["GET"]) for path in ("/api/sampling", "/sampling")]
