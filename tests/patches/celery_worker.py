"""Celery workers for tests, as processes of their own, and what they have sent to the receiver."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory

from opentelemetry.sdk.trace import ReadableSpan

from causal_otel.testing.process import Process, process
from tests.services.received import ReceivedSpan, ReceivedSpans
from tests.span_relations import assert_span, trace_id

__all__ = [
    "CELERY",
    "attempts",
    "environment",
    "executions",
    "hexadecimal",
    "of_service",
    "running_beat",
    "running_worker",
]

CELERY = [sys.executable, "-m", "celery", "-A", "tests.patches.celery_app"]


@contextmanager
def running_worker(
    broker: str,
    receiver: ReceivedSpans,
    name: str,
    *options: str,
    pool: str = "prefork",
    patches: str = "celery",
    schedule_delay: float = 0.1,
    variables: Mapping[str, str] | None = None,
    level: str = "INFO",
    python: Path | None = None,
) -> Iterator[Process]:
    """A worker of the queue ``name``, traced as the service ``name``; it is waited for if it logs that it is ready."""
    command = ["worker", "-Q", name, "-n", f"{name}@tests", "-P", pool, "-c", "2", "-l", level]
    command += ["--without-mingle", "--without-gossip", *options]
    variables = {
        **environment(broker, receiver, name, patches, schedule_delay),
        **(variables or {}),
    }
    with process(
        [str(python or CELERY[0]), *CELERY[1:], *command],
        name=f"worker {name}",
        env=variables,
        ready=(lambda worker: " ready." in worker.output()) if level == "INFO" else None,
    ) as worker:
        yield worker


@contextmanager
def running_beat(broker: str, receiver: ReceivedSpans, name: str) -> Iterator[Process]:
    """A beat of its own, which sends ``tests.tick`` to the queue ``name``; exports only when it must."""
    variables = {**environment(broker, receiver, name, "celery", 60), "TESTS_BEAT": "1"}
    with (
        TemporaryDirectory() as folder,
        process(
            [*CELERY, "beat", "-l", "INFO", "-s", f"{folder}/schedule"],
            name=f"beat {name}",
            env=variables,
            ready=lambda beat: "Sending due task" in beat.output(),
        ) as beat,
    ):
        yield beat


def environment(broker: str, receiver: ReceivedSpans, name: str, patches: str, schedule_delay: float) -> dict[str, str]:
    """The variables of a program that has the app."""
    return {
        **os.environ,
        "C_FORCE_ROOT": "1",
        "EVENTLET_NO_GREENDNS": "yes",  # its resolver imports trio, whose sockets cannot be Eventlet's
        "CELERY_BROKER_URL": broker,
        "CELERY_RESULT_BACKEND": broker,
        "OTEL_BSP_SCHEDULE_DELAY": str(int(schedule_delay * 1000)),
        "OTEL_SERVICE_NAME": name,
        "OTLP_ENDPOINT": receiver.endpoint,
        "TESTS_QUEUE": name,
        "TESTS_WORKER_PATCHES": patches,
    }


def hexadecimal(span: ReadableSpan) -> str:
    """The span's id as the receiver writes it."""
    return f"{span.context.span_id:016x}"


def executions(receiver: ReceivedSpans, sent: ReadableSpan, count: int) -> list[ReceivedSpan]:
    """The spans that workers have sent in the trace of ``sent``, which has ended well, when there are ``count``."""
    assert_span(sent, sent.parent)
    return receiver.wait_for(lambda spans: len(spans) >= count, trace_id=f"{sent.context.trace_id:032x}")


def attempts(receiver: ReceivedSpans, sent: ReadableSpan, count: int) -> list[ReceivedSpan]:
    """The attempts in the trace of ``sent``, by their beginnings, once there are ``count``."""

    def enough(spans: list[ReceivedSpan]) -> bool:
        return sum(span["kind"] == "CONSUMER" for span in spans) >= count

    spans = receiver.wait_for(enough, 60, trace_id=trace_id(sent))
    found = sorted((span for span in spans if span["kind"] == "CONSUMER"), key=lambda span: span["start"])
    assert len(found) == count
    return found


def of_service(spans: list[ReceivedSpan], service: str) -> list[ReceivedSpan]:
    """Those of one worker: late ones of the shared worker may be among them."""
    return [span for span in spans if span["service"] == service]
