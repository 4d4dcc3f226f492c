"""What is measured of a small driver's operations: each once, whatever its shape, its outcome and whoever looks on."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from typing import Any

import pytest
from opentelemetry.sdk.trace.sampling import ALWAYS_OFF, ALWAYS_ON, Sampler
from opentelemetry.trace import SpanKind

from causal_otel._internal import faults
from causal_otel.engine.provider import TracerProvider
from causal_otel.instrument.calls import client_call, traced_call
from causal_otel.instrument.measured import Instrument, Measured
from causal_otel.instrument.operation import Operation
from causal_otel.instrument.options import ClientOptions
from causal_otel.instrument.tracing import Tracing
from causal_otel.metrics.cells import Cells
from causal_otel.metrics.observer import Metrics

LABELS = ("system", "error.type")
DURATION = Instrument("tests.duration", "s", "How long.", LABELS, ("node",), (0.01, 1.0))
ROWS = Instrument("tests.rows", "{row}", "How many.", LABELS, ("node",), (1.0, 10.0))
ACTIVE = Instrument("tests.active", "{one}", "How many.", LABELS)
PAUSE = 0.02

QUERY = Operation("query", {"system": "acme"})
BATCH = QUERY.of_this_call({"size": 3})
PING = Operation("ping", {"system": "acme"}, background=True)


class Client:
    """The driver: operations of every shape, which take a moment."""

    async def query(self) -> list[int]:
        await asyncio.sleep(PAUSE)
        return [1, 2]

    def later(self) -> Any:
        return Client.query(self)

    def later_still(self) -> Any:
        time.sleep(PAUSE)
        return Client.query(self)

    def at_once(self) -> list[int]:
        return [1, 2]

    async def fails(self) -> list[int]:
        await asyncio.sleep(PAUSE)
        raise KeyError("planted")

    def fails_at_once(self) -> list[int]:
        raise KeyError("planted")

    async def hangs(self) -> list[int]:
        await asyncio.sleep(3600)
        return []


def _counted(cells: Cells, instrument: Instrument) -> dict[Any, Any]:
    for cell in cells.family(instrument).known():
        cell.fold()
    return {tuple(cell.labels.items()): cell.totals() for cell in cells.family(instrument).known()}


def _call(
    name: str,
    sampler: Sampler,
    operation: Operation = QUERY,
    *,
    active: bool = False,
    rows: Callable[[Any], int] = len,
    **options: Any,
) -> tuple[Cells, Callable[[], Any]]:
    """The cells, and a call of a method of the driver."""
    cells = Cells()
    metrics = Metrics(cells, {SpanKind.CLIENT: Measured(DURATION, ROWS, ACTIVE if active else None)})
    tracer = TracerProvider(sampler).get_tracer("tests")
    tracing = Tracing(tracer, ClientOptions(**options), lambda seconds: True, metrics=metrics)
    wrapped = client_call(lambda *call: operation, rows=rows)(tracing, getattr(Client, name))

    async def run() -> Any:
        found = wrapped(Client())
        return await found if hasattr(found, "__await__") else found

    return cells, run


SAMPLERS = pytest.mark.parametrize("sampler", [ALWAYS_ON, ALWAYS_OFF], ids=["on", "off"])
OPERATIONS = pytest.mark.parametrize("operation", [QUERY, BATCH], ids=["plain", "own"])
HOOKS = pytest.mark.parametrize("hooks", [{}, {"response_hook": lambda *objects: None}], ids=["alone", "hooks"])
ACTIVES = pytest.mark.parametrize("active", [False, True])


@SAMPLERS
@OPERATIONS
@HOOKS
@ACTIVES
@pytest.mark.parametrize("name", ["query", "later", "later_still", "at_once"])
@pytest.mark.asyncio
async def test_success(name: str, sampler: Sampler, operation: Operation, hooks: Any, active: bool) -> None:
    """Duration, rows and the end of what was under way, once for each call, whatever is recorded and looks on."""
    cells, run = _call(name, sampler, operation, active=active, **hooks)
    for _ in range(3):
        assert await run() == [1, 2]
    ((labels, duration),) = _counted(cells, DURATION).items()
    assert labels == (("system", "acme"),)
    assert duration.count == 3
    assert duration.low >= {"at_once": 0, "later_still": 2 * PAUSE}.get(name, PAUSE)
    ((labels, rows),) = _counted(cells, ROWS).items()
    assert (labels, rows.count, rows.total) == ((("system", "acme"),), 3, 6)
    assert [each.total for each in _counted(cells, ACTIVE).values()] == ([0] if active else [])


@SAMPLERS
@OPERATIONS
@HOOKS
@ACTIVES
@pytest.mark.parametrize("name", ["fails", "fails_at_once"])
@pytest.mark.asyncio
async def test_failure(name: str, sampler: Sampler, operation: Operation, hooks: Any, active: bool) -> None:
    """A failure is measured under its type; it has no rows, and is under way no more."""
    cells, run = _call(name, sampler, operation, active=active, **hooks)
    with pytest.raises(KeyError, match="planted"):
        await run()
    ((labels, duration),) = _counted(cells, DURATION).items()
    assert labels == (("system", "acme"), ("error.type", "KeyError"))
    assert duration.count == 1
    assert duration.low >= (PAUSE if name == "fails" else 0)
    assert _counted(cells, ROWS) == {}
    assert [each.total for each in _counted(cells, ACTIVE).values()] == ([0] if active else [])


@SAMPLERS
@OPERATIONS
@HOOKS
@pytest.mark.asyncio
async def test_cancelled(sampler: Sampler, operation: Operation, hooks: Any) -> None:
    """A cancelled operation is measured until then, and is no error."""
    cells, run = _call("hangs", sampler, operation, **hooks)
    task = asyncio.ensure_future(run())
    await asyncio.sleep(PAUSE)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    ((labels, duration),) = _counted(cells, DURATION).items()
    assert labels == (("system", "acme"),)
    assert duration.count == 1


@SAMPLERS
@HOOKS
@pytest.mark.asyncio
async def test_background(sampler: Sampler, hooks: Any) -> None:
    """What a driver does on its own account is not measured."""
    cells, run = _call("query", sampler, PING, **hooks)
    assert await run() == [1, 2]
    assert _counted(cells, DURATION) == {}


@pytest.mark.asyncio
async def test_learned() -> None:
    """What an operation learns is a label if the instrument says so, and what it learns last counts."""
    cells = Cells()
    metrics = Metrics(cells, {SpanKind.CLIENT: Measured(DURATION)})
    tracing = Tracing(TracerProvider().get_tracer("tests"), ClientOptions(), lambda seconds: True, metrics=metrics)

    def begin(tracing: Tracing[Any], *call: Any) -> Any:
        running = tracing.leaf(Operation("query", {"system": "acme", "size": 1}))
        assert running is not None
        running.learn({"node": "a", "size": 2})
        running.learn({"node": "b", "system": "not looked at"})
        return running

    query = traced_call(begin)(tracing, Client.query)
    assert await query(Client()) == [1, 2]
    assert list(_counted(cells, DURATION)) == [(("system", "acme"), ("node", "b"))]


@SAMPLERS
@ACTIVES
@pytest.mark.asyncio
async def test_labels_that_raise(sampler: Sampler, active: bool) -> None:
    """A label that cannot be shown is contained; the call is what it was, and what is left out is measured nowhere."""

    class Unprintable:
        __hash__ = None  # type: ignore[assignment]

        def __str__(self) -> str:
            raise ZeroDivisionError

    cells, run = _call("query", sampler, Operation("query", {"system": Unprintable()}), active=active)
    before = sum(faults.counts().values())
    assert await run() == [1, 2]
    assert sum(faults.counts().values()) > before
    assert _counted(cells, DURATION) == {}


@SAMPLERS
@OPERATIONS
@pytest.mark.asyncio
async def test_rows_that_raise(sampler: Sampler, operation: Operation) -> None:
    """What fails to count rows is contained; the duration is measured all the same."""

    def fails(result: Any) -> int:
        raise ZeroDivisionError

    cells, run = _call("query", sampler, operation, rows=fails)
    before = faults.counts().get("rows of a result", 0)
    assert await run() == [1, 2]
    assert faults.counts()["rows of a result"] == before + 1
    assert [each.count for each in _counted(cells, DURATION).values()] == [1]
    assert _counted(cells, ROWS) == {}
