"""What a Celery task is, in the words of the messaging conventions."""

from __future__ import annotations

import functools
from types import MappingProxyType
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from causal_otel import names

if TYPE_CHECKING:
    from collections.abc import Mapping

    from celery import Celery

__all__ = ["attempt_attributes", "common", "execution_attributes"]

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
    # In URLs of other brokers, what looks like a host may be a key; before a later @, it is the user and password.
    is_single = system in ("redis", "rabbitmq") and parts.scheme != "sentinel" and ";" not in url
    if is_single and parts.hostname and "@" not in f"{parts.path}{parts.query}{parts.fragment}":
        attributes[names.SERVER_ADDRESS] = parts.hostname
        try:
            port = parts.port
        except ValueError:
            port = None  # it is no number; Celery says so
        if port is not None:
            attributes[names.SERVER_PORT] = port
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


def execution_attributes(
    app: Celery, task_name: str, exchange: str | None, routing_key: str | None, worker: str | None
) -> dict[str, Any]:
    """The attributes that the attempts at a task from one queue in one worker share.

    Args:
        app: the application.
        task_name: the task's.
        exchange: of the message's delivery; None: the default one.
        routing_key: likewise.
        worker: the worker's name; None: it is executed eagerly, without a message.
    """
    attributes = common(app, task_name, "process", broker=worker is not None)
    destination = ":".join(filter(None, (exchange, routing_key)))
    if destination:
        attributes[names.MESSAGING_DESTINATION_NAME] = destination
    if worker:
        attributes[names.CELERY_WORKER_NAME] = worker
    return attributes


def attempt_attributes(request: Mapping[str, Any]) -> dict[str, Any]:
    """The attributes of one attempt that are known when it begins.

    Args:
        request: what Celery knows of it: the message's headers and delivery.
    """
    task_id = request.get("id")
    attributes = {
        names.MESSAGING_MESSAGE_ID: task_id,
        names.MESSAGING_MESSAGE_CONVERSATION_ID: request.get("root_id") or task_id,
    }
    retries = request.get("retries")
    if retries:
        attributes[names.CELERY_TASK_RETRIES] = retries
    if (request.get("delivery_info") or {}).get("redelivered"):
        attributes[names.CELERY_TASK_REDELIVERED] = True
    eta = request.get("eta")
    if eta:
        attributes[names.CELERY_TASK_ETA] = str(eta)
    return attributes
