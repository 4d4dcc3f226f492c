"""What is done with messages of Kafka, in the words of the semantic conventions."""

from __future__ import annotations

import functools
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from opentelemetry.trace import SpanKind

from causal_otel import names
from causal_otel.instrument.operation import Operation

if TYPE_CHECKING:
    from collections.abc import Hashable

__all__ = ["SEND", "describe", "position", "texts"]

SEND = "send"

_PORT = 9092
_CACHED = 512  # pairs of a verb and a topic, of a client
_TYPES = {SEND: "send", "receive": "receive", "process": "process", "commit": "settle"}
_KINDS = {SEND: SpanKind.PRODUCER, "process": SpanKind.CONSUMER}


def describe(verb: str, client: Any, topic: str | None, *, plumbing: bool = False, kind: SpanKind | None = None) -> Any:
    """An operation.

    Args:
        verb: the name of the operation.
        client: a producer, or a consumer; None: it is not known.
        topic: None: there is none, or there are several.
        plumbing: whether it is a span only if it fails or is slow.
        kind: of its spans; None: what the conventions say of the verb.
    """
    # A producer has its connections in public, a consumer does not.
    inner = getattr(client, "client", None) or getattr(client, "_client", None)
    group = getattr(client, "_group_id", None)
    servers = getattr(inner, "_bootstrap_servers", None)
    if isinstance(servers, list):
        servers = tuple(servers)
    return _operation(verb, topic, getattr(inner, "_client_id", None), group, servers, plumbing, kind)


@functools.lru_cache(_CACHED)
def _operation(
    verb: str,
    topic: str | None,
    client_id: str | None,
    group: str | None,
    servers: Hashable,
    plumbing: bool,
    kind: SpanKind | None,
) -> Operation:
    attributes = {
        names.MESSAGING_SYSTEM: "kafka",
        names.MESSAGING_OPERATION_NAME: verb,
        names.MESSAGING_OPERATION_TYPE: _TYPES.get(verb),
        names.MESSAGING_DESTINATION_NAME: topic,
        names.MESSAGING_CONSUMER_GROUP_NAME: group,
        names.MESSAGING_CLIENT_ID: client_id,
        **_server(servers),
    }
    return Operation(
        verb if topic is None else f"{verb} {topic}",
        {key: value for key, value in attributes.items() if value is not None},
        kind=kind or _KINDS.get(verb, SpanKind.CLIENT),
        plumbing=plumbing,
    )


def _server(servers: Any) -> dict[str, Any]:
    """The broker that a client is told of, if it is one: of several nobody knows which one is asked."""
    if isinstance(servers, tuple) and len(servers) == 1:
        servers = servers[0]
    if not isinstance(servers, str) or "," in servers:
        return {}
    try:
        parts = urlsplit(f"//{servers.strip()}")
        found = {names.SERVER_ADDRESS: parts.hostname, names.SERVER_PORT: parts.port or _PORT}
    except ValueError:
        return {}
    return found if parts.hostname else {}


def position(message: Any) -> dict[str, Any]:
    """Where a message lies: partition and offset.

    Args:
        message: a ``ConsumerRecord``, or the ``RecordMetadata`` of one that was sent.
    """
    return {
        names.MESSAGING_DESTINATION_PARTITION_ID: str(message.partition),
        names.MESSAGING_KAFKA_OFFSET: message.offset,
    }


def texts(headers: Any) -> dict[str, str]:
    """The headers of a message that are texts. A list only: anything else may be iterated once."""
    found = {}
    for name, value in headers if isinstance(headers, list | tuple) else ():
        if isinstance(value, bytes | bytearray | memoryview):
            try:
                found[name] = bytes(value).decode("ascii")
            except UnicodeDecodeError:
                continue
    return found
