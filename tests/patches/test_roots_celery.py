"""What Celery does with Redis on its own account starts no trace, in the worker's processes as in its clients'."""

from __future__ import annotations

import time
from pathlib import Path

import pytest
import redis

from tests.faults.programs import run
from tests.patches.celery_greenlets import GREENLETS, python_of
from tests.patches.celery_worker import of_service, running_worker
from tests.services.received import ReceivedSpans
from tests.span_relations import assert_span

CLIENT = """
import time
from tests.patches.celery_app import add, app

results = [add.delay(number, 1) for number in range(3)]
assert [result.get(timeout=60) for result in results] == [1, 2, 3]
result = add.delay(5, 5)
deadline = time.monotonic() + 60
while not result.ready():
    assert time.monotonic() < deadline
    time.sleep(0.01)
result.forget()
assert app.control.ping([WORKER], timeout=60, limit=1) == [{WORKER: {"ok": "pong"}}]
"""


def calls(client: redis.Redis, command: str) -> int:
    """How often the server has executed a command."""
    statistics = client.info("commandstats")
    return int(statistics.get(f"cmdstat_{command}", {}).get("calls", 0))


def idle(broker: str, *commands: str) -> None:
    """Let the worker wait for messages (``BRPOP``), and look for lost ones (``ZRANGE``), several times."""
    with redis.Redis.from_url(broker) as client:
        before = {command: calls(client, command) for command in commands}
        deadline = time.monotonic() + 60
        while any(calls(client, command) < count + 2 for command, count in before.items()):
            assert time.monotonic() < deadline, "the worker does not ask the broker"
            time.sleep(0.05)


@pytest.mark.parametrize(
    ("pool", "ticks"),
    [
        pytest.param("prefork", False, id="prefork-idle"),
        pytest.param("prefork", True, id="prefork-with beat", marks=pytest.mark.long),
        pytest.param("threads", False, id="threads-idle", marks=pytest.mark.long),
        pytest.param("threads", True, id="threads-with beat"),
        pytest.param("solo", False, id="solo-idle", marks=pytest.mark.long),
        pytest.param("solo", True, id="solo-with beat", marks=pytest.mark.long),
        *(pytest.param(*pool.values, False, id=f"{pool.values[0]}-idle", marks=pool.marks) for pool in GREENLETS),
    ],
)
def test_a_worker_on_redis(
    broker: str, receiver: ReceivedSpans, tmp_path: Path, pool: str, ticks: bool, request: pytest.FixtureRequest
) -> None:
    """Its polling, its events, its beat and its results begin no trace: there are the tasks, and what is in them."""
    name = f"roots-{pool}-{ticks}"
    python = python_of(pool, request)
    greenlets = python is not None  # which have no beat, and never look for lost messages
    options = ["-E"] if greenlets else ["-E", "-B", "-s", str(tmp_path / "schedule")]
    variables = {"TESTS_ANXIOUS_BROKER": "1", **({"TESTS_BEAT": "1"} if ticks else {})}
    with running_worker(
        broker, receiver, name, *options, pool=pool, patches="celery,redis", variables=variables, python=python
    ) as worker:
        idle(broker, "brpop", *(() if greenlets else ("zrange",)))
        if not ticks:
            assert of_service(receiver.spans(), name) == []
        ran = run(
            f"WORKER = {name + '@tests'!r}\n{CLIENT}",
            CELERY_BROKER_URL=broker,
            CELERY_RESULT_BACKEND=broker,
            OTEL_SERVICE_NAME="client",
            OTLP_ENDPOINT=receiver.endpoint,
            TESTS_QUEUE=name,
            TESTS_WORKER_PATCHES="celery,redis",
        )
        assert ran.returncode == 0, ran.stderr
        worker.stop()
    sent = of_service(receiver.spans(), "client")
    assert [span["name"] for span in sent] == ["send tests.add"] * 4
    for span in sent:
        assert_span(span, None)
    spans = of_service(receiver.spans(), name)
    roots = [span for span in spans if span["parent_span_id"] is None]
    for span in roots:
        assert_span(span, None)
    assert {span["name"] for span in roots} == ({"send tests.tick"} if ticks else set())
    executed = {span["span_id"]: span for span in spans if span["name"].startswith("process ")}
    added = [span for span in executed.values() if span["name"] == "process tests.add"]
    by_sender = {span["span_id"]: span for span in sent}
    for span in added:
        assert_span(span, by_sender.pop(span["parent_span_id"] or ""))
    assert by_sender == {}
    # An execution has nothing of what the result backend does at its end.
    assert {span["name"] for span in spans} <= {"process tests.add", "process tests.tick", "send tests.tick", "tock"}
