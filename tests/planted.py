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
import os
import sys
from collections.abc import Awaitable, Callable
from typing import Any

import causal_otel
from tests.planted_http import plant_http, plant_strawberry, plant_wsgi
from tests.planted_secrets import SECRETS, card, failing, jwt

__all__ = ["PLANTED", "plant_our_own"]


async def _asyncpg() -> None:
    import asyncpg

    s = SECRETS
    connection = await asyncpg.connect(os.environ["PLANTED_POSTGRES"])
    await connection.execute("CREATE TEMP TABLE planted (email text UNIQUE, n int)")
    await connection.fetch(f"SELECT '{s['SQL literal']}', E'{s['SQL escaped']}', $x${s['SQL dollar quoted']}$x$")
    await connection.fetch(f"SELECT 1 -- {s['SQL comment']}\n /* {s['SQL block comment']} */")
    await connection.fetch(f"SELECT E'x'\n'\\' {s['SQL continued']}', $\u00e9$ ' {s['SQL tag']}$\u00e9$")
    await connection.fetch(f"SELECT 1 /* /* */ ' {s['SQL nested comment']} */")
    await connection.fetch(f"SELECT x.a$q$ , '$q$ {s['SQL dollar name']} ' FROM (SELECT 1 AS a$q$) x")
    await connection.execute("CREATE TEMP TABLE sessions (token text)")
    await connection.fetch("SELECT 1 FROM sessions s JOIN sessions u ON s.token = u.token")
    await connection.fetch("SELECT $1::text", s["SQL parameter"])
    await connection.executemany("INSERT INTO planted VALUES ($1)", [(s["SQL row"],), (s["SQL other row"],)])
    with failing("unique"):
        await connection.execute("INSERT INTO planted VALUES ($1)", s["SQL row"])
    with failing("syntax"):
        await connection.execute(f"SELECT '{s['SQL unclosed']}")
    with failing("argument"):
        await connection.fetch("SELECT $1::int", s["SQL refused argument"])
    with failing("arguments"):
        await connection.executemany("SELECT $1::int", [(1,), (s["SQL refused row"],)])
    with failing("invalid"):
        await connection.execute(f"SELECT '{s['SQL cast']}'::int")
    async with connection.transaction():
        cursor = f"ghp_{s['SQL cursor name']}0123456789"
        await connection.execute(f'DECLARE "{cursor}" CURSOR FOR SELECT 1')
        await connection.fetch(f'FETCH 1 FROM "{cursor}"')
        async for _ in connection.cursor("SELECT $1::text", s["SQL cursor parameter"]):
            pass
    await connection.copy_records_to_table("planted", records=[(s["COPY record"], 1)], columns=["email", "n"])
    with failing("COMMIT"):
        async with connection.transaction():
            await connection.execute("CREATE TEMP TABLE late (email text UNIQUE DEFERRABLE INITIALLY DEFERRED)")
            await connection.executemany("INSERT INTO late VALUES ($1)", [(s["SQL late row"],)] * 2)
    with failing("prepare"):
        await connection.prepare(f"SELECT '{s['SQL prepared']}' FROM missing")
    await connection.close()
    server = os.environ["PLANTED_POSTGRES"].rpartition("@")[2].partition("/")[0]
    for kind, place in (("refused", "127.0.0.1:1/shop"), ("missing", f"{server}/missing")):
        dsn = f"postgresql://postgres:{s[f'{kind} DSN']}@{place}?application_name={s[f'{kind} application']}"
        with failing("refused connection"):
            await asyncpg.connect(dsn)
        with failing("refused pool"):
            async with asyncpg.create_pool(dsn, min_size=0) as pool:
                await pool.fetchval("SELECT 1")
    with failing("connect"):
        dsn = f"postgresql://app:{s['DSN password']}@127.0.0.1:1/shop?password={s['DSN parameter']}"
        raise ConnectionError(f"cannot connect to {dsn}")


