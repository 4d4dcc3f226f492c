"""A worker's day in short: a task, a retry, a chord, a revoked task and a killed one. Also run on other versions."""

from __future__ import annotations

import functools
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit
from uuid import uuid4

import pytest
from billiard.exceptions import WorkerLostError
from celery import Celery, chord

import causal_otel
from tests.patches.celery_worker import of_service, running_worker
from tests.recording import recording
from tests.span_relations import assert_span, trace_id

if TYPE_CHECKING:
    from collections.abc import Iterator

    from opentelemetry.sdk.trace import ReadableSpan

    from tests.services.received import ReceivedSpan, ReceivedSpans

QUEUE = "scenario"


def attempts(spans: list[ReceivedSpan], sent: ReadableSpan) -> list[ReceivedSpan]:
    """The attempts in a trace, as they began."""
    found = [span for span in spans if span["trace_id"] == trace_id(sent) and span["kind"] == "CONSUMER"]
    return sorted(found, key=lambda span: span["start"])


def states(spans: list[ReceivedSpan]) -> list[Any]:
    """How attempts ended."""
    return [span["attributes"].get("celery.task.state") for span in spans]


def links(span: ReceivedSpan, role: str) -> set[str]:
    """The spans that one is linked to in that role."""
    return {link["span_id"] for link in span["links"] if link["attributes"].get("causal.link") == role}


@pytest.fixture
def app(redis_url: str) -> Iterator[Celery]:
    """An app with a broker of its own: clients made before the patch of Redis was at work would be anybody's."""
    url = urlsplit(redis_url)._replace(path="/11").geturl()
    with Celery("scenario", broker=url, backend=url, set_as_current=False) as app:
        app.conf.task_default_queue = QUEUE
        yield app


@pytest.mark.long
def test_a_worker_s_day(app: Celery, receiver: ReceivedSpans) -> None:
    """Every attempt ends once and as it should, in its sender's trace, and there is nothing else, with Redis traced."""
    add = functools.partial(app.signature, "tests.add")
    with recording(["celery", "redis"]) as recorded:
        with running_worker(app.conf.broker_url, receiver, QUEUE, "-E", patches="celery,redis") as worker:
            assert add((1, 2)).apply_async().get(timeout=60) == 3
            assert app.send_task("tests.flaky", (1,)).get(timeout=60) == 1
            header = [add((n, n)) for n in (1, 2)]
            with causal_otel.span("caller"):
                assert chord(header, app.signature("tests.total"), app=app).apply_async().get(timeout=60) == 6
            task_id = str(uuid4())
            assert app.control.revoke(task_id, destination=[f"{QUEUE}@tests"], reply=True, timeout=60, limit=1)
            add((3, 4)).apply_async(task_id=task_id)
            with pytest.raises(WorkerLostError):
                app.send_task("tests.killed").get(timeout=60)
            assert add((5, 6)).apply_async().get(timeout=60) == 11
            worker.stop()
        added, flaky, *_, caller, revoked, killed, last = recorded.spans
        assert set(recorded.names()) == {"send tests.add", "send tests.flaky", "send tests.killed", "caller"}
    spans = of_service(receiver.spans(), QUEUE)

    for sent in (added, last):
        [attempt] = attempts(spans, sent)
        assert_span(attempt, sent)
        assert states([attempt]) == ["SUCCESS"]

    first, second = attempts(spans, flaky)
    assert states([first, second]) == ["RETRY", "SUCCESS"]
    assert_span(first, flaky)
    assert_span(second, flaky)
    assert links(second, "retry") == {first["span_id"]}

    *headers, body = attempts(spans, caller)
    assert [span["name"] for span in (*headers, body)] == ["process tests.add"] * 2 + ["process tests.total"]
    assert states([*headers, body]) == ["SUCCESS"] * 3
    assert links(body, "chord-header") == {span["span_id"] for span in headers}

    [attempt] = attempts(spans, revoked)
    assert_span(attempt, revoked)
    assert states([attempt]) == ["REVOKED"]

    [attempt] = attempts(spans, killed)
    assert_span(attempt, killed, error="billiard.exceptions.WorkerLostError", lasts=0.2)

    of_tasks = {"process tests.add", "process tests.flaky", "process tests.killed", "process tests.total"}
    assert {span["name"] for span in spans} - {"work"} == of_tasks | {"send tests.flaky", "send tests.total"}
