"""Sampling strategies: a file in Jaeger's format, with some additions of ours.

A file means what it means to Jaeger, with two differences, by which more traces are recorded: without a
``default_strategy``, and for one of an unknown type, everything is recorded. An entry of ``operation_strategies`` may
have a ``match``, which Jaeger does not know: see :class:`OperationStrategy`.
"""

from __future__ import annotations

import json
import json.decoder
import json.scanner
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

from causal_otel.names import CELERY_TASK_NAME, HTTP_REQUEST_METHOD, MESSAGING_DESTINATION_NAME, URL_PATH

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

__all__ = [
    "ALIASES",
    "FILE_LIMIT",
    "OperationStrategy",
    "Probabilistic",
    "RateLimiting",
    "ServiceStrategies",
    "Strategies",
    "StrategiesError",
    "Strategy",
    "decoded",
]

FILE_LIMIT = 4 * 1024 * 1024
"""How many bytes a file may have."""

_PROBABILISTIC, _RATE_LIMITING = "probabilistic", "ratelimiting"
_LARGEST_RATE = 2**31 - 1
_RATE_LIMITED_SHARE = 0.001  # Jaeger's, for a rate limited service with operations of its own

ALIASES = {
    "method": HTTP_REQUEST_METHOD,
    "path": URL_PATH,
    "route": URL_PATH,
    "task": CELERY_TASK_NAME,
    "queue": MESSAGING_DESTINATION_NAME,
}
"""Short names of attributes in a ``match``. A request's route is not known yet when it begins: its path is."""


class StrategiesError(ValueError):
    """A strategies file is invalid. The message has the line."""


@dataclass(frozen=True)
class Probabilistic:
    """Record a share of all traces, 0 to 1."""

    share: float


@dataclass(frozen=True)
class RateLimiting:
    """Record so many traces a second, in each process."""

    per_second: float


Strategy = Probabilistic | RateLimiting


@dataclass(frozen=True)
class OperationStrategy:
    """An entry of ``operation_strategies``.

    Attributes:
        strategy: what to do. Rate limiting takes a ``match``, which may be empty: Jaeger does not know it here.
        operation: the operation's name; None: any.
        match: patterns by attribute or by one of :data:`ALIASES`; all of them have to fit; None: Jaeger's own format.
        line: where it begins in the file.
    """

    strategy: Strategy
    operation: str | None
    match: Mapping[str, str] | None = None
    line: int = 0

    @property
    def key(self) -> tuple[str | None, tuple[tuple[str, str], ...]]:
        """What it is about. Of two that are about the same, a service's own beats that of the default strategy."""
        return self.operation, tuple(sorted((self.match or {}).items()))


@dataclass(frozen=True)
class ServiceStrategies:
    """What one service is to do.

    Attributes:
        strategy: for whatever no operation is about.
        operations: the first one that fits counts; None: there is no list of them, not even an empty one.
        operations_share: what Jaeger's protocol says beside a list of operations of all others.
        line: where it begins in the file; 0: nowhere.
    """

    strategy: Strategy = field(default_factory=lambda: Probabilistic(1.0))
    operations: tuple[OperationStrategy, ...] | None = None
    operations_share: float = 1.0
    line: int = 0


