"""Producers and consumers of the tests of aiokafka, and what they look for in spans."""

from __future__ import annotations

import asyncio
import os
from contextlib import asynccontextmanager
from itertools import count
from typing import TYPE_CHECKING, Any

import aiokafka

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Sequence

    from opentelemetry.sdk.trace import ReadableSpan

    from tests.recording import Recording

__all__ = ["PATCHES", "all_of", "consuming", "identities", "linked", "new_topic", "producing", "spans_of"]

PATCHES = ["aiokafka"]
_numbers = count()


def new_topic() -> str:
    """The name of a topic that nobody has."""
    return f"tests-{os.getpid()}-{next(_numbers)}"


@asynccontextmanager
async def producing(address: str, **options: Any) -> AsyncIterator[Any]:
    """A producer that is stopped when the block is left."""
    producer = aiokafka.AIOKafkaProducer(bootstrap_servers=address, **options)
    await producer.start()
    try:
        yield producer
    finally:
        await producer.stop()


@asynccontextmanager
async def consuming(address: str, *topics: str, group: str | None = None, **options: Any) -> AsyncIterator[Any]:
    """A consumer of all messages of ``topics``, which is stopped when the block is left."""
    consumer = aiokafka.AIOKafkaConsumer(
        *topics, bootstrap_servers=address, group_id=group, auto_offset_reset="earliest", **options
    )
    await consumer.start()
    try:
        yield consumer
    finally:
        await consumer.stop()


async def all_of(consumer: Any, number: int) -> dict[Any, list[Any]]:
    """So many messages of one poll."""
    found: dict[Any, list[Any]] = {}
    async with asyncio.timeout(60):
        while sum(map(len, found.values())) < number:
            for partition, messages in (await consumer.getmany(timeout_ms=1000)).items():
                found.setdefault(partition, []).extend(messages)
    return found


def linked(span: ReadableSpan) -> list[tuple[int, int]]:
    """What a span has links to."""
    return [(link.context.trace_id, link.context.span_id) for link in span.links]


def identities(spans: Sequence[ReadableSpan]) -> list[tuple[int, int]]:
    """What a link to each of them says."""
    return [(span.context.trace_id, span.context.span_id) for span in spans]


def spans_of(recorded: Recording, verb: str) -> list[ReadableSpan]:
    """The spans of an operation, in the order of their ends."""
    return [span for span in recorded.spans if span.name.partition(" ")[0] == verb]
