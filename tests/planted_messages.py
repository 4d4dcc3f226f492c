"""Secrets in all that the patches of queues and their tasks read."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os

from tests.planted_secrets import SECRETS, failing

__all__ = ["plant_aiokafka", "plant_celery", "plant_taskiq"]


def plant_celery() -> None:
    from tests.patches.celery_app import add, app, fail

    s = SECRETS
    queue = os.environ["PLANTED_QUEUE"]
    app.conf.update(broker_url=os.environ["PLANTED_REDIS"], result_backend=os.environ["PLANTED_REDIS"])
    results = [
        add.apply_async((s["task argument"], "x"), queue=queue, headers={"api-key": s["task header"]}),
        add.apply_async(kwargs={"x": "x", "y": s["task keyword"]}, queue=queue),
        fail.apply_async((f"cannot connect to redis://:{s['task exception']}@cache/0",), queue=queue),
    ]
    for result in results:
        with contextlib.suppress(ValueError):
            result.get(timeout=30)


async def plant_taskiq() -> None:
    """Sent and executed in this process: what matters is what the patch reads."""
    from taskiq import InMemoryBroker

    s = SECRETS
    broker = InMemoryBroker(await_inplace=True)
    logging.getLogger("taskiq").addHandler(logging.NullHandler())  # what it logs of an exception is its own

    @broker.task(task_name="planted:fail")
    async def fail(*args: str, **kwargs: str) -> None:
        raise ConnectionError(f"cannot connect to redis://:{s['taskiq exception']}@cache/0")

    @broker.task(task_name="planted:give")
    async def give(argument: str) -> str:
        return s["taskiq result"]

    await fail.kicker().with_labels(api_key=s["taskiq label"]).kiq(s["taskiq argument"], key=s["taskiq keyword"])
    await give.kiq(s["taskiq other argument"])
    await broker.shutdown()


async def plant_aiokafka() -> None:
    """Without a broker: messages that are not delivered, and one that is made by hand."""
    import aiokafka
    from aiokafka.structs import ConsumerRecord

    from causal_otel.patches.aiokafka import processing

    s = SECRETS
    logging.getLogger("aiokafka").addHandler(logging.NullHandler())  # what it logs is its own
    producer = aiokafka.AIOKafkaProducer(
        bootstrap_servers="127.0.0.1:1",
        security_protocol="SASL_PLAINTEXT",
        sasl_mechanism="PLAIN",
        sasl_plain_username="app",
        sasl_plain_password=s["Kafka password"],
    )
    headers = [("api-key", s["Kafka header"].encode()), ("tracestate", f"vendor=token:{s['Kafka state']}".encode())]
    with failing("Kafka: connecting"):
        await producer.start()
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(0.2):
            await producer.send("planted", s["Kafka value"].encode(), s["Kafka key"].encode(), headers=headers)
    batch = producer.create_batch()
    batch.append(key=s["Kafka batch key"].encode(), value=s["Kafka batch value"].encode(), timestamp=None)
    await producer.stop()
    message = ConsumerRecord(
        topic="planted",
        partition=0,
        offset=0,
        timestamp=0,
        timestamp_type=0,
        key=s["Kafka received key"].encode(),
        value=s["Kafka received value"].encode(),
        checksum=None,
        serialized_key_size=0,
        serialized_value_size=0,
        headers=[*headers, ("api-key", s["Kafka received header"].encode())],
    )
    with failing("Kafka: processing"), processing(message):
        raise ConnectionError(f"cannot connect to redis://:{s['Kafka exception']}@cache/0")
