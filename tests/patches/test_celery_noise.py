"""What Celery does on its own account is not recorded: messages, events, control commands, results."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING, Any

import pytest
import redis
from celery import Celery, chord, group, signature
from celery.result import AsyncResult
from kombu.exceptions import OperationalError
from kombu.utils.uuid import uuid
from opentelemetry.trace import StatusCode
from sqlalchemy import create_engine, text

import causal_otel
from causal_otel.patches.celery import CeleryOptions
from tests.patches.celery_worker import executions, of_service, running_worker
from tests.recording import recording
from tests.span_relations import assert_span
from tests.waiting import wait_until

if TYPE_CHECKING:
    from tests.services.received import ReceivedSpans

# redis-py 8 warns of a command that Celery stores groups with.
pytestmark = pytest.mark.filterwarnings("ignore:Call to deprecated setex:DeprecationWarning")

PATCHES = ["celery", "redis"]


def make(broker: str, backend: str) -> Celery:
    """An app whose connections are made by whoever uses it first, here always with the patches on.

    Apps share connections if all their settings agree.
    """
    made = Celery("noise", broker=broker, backend=backend, set_as_current=False)
    made.conf.update(result_expires=60, task_publish_retry=False, broker_transport_options={"socket_keepalive": True})
    return made


@pytest.fixture(scope="module")
def app(broker: str) -> Celery:
    """One that has the broker of the shared worker."""
    return make(broker, broker)


@pytest.fixture(scope="module")
def database(tmp_path_factory: pytest.TempPathFactory) -> str:
    """The URL of a database. Older versions of Celery make their tables in the first one only."""
    return f"sqlite:///{tmp_path_factory.mktemp('results') / 'results'}"


def add(app: Celery, x: int, y: int) -> Any:
    """The signature of the worker's task."""
    return signature("tests.add", (x, y), app=app)


@pytest.mark.usefixtures("shared_worker")
def test_results(app: Celery) -> None:
    """Waiting for results, looking at them and forgetting them, of groups as well, is nothing in the caller's trace."""
    with recording(PATCHES) as recorded:
        with causal_otel.span("caller"):
            result = add(app, 1, 2).apply_async()
            assert result.get(timeout=60) == 3
            looked: Any = AsyncResult(result.id, app=app)
            wait_until(looked.ready)
            assert (looked.state, looked.successful(), looked.result) == ("SUCCESS", True, 3)
            looked.forget()
            assert AsyncResult(uuid(), app=app).state == "PENDING"
            several: Any = group(add(app, number, 0) for number in range(3)).apply_async()
            several.save()
            assert several.get(timeout=60) == [0, 1, 2]
            assert several.ready()
            assert several.join(timeout=60) == [0, 1, 2]
            app.GroupResult.restore(several.id).delete()
            total = chord([add(app, 1, 1), add(app, 2, 2)], signature("tests.total", app=app)).apply_async()
            assert total.get(timeout=60) == 6
        names = Counter(recorded.names())
    assert names.pop("caller") == 1
    assert all(name.startswith("send ") for name in names), names
    assert names["send tests.add"] == 6


@pytest.mark.usefixtures("shared_worker")
def test_control_and_events(app: Celery, broker: str) -> None:
    """Control commands, revoking, inspecting and listening to events are nothing either, what a handler does is."""
    worker = "celery@tests"
    with recording(PATCHES) as recorded, redis.Redis.from_url(broker) as client:
        with causal_otel.span("caller") as caller:
            pong = app.control.ping([worker], timeout=60, limit=1)
            assert pong == [{worker: {"ok": "pong"}}]
            assert worker in (app.control.inspect([worker], timeout=60, limit=1).stats() or {})
            app.control.revoke("nobody")
            AsyncResult("nobody", app=app).revoke()
            app.control.broadcast("enable_events", destination=[worker])
            with app.connection_for_read() as connection:

                def handle(event: Any) -> None:
                    client.get("handler")
                    receiver.should_stop = True

                receiver = app.events.Receiver(connection, handlers={"*": handle})
                receiver.capture(timeout=60, wakeup=True)
            app.control.broadcast("disable_events", destination=[worker])
        *handled, last = recorded.spans
    assert last.name == "caller"
    assert {span.name for span in handled} == {"GET"}
    for span in handled:
        assert_span(span, caller)


