"""Every cause of the slow demo, planted once, and what ``causal-otel why`` says of the request that suffers."""

from __future__ import annotations

import time
from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING

import httpx
from opentelemetry.proto.trace.v1.trace_pb2 import TracesData

from causal_otel.causality.explanation import Explanation, explain
from causal_otel.cli.demo.scenario import MissingSpans
from causal_otel.cli.demo.slow.causes import CAUSES, Cause
from causal_otel.collector.analysis import TraceView, build
from causal_otel.collector.analysis.neighbours import traces_beside
from causal_otel.testing.process import ServerError, check_running

if TYPE_CHECKING:
    from causal_otel.cli.demo.stage import Stage

__all__ = ["Planted", "plant", "play"]

_SECONDS = 60.0
_QUIET_SECONDS = 0.6
"""For how long no more spans of a trace must arrive: services export five times a second."""
_POLL_SECONDS = 0.05


@dataclass(frozen=True)
class Planted:
    """A cause that was planted.

    Args:
        cause: which one.
        trace: that of the request that suffered from it.
        explanation: of that trace.
    """

    cause: Cause
    trace: TraceView
    explanation: Explanation


def play(stage: Stage) -> Iterator[Planted]:
    """Plant all of them, one after another.

    Raises:
        ServerError: The API does not answer.
        MissingSpans: A trace is not whole after a while.
    """
    with httpx.Client(base_url=stage.api_url, timeout=_SECONDS, trust_env=False) as client:
        for cause in CAUSES:
            yield plant(stage, client, cause)


def plant(stage: Stage, client: httpx.Client, cause: Cause) -> Planted:
    """Plant one, and explain the request that suffers from it.

    Raises:
        ServerError: The API does not answer.
        MissingSpans: The trace is not whole after a while.
    """
    answer = ask(stage, client, cause)
    trace = _whole(stage, answer.headers["x-trace-id"], cause)
    return Planted(cause, trace, explain(trace, traces_beside(stage.collector.traces, trace)))


def ask(stage: Stage, client: httpx.Client, cause: Cause) -> httpx.Response:
    """Send the request that suffers from a cause, and the one beside it.

    Raises:
        ServerError: The API does not answer.
    """
    try:
        if cause.beside is None:
            answer = client.get(cause.path)
        else:
            with client.stream("GET", cause.beside) as holding:
                lines = holding.iter_lines()
                next(lines)  # it holds now what the request needs
                answer = client.get(cause.path)
                for _ in lines:
                    pass
        answer.raise_for_status()
    except httpx.HTTPError as error:
        check_running()
        raise ServerError(f"demo-api did not answer GET {cause.path}: {error}.", stage.api.output()) from None
    return answer


def _whole(stage: Stage, trace_id: str, cause: Cause) -> TraceView:
    wanted = cause.until or f"GET {cause.path}"
    deadline = time.monotonic() + _SECONDS
    count, since = -1, 0.0
    while True:
        check_running()
        trace = build(stage.collector.traces.trace(bytes.fromhex(trace_id)) or TracesData())
        if len(trace.spans) != count:
            count, since = len(trace.spans), time.monotonic()
        complete = any(span.name == wanted for span in trace.spans) and not any(span.orphan for span in trace.spans)
        if complete and time.monotonic() - since > _QUIET_SECONDS:
            return trace
        if time.monotonic() > deadline:
            arrived = ", ".join(span.name for span in trace.spans) or "nothing"
            raise MissingSpans(
                f"The trace {trace_id} of GET {cause.path} lacks {wanted} after {_SECONDS:g} s: {arrived}."
            )
        time.sleep(_POLL_SECONDS)
