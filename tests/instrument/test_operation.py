"""One operation, one end: parts, late attributes, hooks and observers of a call on a small driver."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from opentelemetry.sdk.trace.sampling import ALWAYS_OFF
from opentelemetry.trace import SpanKind, StatusCode

from causal_otel._internal import faults
from causal_otel.engine.provider import TracerProvider
from causal_otel.export.privacy import Policy
from causal_otel.instrument.calls import Args, Kwargs, client_call, traced_call
from causal_otel.instrument.errors import Errors
from causal_otel.instrument.operation import Observation, Operation, Running
from causal_otel.instrument.options import ClientOptions
from causal_otel.instrument.tracing import Tracing
from tests.recording import Recording, recording
from tests.span_relations import assert_inside, nanoseconds

WORK = 0.02
"""Seconds that a call of the driver takes."""

FETCH = Operation("FETCH things", {"db.system.name": "tests", "db.operation.name": "FETCH"})


class Refused(Exception):
    """The driver's error, which has a code."""

    code = "E42"


class Driver:
    """A driver with a call of each kind."""

    def fetch(self, what: Any) -> Any:
        """Work, and raise what is an exception."""
        time.sleep(WORK)
        if isinstance(what, BaseException):
            raise what
        return what

    async def afetch(self, what: Any) -> Any:
        """The same, awaited."""
        await asyncio.sleep(WORK)
        if isinstance(what, BaseException):
            raise what
        return what


class Seen:
    """An observer that keeps what it is told."""

    def __init__(self, *, unsampled: bool = False) -> None:
        self.unsampled = unsampled
        self.started_with: list[tuple[Any, ...]] = []
        self.ends: list[Observation] = []

    def started(self, running: Running, observation: Observation) -> None:
        """Keep the driver's objects."""
        self.started_with.append(observation.objects)

    def ended(self, running: Running, observation: Observation) -> None:
        """Keep what is known."""
        self.ends.append(observation)


ERRORS = Errors(lambda error: getattr(error, "code", None), "db.response.status_code")


def _describe(tracing: Tracing[Any], instance: Any, args: Args, kwargs: Kwargs) -> Operation:
    return FETCH


def _call(tracing: Tracing[Any], kind: str, what: Any) -> Any:
    wrap = client_call(_describe, ERRORS)
    if kind == "sync":
        return wrap(tracing, Driver.fetch)(Driver(), what)
    return asyncio.run(wrap(tracing, Driver.afetch)(Driver(), what))


@pytest.fixture
def recorded() -> Iterator[Recording]:
    with recording([]) as record:
        yield record


@pytest.fixture
def faulty() -> Iterator[Recording]:
    """The same where something of ours or of the user's is to fail."""
    exporter, provider = InMemorySpanExporter(), TracerProvider()
    provider.add_span_processor(SimpleSpanProcessor(exporter))
    yield Recording(provider, exporter)
    provider.shutdown()


def _tracing(recorded: Recording, *observers: Any, **options: Any) -> Tracing[Any]:
    return Tracing(recorded.tracer, ClientOptions(**options), lambda seconds: True, observers=observers)


KINDS = pytest.mark.parametrize("kind", ["sync", "async"])


@KINDS
def test_an_observer_is_told_of_each_operation_once(recorded: Recording, kind: str) -> None:
    """At its beginning with the driver's objects, at its end with its duration and what came of it."""
    seen = Seen()
    tracing = _tracing(recorded, seen)
    with recorded.tracer.start_as_current_span("root") as root:
        assert _call(tracing, kind, "rows") == "rows"
        error = Refused()
        with pytest.raises(Refused) as caught:
            _call(tracing, kind, error)
    assert caught.value is error
    assert [objects[1:] for objects in seen.started_with] == [(("rows",), {}), ((error,), {})]
    assert all(isinstance(objects[0], Driver) for objects in seen.started_with)
    assert [(each.outcome, each.error_type) for each in seen.ends] == [("rows", None), (error, "E42")]
    assert all(each.duration >= WORK * 0.9 for each in seen.ends)
    well, failed = (span for span in recorded.spans if span.name == "FETCH things")
    assert (well.status.status_code, failed.status.status_code) == (StatusCode.UNSET, StatusCode.ERROR)
    assert dict(failed.attributes or {}) == {
        **FETCH.attributes,
        "error.type": "E42",
        "db.response.status_code": "E42",
    }
    for span in (well, failed):
        assert span.parent == root.get_span_context()
        assert span.kind is SpanKind.CLIENT
        assert span.end_time - span.start_time >= WORK * 0.9e9  # type: ignore[operator]


