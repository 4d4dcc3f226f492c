"""Keeps the rules of a sampler up to date with a source, while the program runs.

The last valid answer stays in force. If the source cannot be read, or its answer is invalid, only the status changes,
and the log has each problem once.
"""

from __future__ import annotations

import threading
import time
from contextlib import suppress
from typing import TYPE_CHECKING, Any, NamedTuple

from causal_otel._internal import faults, process
from causal_otel._internal.jitter import jittered
from causal_otel._internal.log import logger
from causal_otel.engine.samplers import Rules
from causal_otel.export.threads import Threads
from causal_otel.sampling.sources import SourceError
from causal_otel.sampling.status import SamplingStatus
from causal_otel.strategies import StrategiesError

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from opentelemetry.trace import SpanKind

    from causal_otel.engine.samplers import RootStrategy, RuleSampler
    from causal_otel.sampling.described import Described
    from causal_otel.sampling.sources import Source

__all__ = ["Watch"]

_logger = logger()
_DISTINCT = 64


class _Waking:
    """Stands for the rules until the first root asks for them: then the watch begins."""

    def __init__(self, wake: Callable[[], Rules]) -> None:
        self._wake = wake

    def strategy(self, name: str, kind: SpanKind, attributes: Mapping[str, Any] | None) -> RootStrategy:
        return self._wake().strategy(name, kind, attributes)

    def __str__(self) -> str:
        return "rules that no root has asked for yet"


class _State(NamedTuple):
    described: Described
    changed: float | None = None
    unreachable: str = ""
    refused: str = ""


class Watch:
    """Asks a source from time to time, on a thread that the first root starts in each process.

    Args:
        sampler: whose rules to replace.
        source: what to ask.
        understand: makes rules of what it says, or raises :class:`~causal_otel.strategies.StrategiesError`.
        first: what is in force until the source has given a valid answer.
    """

    def __init__(
        self, sampler: RuleSampler, source: Source, understand: Callable[[bytes], Described], first: Described
    ) -> None:
        self._sampler = sampler
        self._source = source
        self._understand = understand
        self._state = _State(first)
        self._last: bytes | None = None
        self._said: set[str] = set()
        self._begin()
        process.at_fork(in_child=self._begin_in_child)

    def _begin_in_child(self) -> None:
        if not self._stop.is_set():
            self._begin()

    def _begin(self) -> None:
        self._stop = threading.Event()
        self._threads = Threads(sampling=self._run)
        self._sampler.replace(_Waking(self._wake))

    def _wake(self) -> Rules:
        rules = self._state.described.rules
        self._sampler.replace(rules)
        with suppress(RuntimeError):  # the process is ending
            self._threads.begin()
        return rules

    def close(self) -> None:
        """Ask no more."""
        self._stop.set()
        self._sampler.replace(self._state.described.rules)

    def status(self) -> SamplingStatus:
        """What is in force, and what is wrong."""
        state = self._state
        described, problem = state.described, "; ".join(filter(None, (state.unreachable, state.refused)))
        return SamplingStatus(self._source.name, described.words, state.changed, problem, described.warnings)

    def look(self) -> None:
        """Ask the source now. Never raises."""
        try:
            self._look()
        except Exception:
            faults.report("sampling: strategies")

    def _look(self) -> None:
        try:
            data = self._source.fetch()
        except SourceError as error:
            self._state = self._state._replace(unreachable=str(error))
            self._say(str(error))
            return
        if self._state.unreachable:
            self._state = self._state._replace(unreachable="")
        if data is None or data == self._last:
            return
        self._last = data
        try:
            described = self._understand(data)
        except StrategiesError as error:
            problem = f"{self._source.name}, {error}"
            self._state = self._state._replace(refused=problem)
            self._say(problem)
            return
        self._state = _State(described, time.time())
        self._said.clear()
        for warning in described.warnings:
            self._say(f"{self._source.name}, {warning}")

    def _say(self, problem: str) -> None:
        if problem in self._said or len(self._said) >= _DISTINCT:
            return
        self._said.add(problem)
        _logger.warning("sampling: %s; in force: %s", problem, "; ".join(self._state.described.words))

    def _run(self) -> None:
        stop = self._stop
        while True:
            self.look()
            if stop.is_set():
                return
            if self._sampler.rules is not self._state.described.rules:
                self._sampler.replace(self._state.described.rules)
            if stop.wait(jittered(self._source.interval, 0.8, 1.0)):
                return