async def _psycopg() -> None:
    import psycopg
    import psycopg_pool
    from psycopg import sql

    s = SECRETS
    connection = await psycopg.AsyncConnection.connect(os.environ["PLANTED_POSTGRES"], autocommit=True)
    await connection.execute("CREATE TEMP TABLE planted (email text UNIQUE, n int)")
    await connection.execute(
        f"SELECT '{s['psycopg literal']}', %s -- {s['psycopg comment']}", (s["psycopg parameter"],)
    )
    await connection.execute(f"SELECT '{s['psycopg bytes']}'".encode())
    await connection.execute(sql.SQL("SELECT {}, 1").format(sql.Literal(s["psycopg composed"])))
    cursor = connection.cursor()
    await cursor.executemany("INSERT INTO planted VALUES (%s)", [(s["psycopg row"],), (s["psycopg other row"],)])
    async for _ in cursor.stream("SELECT %s", (s["psycopg stream"],)):
        pass
    async with cursor.copy("COPY planted FROM STDIN") as copy:
        await copy.write_row((s["psycopg copied"], 1))
    with failing("psycopg: unique"):
        await connection.execute("INSERT INTO planted VALUES (%s)", (s["psycopg row"],))
    with failing("psycopg: cast"):
        await connection.execute(f"SELECT '{s['psycopg cast']}'::int")
    with failing("psycopg: pipeline"):
        async with connection.pipeline():
            await connection.execute(f"SELECT '{s['psycopg queued']}'::int")
    with failing("psycopg: client"):
        await psycopg.AsyncClientCursor(connection).execute("SELECT %s::int", (s["psycopg merged"],))
    async with connection.transaction(), connection.cursor(f"ghp_{s['psycopg cursor']}0123456789") as named:
        await named.execute("SELECT %s", (s["psycopg cursor parameter"],))
        await named.fetchall()
    await connection.close()
    dsn = f"postgresql://app:{s['psycopg password']}@127.0.0.1:1/shop?application_name={s['psycopg application']}"
    with failing("psycopg: refused"):
        psycopg.connect(dsn, password=s["psycopg argument"])
    with failing("psycopg: refused pool"):
        async with psycopg_pool.AsyncConnectionPool(dsn, open=False, min_size=0, max_size=1, timeout=0.2) as pool:
            await pool.getconn()


async def _grpc() -> None:
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


async def _sqlalchemy() -> None:
    """On psycopg, sqlite3 and asyncpg: statements, errors of constraints and of syntax, and servers that refuse."""
    import sqlalchemy
    from sqlalchemy import text
    from sqlalchemy.ext.asyncio import create_async_engine

    s = SECRETS
    server = os.environ["PLANTED_POSTGRES"].partition("://")[2]
    for url in (f"postgresql+psycopg://{server}", "sqlite://"):
        engine = sqlalchemy.create_engine(url)
        with engine.connect() as connection:
            connection.execute(text("CREATE TEMP TABLE planted (email text UNIQUE)"))
            connection.execute(text(f"SELECT '{s['literal of ' + url]}' -- {s['comment of ' + url]}"))
            values = [{"email": s["row of " + url]}, {"email": s["other row of " + url]}]
            connection.execute(text("INSERT INTO planted VALUES (:email)"), values)
            connection.commit()
            with failing("SQLAlchemy: unique"):
                connection.execute(text("INSERT INTO planted VALUES (:email)"), values[0])
            connection.rollback()
            with failing("SQLAlchemy: syntax"):
                connection.execute(text(f"SELECT '{s['unclosed of ' + url]}"))
        engine.dispose()
    for kind, place in (("refused", "127.0.0.1:1/shop"), ("missing", f"{server.rpartition('@')[2]}_missing")):
        login = f"postgres:{s[f'{kind} password of an engine']}@{place}"
        query = f"?application_name={s[f'{kind} application of an engine']}"
        with failing(f"SQLAlchemy: {kind}"):
            sqlalchemy.create_engine(f"postgresql+psycopg://{login}{query}").connect()
        with failing(f"SQLAlchemy: {kind}, asyncio"):
            async with create_async_engine(f"postgresql+asyncpg://{login}").connect():
                pass
    asynchronous = create_async_engine(f"postgresql+asyncpg://{server}")
    async with asynchronous.connect() as session:
        await session.execute(text(f"SELECT '{s['async literal']}', :n"), {"n": s["async parameter"]})
        async with session.stream(text("SELECT :n"), {"n": s["stream parameter"]}) as rows:
            assert [row async for row in rows]
        with failing("SQLAlchemy: argument, asyncio"):
            await session.execute(text("SELECT CAST(:n AS int)"), {"n": s["async refused parameter"]})
        await session.rollback()
        with failing("SQLAlchemy: cast, asyncio"):
            await session.execute(text(f"SELECT CAST('{s['async cast']}' AS int)"))
    await asynchronous.dispose()


async def _redis() -> None:
    import redis.asyncio

    await _commands(redis)


async def _valkey() -> None:
    import valkey.asyncio

    await _commands(valkey)