@KINDS
@pytest.mark.parametrize("unsampled", [False, True])
def test_only_who_wants_it_is_told_of_what_is_not_sampled(kind: str, unsampled: bool) -> None:
    """An observer of metrics is told of all operations, one of spans only of those that are recorded."""
    seen = Seen(unsampled=unsampled)
    with recording([], ALWAYS_OFF) as recorded:
        tracing = _tracing(recorded, seen, request_hook=lambda span, *objects: pytest.fail("there is no span"))
        with recorded.tracer.start_as_current_span("root"):
            assert _call(tracing, kind, 7) == 7
        assert recorded.spans == []
    assert [each.outcome for each in seen.ends] == ([7] if unsampled else [])


@KINDS
def test_hooks_see_the_span_and_the_driver_s_objects(recorded: Recording, kind: str) -> None:
    """The first before the call, the second before the span ends, with what the driver has returned or raised."""
    calls: list[tuple[Any, ...]] = []

    def request(span: Any, *objects: Any) -> None:
        span.set_attribute("asked", True)
        calls.append(objects)

    def response(span: Any, *objects: Any) -> None:
        span.set_attribute("answered", str(objects[-1]))
        calls.append(objects)

    tracing = _tracing(recorded, request_hook=request, response_hook=response)
    with recorded.tracer.start_as_current_span("root"):
        _call(tracing, kind, "rows")
    instance, args, kwargs = calls[0]
    assert (type(instance), args, kwargs) == (Driver, ("rows",), {})
    assert calls[1] == (instance, args, kwargs, "rows")
    assert dict(recorded.only("FETCH things").attributes or {}) == {
        **FETCH.attributes,
        "asked": True,
        "answered": "rows",
    }
    assert FETCH.attributes == {"db.system.name": "tests", "db.operation.name": "FETCH"}


def _raises(*_: Any) -> Any:
    raise ZeroDivisionError("of the user's code")


class Broken:
    """An observer that raises."""

    unsampled = True
    started = ended = staticmethod(_raises)


@KINDS
@pytest.mark.parametrize("what", ["rows", Refused("no")], ids=["returns", "raises"])
@pytest.mark.parametrize(
    ("observers", "options"),
    [((Broken(),), {}), ((), {"request_hook": _raises}), ((), {"response_hook": _raises})],
    ids=["observer", "request_hook", "response_hook"],
)
def test_whatever_observes_may_raise(
    faulty: Recording, kind: str, what: Any, observers: tuple[Any, ...], options: dict[str, Callable[..., Any]]
) -> None:
    """The caller gets what the driver says, once; the span is whole, other observers are told, and it is counted."""
    seen = Seen()
    tracing = _tracing(faulty, *observers, seen, **options)
    before = sum(faults.counts().values())
    with faulty.tracer.start_as_current_span("root"):
        if isinstance(what, Exception):
            with pytest.raises(Refused) as caught:
                _call(tracing, kind, what)
            assert caught.value is what
        else:
            assert _call(tracing, kind, what) == what
    assert len(seen.ends) == 1
    assert sum(faults.counts().values()) == before + (2 if observers else 1)
    span = faulty.only("FETCH things")
    assert span.status.status_code is (StatusCode.ERROR if isinstance(what, Exception) else StatusCode.UNSET)
    assert span.end_time - span.start_time >= WORK * 0.9e9  # type: ignore[operator]


