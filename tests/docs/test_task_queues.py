"""The recipes of docs/how-to/other-task-queues.md, with the queues' own workers: the page's very code is what runs."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

import pytest

from causal_otel.testing.process import process
from tests.docs.pages import code_blocks
from tests.environments import environment, pip_install
from tests.span_relations import assert_span

if TYPE_CHECKING:
    from tests.services.received import ReceivedSpan, ReceivedSpans

__all__ = ["environment"]

_BEGIN = "import os, sys, time\nimport causal_otel\ncausal_otel.install(patches=[])\nPAUSE = 0.3\n"
_PAUSE = 0.3

_DRAMATIQ = """
from dramatiq.brokers.redis import RedisBroker

broker = RedisBroker(url=os.environ["QUEUE_URL"], namespace="tests-dramatiq")
broker.add_middleware(Tracing())
dramatiq.set_broker(broker)

@dramatiq.actor(min_backoff=1, max_retries=1)
def bill(number):
    from opentelemetry import baggage
    with causal_otel.span("work", {"number": number, "region": str(baggage.get_baggage("region"))}):
        time.sleep(PAUSE)

@dramatiq.actor(min_backoff=1, max_backoff=1, max_retries=1)
def refuse():
    raise ValueError("no")

def send():
    bill.send(7)
    refuse.send()
"""

_ARQ = """
import asyncio
from arq import create_pool, run_worker
from arq.connections import RedisSettings

@job
async def bill(ctx, number):
    from opentelemetry import baggage
    with causal_otel.span("work", {"number": number, "region": str(baggage.get_baggage("region"))}):
        await asyncio.sleep(PAUSE)

@job
async def refuse(ctx):
    raise ValueError("no")

class WorkerSettings:
    functions = [bill, refuse]
    redis_settings = RedisSettings.from_dsn(os.environ["QUEUE_URL"])
    poll_delay = 0.05

def send():
    async def main():
        pool = await create_pool(WorkerSettings.redis_settings)
        await enqueue(pool, "bill", 7)
        await enqueue(pool, "refuse")
        await pool.aclose()
    asyncio.run(main())
"""

_SEND = """
import json, shop
from opentelemetry import baggage, context
from opentelemetry.trace import format_span_id, format_trace_id
import causal_otel

with causal_otel.span("request") as span:
    context.attach(baggage.set_baggage("region", "eu"))
    shop.send()
    identity = span.get_span_context()
assert causal_otel.flush(20)
print(json.dumps([format_trace_id(identity.trace_id), format_span_id(identity.span_id)]))
"""


def _program(place: Path, block: int, rest: str) -> None:
    """The module ``shop``: a recipe of the page, and an application that uses it."""
    blocks = code_blocks("docs/how-to/other-task-queues.md", "python")
    kinds = "from opentelemetry.trace import SpanKind\n"
    (place / "shop.py").write_text(f"{_BEGIN}{kinds}{blocks[block]}{rest}")


def _traced(
    python: str, place: Path, worker: list[str], ready: str, url: str, receiver: ReceivedSpans, count: int
) -> list[ReceivedSpan]:
    """All spans of the trace in which a program sends its tasks, once there are ``count``."""
    environment = {
        **os.environ,
        "OTEL_BSP_SCHEDULE_DELAY": "100",
        "OTLP_ENDPOINT": receiver.endpoint,
        "PYTHONPATH": os.pathsep.join((str(place), str(Path(__file__).parents[2]))),
        "QUEUE_URL": urlsplit(url)._replace(path="/5").geturl(),
    }
    with process(
        [python, *worker],
        name="worker",
        env={**environment, "OTEL_SERVICE_NAME": "worker"},
        ready=lambda process: ready in process.output(),
    ):
        done = subprocess.run(
            [python, "-c", _SEND],
            env={**environment, "OTEL_SERVICE_NAME": "sender"},
            capture_output=True,
            text=True,
            timeout=60,
        )
        assert done.returncode == 0, done.stderr
        trace, _ = json.loads(done.stdout)
        return receiver.wait_for(lambda spans: len(spans) >= count, trace_id=trace)


def _named(spans: list[ReceivedSpan], name: str) -> Any:
    [found] = [span for span in spans if span["name"] == name]
    return found


def test_dramatiq(tmp_path: Path, redis_url: str, receiver: ReceivedSpans) -> None:
    """Each attempt of an actor is below the span that sent it, a retry too; an exception is its error."""
    _program(tmp_path, 0, _DRAMATIQ)
    worker = ["-m", "dramatiq", "shop", "--processes", "1", "--threads", "2", "--path", str(tmp_path)]
    spans = _traced(sys.executable, tmp_path, worker, "Worker process is ready", redis_url, receiver, 5)
    request, bill = _named(spans, "request"), _named(spans, "process bill")
    assert_span(request, None)
    assert_span(bill, request, lasts=0.8 * _PAUSE)
    assert (bill["kind"], bill["service"]) == ("CONSUMER", "worker")
    assert assert_span(_named(spans, "work"), bill) == {"number": 7, "region": "eu"}
    refused = [span for span in spans if span["name"] == "process refuse"]
    assert len(refused) == 2
    for attempt in refused:
        assert attempt["parent_span_id"] == request["span_id"]
        assert attempt["status"]["code"] == "ERROR"
        assert attempt["events"][0]["attributes"]["exception.message"] == "no"


@pytest.mark.long
def test_arq(environment: Path, tmp_path: Path, redis_url: str, receiver: ReceivedSpans) -> None:
    """Each job is below its sending; an exception is its error. arq needs an older redis-py than the tests have."""
    pip_install(environment, "arq==0.28.0")
    _program(tmp_path, 1, _ARQ)
    worker = ["-m", "arq", "shop.WorkerSettings"]
    spans = _traced(str(environment), tmp_path, worker, "Starting worker for 2 functions", redis_url, receiver, 6)
    request = _named(spans, "request")
    assert_span(request, None)
    for name in ("bill", "refuse"):
        sent = _named(spans, f"send {name}")
        assert_span(sent, request)
        assert sent["kind"] == "PRODUCER"
    bill, refused = _named(spans, "process bill"), _named(spans, "process refuse")
    assert_span(bill, _named(spans, "send bill"), lasts=0.8 * _PAUSE)
    assert (bill["kind"], bill["service"]) == ("CONSUMER", "worker")
    assert assert_span(_named(spans, "work"), bill) == {"number": 7, "region": "eu"}
    assert refused["parent_span_id"] == _named(spans, "send refuse")["span_id"]
    assert refused["status"]["code"] == "ERROR"
    assert refused["events"][0]["attributes"]["exception.message"] == "no"