@pytest.mark.usefixtures("shared_worker")
def test_callbacks_are_the_user_s(app: Celery, broker: str) -> None:
    """What a callback of get() does is a child of the caller's span, in the middle of what is not recorded."""
    with recording(PATCHES) as recorded, redis.Redis.from_url(broker) as client:
        with causal_otel.span("caller") as caller:
            result = add(app, 1, 2).apply_async()
            result.get(timeout=60, callback=lambda task_id, value: client.get("callback"))
            several = group(add(app, 1, 2), add(app, 3, 4)).apply_async()
            several.get(timeout=60, callback=lambda task_id, value: client.get("callback"))
        asked = [span for span in recorded.spans if span.name == "GET"]
    assert len(asked) == 3
    for span in asked:
        assert span.parent is not None
        assert span.parent.span_id == caller.get_span_context().span_id


@pytest.mark.usefixtures("shared_worker")
def test_results_are_shown_if_asked_for(app: Celery) -> None:
    """With result_backend=True what a caller asks is in its trace, the broker's still is not, and none is a trace."""
    with recording({"celery": CeleryOptions(result_backend=True), "redis": True}) as recorded:
        with causal_otel.span("caller") as caller:
            result = add(app, 1, 2).apply_async()
            wait_until(AsyncResult(result.id, app=app).ready)
        ready: Any = AsyncResult(result.id, app=app)
        assert ready.ready()
        ready.forget()
        asked = [span for span in recorded.spans if span.name == "GET"]
        names = {*recorded.names()}
    assert asked
    for span in asked:
        assert span.parent is not None
        assert span.parent.span_id == caller.get_span_context().span_id
    assert names <= {"caller", "send tests.add", "GET", "SUBSCRIBE", "UNSUBSCRIBE"}


@pytest.mark.long
def test_a_broker_that_is_down_is_the_sending_s_failure() -> None:
    """It is told by the span of sending alone: its connection's failure is no span besides."""
    app = make("redis://127.0.0.1:1/0", "cache+memory://")
    with recording(PATCHES) as recorded:
        with causal_otel.span("caller"), pytest.raises(OperationalError):
            add(app, 1, 2).apply_async()
        send = recorded.only("send tests.add")
        assert recorded.names() == ["send tests.add", "caller"]
    assert send.status.status_code is StatusCode.ERROR


@pytest.mark.parametrize("shown", [False, True])
def test_results_in_a_database(database: str, shown: bool) -> None:
    """A result backend of SQLAlchemy's is as silent, by its own options, and other engines are traced as ever."""
    app = make("memory://", f"db+{database}")
    options = {"celery": CeleryOptions(result_backend=shown), "sqlalchemy": True}
    with recording(options) as recorded:
        app.backend.store_result("1", "done", "SUCCESS")
        assert AsyncResult("1", app=app).get(timeout=60) == "done"
        assert recorded.spans == []
        with causal_otel.span("caller"):
            app.backend.store_result("2", "done", "SUCCESS")
            assert AsyncResult("2", app=app).get(timeout=60) == "done"
            AsyncResult("2", app=app).forget()
        stored = {name.partition(" ")[0] for name in recorded.names()} - {"caller"}
        assert stored == ({"SELECT", "INSERT", "UPDATE", "DELETE"} if shown else set())
        recorded.clear()
        engine = create_engine(database)
        with causal_otel.span("caller"), engine.connect() as connection:
            connection.execute(text("SELECT 1"))
        engine.dispose()
        assert "SELECT" in recorded.names()[0]


@pytest.mark.long
@pytest.mark.parametrize("shown", [False, True])
def test_executions(app: Celery, broker: str, receiver: ReceivedSpans, shown: bool) -> None:
    """An execution has the user's own commands inside, and those of the result backend only if they are asked for."""
    name = f"noise-{shown}"
    variables = {"TESTS_RESULT_BACKEND": "1"} if shown else {}
    with recording(PATCHES) as recorded:
        with running_worker(
            broker, receiver, name, "-E", pool="threads", patches="celery,redis", variables=variables
        ) as worker:
            result = signature("tests.counted", (broker,), app=app, queue=name).apply_async()
            assert result.get(timeout=60) > 0
            worker.stop()
        sent = recorded.only("send tests.counted")
    spans = of_service(executions(receiver, sent, 2), name)
    [executed] = [span for span in spans if span["name"] == "process tests.counted"]
    assert_span(executed, sent)
    inside = Counter(span["name"] for span in spans if span is not executed)
    for span in spans:
        if span is not executed:
            assert_span(span, executed)
    assert inside.pop("INCRBY") == 1
    assert bool(inside) is shown, inside
