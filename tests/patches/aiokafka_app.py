"""A consumer in a process of its own, as a service has one: it relays each message to another topic.

python -m tests.patches.aiokafka_app ADDRESS TOPIC
"""

from __future__ import annotations

import asyncio
import sys
from typing import TYPE_CHECKING

import causal_otel

if TYPE_CHECKING:
    from collections.abc import Sequence

__all__ = ["PAUSE", "relayed"]

PAUSE = 0.2
"""How long the work with a message takes, in seconds."""


def relayed(topic: str) -> str:
    """Where messages of a topic go."""
    return f"{topic}-relayed"


async def _main(arguments: Sequence[str]) -> None:
    from aiokafka import AIOKafkaConsumer, AIOKafkaProducer

    from causal_otel.patches.aiokafka import processing

    address, topic = arguments
    consumer = AIOKafkaConsumer(topic, bootstrap_servers=address, group_id="relay", auto_offset_reset="earliest")
    producer = AIOKafkaProducer(bootstrap_servers=address)
    async with consumer, producer:
        async for message in consumer:
            with processing(message, consumer):
                await asyncio.sleep(PAUSE)
                await producer.send_and_wait(relayed(topic), message.value)
            if message.value == b"last":
                break


if __name__ == "__main__":
    causal_otel.install()
    asyncio.run(_main(sys.argv[1:]))