@KINDS
def test_a_describer_that_raises_costs_the_span_alone(faulty: Recording, kind: str) -> None:
    """The driver is called once, as if nobody traced it."""
    tracing = _tracing(faulty)
    called: list[Any] = []

    def work(self: Any, what: Any) -> Any:
        called.append(what)
        return what

    async def awork(self: Any, what: Any) -> Any:
        return work(self, what)

    wrapped = client_call(_raises)(tracing, work if kind == "sync" else awork)
    with faulty.tracer.start_as_current_span("root"):
        found = wrapped(None, "rows")
        assert (found if kind == "sync" else asyncio.run(found)) == "rows"
    assert called == ["rows"]
    assert faulty.names() == ["root"]


def test_parts_add_up_on_the_span_and_are_not_shared(recorded: Recording) -> None:
    """What one call knows is on its own span: parts of its time, the size of a batch, what became known at its end."""
    tracing = _tracing(recorded)

    def begin(tracing: Tracing[Any], instance: Any, args: Args, kwargs: Kwargs) -> Running | None:
        running = tracing.leaf(FETCH.of_this_call({"db.operation.batch.size": args[0]}))
        assert running is not None
        running.part("causal.pool.wait", 0.25)
        running.part("causal.pool.wait", 0.5)
        running.learn({"db.namespace": f"shop{args[0]}"})
        return running

    wrapped = traced_call(begin)(tracing, Driver.fetch)
    with recorded.tracer.start_as_current_span("root"):
        wrapped(Driver(), 2)
        wrapped(Driver(), 3)
    assert [dict(span.attributes or {}) for span in recorded.spans if span.name != "root"] == [
        {
            **FETCH.attributes,
            "db.operation.batch.size": size,
            "causal.pool.wait": 0.75,
            "db.namespace": f"shop{size}",
        }
        for size in (2, 3)
    ]


def test_what_is_done_in_the_background_starts_no_trace(recorded: Recording) -> None:
    """A ping outside any span is not recorded, though an operation is; inside a span both are."""
    ping = Operation("PING", {}, background=True)
    tracing = _tracing(recorded)
    for operation in (ping, FETCH):
        client_call(lambda *call, operation=operation: operation)(tracing, Driver.fetch)(Driver(), None)
    assert recorded.names() == ["FETCH things"]
    with recorded.tracer.start_as_current_span("root"):
        client_call(lambda *call: ping)(tracing, Driver.fetch)(Driver(), None)
    fetch, inside, root = recorded.spans
    assert (fetch.parent, inside.name) == (None, "PING")
    assert_inside(root, inside)
    for span in (fetch, inside):
        assert (span.kind, span.status.status_code) == (SpanKind.CLIENT, StatusCode.UNSET)
        assert nanoseconds(span) >= WORK * 0.9e9


def test_an_exception_on_a_span_of_ours_is_redacted_where_it_is_read() -> None:
    """Not on the path of the call, its message and its stack once each; another provider's span is told the result."""
    policy = Policy()
    for core_redaction, told in ((policy, 0), (None, 2)):
        provider = TracerProvider()
        provider.core.redaction = core_redaction
        tracing = Tracing(provider.get_tracer("tests"), ClientOptions(), lambda seconds: True, redaction=policy)
        before = policy.counts().get("pair", 0)
        span: Any = tracing.start("call", SpanKind.CLIENT, {})
        tracing.record_exception(span, ValueError("password=hunter2"))
        assert policy.counts().get("pair", 0) == before + told
        [event] = span.events
        assert event.attributes["exception.message"] == "password=[redacted:pair]"
        assert "hunter2" not in event.attributes["exception.stacktrace"]
        assert policy.counts()["pair"] == before + 2
        span.end()
        provider.shutdown()
