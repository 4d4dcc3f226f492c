"""A program that has a secret in every place that a patch reads: ``test_secrets.py`` looks for them outside.

    python -m tests.planted

Servers come from variables: PLANTED_POSTGRES, PLANTED_REDIS, PLANTED_BOLT (a JSON list of URL, user, password and
database) and PLANTED_QUEUE. The logs of ours and of OpenTelemetry go to standard error at every level, as spans do.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import logging
import sys
from collections.abc import Awaitable, Callable
from typing import Any

import causal_otel
from tests.planted_databases import (
    plant_asyncpg,
    plant_neo4j,
    plant_psycopg,
    plant_redis,
    plant_sqlalchemy,
    plant_valkey,
)
from tests.planted_http import plant_http, plant_strawberry, plant_wsgi
from tests.planted_messages import plant_aiokafka, plant_celery, plant_taskiq
from tests.planted_secrets import SECRETS, card, failing, jwt

__all__ = ["PLANTED", "plant_our_own"]


async def plant_grpc() -> None:
    """A server in this process, and calls of it: what goes along is no span's business."""
    import grpc  # type: ignore[import-untyped]
    import grpc.aio  # type: ignore[import-untyped]

    s = SECRETS
    logging.getLogger("grpc").addHandler(logging.NullHandler())  # what it logs of an exception is its own

    async def abort(request: bytes, context: Any) -> None:
        await context.abort(grpc.StatusCode.INTERNAL, s["grpc details"], (("x-answer", s["grpc trailer"]),))

    async def fail(request: bytes, context: Any) -> bytes:
        raise ConnectionError(f"cannot connect to redis://:{s['grpc exception']}@cache/0")

    handlers = {name: grpc.unary_unary_rpc_method_handler(each) for name, each in (("Abort", abort), ("Fail", fail))}
    server = grpc.aio.server()
    server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler("planted.Planted", handlers),))
    port = server.add_insecure_port("127.0.0.1:0")
    await server.start()
    async with grpc.aio.insecure_channel(f"127.0.0.1:{port}") as channel:
        for name in handlers:
            with contextlib.suppress(grpc.aio.AioRpcError):
                call = channel.unary_unary(f"/planted.Planted/{name}")
                await call(
                    s[f"grpc message {name}"].encode(), metadata=(("authorization", s[f"grpc metadata {name}"]),)
                )
    await server.stop(None)


def plant_our_own() -> None:
    from opentelemetry import baggage, trace

    from causal_otel.engine.context import attach

    s = SECRETS

    class Quoting:
        def __str__(self) -> str:
            raise ValueError(f"secret={s['failing text']}")

    key = "-----BEGIN PRIVATE KEY-----\n{}\n-----END PRIVATE KEY-----"
    activation = attach(baggage.set_baggage("auth-token", s["baggage attribute"]))
    with causal_otel.span(f"job --token {s['span name']}", {"db.password": s["attribute key"]}) as span:
        span.set_attribute("header.authorization", [s["list attribute"]])
        span.set_attribute("dsn", f"amqp://app:{s['attribute DSN']}@queue//")
        span.set_attribute("json", json.dumps({"a": [{"clientSecret": s["attribute JSON"]}]}))
        span.set_attribute("pem", key.format(s["attribute PEM"]))
        span.set_attribute("card", int(card("attribute card", "4716059374713389")))
        span.set_attribute("aws", f"key AKIA{'0123456789ABCDEF'}")
        span.set_attribute("broken", Quoting())  # type: ignore[arg-type]
        span.set_attributes({f"baggage.{name}": str(value) for name, value in baggage.get_all().items()})
        span.add_event(f"password={s['event name']}", {"token": s["event attribute"], "jwt": jwt("event token")})
        span.add_link(trace.INVALID_SPAN_CONTEXT, {"cookie": s["link attribute"]})
        span.set_status(trace.StatusCode.ERROR, f"secret: {s['status description']}")
        SECRETS["AWS key"] = "0123456789ABCDEF"
    activation.end()
    with failing("chained"):
        try:
            raise ValueError(f"pwd={s['exception cause']}")
        except ValueError as error:
            raise RuntimeError(f"api-key: {s['exception message']}") from error


PLANTED: dict[str, Callable[[], Awaitable[None] | None]] = {
    "aiohttp": plant_http,
    "aiokafka": plant_aiokafka,
    "asyncpg": plant_asyncpg,
    "psycopg": plant_psycopg,
    "grpc": plant_grpc,
    "redis": plant_redis,
    "valkey": plant_valkey,
    "neo4j": plant_neo4j,
    "asgi": plant_http,
    "httpx": plant_http,
    "celery": plant_celery,
    "sqlalchemy": plant_sqlalchemy,
    "strawberry": plant_strawberry,
    "taskiq": plant_taskiq,
    "wsgi": plant_wsgi,
}
"""By patch, what plants secrets in all that it reads."""


async def _main() -> None:
    with causal_otel.span("planted"):
        for plant in dict.fromkeys(PLANTED.values()):
            with causal_otel.span(plant.__name__):
                planting = plant()
                if planting is not None:
                    await planting


if __name__ == "__main__":
    handler = logging.StreamHandler(sys.stderr)
    for logger in ("causal_otel", "opentelemetry"):
        logging.getLogger(logger).addHandler(handler)
        logging.getLogger(logger).setLevel(logging.DEBUG)
    installed = causal_otel.install(console=True, baggage_hosts=["127.0.0.1"], service_name="planted")
    asyncio.run(_main())
    plant_our_own()
    flushed = installed.flush(20)
    print(causal_otel.status(), file=sys.stderr)
    print(json.dumps([flushed, SECRETS, dict(causal_otel.status().redacted)]))
