"""5,000 tasks that fail, are retried, revoked, killed and delivered again, alone and in canvases: all of it is told.

What must be is said by the plan, which is random, and by a ledger that the tasks write themselves. Processes are
recycled meanwhile.
"""

from __future__ import annotations

import json
import os
import random
import sys
import time
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import pytest
import redis

import causal_otel
from causal_otel.testing.process import process
from tests.patches.celery_chaos_account import Seen, problems
from tests.patches.celery_chaos_app import LEDGER, PUT_BACK, app
from tests.patches.celery_chaos_plan import Plan
from tests.recording import recording

if TYPE_CHECKING:
    from collections.abc import Iterator

    from causal_otel.testing.process import Process
    from tests.services.received import ReceivedSpan, ReceivedSpans

TASKS = int(os.environ.get("TESTS_CHAOS_TASKS", "5000"))
RARE = max(2, TASKS // 300)
SEED = int(os.environ.get("TESTS_CHAOS_SEED", "0")) or random.randrange(1, 1_000_000)
TASKS_OF_A_PROCESS = 50
PATIENCE = 60.0
"""Seconds without any progress after which nothing more is waited for."""


@contextmanager
def worker(broker: str, receiver: ReceivedSpans) -> Iterator[Process]:
    """A prefork worker whose processes are recycled often."""
    command = [
        sys.executable,
        "-m",
        "celery",
        "-A",
        "tests.patches.celery_chaos_app",
        "worker",
        "-c",
        "4",
        "-l",
        "INFO",
    ]
    command += [
        "--without-mingle",
        "--without-gossip",
        "--max-tasks-per-child",
        "40",
        "-Q",
        "chaos",
        "-n",
        "chaos@tests",
    ]
    environment = {
        **os.environ,
        "C_FORCE_ROOT": "1",
        "CELERY_BROKER_URL": broker,
        "CELERY_RESULT_BACKEND": broker,
        "OTEL_BSP_SCHEDULE_DELAY": "100",
        "OTEL_SERVICE_NAME": "chaos",
        "OTLP_ENDPOINT": receiver.endpoint,
        "TESTS_CHAOS_WORKER": "1",
    }
    with process(command, name="worker chaos", env=environment, ready=lambda each: " ready." in each.output()) as found:
        yield found


def send(plan: Plan) -> list[Seen]:
    """Send everything, each unit inside a span or not; the spans of it."""
    chance = random.Random(SEED)
    with recording(["celery"]) as recorded:
        for unit in plan.units:
            if chance.random() < 0.8:
                with causal_otel.span("request"):
                    result = unit.canvas.apply_async()
            else:
                result = unit.canvas.apply_async()
            if len(unit.nodes) == 1:
                unit.task_id = result.id
                if unit.nodes[0].discarded == "revoked":
                    app.control.revoke(result.id)
        return [Seen.recorded(span) for span in recorded.spans]


def finish(client: redis.Redis, receiver: ReceivedSpans, plan: Plan) -> list[dict[str, Any]]:
    """Wait until all attempts have been made, terminating those that hang, and all spans have come; the ledger.

    Its lines say of each attempt whether Celery had not heard of it, and made another one.
    """
    ledger: list[dict[str, Any]] = []
    discarded = sum(node.discarded is not None for node in plan.nodes.values())
    spans: list[ReceivedSpan] = []
    attempts, last = 0, time.monotonic()
    while not plan.is_done(ledger) or attempts < len(ledger) + discarded:
        lines = [json.loads(line) for line in client.lrange(LEDGER, len(ledger), -1)]
        for line in lines:
            if line["word"] == "hang":
                app.control.revoke(line["task_id"], terminate=True, signal=random.choice(["SIGTERM", "SIGKILL"]))
        new = receiver.spans(since=spans[-1]["index"] + 1 if spans else 0)
        ledger += lines
        put_back = {(line["task_id"], line["pid"]) for line in map(json.loads, client.lrange(PUT_BACK, 0, -1))}
        for line in ledger:
            line["put_back"] = (line["task_id"], line["pid"]) in put_back
        spans = new or spans
        attempts += sum(span["kind"] == "CONSUMER" for span in new)
        if lines or new:
            last = time.monotonic()
        if time.monotonic() - last > PATIENCE:
            break
        time.sleep(0.1)
    return ledger


@pytest.mark.long
@pytest.mark.timeout(900)
def test_chaos(broker: str, receiver: ReceivedSpans) -> None:
    """Every attempt is accounted for exactly once, in its state, and every parent and every link is right."""
    app.conf.update(broker_url=broker, result_backend=broker)
    plan = Plan(random.Random(SEED), TASKS, RARE)
    with redis.Redis.from_url(broker) as client:
        with worker(broker, receiver):
            sent = send(plan)
            ledger = finish(client, receiver, plan)
        client.delete(LEDGER, PUT_BACK)
    assert len({line["pid"] for line in ledger}) > TASKS / TASKS_OF_A_PROCESS
    spans = [Seen.received(span) for span in receiver.spans()]
    found = problems(plan, ledger, [*sent, *spans])
    put_back = [line for line in ledger if line["put_back"]]
    summary = f"TESTS_CHAOS_SEED={SEED}: {len(found)} problems with {len(plan.nodes)} tasks, put back: {put_back}"
    assert not found, "\n".join((summary, *found[:30]))
    assert len(put_back) <= TASKS / 100, put_back
    again = {line["task_id"] for line in put_back}
    disturbed = {span.trace_id for span in spans if span.task_id in again}
    one = next(span for span in spans if span.links and span.trace_id not in disturbed)
    others = [*sent, *(span for span in spans if span is not one)]
    stranger = next(span for span in others if span.trace_id != one.trace_id)
    for broken in ([], [one, one], [one._replace(links=frozenset())], [one._replace(parent=stranger.span_id)]):
        assert problems(plan, ledger, [*others, *broken]), "what is wrong is not found"
