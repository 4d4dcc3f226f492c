"""Workers of taskiq with the redis patch: what they do on their own account, and how they end."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

import pytest

from tests.patches.celery_worker import hexadecimal, of_service
from tests.patches.taskiq_app import publisher, running_worker
from tests.recording import recording
from tests.span_relations import assert_span
from tests.waiting import pause

if TYPE_CHECKING:
    from tests.services.received import ReceivedSpans

_LISTENING = 2.5
"""Seconds: a stream is asked for messages that nobody has acknowledged after two."""


@pytest.mark.parametrize("kind", ["stream", pytest.param("list", marks=pytest.mark.long)])
def test_a_worker_makes_no_traces_of_its_own(redis_url: str, receiver: ReceivedSpans, kind: str) -> None:
    """Listening is not recorded, result and acknowledgement are in their task's trace; nothing is lost at the end."""
    url, queue = urlsplit(redis_url)._replace(path="/4").geturl(), f"tests-taskiq-{kind}"

    async def main() -> list[Any]:
        async with publisher(url, queue, kind) as broker:
            task = broker.find_task("tests:pause")
            assert task is not None
            sent = [await task.kiq(0) for _ in range(3)]
            return [await each.wait_result(check_interval=0.02, timeout=60) for each in sent]

    with recording(["taskiq", "redis"]) as recorded:
        with running_worker(url, receiver, queue, kind=kind, patches="taskiq,redis", schedule_delay=60) as worker:
            assert not any(result.is_err for result in asyncio.run(main()))
            pause(_LISTENING)
            worker.stop()
        sent = {hexadecimal(span): span for span in recorded.spans if span.name.startswith("send ")}
        commands = [span.name for span in recorded.spans if span.name in ("EXISTS", "GET")]
    assert len(sent) == 3
    assert commands == [], "polling for a result is nobody's business"
    spans = [span for span in of_service(receiver.spans(), queue) if span["name"] != "XGROUP CREATE"]
    attempts = {span["span_id"]: span for span in spans if span["kind"] == "CONSUMER"}
    assert len(attempts) == 3
    for attempt in attempts.values():
        assert_span(attempt, sent[attempt["parent_span_id"] or ""])
    commands = sorted(span["name"] for span in spans if span["kind"] == "CLIENT")
    assert commands == ["SET"] * 3 + (["XACK"] * 3 if kind == "stream" else [])
    for span in spans:
        assert span["span_id"] in attempts or span["parent_span_id"] in attempts
