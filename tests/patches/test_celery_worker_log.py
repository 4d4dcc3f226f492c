"""The line in the log of a worker and of beat that says what is traced there."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

import pytest

from tests.patches.celery_worker import running_beat, running_worker
from tests.waiting import wait_until

if TYPE_CHECKING:
    from pathlib import Path

    from tests.services.received import ReceivedSpans

LINE = re.compile(r"causal_otel: tracing .*")


@pytest.mark.long
@pytest.mark.parametrize("pool", ["prefork", "threads"])
def test_a_worker_says_what_is_traced(broker: str, receiver: ReceivedSpans, tmp_path: Path, pool: str) -> None:
    """Once, in its main process: the service, the address, the patches at work; its own beat says nothing."""
    name = f"line-{pool}"
    options = ["-B", "-s", str(tmp_path / "schedule")]
    with running_worker(broker, receiver, name, *options, pool=pool, patches="celery,redis,neo4j") as worker:
        wait_until(lambda: "beat: Starting" in worker.output())
        worker.stop()
        said = LINE.findall(worker.output())
    assert said == [f"causal_otel: tracing {name} to {receiver.endpoint}/v1/traces: celery, redis"]


def test_beat_says_what_is_traced(broker: str, receiver: ReceivedSpans) -> None:
    """Likewise a beat of its own."""
    with running_beat(broker, receiver, "line-beat") as beat:
        said = LINE.findall(beat.output())
    assert said == [f"causal_otel: tracing line-beat to {receiver.endpoint}/v1/traces: celery"]