class Strategies:
    """What a strategies file says.

    Args:
        text: the file's contents.

    Attributes:
        default: for services that are not listed.
        services: by name, with what they inherit from the default.
        warnings: what was left out or changed, with its line.

    Raises:
        StrategiesError: it is not JSON, or not what the format has in that place.
    """

    def __init__(self, text: str = "{}") -> None:
        self.warnings: list[str] = []
        document = _parse(text)
        default = document.get("default_strategy")
        own = None if default is None else self._service(_object(default, document, "default_strategy"))
        self.default = own or ServiceStrategies()
        self.services: dict[str, ServiceStrategies] = {}
        for entry in _objects(document, "service_strategies"):
            name = _text(entry, "service")
            found = self._service(entry)
            if found is not None:
                self.services[name] = _inherit(found, self.default)

    def of(self, service: str) -> ServiceStrategies:
        """What ``service`` is to do."""
        return self.services.get(service, self.default)

    def operations(self) -> Iterator[OperationStrategy]:
        """All entries about operations, each once."""
        seen = set()
        for service in (self.default, *self.services.values()):
            for operation in service.operations or ():
                if id(operation) not in seen:
                    seen.add(id(operation))
                    yield operation

    def _service(self, entry: _Object) -> ServiceStrategies | None:
        """What an entry says by itself; None for a type that nobody knows."""
        kind = _text(entry, "type")
        strategy: Strategy
        if kind == _PROBABILISTIC:
            strategy = Probabilistic(_number(entry, "param", 1))
            share = strategy.share
        elif kind == _RATE_LIMITING:
            given = _number(entry, "param", _LARGEST_RATE)
            strategy = RateLimiting(int(given))
            share = _RATE_LIMITED_SHARE
            if given != strategy.per_second:
                self._warn(entry, f"a service's rate is a whole number, {given:g} is {strategy.per_second:g}")
        else:
            self._warn(entry, f"there is no type {kind!r}, the default strategy is used")
            return None
        listed = _objects(entry, "operation_strategies")
        operations = tuple(filter(None, map(self._operation, listed))) if listed else None
        return ServiceStrategies(strategy, operations, share, entry.line)

    def _operation(self, entry: _Object) -> OperationStrategy | None:
        match = _match(entry)
        name = None if match is not None and "operation" not in entry else _text(entry, "operation")
        kind = _text(entry, "type")
        if kind == _PROBABILISTIC:
            return OperationStrategy(Probabilistic(_number(entry, "param", 1)), name, match, entry.line)
        if kind == _RATE_LIMITING and match is not None:
            return OperationStrategy(RateLimiting(_number(entry, "param", _LARGEST_RATE)), name, match, entry.line)
        if kind == _RATE_LIMITING:
            self._warn(entry, f'operations can only be probabilistic without a "match", {name!r} is left out')
        else:
            self._warn(entry, f"there is no type {kind!r}, the entry is left out")
        return None

    def _warn(self, entry: _Object, what: str) -> None:
        self.warnings.append(f"line {entry.line}: {what}")


def _inherit(service: ServiceStrategies, default: ServiceStrategies) -> ServiceStrategies:
    """``service`` with the default strategy's operations, save those that it has itself."""
    if default.operations is None:
        return service
    if service.operations is None:
        limited = isinstance(service.strategy, RateLimiting)
        share = default.operations_share if limited else service.operations_share
        return replace(service, operations=default.operations, operations_share=share)
    known = {each.key for each in service.operations}
    more = (each for each in default.operations if each.key not in known)
    return replace(service, operations=(*service.operations, *more))


def decoded(data: bytes) -> str:
    """A file's text.

    Raises:
        StrategiesError: it is no text, or too long.
    """
    if len(data) > FILE_LIMIT:
        raise StrategiesError(f"line 1: it is larger than {FILE_LIMIT} bytes")
    try:
        return data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = data.count(b"\n", 0, error.start) + 1
        raise StrategiesError(f"line {line}: it is not UTF-8") from None


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


def _match(entry: _Object) -> dict[str, str] | None:
    if "match" not in entry:
        return None
    found: dict[str, str] = {}
    meant: dict[str, str] = {}
    match = _object(entry["match"], entry, "match")
    for key, value in match.items():
        if not isinstance(value, str | int | float):
            raise _refused(match, key, "a string, a number, true or false")
        attribute = ALIASES.get(key, key)
        if attribute in meant:
            raise StrategiesError(f"line {match.line}: {meant[attribute]} and {key} both mean {attribute}, keep one")
        meant[attribute] = key
        found[key] = value if isinstance(value, str) else json.dumps(value)
    return found
