"""Notes of where an operation's time went, and the wrapper that takes them."""

from __future__ import annotations

import asyncio
import time
from time import perf_counter
from typing import TYPE_CHECKING, Any

import pytest
from opentelemetry.sdk.trace.sampling import ALWAYS_ON

from causal_otel.instrument import parts
from causal_otel.instrument.calls import client_call, detached
from causal_otel.instrument.operation import Operation
from causal_otel.instrument.options import ClientOptions
from causal_otel.instrument.tracing import Tracing
from causal_otel.metrics.cells import Cells
from causal_otel.metrics.observer import Metrics
from causal_otel.names import (
    CAUSAL_ATTEMPTS,
    CAUSAL_CONNECT,
    CAUSAL_CONNECT_DNS,
    CAUSAL_CONNECT_TLS,
    CAUSAL_POOL_SETUP,
    CAUSAL_POOL_SIZE,
    CAUSAL_POOL_WAIT,
    CAUSAL_POOL_WAITING,
    CAUSAL_SERVER,
)
from tests.instrument.test_measured import DURATION, ROWS
from tests.recording import Recording, recording
from tests.span_relations import assert_span

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

PAUSE = 0.02


@pytest.fixture
def recorded() -> Iterator[Recording]:
    with recording([], ALWAYS_ON) as record:
        yield record


def _pause(key: str) -> None:
    began = perf_counter()
    time.sleep(PAUSE)
    parts.note(key, perf_counter() - began)


def test_notes_of_one_key_add_up_and_are_taken_once() -> None:
    """An operation takes what was noted since it began, short notes apart."""
    since = perf_counter()
    for _ in range(2):
        _pause(CAUSAL_POOL_WAIT)
    parts.note(CAUSAL_POOL_SETUP, 0.000_5)
    found = parts.take(since)
    assert found is not None
    assert found.keys() == {CAUSAL_POOL_WAIT}
    assert 2 * PAUSE <= found[CAUSAL_POOL_WAIT] <= perf_counter() - since
    assert parts.take(since) is None


@pytest.mark.parametrize(("attempts", "told"), [(1, None), (3, 0.0015)])
def test_short_attempts_to_connect_add_up(attempts: int, told: float | None) -> None:
    """Connecting is noted however short it was, and recorded if it took a millisecond in all; it never is the rest."""
    since = perf_counter()
    while perf_counter() < since + 0.0005:
        pass
    for _ in range(attempts):
        parts.note(CAUSAL_CONNECT, 0.000_5)
    found = parts.parts_of(since, 1.0, CAUSAL_SERVER)
    assert found.get(CAUSAL_CONNECT) == (None if told is None else pytest.approx(told))
    assert found[CAUSAL_SERVER] == pytest.approx(1.0 - attempts * 0.000_5)


def test_notes_that_nobody_took_are_no_part_of_what_comes_later() -> None:
    """A call that was not recorded leaves its note behind: the next operation has only its own."""
    _pause(CAUSAL_POOL_WAIT)
    since = perf_counter()
    _pause(CAUSAL_CONNECT)
    found = parts.take(since)
    assert found is not None
    assert found.keys() == {CAUSAL_CONNECT}


def test_notes_are_bounded() -> None:
    """However many are left behind, a task keeps only the last ones."""
    for _ in range(10_000):
        parts.note(CAUSAL_CONNECT, 1.0)
    assert len(parts._notes.get()) <= 257
    parts.take(perf_counter())


@pytest.mark.asyncio
async def test_tasks_do_not_share_notes() -> None:
    """What a task notes is not seen by its parent, nor by a sibling that began with the parent's notes."""
    since = perf_counter()
    _pause(CAUSAL_POOL_WAIT)

    async def other() -> dict[str, float] | None:
        _pause(CAUSAL_CONNECT)
        return parts.take(perf_counter() - PAUSE)

    assert (await asyncio.create_task(other()) or {}).keys() <= {CAUSAL_CONNECT}
    assert (parts.take(since) or {}).keys() == {CAUSAL_POOL_WAIT}


def _client(recorded: Recording, work: Callable[[Any], Any], *, measured: bool, rows: Any = None) -> Callable[..., Any]:
    from opentelemetry.trace import SpanKind

    from causal_otel.instrument.measured import Measured

    metrics = Metrics(Cells(), {SpanKind.CLIENT: Measured(DURATION, rows=ROWS)}) if measured else None
    tracing = Tracing(recorded.tracer, ClientOptions(), lambda seconds: True, metrics=metrics)
    describe = lambda tracing, instance, args, kwargs: Operation("query", {"db.system.name": "tests"})  # noqa: E731
    return client_call(describe, rows=rows, rest=CAUSAL_SERVER)(tracing, work)


def _works(self: Any) -> list[int]:
    _pause(CAUSAL_POOL_WAIT)
    began = perf_counter()
    _pause(CAUSAL_CONNECT_DNS)
    parts.note(CAUSAL_CONNECT, perf_counter() - began)
    time.sleep(PAUSE)
    return [1, 2]


