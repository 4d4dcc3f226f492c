"""What a Celery task is, in the words of the messaging conventions."""

from __future__ import annotations

import functools
from datetime import datetime
from types import MappingProxyType
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from causal_otel import names
from causal_otel.patches.celery.headers import PUBLISHED

if TYPE_CHECKING:
    from collections.abc import Mapping

    from celery import Celery
    from celery.app.task import Context as Request

__all__ = ["PUBLISHED", "common", "execution_attributes", "headers_of", "message", "queue_wait"]

_SYSTEMS = {
    **dict.fromkeys(("amqp", "amqps", "pyamqp", "librabbitmq"), "rabbitmq"),
    **dict.fromkeys(("redis", "rediss", "sentinel"), "redis"),
    **dict.fromkeys(("kafka", "confluentkafka"), "kafka"),
    "azureservicebus": "servicebus",
    "gcpubsub": "gcp_pubsub",
    "sqs": "aws_sqs",
}


@functools.lru_cache(maxsize=32)
def _broker(url: str) -> Mapping[str, Any]:
    """The attributes of a broker. Only a single server's address is told: which one of several it is, is unknown."""
    parts = urlsplit(url)
    system = _SYSTEMS.get(parts.scheme.partition("+")[0], "celery")
    attributes: dict[str, Any] = {names.MESSAGING_SYSTEM: system}
    # In URLs of other brokers, what looks like a host may be a key.
    if system in ("redis", "rabbitmq") and parts.scheme != "sentinel" and ";" not in url and parts.hostname:
        attributes[names.SERVER_ADDRESS] = parts.hostname
        if parts.port is not None:
            attributes[names.SERVER_PORT] = parts.port
    return MappingProxyType(attributes)


def common(app: Celery, task_name: str, operation: str, *, broker: bool = True) -> dict[str, Any]:
    """The attributes that sending and executing share and that are known at once."""
    url = (app.conf.broker_write_url or "amqp://") if broker else ""
    return {
        **_broker(url if isinstance(url, str) else ";".join(url)),
        names.MESSAGING_OPERATION_NAME: operation,
        names.MESSAGING_OPERATION_TYPE: operation,
        names.CELERY_TASK_NAME: task_name,
    }


def message(task_id: str | None, root_id: str | None, exchange: str | None, routing_key: str | None) -> dict[str, Any]:
    """The attributes of a message: what it is, what it belongs to, where it goes."""
    attributes = {
        names.MESSAGING_MESSAGE_ID: task_id,
        names.MESSAGING_MESSAGE_CONVERSATION_ID: root_id or task_id,
    }
    destination = ":".join(filter(None, (exchange, routing_key)))
    if destination:
        attributes[names.MESSAGING_DESTINATION_NAME] = destination
    return attributes


def execution_attributes(
    app: Celery, task_name: str, request: Request, headers: Mapping[str, Any], started: float
) -> dict[str, Any]:
    """The attributes of an execution that are known when it begins."""
    delivery = request.delivery_info or {}
    attributes = common(app, task_name, "process", broker=not request.is_eager)
    attributes |= message(request.id, request.root_id, delivery.get("exchange"), delivery.get("routing_key"))
    if request.retries:
        attributes[names.CELERY_TASK_RETRIES] = request.retries
    if delivery.get("redelivered"):
        attributes[names.CELERY_TASK_REDELIVERED] = True
    if request.eta:
        attributes[names.CELERY_TASK_ETA] = str(request.eta)
    waited = queue_wait(app, request, headers.get(PUBLISHED), started)
    if waited is not None:
        attributes[names.CAUSAL_QUEUE_WAIT] = waited
    return attributes


def queue_wait(app: Celery, request: Request, published: Any, started: float) -> float | None:
    """How long the task that started then could have run already, in seconds; None: nobody knows."""
    if not isinstance(published, int | float):
        return None  # the sender is not ours
    ready = float(published)
    if request.eta:
        try:
            eta = datetime.fromisoformat(str(request.eta))
        except ValueError:
            return None
        ready = max(ready, (eta if eta.tzinfo else eta.replace(tzinfo=app.timezone)).timestamp())
    return max(0.0, started - ready)


def headers_of(request: Request) -> dict[str, Any]:
    """The message's headers. Task protocol 2 makes attributes of them, and 1 keeps them apart."""
    return {**(request.headers or {}), **vars(request)}
