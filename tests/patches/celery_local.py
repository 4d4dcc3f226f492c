"""Celery apps in this process: fixtures of a worker and of an app without one, and what tests plant in messages."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
from celery import Celery
from celery.app import trace as tracers

from tests.patches.celery_worker import running_worker

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.services.received import ReceivedSpans

__all__ = ["ERROR_MESSAGE", "SECRET", "STALE", "execute", "local", "received_headers", "shared_worker"]

SECRET = "hunter2-planted"
ERROR_MESSAGE = f"cannot connect to redis://app:{SECRET}@cache.example/0"


STALE = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"


@pytest.fixture(scope="module")
def shared_worker(broker: str, receiver_process: ReceivedSpans) -> Iterator[None]:
    """A prefork worker of the default queue."""
    with running_worker(broker, receiver_process, "celery"):
        yield


@pytest.fixture
def local() -> Celery:
    """An app whose broker is never asked: for eager tasks, and for what fails before that."""
    local = Celery("local", broker="redis://127.0.0.1:1/0", set_as_current=False)
    local.conf.task_publish_retry = False
    return local


def execute(task: Any, **headers: Any) -> None:
    """Execute ``task`` as a worker does that has received it with ``headers``."""
    request = {"id": "1", "delivery_info": {"exchange": "", "routing_key": "celery"}, "is_eager": False, **headers}
    tracers.build_tracer(task.name, task, app=task.app)("1", [], {}, request)


def received_headers(app: Celery, queue: str) -> dict[str, Any]:
    """The headers of the next message in a queue of the application's broker."""
    with app.connection_for_read() as connection, connection.SimpleQueue(queue) as messages:
        message = messages.get(timeout=60)
        message.ack()
        headers: dict[str, Any] = message.headers
        return headers