async def _works_later(self: Any) -> list[int]:
    await asyncio.sleep(0)
    return _works(self)


def _fails(self: Any) -> None:
    _works(self)
    raise LookupError


@pytest.mark.parametrize("measured", [False, True])
@pytest.mark.parametrize("work", [_works, _works_later, lambda self: _works_later(self), _fails])
def test_an_operation_tells_its_parts(recorded: Recording, work: Callable[[Any], Any], measured: bool) -> None:
    """What was noted, and the rest, are on the span of a call of any shape; they fit into it. So are its rows."""
    query = _client(recorded, work, measured=measured, rows=len)
    with recorded.tracer.start_as_current_span("root") as root:
        if work is _fails:
            with pytest.raises(LookupError):
                query(None)
        else:
            result = query(None)
            if not isinstance(result, list):

                async def awaited() -> Any:
                    return await result

                result = asyncio.run(awaited())
            assert result == [1, 2]
    span = recorded.only("query")
    found = assert_span(span, root, error="LookupError" if work is _fails else None, lasts=3 * PAUSE)
    assert found.get("db.response.returned_rows") == (None if work is _fails else 2)
    for key in (CAUSAL_POOL_WAIT, CAUSAL_CONNECT, CAUSAL_CONNECT_DNS, CAUSAL_SERVER):
        assert found[key] >= PAUSE * 0.99
    together = found[CAUSAL_POOL_WAIT] + found[CAUSAL_CONNECT] + found[CAUSAL_SERVER]
    assert found[CAUSAL_CONNECT_DNS] <= found[CAUSAL_CONNECT]
    assert together <= (span.end_time - span.start_time) / 1e9 + 0.001  # type: ignore[operator]


def test_a_quick_operation_tells_none(recorded: Recording) -> None:
    """What takes less than a millisecond has no parts, and takes no notes of what was before."""
    _pause(CAUSAL_POOL_WAIT)
    query = _client(recorded, lambda self: 7, measured=False)
    quickest = 1.0
    for _ in range(200):
        with recorded.tracer.start_as_current_span("root"):
            assert query(None) == 7
        span = recorded.only("query")
        quickest = (span.end_time - span.start_time) / 1e9  # type: ignore[operator]
        found = dict(span.attributes or {})
        recorded.clear()
        if quickest < parts.LEAST / 2:
            break
    assert quickest < parts.LEAST / 2
    assert found == {"db.system.name": "tests"}


@pytest.mark.asyncio
async def test_detached(recorded: Recording) -> None:
    """What outlives a call begins traces of its own, and is not suppressed; after the call all is as before."""
    tracing = Tracing(recorded.tracer, ClientOptions(), lambda seconds: True)
    listened = asyncio.Event()

    def listen() -> None:
        recorded.tracer.start_span("listener").end()
        listened.set()

    async def connect(self: Any) -> None:
        asyncio.get_running_loop().call_soon(listen)

    with recorded.tracer.start_as_current_span("request") as request:
        await detached(tracing, connect)(None)
        recorded.tracer.start_span("after").end()
        await listened.wait()
    assert_span(recorded.only("listener"), None)
    assert_span(recorded.only("after"), request)


def test_a_part_around_others_is_the_rest() -> None:
    """What has been noted inside of a call can be asked for, but for parts of parts and for numbers, and forgotten."""
    began = perf_counter() - 1
    parts.note(CAUSAL_POOL_WAIT, 0.25)
    parts.note(CAUSAL_CONNECT_TLS, 0.5)
    parts.tell(CAUSAL_POOL_SIZE, 7)
    assert parts.noted(began) == 0.25
    assert parts.noted(perf_counter()) == 0
    parts.forget(perf_counter() + 1)
    assert parts.noted(began) == 0.25
    parts.forget(began)
    assert parts.unread() == ()
    assert parts.noted(began) == 0


def test_numbers_go_with_the_parts() -> None:
    """Of a number the last counts, and no part is shorter for it; attempts are one more than what was tried again."""
    began = perf_counter() - 1
    parts.tell(CAUSAL_POOL_SIZE, 7)
    parts.tell(CAUSAL_POOL_SIZE, 8)
    parts.tell(CAUSAL_POOL_WAITING, 0)
    parts.retried()
    parts.retried()
    found = parts.parts_of(began, 1.0, CAUSAL_SERVER)
    numbers = {CAUSAL_POOL_SIZE: 8, CAUSAL_POOL_WAITING: 0, CAUSAL_ATTEMPTS: 3}
    assert found == {CAUSAL_SERVER: 1.0, **numbers}
    assert parts.noteworthy(found) == found
    added_up = parts.noteworthy({key: 0.0 + value for key, value in numbers.items()})
    assert {type(value) for value in added_up.values()} == {int}
    assert parts.unread() == ()