async def _commands(redis: Any) -> None:
    """Use a client of Redis.

    Args:
        redis: its package.
    """
    s = SECRETS
    client: Any
    async with redis.asyncio.from_url(os.environ["PLANTED_REDIS"]) as client:
        await client.set(s["Redis key"], s["Redis value"])
        await client.hset("h", mapping={s["Redis field"]: s["Redis field value"]})
        await client.eval(f"return '{s['Redis script']}'", 0)
        script = client.register_script(f"return '{s['Redis registered script']}'")
        await script(keys=[s["Redis script key"]], args=[s["Redis script argument"]])
        with failing("script"):
            await client.eval(f"return redis.call('{s['Redis failing script']}')", 0, s["Redis failing argument"])
        with failing("AUTH"):
            await client.execute_command("AUTH", s["Redis user"], s["Redis password"])
        with failing("HELLO"):
            await client.execute_command("HELLO", 3, "AUTH", s["Redis HELLO user"], s["Redis HELLO password"])
        await client.acl_setuser("planted", passwords=[f"+{s['Redis ACL password']}"])
        await client.acl_deluser("planted")
        await client.client_setname(s["Redis client name"])
        async with client.lock(s["Redis lock"], timeout=60):
            await client.publish(s["Redis published channel"], s["Redis message"])
        with failing("unknown"):
            await client.execute_command("NOSUCH", s["Redis unknown argument"])
        with contextlib.suppress(redis.ResponseError):
            await client.execute_command(s["Redis command"])
        async with client.pipeline() as pipeline:
            await pipeline.set("a", s["Redis pipeline"]).get("a").execute()
        async with client.pipeline(transaction=False) as pipeline:
            pipeline.set(s["Redis pipeline key"], "x").lpush("a", s["Redis failing pipeline"])
            pipeline.execute_command(s["Redis pipeline command"], s["Redis pipeline argument"])
            pipeline.eval(f"return '{s['Redis pipeline script']}'", 0)
            await pipeline.execute(raise_on_error=False)
            pipeline.lpush("a", s["Redis raising pipeline"])
            with failing("pipeline"):
                await pipeline.execute()
    server = os.environ["PLANTED_REDIS"].rpartition("//")[2]
    for user in ("", s["Redis URL user"]):
        login = f"redis://{user}:{s[f'Redis URL password {bool(user)}']}@{server}"
        with failing("Redis: login"):
            async with redis.asyncio.from_url(login) as client:
                await client.get("a")
    with contextlib.suppress(redis.ConnectionError):
        async with redis.asyncio.from_url(f"redis://:{s['Redis URL password']}@127.0.0.1:1/0") as client:
            await client.get("a")
    with contextlib.suppress(redis.ConnectionError):
        async with redis.asyncio.from_url(f"redis://:{s['Redis pubsub password']}@127.0.0.1:1/0") as client:
            await client.pubsub().subscribe(s["Redis channel"])


async def _neo4j() -> None:
    import neo4j

    s = SECRETS
    url, user, password, database = json.loads(os.environ["PLANTED_BOLT"])
    async with neo4j.AsyncGraphDatabase.driver(url, auth=(user, password)) as driver:
        async with driver.session(database=database) as session:
            await (await session.run(f"RETURN '{s['Cypher literal']}' AS a // {s['Cypher comment']}")).consume()
            await (await session.run(f"RETURN {{password: '{s['Cypher map']}', n: 1}} AS m")).consume()
            await (await session.run("RETURN $p AS p", p=s["Cypher parameter"])).consume()
            for kind, query in (
                ("parameter", "RETURN toInteger([$p]) AS n"),
                ("date", "RETURN date($p) AS n"),
                ("zone", "RETURN datetime({year: 2026, timezone: $p}) AS n"),
                ("pattern", "RETURN 'a' =~ $p AS n"),
                ("map", "CREATE (n:Planted {a: {b: $p}})"),
            ):
                with failing(f"Cypher {kind}"):
                    await (await session.run(query, p=f"({s[f'Cypher failing {kind}']}")).consume()

            async def work(transaction: Any) -> None:
                await (await transaction.run("RETURN $p AS p", {"p": s["Cypher managed parameter"]})).consume()

            await session.execute_write(neo4j.unit_of_work(metadata={"by": s["transaction metadata"]})(work))
            with failing("Cypher transaction"):
                async with await session.begin_transaction(metadata={"by": s["explicit metadata"]}) as transaction:
                    await transaction.run(f"MATCH (n {{a: '{s['Cypher unclosed']}", p=s["Cypher explicit parameter"])
            with failing("Cypher"):
                await (await session.run(f"RETURN toInteger('{s['Cypher failing literal']}'")).consume()
        await driver.execute_query("RETURN $p AS p", p={"token": s["Cypher map parameter"]}, database_=database)
    SECRETS["graph password"] = password
    async with neo4j.AsyncGraphDatabase.driver(url, auth=(user, s["graph wrong password"])) as driver:
        with contextlib.suppress(neo4j.exceptions.Neo4jError, neo4j.exceptions.DriverError):
            await driver.verify_connectivity(database=database)
        with contextlib.suppress(neo4j.exceptions.Neo4jError, neo4j.exceptions.DriverError):
            await driver.execute_query("RETURN 1 AS n", database_=database)


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


def _celery() -> None:
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


async def _taskiq() -> None:
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


async def _aiokafka() -> None:
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


PLANTED: dict[str, Callable[[], Awaitable[None] | None]] = {
    "aiohttp": plant_http,
    "aiokafka": _aiokafka,
    "asyncpg": _asyncpg,
    "psycopg": _psycopg,
    "grpc": _grpc,
    "redis": _redis,
    "valkey": _valkey,
    "neo4j": _neo4j,
    "asgi": plant_http,
    "httpx": plant_http,
    "celery": _celery,
    "sqlalchemy": _sqlalchemy,
    "strawberry": plant_strawberry,
    "taskiq": _taskiq,
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
